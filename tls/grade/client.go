package grade

import "crypto/tls"

// Client fills the versions, cipher suites and key exchange groups of the
// configuration of a TLS client and touches nothing else in it.
//
// mandatory says that the destination may not be spoken to in clear: then the
// oldest version is TLS 1.2 and nothing lacks forward secrecy, whatever the grade
// (RFC 9325, 3.1.1 and 4.1). Otherwise weak encryption is still better than what
// follows it, none (RFC 7435, 3), and everything that the grade has is offered:
//
//	              modern  intermediate  mail         legacy
//	may           1.3     1.2 AEAD      + CBC, RSA   + 1.0, 1.1, 3DES with either key exchange
//	mandatory     1.3     1.2 AEAD      + CBC        + ECDHE 3DES
//
// Which of them is used is up to the server; crypto/tls tells it its preference in
// the fixed order of the package comment, RSA key exchange and 3DES last.
func (g Grade) Client(c *tls.Config, mandatory bool) {
	c.MinVersion = g.minVersion(mandatory)
	c.MaxVersion = 0 // the newest that crypto/tls has
	c.CipherSuites = g.suites(!mandatory)
	if g >= Legacy && !mandatory {
		c.CipherSuites = append(c.CipherSuites, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA)
	}
	c.CurvePreferences = append([]tls.CurveID(nil), groups...)
}

// ClientPlain takes the hybrid key exchanges out of a configuration that Client
// filled. The ClientHello shrinks from 1500 octets or so to 300 and fits into
// one segment, which is what some peers and middleboxes need: for the
// one retry of a handshake that died (SEM 28). Every grade keeps at least one
// version with it.
func (g Grade) ClientPlain(c *tls.Config) {
	c.CurvePreferences = append([]tls.CurveID(nil), plainGroups...)
}

var plainGroups = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
