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
    address        = "127.0.0.1:25"
    client_address = "proxy-v2" # hosts_proxy = 127.0.0.1
  }
}

# Redirected connections arrive at the loopback addresses of both families.
outbound "egress" {
  listen         = [":10025"]
  route          = "original"
  shutdown_grace = "60s"
}

admin {
  listen = ":9025"
  socket = "/run/postern/admin.sock"
}

log {
  format = "json"
}
