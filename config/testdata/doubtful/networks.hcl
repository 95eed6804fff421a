hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  auth_plaintext_from = ["10.1.0.0/16", "192.0.2.0/24", "10.0.0.0/7"]
  proxy_protocol {
    from = ["0.0.0.0/0", "10.0.0.0/8"]
  }
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
