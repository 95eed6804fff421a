hostname = "mx1.example.org"
certificate "unused" {
  self_signed = ["mx1.example.org"]
}
outbound "mandatory" {
  listen              = ["127.0.0.1:10025"]
  level               = "secure"
  fallback            = "never"
  remember            = "observe"
  bare_newline_exempt = ["10.0.0.0/8"]
  source_address      = ["192.0.2.1", "2001:db8::1"]
  address_family      = "ipv6"
  destination "192.0.2.1" {
  }
  destination "a.example" {
    level = "encrypt"
  }
}
outbound "one-in-clear" {
  listen   = ["127.0.0.1:10026"]
  level    = "secure"
  fallback = "never"
  destination "a.example" {
    level = "may"
  }
}
outbound "forgetful" {
  listen   = ["127.0.0.1:10027"]
  route    = "original"
  mx_port  = 26
  remember = "off"
  remember_after {
    sessions = 5
  }
  timeouts {
    route = "5m"
  }
}
outbound "provider" {
  listen = ["127.0.0.1:10028"]
  route  = "smarthost"
  smarthost {
    address = "SMTP.Example.net:465"
    tls     = "starttls"
  }
  destination "smtp.example.net" {
  }
  destination ".example.net" {
  }
  destination "example.net" {
  }
  destination "192.0.2.0/24" {
  }
}
outbound "wrapped" {
  listen = ["127.0.0.1:10029"]
  route  = "smarthost"
  smarthost {
    addresses = ["192.0.2.1:587"]
    tls       = "implicit"
  }
  destination "192.0.2.0/24" {
  }
}
