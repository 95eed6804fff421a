hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  limits {
    connections  = 0
    per_client   = "many"
    handshakes   = -1
    handshakes_per_client = 1.5
    errors       = 99999999999
    message_size = "50M"
  }
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
inbound "b" {
  listen = ["127.0.0.1:2502"]
  limits {
    message_size = "big"
  }
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
inbound "c" {
  listen = ["127.0.0.1:2503"]
  limits {
    message_size = "999999999999GiB"
  }
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
log {
  level = "${1e99999999}"
}
