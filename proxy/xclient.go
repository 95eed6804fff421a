package proxy

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/resolve"
	"postern/smtpwire"
)

// nameTimeout is for the client's names in the DNS (SEM 10).
const nameTimeout = 5 * time.Second

// maxXCLIENT is the length of one XCLIENT command, in octets, CRLF included
// (Postfix XCLIENT_README).
const maxXCLIENT = 512

// xclient tells the backend who the client is, with Postfix's XCLIENT, and says
// EHLO again with the client's own name. What cannot be told is an error: the
// backend would take the client for us, and us for a friend (SEM 9). A probe has
// nobody to tell of, and sees whether it could.
func (b *Backends) xclient(ctx context.Context, up *backendLeg, who introduction) error {
	listed, _ := up.caps.Get("XCLIENT")
	attributes := strings.Fields(strings.ToUpper(listed))
	switch {
	case !slices.Contains(attributes, "ADDR"):
		return refusal{cause: CauseBackendXCLIENT, hint: hintXCLIENT}
	case who.probe:
		return nil
	}
	for _, command := range xclientCommands(attributes, who, b.clientName(ctx, attributes, who)) {
		r, err := up.ask(command)
		if err != nil {
			return err
		}
		if r.Class() != 2 {
			return up.refused(CauseBackendXCLIENT, r, !refusesXCLIENT(r))
		}
	}
	up.caps, up.introduced = nil, true
	if who.hello == "" {
		return nil
	}
	r, err := b.hello(up, who)
	if err == nil && r.Class() != 2 {
		return up.refused(CauseBackendEHLO, r, true)
	}
	return err
}

// refusesXCLIENT tells a backend that does not want XCLIENT from us (500 to
// 504, or Postfix's 550 5.7.0) from one that does not want the client, which
// answers in the place of its greeting.
func refusesXCLIENT(r smtpwire.Reply) bool {
	return r.Class() == 5 && r.Code <= 504 || r.Code == 550 && strings.HasPrefix(r.Text(), "5.7.0")
}

func (b *Backends) clientName(ctx context.Context, attributes []string, who introduction) resolve.ClientName {
	unknown := resolve.ClientName{ReverseStatus: resolve.Unavailable, NameStatus: resolve.Unavailable}
	if b.o.Names == nil || !slices.Contains(attributes, "NAME") && !slices.Contains(attributes, "REVERSE_NAME") {
		return unknown
	}
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	return b.o.Names.ClientName(ctx, who.client.Addr())
}

// xclientCommands are the commands that carry the listed attributes, ADDR last:
// it is the one that changes who we are for the backend.
func xclientCommands(listed []string, who introduction, name resolve.ClientName) []string {
	var commands []string
	line := "XCLIENT"
	add := func(attribute, value string) {
		if !slices.Contains(listed, attribute) {
			return
		}
		word := " " + attribute + "=" + value
		if len(line)+len(word)+2 > maxXCLIENT {
			commands = append(commands, line)
			line = "XCLIENT"
		}
		line += word
	}
	add("HELO", heloAttribute(who.hello))
	add("PROTO", protocolName(who.esmtp))
	add("NAME", nameAttribute(name.Name, name.NameStatus))
	add("REVERSE_NAME", nameAttribute(name.Reverse, name.ReverseStatus))
	add("PORT", strconv.Itoa(int(who.client.Port())))
	add("DESTADDR", xclientAddress(who.local.Addr().Unmap()))
	add("DESTPORT", strconv.Itoa(int(who.local.Port())))
	add("ADDR", xclientAddress(who.client.Addr().Unmap()))
	return append(commands, line)
}

func protocolName(esmtp bool) string {
	if esmtp {
		return "ESMTP"
	}
	return "SMTP"
}

// maxHeloAttribute keeps one attribute well below the limit of a command.
const maxHeloAttribute = 255

func heloAttribute(hello string) string {
	if x := xtext(hello); x != "" && len(x) <= maxHeloAttribute {
		return x
	}
	return "[UNAVAILABLE]"
}

func nameAttribute(name string, status resolve.Status) string {
	switch {
	case status == resolve.TempUnavailable:
		return "[TEMPUNAVAIL]"
	case status != resolve.Found || name == "":
		return "[UNAVAILABLE]"
	}
	return xtext(name)
}

func xclientAddress(a interface {
	Is6() bool
	String() string
}) string {
	if a.Is6() {
		return "IPV6:" + a.String()
	}
	return a.String()
}

// xtext encodes a value as RFC 3461, 4 says.
func xtext(s string) string {
	if !strings.ContainsFunc(s, needsXtext) {
		return s
	}
	var b bytes.Buffer
	for _, c := range []byte(s) {
		if needsXtext(rune(c)) {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func needsXtext(c rune) bool { return c < '!' || c > '~' || c == '+' || c == '=' }
