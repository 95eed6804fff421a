package policy

import (
	"slices"

	"postern/tls/level"
)

// Any is the decision for a server whose name is not known: it is one of the MX hosts that
// all were decided for, and must satisfy what is asked of one of them (SEM 16 c). It is nil
// when one of them may be spoken to in clear, so that nothing is asked.
func Any(all []*Decision) *Decision {
	var least, doubtful *Decision
	for _, d := range allowed(all) {
		switch {
		case d.Err != nil:
			doubtful = d
		case least == nil || d.Level < least.Level:
			least = d
		}
	}
	switch {
	case least != nil && !least.Level.Mandatory():
		return nil
	case doubtful != nil:
		return doubtful
	case least == nil:
		return nil
	}
	d := *least
	d.Reasons = slices.Clone(least.Reasons)
	d.Counted.Tested = nil // it is about the name of one of them
	if len(d.TLSA) > 0 {
		d.joinTLSA(allowed(all))
	}
	if d.Level >= level.Verify {
		d.Names = slices.Clone(least.Names)
		for _, other := range allowed(all) {
			for _, name := range other.Names {
				if !slices.Contains(d.Names, name) {
					d.Names = append(d.Names, name)
				}
			}
		}
	}
	d.reason(d.Source, "the address is none of the MX hosts' that are known: the certificate must do for one of them")
	return d.seal()
}

// allowed leaves out the hosts that the domain's MTA-STS policy forbids, unless that is all of them.
func allowed(all []*Decision) []*Decision {
	left := slices.DeleteFunc(slices.Clone(all), func(d *Decision) bool { return d.NotAnMX != "" })
	if len(left) == 0 {
		return all
	}
	return left
}
