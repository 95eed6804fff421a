hostname = "mx1.example.org"
resolver {
  servers       = ["127.0.0.1", "tls://[2001:db8::53]", "tls://192.0.2.53:8853#dns.example.net", "tls://dns.example.net?pin-sha256=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
  dnssec        = "validate"
  trust_anchors = "root.key"
}
outbound "egress" {
  listen   = ["127.0.0.1:10025"]
  fallback = "never"
  level    = "dane"
  destination "example.com" {
    level = "dane-only"
  }
}
outbound "other" {
  listen  = ["127.0.0.1:10026"]
  mta_sts = true
}
