# The configuration of postern. Nothing is switched on yet: remove the "# " before
# the lines of what you want and change what is marked EDIT. Then run "postern check"
# and "systemctl enable --now postern", after later changes "systemctl reload postern".
#
# All that may be written here: man postern-config, or
# /usr/share/doc/postern/examples/config.hcl. Step by step:
# /usr/share/doc/postern/README.Debian

# EDIT: the name of this mail server, the one that your MX record points to.
# hostname = "mx1.example.org"

# Mail that comes in: postern in front of a mail server, which listens on
# 127.0.0.1:2525 from now on.
#
# certificate "mx" {
#   # EDIT: postern's user must be able to read the key:
#   #   install -o root -g postern -m 0640 privkey.pem /etc/postern/
#   cert_file = "/etc/postern/fullchain.pem"
#   key_file  = "/etc/postern/privkey.pem"
# }
# inbound "mx" {
#   listen = ["0.0.0.0:25", "[::]:25"]
#   backend {
#     address        = "127.0.0.1:2525" # EDIT
#     client_address = "xclient"        # EDIT: proxy-v2, proxy-v1 or none, as the server can do
#   }
# }

# Mail that goes out: the mail server hands it to this port in clear
# (relayhost = [127.0.0.1]:10025), and it leaves by verified TLS.
#
# outbound "egress" {
#   listen = ["127.0.0.1:10025"]
# }

# Health, metrics, and what commands such as "postern peers" ask a running
# postern. The group postern may use the socket.
admin {
  listen = "127.0.0.1:9025"
  socket = "/run/postern/admin.sock"
}
