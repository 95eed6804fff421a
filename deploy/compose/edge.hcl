# What the Internet connects to. config.hcl.example has all there is.
hostname = env("MAIL_HOSTNAME")

certificate "mx" {
  cert_file = "/certs/fullchain.pem"
  key_file  = "/certs/privkey.pem" # user 10025 must be able to read it
}

inbound "mx" {
  listen = ["0.0.0.0:25"]

  backend {
    address        = "172.30.25.4:25"
    client_address = "xclient"
  }
}

# For Prometheus and the health check: no port of it is published.
admin {
  listen = "172.30.25.2:9025"
  socket = "/var/lib/postern/admin.sock"
}
