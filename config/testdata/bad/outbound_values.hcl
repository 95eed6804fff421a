hostname = "mx1.example.org"
outbound "egress" {
  listen         = ["127.0.0.1:10025"]
  from           = ["10.0.0.1/8"]
  protocol       = "esmtp"
  route          = "direct"
  mx_port        = 65536
  level          = "secured"
  match          = ["nexthopp", "*.example.com", "mx example", "192.0.2.1"]
  fingerprints   = [
    "sha256:abcd",
    "5D:41:40:2A:BC:4B:2A:76:B9:71:9D:91:10:17:C5:92:5D:41:40:2A",
    "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
    "md5:8f434346648f6b96df89dda901c5176b",
    "sha256:zz434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
  ]
  grade          = "best"
  trusted_roots  = ""
  fallback       = "always"
  remember       = true
  mta_sts        = "maybe"
  ehlo           = "mx1"
  eight_bit      = "drop"
  dsn            = "no"
  bare_newline   = "strip"
  trace_header   = 2
  source_address = ["192.0.2.1", "192.0.2.2", "0.0.0.0", "fe80::1%eth0", "224.0.0.1", "192.0.2.1:25"]
  address_family = "v6"
  reuse_idle     = "5"
  concurrency    = -1
  skip {
    hold = "2 days"
    max  = "0s"
  }
  remember_after {
    sessions = 0
    age      = "-1h"
    expire   = "30d"
    grace    = "2w"
  }
  limits {
    per_client           = -1
    handshakes           = 10
    handshakes_per_client = 10
  }
  timeouts {
    proxy = "10s"
    route = "0s"
  }
}
