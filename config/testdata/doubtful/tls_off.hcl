hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  tls = "off"
  certificates = ["mx"]
  grade = "mail"
  forward_secrecy = "require"
  session_tickets = true
  client_certificates = "request"
  client_roots = "system"
  handshake_memory = false
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
