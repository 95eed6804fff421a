hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["0.0.0.0:25"]
  tls = "require"
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
inbound "b" {
  listen = ["[::]:25"]
  tls = "implicit"
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
inbound "c" {
  listen = [":465"]
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
inbound "d" {
  listen = ["127.0.0.1:2500"]
  tls = "require"
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
