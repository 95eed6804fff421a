hostname = "mx1.example.org"
certificate "none" {
}
certificate "half" {
  cert_file = "fullchain.pem"
}
certificate "other" {
  key_file = "privkey.pem"
}
certificate "both" {
  cert_file   = "fullchain.pem"
  key_file    = "privkey.pem"
  self_signed = ["a.example"]
}
certificate "names" {
  self_signed = ["not a name", "*.example.org", "192.0.2.1"]
}
certificate "zero" {
  self_signed = []
}
certificate "content" {
  cert_file = "-----BEGIN CERTIFICATE-----"
  key_file  = ""
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  certificates = []
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
