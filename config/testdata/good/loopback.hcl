hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
# On loopback, every port may have any TLS: it is not the Internet's.
inbound "mx" {
  listen = ["127.0.0.1:25"]
  tls    = "require"
  backend {
    address        = "10.0.0.5:25"
    client_address = "xclient"
  }
}
# A backend on loopback is another server unless we listen there.
inbound "submission" {
  listen = ["10.0.0.9:587", "[::]:588"]
  backend {
    addresses      = ["127.0.0.1:587", "localhost:587", "127.0.0.1:588"]
    client_address = "xclient"
  }
}
