hostname = "[192.0.2.1]"
state "memory" {
}
resolver {
  servers = ["127.0.0.1", "[::1]:5353"]
  dnssec        = "validate"
  trust_anchors = "root.key"
}
certificate "rsa" {
  cert_file = "tls/rsa.pem"
  key_file  = "/etc/postern/rsa.key"
}
certificate "ec" {
  self_signed = ["localhost", "192.0.2.1"]
}
inbound "submission" {
  listen = [env("POSTERN_TEST_LISTEN"), ":587"]
  tls                 = "require"
  certificates        = ["ec", "rsa"]
  grade               = "legacy"
  forward_secrecy     = "where-safe"
  session_tickets     = true
  client_certificates = "request"
  client_roots        = "roots.pem"
  handshake_memory    = false
  bare_newline        = "reject"
  bare_newline_exempt = ["10.1.2.3", "2001:db8::/32"]
  auth_plaintext_from = ["10.0.0.0/8"]
  trace_header        = "false"
  shutdown_grace      = "0s"
  balance             = "round-robin"
  proxy_protocol {
    from = ["10.0.0.0/8"]
  }
  limits {
    connections           = 1
    per_client            = "2"
    handshakes            = 3
    handshakes_per_client = 4
    message_size          = "10MB"
    errors                = 5
    exempt                = ["::1"]
  }
  timeouts {
    connect  = "1s"
    starttls = "2s"
    command  = "3s"
    data     = "4s"
    final    = "1h30m"
    session  = "6s"
    proxy    = "7s"
  }
  backend {
    addresses      = ["my_mta:25", "[fe80::1%eth0]:25"]
    client_address = "proxy-v1"
  }
}
inbound "clear" {
  listen = ["127.0.0.1:0"]
  tls = "off"
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
admin {
  listen = "[::1]:9025"
}
log {
  format = "json"
  level  = "debug"
}
