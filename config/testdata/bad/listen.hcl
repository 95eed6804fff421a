hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = [
    "mx1.example.org:25",
    "127.0.0.1",
    "2525",
    "127.0.0.1:smtp",
    "[::1]",
    "127.0.0.1:99999",
    "",
    "::1:25",
  ]
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
inbound "b" {
  listen = "127.0.0.1:2501"
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
inbound "c" {
  listen = []
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
inbound "d" {
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
admin {
}
