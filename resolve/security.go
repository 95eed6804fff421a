package resolve

// Security says how far an answer can be trusted, in the words of RFC 4035,
// 4.3. The values are ordered: an answer that was put together of several is as
// good as the weakest, which is their min. The zero value is Indeterminate.
type Security int8

const (
	// Bogus: there should be signatures, and they are missing or wrong. Such an
	// answer is never returned; the error says so.
	Bogus Security = iota - 1
	// Indeterminate: nobody looked.
	Indeterminate
	// Insecure: it is proved that the zone is not signed.
	Insecure
	// Secure: signed, up to a trust anchor.
	Secure
)

// Mode says what is done about DNSSEC.
type Mode uint8

const (
	// Off: nothing. Every answer is Indeterminate.
	Off Mode = iota
	// TrustAD: the word of the server is taken (the AD flag). Only for one that
	// validates and is reached over loopback: everybody between could say so.
	TrustAD
	// Validate: signatures are followed here, from the anchors down.
	Validate
)

// String returns the word of RFC 4035 in lower case, for logs.
func (s Security) String() string {
	switch s {
	case Bogus:
		return "bogus"
	case Insecure:
		return "insecure"
	case Secure:
		return "secure"
	default:
		return "indeterminate"
	}
}
