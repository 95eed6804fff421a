hostname = "mx1.example.org"
certificate {
  self_signed = ["a.example"]
}
admin "x" {
  listen = "127.0.0.1:9025"
}
state {
}
certificate "a" "b" {
  self_signed = ["a.example"]
}
certificate "with space" {
  self_signed = ["a.example"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
