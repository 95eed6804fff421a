hostname = file("hostname.txt")
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["${env("POSTERN_TEST_LISTEN")}"]
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
