hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  backend {
    address        = ["127.0.0.1:2525"]
    client_address = "none"
  }
}
inbound "b" {
  listen = ["127.0.0.1:2501"]
  backend {
    addresses      = "127.0.0.1:2525"
    client_address = "none"
  }
}
inbound "c" {
  listen = ["127.0.0.1:2502"]
  backend {
    addresses      = []
    client_address = "none"
  }
}
