hostname = "mx1.example.org"
state "redis" {
  url = "redis://127.0.0.1"
}
resolver {
  servers       = ["tls://dns.example:853"]
  dnssec        = "validate"
  trust_anchors = "root.key"
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
    client_address = "transparent"
  }
}
outbound "egress" {
  listen  = ["127.0.0.1:10025"]
  level   = "dane"
  mta_sts = true
  destination "example.com" {
    level = "dane-only"
  }
}
telemetry {
  otlp_endpoint = "http://127.0.0.1:4318"
}
