package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"

	"postern/proxy"
	"postern/tls/hello"
)

// handmade is what the connections with hand-made ClientHellos found.
type handmade struct {
	versions []uint16                  // accepted, the newest first
	suites   map[uint16][]hello.Answer // by version
	order    map[uint16]hello.Order    // likewise
	groups   []tls.CurveID             // of TLS 1.3 and 1.2
	whole    bool                      // nothing was left out
}

// visitConn closes the visit together with its socket.
type visitConn struct {
	net.Conn
	visit *proxy.Visit
}

func (c visitConn) Close() error {
	c.visit.Close()
	return nil
}

// dial is what package hello makes connections with.
func (v *visitor) dial(ctx context.Context) (net.Conn, error) {
	c, err := v.ready(ctx)
	if err != nil {
		return nil, err
	}
	return visitConn{c.Conn(), c}, nil
}

func (v *visitor) scan() hello.Scan {
	return hello.Scan{Dial: v.dial, Offer: hello.Offer{ServerName: v.seen.SNI}}
}

// handshakes finds out what the server would agree to, and grades it.
func (v *visitor) handshakes(ctx context.Context) {
	h := &handmade{suites: map[uint16][]hello.Answer{}, order: map[uint16]hello.Order{}, whole: true}
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		v.suitesOf(ctx, h, version)
	}
	for _, version := range []uint16{tls.VersionTLS11, tls.VersionTLS10, versionSSL30} {
		v.versionOf(ctx, h, version)
	}
	if len(h.suites) == 0 && len(h.versions) > 0 { // an old server: its own best counts
		v.suitesOf(ctx, h, h.versions[0])
	}
	v.groupsOf(ctx, h)
	v.out.write(h)
	if len(h.versions) == 0 {
		if h.whole && !v.gone && v.state == nil {
			v.add(CheckVersions, Insufficient, "no version of TLS is accepted", "")
		}
		return
	}
	v.grade(h)
	v.sha1(ctx, h)
}

const versionSSL30 = 0x0300

// suitesOf finds the suites of one version.
func (v *visitor) suitesOf(ctx context.Context, h *handmade, version uint16) {
	s := v.scan()
	s.Offer.Compression = version < tls.VersionTLS13
	found, err := s.Suites(ctx, version, hello.Suites(version))
	v.incomplete(ctx, h, err)
	if len(found.Answers) == 0 {
		return
	}
	if !slices.Contains(h.versions, version) {
		h.versions = append(h.versions, version)
	}
	h.suites[version], h.order[version] = found.Answers, found.Order
	for _, a := range found.Answers {
		v.keepRaw(a.Certificates)
	}
}

// versionOf finds out whether an old version is accepted at all.
func (v *visitor) versionOf(ctx context.Context, h *handmade, version uint16) {
	a, err := v.ask(ctx, hello.Offer{Versions: []uint16{version}, Suites: hello.Suites(version), ServerName: v.seen.SNI, Compression: true})
	if err == nil && a.Version == version {
		h.versions = append(h.versions, version)
		v.keepRaw(a.Certificates)
	}
	if !hello.Refused(err) {
		v.incomplete(ctx, h, err)
	}
}

// ask makes one connection for one offer.
func (v *visitor) ask(ctx context.Context, o hello.Offer) (hello.Answer, error) {
	c, err := v.dial(ctx)
	if err != nil {
		return hello.Answer{}, err
	}
	defer c.Close()
	return hello.Ask(ctx, c, o)
}

// incomplete notes an error that is no answer.
func (v *visitor) incomplete(ctx context.Context, h *handmade, err error) {
	if err == nil {
		return
	}
	if h.whole && !v.gone && ctx.Err() == nil {
		v.unknown(CheckVersions, "not everything could be looked at: "+err.Error())
	}
	h.whole = false
}

// groupsOf finds the groups of TLS 1.3, and then, of those that are left, the ones of TLS 1.2.
func (v *visitor) groupsOf(ctx context.Context, h *handmade) {
	left := slices.Clone(allGroups)
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		if version == tls.VersionTLS12 {
			left = slices.DeleteFunc(left, func(id tls.CurveID) bool { return isHybrid(id) || isFinite(id) || slices.Contains(h.groups, id) })
		}
		if len(h.suites[version]) == 0 || version == tls.VersionTLS12 && !slices.ContainsFunc(h.suites[version], onCurve) {
			continue
		}
		found, err := v.scan().Groups(ctx, version, left)
		v.incomplete(ctx, h, err)
		for _, a := range found.Answers {
			if a.Group != 0 && !slices.Contains(h.groups, a.Group) {
				h.groups = append(h.groups, a.Group)
			}
		}
	}
}

var allGroups = []tls.CurveID{
	tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521, x448, p224,
	brainpoolP256, brainpoolP384, brainpoolP512, brainpoolP256TLS13, brainpoolP384TLS13, brainpoolP512TLS13,
	ffdhe2048, ffdhe3072, ffdhe4096, ffdhe6144, ffdhe8192, mlkem512, mlkem768, mlkem1024, 1, 3, 6, 7, 15, 16, 17, 18, 19, 20, 22,
}

func isFinite(id tls.CurveID) bool { return id >= ffdhe2048 && id <= ffdhe8192 }

func onCurve(a hello.Answer) bool { return hello.Suite(a.Suite).KeyExchange == "ECDHE" }

// write puts what was found into the report.
func (a *Address) write(h *handmade) {
	for _, version := range h.versions {
		a.Versions = append(a.Versions, versionName(version))
		for _, s := range h.suites[version] {
			name := suiteName(s.Suite)
			a.Suites = append(a.Suites, Suite{versionName(version), name, gradeSuite(name)})
		}
		if version < tls.VersionTLS13 && a.Order == "" && h.order[version] != hello.Unknown {
			a.Order = "client"
			if h.order[version] == hello.ByServer {
				a.Order = "server"
			}
		}
	}
	for _, g := range h.groups {
		a.Groups = append(a.Groups, Group{hello.GroupName(g), gradeGroup(g)})
	}
}

func versionName(version uint16) string {
	if version == versionSSL30 {
		return "SSL 3.0"
	}
	return tls.VersionName(version)
}

// sha1 asks for a key exchange that is signed with SHA-1. The guidelines do not want it (NCSC-NL 3.3.5); for mail that is a
// notice of internet.nl, because a client that can do better is not led astray by it.
func (v *visitor) sha1(ctx context.Context, h *handmade) {
	if len(h.suites[tls.VersionTLS12]) == 0 {
		return
	}
	a, err := v.ask(ctx, hello.Offer{Versions: []uint16{tls.VersionTLS12}, Suites: hello.Suites(tls.VersionTLS12), ServerName: v.seen.SNI,
		Signatures: []tls.SignatureScheme{tls.PKCS1WithSHA1, tls.ECDSAWithSHA1}})
	switch {
	case err == nil && (a.Signature == tls.PKCS1WithSHA1 || a.Signature == tls.ECDSAWithSHA1):
		v.add(CheckSignatures, Note, "key exchanges are signed with SHA-1 for who asks for that", "allow SHA-256 and better alone")
	case err == nil || hello.Refused(err):
		v.add(CheckSignatures, Good, "no key exchange is signed with SHA-1", "")
	default:
		v.incomplete(ctx, h, fmt.Errorf("signatures: %w", err))
	}
}
