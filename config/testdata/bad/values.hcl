hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  tls = "offr"
  grade = "moderm"
  forward_secrecy = "always"
  client_certificates = "Request"
  bare_newline = true
  trace_header = "maybe"
  session_tickets = 3
  handshake_memory = []
  shutdown_grace = "-1s"
  balance = "random"
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
log {
  format = "xml"
  level = "verbose"
}
