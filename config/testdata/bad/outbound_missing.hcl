hostname = "mx1.example.org"
outbound "egress" {
}
outbound {
  listen = ["127.0.0.1:10026"]
}
outbound "in-use" {
  listen = ["127.0.0.1:10027"]
  from   = []
  route  = "smarthost"
}
outbound "here" {
  listen = ["127.0.0.1:10028"]
  smarthost {
    address = "smtp.example.net:587"
  }
}
outbound "twice" {
  listen = ["127.0.0.1:10029"]
  smarthost {
    address = "smtp.example.net:587"
  }
  route = "smarthost"
  smarthost {
    address = "smtp.example.net:587"
  }
}
