hostname = "mx1.example.org"
certificate "mx" {
  self_signed = ["mx1.example.org"]
}
inbound "mx" {
  listen = ["127.0.0.1:2500"]
  shutdown_grace = "soon"
  timeouts {
    connect  = "30"
    starttls = 30
    command  = "5 minutes"
    data     = "1d"
    final    = "0s"
    session  = ["2h"]
    proxy    = "10 parsecs"
    route    = "soon"
  }
  backend {
    address        = "127.0.0.1:2525"
    client_address = "xclient"
  }
}
