hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["0.0.0.0:25", "[::]:25"]
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
inbound "b" {
  listen = [
    "127.0.0.1:25",
    "127.0.0.1:9025",
    ":587",
  ]
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
inbound "c" {
  listen = ["[::1]:587", "[::1]:25", "127.0.0.1:0", "127.0.0.1:0"]
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
admin {
  listen = "127.0.0.1:9025"
}
