package level_test

import (
	"slices"
	"strings"
	"testing"

	"postern/tls/level"
)

// ladder is the order that DESIGN.md, Postfix and every comparison rely on.
var ladder = []struct {
	level     level.Level
	name      string
	mandatory bool
}{
	{level.None, "none", false},
	{level.May, "may", false},
	{level.Encrypt, "encrypt", true},
	{level.Fingerprint, "fingerprint", true},
	{level.DANE, "dane", true},
	{level.DANEOnly, "dane-only", true},
	{level.Verify, "verify", true},
	{level.Secure, "secure", true},
}

func TestEachLevelHasItsNameAndItsPlace(t *testing.T) {
	for i, want := range ladder {
		got, err := level.Parse(want.name)
		if err != nil || got != want.level || got.String() != want.name || got.Mandatory() != want.mandatory {
			t.Errorf("%s: got %v (mandatory: %v), %v", want.name, got, got.Mandatory(), err)
		}
		if i > 0 && ladder[i-1].level >= want.level {
			t.Errorf("%s does not stand above %s", want.name, ladder[i-1].name)
		}
	}
	if l := *new(level.Level); l != level.None {
		t.Errorf("the zero level is %v", l)
	}
}

func TestAnUnknownLevelIsAnsweredWithTheKnownOnes(t *testing.T) {
	for _, name := range []string{"", "auto", "May", "half-dane", "dane_only", "level(9)"} {
		_, err := level.Parse(name)
		if err == nil || !strings.HasSuffix(err.Error(), "write none, may, encrypt, fingerprint, dane, dane-only, verify or secure") {
			t.Errorf("%q: got %v", name, err)
		}
	}
	if got := level.Level(9).String(); got != "level(9)" {
		t.Errorf("got %q", got)
	}
}

func TestLevelsSortWeakestFirst(t *testing.T) {
	levels := []level.Level{level.Secure, level.May, level.Verify, level.None}
	slices.Sort(levels)
	if want := []level.Level{level.None, level.May, level.Verify, level.Secure}; !slices.Equal(levels, want) {
		t.Errorf("got %v", levels)
	}
}
