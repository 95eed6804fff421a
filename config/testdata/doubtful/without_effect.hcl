hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  client_roots        = "roots.pem"
  bare_newline        = "normalize"
  bare_newline_exempt = ["10.0.0.0/8"]
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
