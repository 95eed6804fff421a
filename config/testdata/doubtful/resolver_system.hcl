hostname = "mx1.example.org"
resolver {
  dnssec = "trust-ad"
}
outbound "egress" {
  listen = ["127.0.0.1:10025"]
}
