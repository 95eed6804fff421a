package telemetry

import (
	"crypto/tls"
	"strconv"

	"go.opentelemetry.io/otel/attribute"

	"postern/proxy"
)

// The words that stand where there is no cause or no TLS fact.
const (
	resultOK     = "ok"
	resultFailed = "failed"
	none         = "none"
	causeQuit    = "quit"
	undecided    = "undecided" // no decision was come to
	inClear      = "clear"     // no TLS
)

type byListener struct{ listener string }

func (k byListener) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String("listener", k.listener)}
}

type byCause struct {
	listener string
	cause    proxy.Cause
}

func (k byCause) attributes() []attribute.KeyValue {
	return append(byListener{k.listener}.attributes(), attribute.String("cause", string(k.cause)))
}

// byEnd is how a session ended.
type byEnd struct {
	listener string
	cause    proxy.Cause // empty after QUIT
	secured  bool
}

func (k byEnd) attributes() []attribute.KeyValue {
	return append(byListener{k.listener}.attributes(),
		attribute.String("cause", orElse(string(k.cause), causeQuit)), attribute.Bool("secured", k.secured))
}

type byDirection struct{ listener, direction string }

func (k byDirection) attributes() []attribute.KeyValue {
	return append(byListener{k.listener}.attributes(), attribute.String("direction", k.direction))
}

type byBackend struct {
	listener, backend string
	cause             proxy.Cause
}

func (k byBackend) attributes() []attribute.KeyValue {
	return append(byCause{k.listener, k.cause}.attributes(), attribute.String("backend", k.backend))
}

// byHandshake has numbers where the labels have names, so that the names are
// made once.
type byHandshake struct {
	listener        string
	version, cipher uint16
	group           tls.CurveID
	cause           proxy.Cause // empty for success
}

func handshakeKey(listener string, h proxy.Handshake) byHandshake {
	k := byHandshake{listener: listener, cause: h.Cause}
	if h.State != nil {
		k.version, k.cipher, k.group = h.State.Version, h.State.CipherSuite, h.State.CurveID
	} else if k.cause == "" {
		k.cause = proxy.CauseHandshake
	}
	return k
}

func (k byHandshake) attributes() []attribute.KeyValue {
	return append(byResult{k.listener, k.cause}.attributes(),
		attribute.String("version", nameOr(k.version, tls.VersionName)),
		attribute.String("cipher", nameOr(k.cipher, tls.CipherSuiteName)),
		attribute.String("group", nameOr(k.group, tls.CurveID.String)),
	)
}

// byResult is the outcome of a handshake without its TLS facts.
type byResult struct {
	listener string
	cause    proxy.Cause // empty for success
}

func (k byResult) attributes() []attribute.KeyValue {
	return append(byListener{k.listener}.attributes(), attribute.String("result", orElse(string(k.cause), resultOK)))
}

type byOutcome struct {
	listener string
	class    int // the first digit of the reply, 0 when there was none
	secured  bool
}

func (k byOutcome) attributes() []attribute.KeyValue {
	return append(byListener{k.listener}.attributes(),
		attribute.String("outcome", outcome(k.class)), attribute.Bool("secured", k.secured))
}

// replyClass reduces a reply code to what a final reply can be (RFC 5321,
// 4.2.1): 2, 4, 5, or 0 for none.
func replyClass(code int) int {
	switch class := code / 100; class {
	case 2, 4, 5:
		return class
	default:
		return 0
	}
}

func outcome(class int) string {
	if class == 0 {
		return none
	}
	return strconv.Itoa(class) + "xx"
}

type byStep struct {
	step   string
	failed bool
}

func (k byStep) attributes() []attribute.KeyValue {
	result := resultOK
	if k.failed {
		result = resultFailed
	}
	return []attribute.KeyValue{attribute.String("step", k.step), attribute.String("result", result)}
}

func orElse(word, instead string) string {
	if word == "" {
		return instead
	}
	return word
}

// nameOr names a TLS number, which is 0 where the handshake did not get that
// far, or has no group because the key exchange was RSA.
func nameOr[N ~uint16](n N, name func(N) string) string {
	if n == 0 {
		return none
	}
	return name(n)
}
