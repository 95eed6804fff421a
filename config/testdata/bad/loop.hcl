hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["0.0.0.0:25", "[::]:25"]
  backend {
    addresses = [
      "10.0.0.5:25",
      "127.0.0.1:25",
      "localhost:25",
      "[::1]:25",
    ]
    client_address = "xclient"
  }
}
inbound "b" {
  listen = ["10.0.0.9:587"]
  backend {
    address        = "10.0.0.9:587"
    client_address = "xclient"
  }
}
