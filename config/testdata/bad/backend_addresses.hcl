hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  backend {
    addresses = [
      "unix:/var/run/mta.sock",
      "127.0.0.1",
      "0.0.0.0:25",
      "mail server:25",
      "mail.example.org:smtp",
      "2525",
      "mail.example.org",
    ]
    client_address = "none"
  }
}
