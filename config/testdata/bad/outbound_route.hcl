hostname = "mx1.example.org"
outbound "egress" {
  listen   = ["127.0.0.1:10025"]
  route    = "original"
  protocol = "lmtp"
  skip {
    hold = "2h"
    max  = "1h"
  }
  smarthost {
    address = "smtp.example.net:587"
  }
}
