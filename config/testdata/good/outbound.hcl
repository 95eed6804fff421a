hostname = "mx1.example.org"
state "bolt" {
  path = "state/postern.db"
}
outbound "egress" {
  listen              = ["127.0.0.1:10025", "[::1]:10025"]
  from                = ["127.0.0.1", "10.0.0.0/8"]
  protocol            = "lmtp"
  route               = "mx"
  mx_port             = 2525
  level               = "secure"
  match               = ["nexthop", "MX.Example.com", ".bücher.example"]
  grade               = "intermediate"
  trusted_roots       = "roots.pem"
  fallback            = "next-session"
  remember            = "observe"
  mta_sts             = false
  ehlo                = "[IPv6:2001:db8::1]"
  eight_bit           = "refuse"
  dsn                 = true
  bare_newline        = "reject"
  bare_newline_exempt = ["10.1.2.3"]
  trace_header        = true
  source_address      = ["2001:db8::1", "192.0.2.1"]
  address_family      = "prefer-ipv4"
  reuse_idle          = "0s"
  concurrency         = 0
  shutdown_grace      = "7s"
  skip {
    hold = "2h"
    max  = "3h"
  }
  remember_after {
    sessions = 4
    age      = "5h"
    expire   = "6h"
    grace    = "0s"
  }
  limits {
    connections  = 1
    per_client   = 2
    message_size = "0"
    errors       = 3
    exempt       = ["10.0.0.0/8"]
  }
  timeouts {
    connect  = "1s"
    starttls = "2s"
    command  = "3s"
    data     = "4s"
    final    = "5s"
    session  = "6s"
    route    = "4m30s"
  }
  destination "Example.COM." {
  }
  destination ".xn--bcher-kva.example" {
    level         = "auto"
    grade         = "legacy"
    trusted_roots = "system"
  }
  destination "_mail.example.net" {
    match = ["hostname"]
  }
  destination "example.net" {
    level = "fingerprint"
    fingerprints = [
      "sha256:8F:43:43:46:64:8F:6B:96:DF:89:DD:A9:01:C5:17:6B:10:A6:D8:39:61:DD:3C:1A:C8:8B:59:B2:DC:32:7A:A4",
      "pubkey-sha256:8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
    ]
  }
}
outbound "redirected" {
  listen         = ["0.0.0.0:10026"]
  route          = "original"
  source_address = "::ffff:192.0.2.1"
  destination "192.0.2.1" {
    level = "verify"
  }
  destination "2001:DB8:0::/32" {
  }
}
outbound "provider" {
  listen = ["127.0.0.1:10027"]
  route  = "smarthost"
  smarthost {
    address = "SMTP.example.net:465"
  }
  destination ".example.net" {
    level = "encrypt"
  }
}
outbound "providers" {
  listen = ["127.0.0.1:10028"]
  route  = "smarthost"
  smarthost {
    addresses = ["smtp1.example.net:587", "smtp2.example.net:587"]
  }
}
outbound "odd" {
  listen = ["127.0.0.1:10029"]
  route  = "smarthost"
  smarthost {
    addresses = ["[2001:db8::25]:465", "smtp2.example.net:4650"]
    tls       = "implicit"
  }
}
admin {
  socket = "admin.sock"
}
