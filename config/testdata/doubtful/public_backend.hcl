hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  backend {
    addresses = [
      "10.0.0.5:25",
      "192.0.2.5:25",
      "[2001:db8::5]:25",
      "mail.example.org:25",
      "100.64.1.1:25",
    ]
    client_address = "proxy-v2"
  }
}
