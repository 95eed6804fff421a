hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  grade           = "modern"
  forward_secrecy = "prefer"
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
inbound "b" {
  listen = ["127.0.0.1:2501"]
  grade           = "intermediate"
  forward_secrecy = "where-safe"
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
