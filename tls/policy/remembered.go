package policy

import (
	"context"
	"strconv"
	"time"

	"postern/tls/level"
)

// askMemory is SEM 32: an MX that has validated must validate again, for its own name; a new
// or never-valid MX of a domain that has such hosts gets encrypt, because forging an MX
// record must not be the way around.
func (e *Engine) askMemory(_ context.Context, _ MXInput, d *Decision) bool {
	if e.remember == Off || e.memory == nil {
		d.reason(SourceRemembered, "not asked: remember is off")
		return false
	}
	known := e.memory.Remembered(d.Domain, d.Host, d.Port)
	if !known.Expires.IsZero() && e.now().After(known.Expires) {
		known = Remembered{}
	}
	d.Found.Remembered = &known
	if !known.Host && !known.Domain {
		d.reason(SourceRemembered, "nothing known of "+d.Host)
		return false
	}
	text := describeRemembered(d, known)
	if e.remember == Enforce {
		e.enforce(d, known)
		d.reason(SourceRemembered, text)
		return true
	}
	d.reason(SourceRemembered, "observed, not enforced: "+text)
	would := *d
	would.Reasons = append([]Reason(nil), d.Reasons...)
	e.enforce(&would, known)
	d.Observed = would.seal()
	return false
}

func (e *Engine) enforce(d *Decision, known Remembered) {
	d.Source, d.Expires = SourceRemembered, known.Expires
	if !known.Host {
		d.Level = level.Encrypt
		return
	}
	d.Level = level.Secure
	d.Names = []string{d.Host}
	d.Grace = e.grace
}

func describeRemembered(d *Decision, known Remembered) string {
	text := "level encrypt: " + d.Host + " is new, other MX hosts of " + d.Domain + " have validated"
	if known.Host {
		text = "level secure: " + d.Host + " has validated"
	}
	if known.Sessions > 0 {
		text += " in " + strconv.Itoa(known.Sessions) + " sessions"
	}
	return text + on(" since ", known.Since) + on(", last ", known.LastSuccess) + on(", until ", known.Expires)
}

// on is a date in words, or nothing.
func on(before string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return before + t.UTC().Format(time.DateOnly)
}
