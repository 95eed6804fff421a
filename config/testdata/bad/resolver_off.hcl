hostname = "mx1.example.org"
resolver {
  dnssec = "off"
}
outbound "egress" {
  listen = ["127.0.0.1:10025"]
  level  = "dane"
  destination "example.com" {
    level = "dane-only"
  }
  destination "example.net" {
  }
}
