hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  bare_newline_exempt = ["10.0.0.1/8", "printer.example.org",
    "::ffff:10.0.0.0/104", 5]
  auth_plaintext_from = "10.0.0.0/8"
  proxy_protocol {
    from = []
  }
  limits {
    exempt = ["10.0.0.0/33"]
  }
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
