package proxy

import (
	"strconv"
	"strings"

	"postern/smtpwire"
)

// offer is what one EHLO reply of ours told a client.
type offer struct {
	caps  *smtpwire.Capabilities
	reply smtpwire.Reply
}

// offerKey is all that an offer depends on, for one inbound.
type offerKey struct {
	backend  *smtpwire.Capabilities
	hostname string
	maxSize  int64
	trace    bool
	starttls bool
	tls      bool
	auth     bool
}

// headroom is how much a trace header may add to a message (SEM 7), in octets.
const headroom = 2 << 10

// passedOn are the extensions that are offered where the backend has them, with
// its own parameters. What is not here, and not handled in compose, is hidden:
// an extension whose framing we do not know would let a client leave the
// dialogue that we understand (STANDARDS 60). BINARYMIME is missing on purpose:
// it allows bare CR and LF.
var passedOn = map[string]bool{
	"8BITMIME": true, "SMTPUTF8": true, "DSN": true, "DELIVERBY": true, "MT-PRIORITY": true, "FUTURERELEASE": true, "RRVS": true,
	"ENHANCEDSTATUSCODES": true, "LIMITS": true, "VRFY": true, "EXPN": true, "HELP": true,
}

// maxOffers bounds the cache of offers; there are a handful for each listener.
const maxOffers = 256

// offerFor gives the offer for a key, made once.
func (b *Backends) offerFor(k offerKey) *offer {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o := b.offers[k]; o != nil {
		return o
	}
	if len(b.offers) >= maxOffers {
		clear(b.offers)
	}
	o := k.compose()
	b.offers[k] = o
	return o
}

// compose makes the EHLO reply: the backend's capabilities, minus what we do
// not carry, plus our own.
func (k offerKey) compose() *offer {
	list := []smtpwire.Capability{{Keyword: "PIPELINING"}}
	if size, ok := k.size(); ok {
		list = append(list, smtpwire.Capability{Keyword: "SIZE", Params: size})
	}
	if k.starttls {
		list = append(list, smtpwire.Capability{Keyword: "STARTTLS"})
	}
	for _, c := range k.backend.List() {
		switch {
		case passedOn[c.Keyword], c.Keyword == "REQUIRETLS" && k.tls: // RFC 8689, 4
			list = append(list, c)
		case c.Keyword == "AUTH" && k.auth:
			if m := mechanisms(c.Params); m != "" {
				list = append(list, smtpwire.Capability{Keyword: "AUTH", Params: m})
			}
		}
	}
	list = append(list, smtpwire.Capability{Keyword: "CHUNKING"})
	return &offer{caps: smtpwire.MakeCapabilities(list...), reply: ehloReply(k.hostname, list)}
}

// size is the value of SIZE: the lesser of the backend's, less the room for a
// trace header, and ours. Without either, SIZE is not offered, unless the
// backend does without a number.
func (k offerKey) size() (string, bool) {
	theirs := k.backend.Size()
	if theirs > 0 && k.trace {
		theirs = max(theirs-headroom, 1)
	}
	n := k.maxSize
	if n == 0 || theirs > 0 && theirs < n {
		n = theirs
	}
	if n == 0 {
		return "", k.backend.Has("SIZE")
	}
	return strconv.FormatInt(n, 10), true
}

// mechanisms are the SASL mechanisms that survive us: not those that bind to a
// TLS channel, which ends here, and not EXTERNAL, whose certificate the backend
// never sees (SEM 37).
func mechanisms(params string) string {
	var keep []string
	for _, m := range strings.Fields(params) {
		if carriesMechanism(m) {
			keep = append(keep, m)
		}
	}
	return strings.Join(keep, " ")
}

func carriesMechanism(m string) bool {
	m = strings.ToUpper(m)
	return m != "EXTERNAL" && !strings.HasSuffix(m, "-PLUS")
}

// sizeOffer is SIZE with a limit in octets; 0 is none fixed (RFC 1870, 4).
func sizeOffer(limit int64) smtpwire.Capability {
	return smtpwire.Capability{Keyword: "SIZE", Params: strconv.FormatInt(limit, 10)}
}

func ehloReply(hostname string, list []smtpwire.Capability) smtpwire.Reply {
	var b strings.Builder
	b.WriteString("250-" + hostname + "\r\n")
	for i, c := range list {
		sep := "250-"
		if i == len(list)-1 {
			sep = "250 "
		}
		b.WriteString(sep + strings.TrimSpace(c.Keyword+" "+c.Params) + "\r\n")
	}
	return smtpwire.Reply{Code: 250, Lines: []byte(b.String())}
}
