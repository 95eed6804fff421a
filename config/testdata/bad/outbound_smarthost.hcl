hostname = "mx1.example.org"
outbound "none" {
  listen = ["127.0.0.1:10025"]
  route  = "smarthost"
  smarthost {
  }
}
outbound "both" {
  listen = ["127.0.0.1:10026"]
  route  = "smarthost"
  smarthost {
    address   = "smtp.example.net:587"
    addresses = ["smtp.example.net:587"]
  }
}
outbound "bad" {
  listen = ["127.0.0.1:10027"]
  route  = "smarthost"
  smarthost {
    addresses = ["smtp.example.net", "unix:/run/smtp", "smtp.example.net:0", "0.0.0.0:25", "a b:25"]
    tls       = "off"
  }
}
outbound "list" {
  listen = ["127.0.0.1:10028"]
  route  = "smarthost"
  smarthost {
    address = ["smtp.example.net:587"]
  }
}
outbound "empty" {
  listen = ["127.0.0.1:10029"]
  route  = "smarthost"
  smarthost {
    addresses = []
  }
}
outbound "mixed" {
  listen = ["127.0.0.1:10030"]
  route  = "smarthost"
  smarthost {
    addresses = ["smtp.example.net:587", "smtp.example.net:465"]
  }
}
outbound "clear" {
  listen = ["127.0.0.1:10031"]
  route  = "smarthost"
  level  = "none"
  smarthost {
    address = "smtp.example.net:465"
  }
}
outbound "round" {
  listen = ["127.0.0.1:10032"]
  route  = "smarthost"
  smarthost {
    addresses = ["smtp.example.net:587", "localhost:10031"]
  }
}
