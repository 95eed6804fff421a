hostname = "mx1.example.org"
resolver {
  servers       = ["127.0.0.1", "tls://192.0.2.53", "192.0.2.53:53"]
  dnssec        = "trust-ad"
  trust_anchors = "root.key"
}
outbound "egress" {
  listen  = ["127.0.0.1:10025"]
  level   = "dane"
  mta_sts = true
}
