hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
outbound "egress" {
  listen = ["127.0.0.1:10025"]
  route  = "smarthost"
  smarthost {
    address = "127.0.0.1:2500"
  }
}
