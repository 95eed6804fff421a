hostname = env("POSTERN_TEST_UNSET")
admin {
  listen = file("missing.txt")
}
resolver {
  servers = [file("."), fille("x")]
}
log {
  level  = env()
  format = env.FORMAT
}
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = env("POSTERN_TEST_LISTEN")
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
