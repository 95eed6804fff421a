package hello

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
)

// Scan asks one server many questions, one after the other, each on a connection
// of its own.
type Scan struct {
	// Dial returns a connection on which the server waits for a ClientHello. Its
	// error ends the scan.
	Dial func(context.Context) (net.Conn, error)
	// Offer is what each question has besides the versions and what is searched.
	Offer Offer
}

// Order says whose preference decides.
type Order int8

// The orders.
const (
	Unknown  Order = iota // fewer than two were accepted
	ByServer              // the server's, whatever the client's
	ByClient              // the client's
)

// String returns "unknown", "server" or "client".
func (o Order) String() string {
	return [...]string{Unknown: "unknown", ByServer: "server", ByClient: "client"}[o]
}

// Found is what a server accepts: an answer for each, best first in the eyes of
// who decides.
type Found struct {
	Answers []Answer
	Order   Order
}

// chunk is how many suites one hello offers: some servers do not cope with more
// than 128.
const chunk = 100

// Ask makes one offer on a connection of its own; errors as of the function Ask
// and of Dial.
func (s Scan) Ask(ctx context.Context, o Offer) (Answer, error) {
	conn, err := s.Dial(ctx)
	if err != nil {
		return Answer{}, fmt.Errorf("connect for the next question: %w", err)
	}
	defer conn.Close()
	return Ask(ctx, conn, o)
}

// Suites finds which of the suites a server accepts in exactly this version, in
// its order of preference. The server is asked what it chooses of all, then of all
// but that, until it refuses: one connection per accepted suite, one per 100
// suites, two for the order, and up to one more per accepted suite where the
// server's order runs across more than 100.
//
// A refusal is no error. On an error, that of Ask, what was found before is
// returned too, in no certain order.
func (s Scan) Suites(ctx context.Context, version uint16, suites []uint16) (Found, error) {
	all := search[uint16]{
		chosen: func(a Answer) uint16 { return a.Suite },
		ask: func(list []uint16) (Answer, error) {
			o := s.Offer
			o.Versions, o.Suites = []uint16{version}, list
			return s.askIn(ctx, o)
		},
	}
	return all.find(suites)
}

// Groups finds which key exchange groups a server accepts in exactly this version,
// in its order of preference, as Suites does. Up to TLS 1.2 groups mean something
// for ECDHE alone, and a server whose ECDSA certificate is on a curve
// that has already been found may refuse from there on (RFC 8422, 5.1).
func (s Scan) Groups(ctx context.Context, version uint16, groups []tls.CurveID) (Found, error) {
	all := search[tls.CurveID]{
		chosen: func(a Answer) tls.CurveID { return a.Group },
		ask: func(list []tls.CurveID) (Answer, error) {
			o := s.Offer
			o.Versions, o.Groups = []uint16{version}, list
			o.Suites = slices.DeleteFunc(Suites(version), func(id uint16) bool {
				kx := Suite(id).KeyExchange
				return kx != "" && kx != "ECDHE"
			})
			return s.askIn(ctx, o)
		},
	}
	return all.find(groups)
}

// errVersion is a server that chooses an older version, and so says no to this one.
var errVersion = errors.New("the server chooses an older version")

func (s Scan) askIn(ctx context.Context, o Offer) (Answer, error) {
	a, err := s.Ask(ctx, o)
	if err == nil && a.Version != o.highest() {
		return a, errVersion
	}
	return a, err
}

// search finds what a server accepts of a list.
type search[N comparable] struct {
	chosen func(Answer) N
	ask    func([]N) (Answer, error)
}

func (s search[N]) find(list []N) (Found, error) {
	var f Found
	var parts [][]Answer
	for part := range slices.Chunk(list, chunk) {
		found, err := s.eliminate(part)
		f.Answers = append(f.Answers, found...)
		if err != nil {
			return f, err
		}
		parts = append(parts, found)
	}
	var err error
	if f.Order, err = s.order(s.choices(f.Answers)); f.Order == ByServer {
		f.Answers, err = s.merge(parts)
	}
	return f, err
}

// merge asks how the server's orders of the parts mix.
func (s search[N]) merge(parts [][]Answer) (all []Answer, err error) {
	for _, part := range parts {
		mixed := make([]Answer, 0, len(all)+len(part))
		for err == nil && len(all) > 0 && len(part) > 0 {
			var a Answer
			a, err = s.ask([]N{s.chosen(all[0]), s.chosen(part[0])})
			next := &all
			if err == nil && s.chosen(a) == s.chosen(part[0]) {
				next = &part
			}
			mixed = append(mixed, (*next)[0])
			*next = (*next)[1:]
		}
		all = slices.Concat(mixed, all, part)
	}
	return all, err
}

// eliminate asks what the server chooses of the list, then of the rest, until it
// accepts nothing that is left.
func (s search[N]) eliminate(list []N) (answers []Answer, err error) {
	list = slices.Clone(list)
	for len(list) > 0 {
		a, err := s.ask(list)
		if Refused(err) || errors.Is(err, errVersion) {
			return answers, nil
		}
		if err != nil {
			return answers, err
		}
		at := slices.Index(list, s.chosen(a))
		if at < 0 {
			return answers, nil // it does as it likes: no more can be learned
		}
		list = slices.Delete(list, at, at+1)
		answers = append(answers, a)
	}
	return answers, nil
}

// order offers the accepted in two other orders. Only a server that takes the
// first of both goes by the client's order; one that moves
// ChaCha20 to the front for clients that do so may take the first of one.
func (s search[N]) order(accepted []N) (Order, error) {
	if len(accepted) < 2 {
		return Unknown, nil
	}
	backwards, second := slices.Clone(accepted), slices.Clone(accepted)
	slices.Reverse(backwards)
	second[0], second[1] = second[1], second[0]
	for _, list := range [][]N{backwards, second} {
		a, err := s.ask(list)
		if err != nil {
			return Unknown, err
		}
		if s.chosen(a) != list[0] {
			return ByServer, nil
		}
	}
	return ByClient, nil
}

func (s search[N]) choices(answers []Answer) []N {
	out := make([]N, len(answers))
	for i, a := range answers {
		out[i] = s.chosen(a)
	}
	return out
}
