package hello

import (
	"cmp"
	"crypto/tls"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Info takes a cipher suite apart.
type Info struct {
	Name string // as IANA has it, or how it was known before there was a name
	// KeyExchange is RSA, DHE, ECDHE, DH or ECDH (both fixed by the certificate,
	// or ephemeral with anon), PSK, or what stands there in rarer names;
	// empty in TLS 1.3, where the suite does not say.
	KeyExchange string
	// Authentication is RSA, ECDSA, DSS, anon, PSK, or what stands there in rarer
	// names; empty in TLS 1.3.
	Authentication string
	Encryption     string // with its mode: AES_128_GCM, 3DES_EDE_CBC, NULL
	MAC            string // MD5, SHA, SHA256, …; AEAD when the encryption has its own
	Bits           int    // strength of the encryption: 112 for 3DES, 0 for NULL and what is unknown
	ForwardSecret  bool   // the key exchange is ephemeral
	AEAD           bool
	Export         bool // weakened by law
}

//go:embed suites.txt
var suitesText string

// table holds the suites of suites.txt: IANA's registry, and what was in use
// without being in it (export suites with 56 bits, the first ChaCha20 and GOST
// numbers).
var table = sync.OnceValue(func() map[uint16]Info {
	all := map[uint16]Info{}
	for line := range strings.Lines(suitesText) {
		number, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		id, err := strconv.ParseUint(number, 16, 16)
		if err != nil {
			panic(err) // it is part of the program
		}
		all[uint16(id)] = parse(name)
	}
	return all
})

// Suite returns what is known of a suite: for a number in no registry nothing
// but a name that shows the number.
func Suite(id uint16) Info {
	if i, ok := table()[id]; ok {
		return i
	}
	return Info{Name: fmt.Sprintf("0x%04X", id)}
}

// SuiteName returns the name of a suite in IANA's registry, or its number as 0x1A2B.
func SuiteName(id uint16) string { return Suite(id).Name }

// parse takes a name apart: TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, or in TLS 1.3
// TLS_AES_128_GCM_SHA256.
func parse(name string) Info {
	i := Info{Name: name}
	if strings.HasSuffix(name, "_SCSV") {
		return i
	}
	cipher := strings.TrimSuffix(strings.TrimPrefix(name, "TLS_"), "_OLD")
	exchange, behind, old := strings.Cut(cipher, "_WITH_")
	if old {
		cipher = behind
	}
	if old = old && !strings.Contains(cipher, "_MGM_"); old { // RFC 9367, 1: these are of TLS 1.3
		i.exchange(exchange)
	}
	i.cipher(cipher)
	i.ForwardSecret = !old || i.KeyExchange == "DHE" || i.KeyExchange == "ECDHE" || i.Authentication == "anon"
	return i
}

// exchange reads what stands in front of WITH: RSA, DHE_RSA_EXPORT, PSK, DHE_PSK.
func (i *Info) exchange(s string) {
	var export bool
	for _, suffix := range []string{"_EXPORT", "_EXPORT1024"} {
		s, export = strings.CutSuffix(s, suffix)
		i.Export = i.Export || export
	}
	key, auth, both := strings.Cut(s, "_")
	if !both {
		auth = key // RSA, PSK, KRB5
	}
	i.KeyExchange, i.Authentication = key, auth
	if s == "PSK_DHE" { // how RFC 6655 writes two of the names
		i.KeyExchange, i.Authentication = "DHE", "PSK"
	}
}

// cipher reads what stands behind WITH: encryption and its mode, then the hash,
// which AEAD suites use for the key schedule alone and may leave out.
func (i *Info) cipher(s string) {
	at := strings.LastIndex(s, "_")
	i.Encryption, i.MAC = s[:at], s[at+1:]
	for _, mode := range []string{"_GCM", "_CCM_8", "_CCM", "_POLY1305", "_MGM"} {
		if at := strings.Index(s, mode); at >= 0 {
			i.Encryption, i.AEAD = s[:at+len(mode)], true
			break
		}
	}
	if i.AEAD = i.AEAD || strings.HasPrefix(s, "AEGIS_"); i.AEAD {
		i.MAC = "AEAD"
	}
	if strings.HasPrefix(s, "SHA") { // RFC 9150: integrity alone
		i.Encryption = "NULL"
	}
	i.Bits = bits(i.Encryption)
}

// bits is the strength of a cipher against the best known attack on its key.
func bits(encryption string) int {
	for _, s := range []struct {
		part string
		bits int
	}{
		{"3DES", 112}, {"DES40", 40}, {"DES_CBC_40", 40}, {"DES_CBC", 56},
		{"_40", 40}, {"_56", 56}, {"IDEA", 128}, {"SEED", 128}, {"SM4", 128},
		{"128", 128}, {"256", 256}, {"CHACHA20", 256}, {"28147", 256}, {"KUZNYECHIK", 256}, {"MAGMA", 256},
	} {
		if strings.Contains(encryption, s.part) {
			return s.bits
		}
	}
	return 0
}

// Suites returns the suites that a server can choose in a version without sharing
// a secret with the client: no PSK, SRP, Kerberos or passwords. What is in use
// stands first, then the weak and the exotic, so that a scan which stops
// early has seen what matters.
func Suites(version uint16) []uint16 {
	all := slices.DeleteFunc(slices.Collect(maps.Keys(table())), func(id uint16) bool { return !Suite(id).fits(version) })
	slices.SortFunc(all, func(a, b uint16) int {
		return cmp.Or(cmp.Compare(Suite(a).rarity(), Suite(b).rarity()), cmp.Compare(a, b))
	})
	return all
}

// fits says that the suite can be agreed on in the version without a shared secret.
func (i Info) fits(version uint16) bool {
	if i.Encryption == "" || i.KeyExchange == "NULL" || (i.KeyExchange == "") != (version >= tls.VersionTLS13) {
		return false
	}
	switch i.KeyExchange {
	case "PSK", "SRP", "KRB5", "ECCPWD":
		return false
	}
	// RFC 5246, 1.2: AEAD and hashes other than MD5 and SHA-1 came with TLS 1.2.
	old := i.MAC == "MD5" || i.MAC == "SHA" || strings.HasPrefix(i.KeyExchange, "GOSTR3410")
	return i.Authentication != "PSK" && (old || version >= tls.VersionTLS12)
}

// rarity is a number that grows with how unlikely a server accepts the suite.
func (i Info) rarity() int {
	n := 0
	if i.Authentication == "DSS" || i.Authentication == "anon" || i.KeyExchange == "DH" || i.KeyExchange == "ECDH" || i.Export {
		n = 4
	}
	for _, common := range [][]string{{"AES_128_GCM", "AES_256_GCM", "CHACHA20_POLY1305"}, {"AES_128_CBC", "AES_256_CBC"}, {"3DES_EDE_CBC", "RC4_128"}} {
		if slices.Contains(common, i.Encryption) {
			break
		}
		n++
	}
	exchanges := []string{"ECDHE", "DHE"} // what is left is RSA or rarer
	if at := slices.Index(exchanges, i.KeyExchange); at >= 0 {
		return n*3 + at
	}
	return n*3 + 2
}
