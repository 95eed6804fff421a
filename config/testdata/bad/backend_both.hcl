hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  balance = "failover"
  backend {
    address        = "127.0.0.1:2525"
    addresses      = ["127.0.0.1:2526"]
    balance        = "round-robin"
    client_address = "xclinet"
  }
}
