hostname = "mx1.example.org"
outbound "egress" {
  listen = ["127.0.0.1:10025"]
  route  = "original"
  destination "example.com" {
  }
  destination "EXAMPLE.com." {
  }
  destination "bücher.example" {
  }
  destination ".xn--bcher-kva.example" {
  }
  destination "xn--bcher-kva.example" {
  }
  destination "*" {
  }
  destination "*.example.net" {
  }
  destination "user@example.net" {
  }
  destination "[192.0.2.1]" {
  }
  destination "example.net:25" {
  }
  destination "192.0.2.1/24" {
  }
  destination "192.0.2.9" {
  }
  destination "192.0.2.9/32" {
  }
  destination "::ffff:192.0.2.9" {
  }
  destination "2001:DB8::1" {
  }
  destination "2001:db8:0::1" {
  }
  destination "a b.example" {
  }
  destination "-a.example" {
  }
  destination "" {
  }
  destination {
  }
  destination "f.example" "g.example" {
  }
  destination "h.example" {
    levl = "may"
    listen = ["127.0.0.1:25"]
  }
}
