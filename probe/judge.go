package probe

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"postern/tls/hello"
)

// grade grades what is accepted, whoever accepts it.
func (v *visitor) grade(h *handmade) {
	v.gradeVersions(h)
	v.gradeSuites(h)
	v.gradeOrder(h)
	v.gradeGroups(h)
	v.gradeExtensions(h)
}

// gradeVersions: what is accepted counts, the oldest most.
func (v *visitor) gradeVersions(h *handmade) {
	g, old := Good, []string{}
	for _, version := range h.versions {
		g = max(g, gradeVersion(version))
		if gradeVersion(version) == Insufficient {
			old = append(old, versionName(version))
		}
	}
	advice := ""
	switch {
	case len(old) > 0:
		advice = "switch off " + strings.Join(old, ", ") + " where no sender of yours needs it: weak encryption still beats none for those that do"
	case h.versions[0] < tls.VersionTLS13:
		advice = "switch on TLS 1.3"
	}
	v.add(CheckVersions, g, "accepted: "+strings.Join(v.out.Versions, ", "), advice)
}

// gradeSuites tells the suites apart by their grade, and says which lack forward secrecy.
func (v *visitor) gradeSuites(h *handmade) {
	g, byGrade := Good, map[Grade][]string{}
	var static []string
	for _, version := range h.versions {
		for _, a := range h.suites[version] {
			name := suiteName(a.Suite)
			one := gradeSuite(name)
			g = max(g, one)
			byGrade[one] = append(byGrade[one], name)
			if !hello.Suite(a.Suite).ForwardSecret {
				static = append(static, name)
			}
		}
	}
	text, advice := count(len(v.out.Suites), "suite"), ""
	for _, bad := range []Grade{Insufficient, PhaseOut} {
		if names := byGrade[bad]; len(names) > 0 {
			text += fmt.Sprintf("; %s: %s", bad, list(names))
			advice = "keep ECDHE with AES-GCM and ChaCha20 alone, where your senders can do that"
		}
	}
	v.add(CheckSuites, g, text, advice)
	if len(static) > 0 {
		v.add(CheckSecrecy, Insufficient, "without forward secrecy: "+list(static), "switch RSA key exchange off, where your senders can do ECDHE: who records mail today can read it when the key leaks")
		return
	}
	v.add(CheckSecrecy, Good, "every suite has forward secrecy", "")
}

// gradeOrder: where a server has suites to be phased out, or worse, the better ones must come first (NCSC-NL 3.3.4).
func (v *visitor) gradeOrder(h *handmade) {
	for _, version := range h.versions {
		if version == tls.VersionTLS13 || !mixed(h.suites[version]) {
			continue // any order will do
		}
		switch {
		case h.order[version] == hello.ByClient:
			v.add(CheckOrder, PhaseOut, "the client chooses the suite, among good and bad ones", "have the server's order count")
		case !ordered(h.suites[version]):
			v.add(CheckOrder, PhaseOut, "worse suites of "+versionName(version)+" come before better ones in the server's order", "put ECDHE with AES-GCM and ChaCha20 first")
		default:
			v.add(CheckOrder, Good, "the server chooses the suite, the better ones first", "")
		}
		return
	}
}

// rankOf is the grade of a suite, as far as the order of suites is concerned.
func rankOf(a hello.Answer) Grade { return max(gradeSuite(suiteName(a.Suite)), Sufficient) }

func mixed(all []hello.Answer) bool {
	return slices.ContainsFunc(all, func(a hello.Answer) bool { return rankOf(a) != rankOf(all[0]) })
}

// ordered looks at the suites of each kind of certificate for themselves: which kind comes first is about the
// certificates, of which a sender can verify one and perhaps not the other.
func ordered(all []hello.Answer) bool {
	worst := map[string]Grade{}
	for _, a := range all {
		kind := hello.Suite(a.Suite).Authentication
		if rankOf(a) < worst[kind] {
			return false
		}
		worst[kind] = rankOf(a)
	}
	return true
}

// gradeGroups: the curves, and the finite fields of the DHE suites.
func (v *visitor) gradeGroups(h *handmade) {
	g, bad, hybrid := Good, []string{}, ""
	for _, id := range h.groups {
		one := gradeGroup(id)
		if g = max(g, one); one.Wanting() {
			bad = append(bad, hello.GroupName(id))
		}
		if isHybrid(id) && hybrid == "" {
			hybrid = hello.GroupName(id)
		}
	}
	for _, all := range h.suites {
		for _, a := range all {
			if a.DHBits == 0 {
				continue
			}
			one, name := gradeField(a)
			if g = max(g, one); !slices.Contains(bad, name) {
				bad = append(bad, name)
			}
		}
	}
	if len(h.groups) == 0 && len(bad) == 0 {
		return
	}
	text, advice := "key exchange by "+list(groupNames(h.groups)), ""
	if len(bad) > 0 {
		text += fmt.Sprintf("; %s: %s", g, list(bad))
		advice = "keep X25519 (and X25519MLKEM768), P-256, P-384 and P-521 alone"
	}
	v.add(CheckGroups, g, text, advice)
	if hybrid != "" {
		v.add(CheckGroups, Note, "hybrid post-quantum key exchange: "+hybrid, "")
	} else {
		v.add(CheckGroups, Note, "no hybrid post-quantum key exchange", "a TLS library of today (OpenSSL 3.5, Go 1.24) adds X25519MLKEM768: mail recorded now stays unreadable")
	}
}

func groupNames(all []tls.CurveID) (names []string) {
	for _, id := range all {
		names = append(names, hello.GroupName(id))
	}
	if len(names) == 0 {
		names = append(names, "finite fields")
	}
	return names
}

// gradeField is for finite fields: those of RFC 7919 with 3072 bits or more are to be phased out, all others too weak.
func gradeField(a hello.Answer) (Grade, string) {
	if isFinite(a.Group) {
		return gradeGroup(a.Group), hello.GroupName(a.Group)
	}
	return Insufficient, fmt.Sprintf("DHE with %d bits of its own", a.DHBits)
}

// gradeExtensions: what a server of TLS 1.2 and below must have, and must not.
func (v *visitor) gradeExtensions(h *handmade) {
	for _, version := range h.versions {
		if version == tls.VersionTLS13 || len(h.suites[version]) == 0 {
			continue
		}
		a := h.suites[version][0]
		yes := func(check Check, ok bool, good, bad, advice string) {
			if ok {
				v.add(check, Good, good, "")
			} else {
				v.add(check, Insufficient, bad, advice)
			}
		}
		if version > versionSSL30 {
			yes(CheckEMS, a.EMS, "the master secret is bound to the handshake (RFC 7627)", "no extended master secret (RFC 7627)", "bring the TLS library up to date")
		}
		yes(CheckRenegotiation, a.SecureRenegotiation, "renegotiation is secure (RFC 5746)", "no secure renegotiation (RFC 5746)", "bring the TLS library up to date")
		yes(CheckCompression, !a.Compression, "no compression", "TLS compression is on", "switch it off: it gives lengths away (CRIME)")
		return
	}
}
