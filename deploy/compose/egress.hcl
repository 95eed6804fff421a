# What Postfix sends through. config.hcl.example has all there is.
hostname = env("MAIL_HOSTNAME")

outbound "egress" {
  listen   = ["0.0.0.0:10025"]
  from     = ["172.30.25.4"] # Postfix, and nobody else
  protocol = "lmtp"
}

admin {
  listen = "172.30.25.3:9025"
  socket = "/var/lib/postern/admin.sock"
}
