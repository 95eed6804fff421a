hostname = "mx1.example.org"
state "redis" {
  url = "redis://127.0.0.1"
}
certificate "mx" {
  self_signed = ["mx1.example.org"]
  acme {
    email = "a@example.org"
  }
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  backend {
    address        = "127.0.0.1:2525"
    client_address = "none"
  }
}
telemetry {
  otlp_endpoint = "http://127.0.0.1:4318"
}
