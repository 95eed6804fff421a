hostname = "mx1.example.org"
resolver {
  servers = ["dns.example.org:53", "0.0.0.0:53", "127.0.0.1:0", "https://192.0.2.53", "tls://", "tls://a_b:853", "tls://192.0.2.53:0", "tls://192.0.2.53?pin-sha256=AAAA", "tls://192.0.2.53/dns-query"]
  dnssec  = "strict"
  trust_anchors = ""
}
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
