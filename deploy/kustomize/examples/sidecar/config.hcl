hostname = "mx1.example.org"

state "bolt" {}

certificate "mx" {
  cert_file = "/certificates/mx/tls.crt"
  key_file  = "/certificates/mx/tls.key"
}

inbound "mx" {
  listen          = [":10026"]
  session_tickets = false # it stands for port 25
  shutdown_grace  = "60s"
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}

# In Postfix: relayhost = [127.0.0.1]:10025, smtp_destination_recipient_limit = 1
outbound "egress" {
  listen         = ["127.0.0.1:10025"]
  route          = "mx"
  shutdown_grace = "60s"
}

admin {
  listen = ":9025"
  socket = "/run/postern/admin.sock"
}

log {
  format = "json"
}
