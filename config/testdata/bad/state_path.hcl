hostname = "mx1.example.org"
state "bolt" {
  path = ""
  url  = "redis://127.0.0.1"
}
outbound "egress" {
  listen = ["127.0.0.1:10025"]
}
