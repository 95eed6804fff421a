hostname = "mx1.example.org"
outbound "auto" {
  listen       = ["127.0.0.1:10025"]
  match        = ["nexthop"]
  fingerprints = ["sha256:8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"]
  destination "a.example" {
    level = "encrypt"
    match = ["mx.a.example"]
  }
  destination "b.example" {
    level        = "verify"
    fingerprints = ["sha256:8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"]
  }
  destination "c.example" {
    level = "fingerprint"
  }
  destination "d.example" {
    level        = "fingerprint"
    fingerprints = []
  }
  destination "e.example" {
    match = ["mx.e.example"]
  }
}
outbound "fingerprint" {
  listen = ["127.0.0.1:10026"]
  level  = "fingerprint"
  match  = ["hostname"]
  destination "a.example" {
    grade = "legacy"
  }
}
