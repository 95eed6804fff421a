hostname = "mx1.example.org"
inbound "both" {
  listen = ["127.0.0.1:25", "[::1]:25"]
  tls    = "off"
  backend {
    address        = "127.0.0.1:2525"
    client_address = "transparent"
  }
}
inbound "everywhere" {
  listen = [":2500"]
  tls    = "off"
  backend {
    address        = "[::1]:2525"
    client_address = "transparent"
  }
}
inbound "one" {
  listen = ["127.0.0.1:26"]
  tls    = "off"
  backend {
    address        = "127.0.0.1:2525"
    client_address = "transparent"
  }
}
inbound "named" {
  listen = ["[::1]:26"]
  tls    = "off"
  backend {
    address        = "mail.example.org:2525"
    client_address = "transparent"
  }
}
inbound "told" {
  listen = ["[::1]:27"]
  tls    = "off"
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
outbound "egress" {
  listen      = ["127.0.0.1:10025"]
  transparent = true
}
outbound "gateway" {
  listen      = ["127.0.0.1:10026"]
  route       = "original"
  transparent = true
}
