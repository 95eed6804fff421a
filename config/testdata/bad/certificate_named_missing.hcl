hostname = "mx1.example.org"
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  tls          = "require"
  certificates = ["mx"]
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
