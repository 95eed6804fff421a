package probe

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postern/smtpwire"
)

// words are capabilities as they stand in the reply.
func words(c *smtpwire.Capabilities) []string {
	all := []string{}
	for _, one := range c.List() {
		all = append(all, clean(strings.TrimSpace(one.Keyword+" "+one.Params)))
	}
	return all
}

// auth is about passwords that may be sent in clear (RFC 4954, 4; RFC 8314, 4.1).
func (v *visitor) auth(c *smtpwire.Capabilities) {
	mechanisms, ok := c.Get("AUTH")
	if !ok {
		return
	}
	g := PhaseOut
	if all := strings.Fields(strings.ToUpper(mechanisms)); slices.Contains(all, "PLAIN") || slices.Contains(all, "LOGIN") {
		g = Insufficient
	}
	v.add(CheckAuth, g, "AUTH "+mechanisms+" is offered without TLS", "offer AUTH inside TLS only: passwords can be read by anybody on the way")
}

// inside compares what is offered inside TLS with what was before.
func (v *visitor) inside(c *smtpwire.Capabilities) {
	if c.Has("STARTTLS") {
		v.add(CheckEHLO, PhaseOut, "STARTTLS is still offered inside TLS", "a server must not (RFC 3207, 4.2): bring it up to date")
		return
	}
	var more, less []string
	for _, w := range v.out.CapabilitiesTLS {
		if !slices.Contains(v.out.Capabilities, w) {
			more = append(more, w)
		}
	}
	for _, w := range v.out.Capabilities {
		if w != "STARTTLS" && !slices.Contains(v.out.CapabilitiesTLS, w) {
			less = append(less, w)
		}
	}
	text := "EHLO inside TLS offers the same"
	if len(more)+len(less) > 0 {
		text = "EHLO inside TLS offers other capabilities"
	}
	if len(more) > 0 {
		text += "; more: " + list(more)
	}
	if len(less) > 0 {
		text += "; no longer: " + list(less)
	}
	v.add(CheckEHLO, Note, text, "")
}

// plaintext finds out whether mail would be taken in clear. A public server must (RFC 3207, 4), so neither
// answer is wrong. What was begun is taken back.
func (v *visitor) plaintext(ctx context.Context) {
	if v.s.implicit {
		return
	}
	c, err := v.visit(ctx)
	if err != nil {
		return
	}
	defer c.Leave()
	r, err := c.Ask("MAIL FROM:<>")
	switch {
	case err != nil:
		v.lost(ctx, err)
	case r.Class() == 2:
		v.add(CheckPlaintext, Note, "mail is taken in clear too, as a public server must (RFC 3207, 4)", "")
		// The reply does not matter: the connection ends.
		_, _ = c.Ask("RSET")
	case r.Code == 530 || r.Class() == 5 && strings.Contains(r.String(), "7.10"):
		v.add(CheckPlaintext, Note, "mail in clear is refused: "+r.Quote(), "senders without TLS cannot reach a public server that does so (RFC 3207, 4)")
	default:
		v.add(CheckPlaintext, Note, "MAIL FROM:<> in clear was answered: "+r.Quote(), "")
	}
}

// injection puts a command into the segment of STARTTLS: it must not be executed inside TLS, where it
// would look like one of the client's (RFC 3207, 4.2; CVE-2011-0411).
func (v *visitor) injection(ctx context.Context) {
	if v.s.implicit || v.state == nil {
		return
	}
	c, err := v.visit(ctx)
	if err != nil {
		return
	}
	defer c.Close()
	const good = "a command behind STARTTLS, in the same segment, does not get into TLS"
	if err := c.StartTLSWith("NOOP"); err != nil {
		if isBusy(err) {
			v.lost(ctx, err)
			return
		}
		v.add(CheckInjection, Good, good+": "+err.Error(), "")
		return
	}
	if c.Secure(false) != nil || c.Hello() != nil {
		if ctx.Err() == nil {
			v.add(CheckInjection, Good, good+": the connection ends", "")
		}
		return
	}
	// Where NOOP was executed its reply was taken for the one to EHLO, and QUIT gets that.
	r, err := c.Ask("QUIT")
	if err == nil && r.Code != 221 {
		v.add(CheckInjection, Insufficient, fmt.Sprintf("a command that came in clear behind STARTTLS was executed inside TLS: QUIT was answered %d", r.Code),
			"bring the server up to date: who stands on the path can put commands and mail of his own into the sessions of others (CVE-2011-0411)")
		return
	}
	v.add(CheckInjection, Good, good, "")
}

// again is a second connection, which resumes the session of the first where the server lets it.
func (v *visitor) again(ctx context.Context) {
	if v.state == nil {
		return
	}
	c, err := v.secured(ctx, false)
	if err != nil {
		return
	}
	defer c.Close()
	text := "sessions are not resumed: each connection makes a new handshake"
	if c.State().DidResume {
		text = "sessions are resumed (tickets)"
	}
	v.add(CheckTickets, Note, text, "")
}
