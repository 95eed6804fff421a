hostname = "mx1.example.org"
outbound "world" {
  listen = ["0.0.0.0:10025"]
  from   = ["0.0.0.0/0", "::/0", "10.0.0.0/8", "192.0.2.0/24", "192.0.2.7", "2001:db8::/32"]
}
outbound "lonely" {
  listen = ["127.0.0.1:10026", "10.0.0.1:10026", "[::]:10026"]
}
outbound "redirected" {
  listen = ["0.0.0.0:10027"]
  route  = "original"
}
outbound "redirected-here" {
  listen = [":10028"]
  route  = "original"
  from   = ["127.0.0.1"]
}
