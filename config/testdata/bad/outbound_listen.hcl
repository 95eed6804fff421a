hostname = "mx1.example.org"
outbound "nowhere" {
  listen = []
}
