package redirect

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func networks(texts ...string) (all []netip.Prefix) {
	for _, t := range texts {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

func TestWhatCannotBeMeantIsRefused(t *testing.T) {
	exempt := Exempt{UIDs: []uint32{998}}
	for name, c := range map[string]struct {
		o    Options
		want string // in the error; empty: there is none
	}{
		"nothing":              {Options{}, "nothing to redirect"},
		"out":                  {Options{Outbound: 10025, Exempt: exempt}, ""},
		"out, by mark":         {Options{Outbound: 10025, Exempt: Exempt{Marks: []uint32{1}}}, ""},
		"out, nobody exempt":   {Options{Outbound: 10025}, "postern's own"},
		"in":                   {Options{Inbound: 2500}, ""},
		"in, on 25":            {Options{Inbound: 25}, "already"},
		"both on one port":     {Options{Outbound: 2500, Inbound: 2500, Exempt: exempt}, "of their own"},
		"a gateway":            {Options{Outbound: 10025, From: networks("10.0.0.0/8")}, ""},
		"a gateway to nowhere": {Options{Inbound: 2500, From: networks("10.0.0.0/8")}, "no port of an outbound"},
		"TPROXY for nobody":    {Options{Outbound: 10025, TPROXY: true, Exempt: exempt}, "gateway"},
		"a mapped network":     {Options{Outbound: 10025, From: networks("::ffff:10.0.0.0/104")}, "no network"},
		"a backend":            {Options{Transparent: []netip.AddrPort{netip.MustParseAddrPort("[::1]:25")}}, ""},
		"a backend nowhere":    {Options{Transparent: []netip.AddrPort{netip.MustParseAddrPort("[::]:25")}}, "no address"},
		"a backend at 0":       {Options{Transparent: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}}, "no address"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.o.Check()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// SEM 24: the exemptions come first, or they would be none.
func TestPosternItselfIsLetPassBeforeAnythingIsRedirected(t *testing.T) {
	text := Options{Outbound: 10025, Exempt: Exempt{UIDs: []uint32{998}, Marks: []uint32{7}, Networks: networks("10.0.0.0/8")}}.Print()
	at := -1
	for _, rule := range []string{"meta skuid 998 counter accept", "meta mark 0x00000007 counter accept", "fib daddr type local counter accept", "ip daddr 10.0.0.0/8 counter accept", "counter redirect to :10025"} {
		next := strings.Index(text, rule)
		if next <= at {
			t.Errorf("%q is not where it belongs in\n%s", rule, text)
		}
		at = next
	}
}

// TPROXY lets a packet go on where no socket is there for it: it must not.
func TestBehindTPROXYNothingIsLetPass(t *testing.T) {
	text := Options{Outbound: 10025, From: networks("10.0.0.0/8"), TPROXY: true}.Print()
	divert, refuse := strings.Index(text, "tproxy to :10025"), strings.Index(text, "reject with tcp reset")
	if divert < 0 || refuse < divert {
		t.Errorf("nothing is refused behind TPROXY:\n%s", text)
	}
}

func TestABackendWithAMappedAddressIsOfIPv4(t *testing.T) {
	o := Options{Transparent: []netip.AddrPort{netip.MustParseAddrPort("[::ffff:127.0.0.1]:25")}}
	if text := o.Print(); !strings.Contains(text, "# ip rule add from 127.0.0.1 ipproto tcp sport 25 ") || strings.Contains(text, "ip -6") {
		t.Errorf("it prints\n%s", text)
	}
}

func TestWhatInstallRefusesChangesNothing(t *testing.T) {
	if _, err := (Host{}).Install(Options{}); !errors.Is(err, ErrNothing) && !errors.Is(err, ErrSystem) {
		t.Errorf("%v", err)
	}
}
