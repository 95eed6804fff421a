hostname = "mx1.example.org"
hostnam = "x"
listen = ["x"]
something {
}
inbnd "mx" {
}
log = {}
hostname {
}
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  message_size = "1MiB"
  adress = "127.0.0.1:25"
  hostname = "a.example.org"
  zzzzzzzzz = 1
  limit {
  }
  tsl = "offer"
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
