package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// ask puts a question to the servers in turn until one answers it, be it that
// there is nothing. One that gave no sign of life is asked a second time, with
// more patience: a datagram may have been lost, or the answer be far away. One
// that cannot answer is not.
//
// What is asked to validate the answer is asked in between, by the same
// goroutine: it needs no slot of its own.
func (r *Resolver) ask(ctx context.Context, q question, check checker) *answer {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return r.fails(q, nil, errors.New("too many questions on their way"))
	}
	return r.askAll(ctx, q, check)
}

func (r *Resolver) askAll(ctx context.Context, q question, check checker) *answer {
	all := r.servers.order()
	why := make([]error, len(all))
	for round := range rounds {
		for i, s := range all {
			if round > 0 && !silent(why[i]) && !bare(why[i]) || ctx.Err() != nil {
				continue
			}
			a, err := r.askOne(ctx, s, q, way{r.servers.patience(len(all)) << round, bare(why[i])}, check)
			if err == nil {
				return a
			}
			if !bare(why[i]) {
				why[i] = err
			}
		}
	}
	a := r.fails(q, failures(all, why), ctx.Err())
	a.doubted(why)
	return a
}

// way is how a server is asked.
type way struct {
	patience time.Duration
	tcp      bool // from the start
}

// bare says whether an answer came without the signatures that belong to it. Over TCP it may
// be another: datagrams can be forged, and behind one address there may be several
// servers, not all of which know DNSSEC (STANDARDS 116).
func bare(err error) bool {
	d, ok := errors.AsType[*doubt](err)
	return ok && d.stripped
}

// doubted notes that an answer was there and is bogus. What one server has to
// say for itself does not depend on which one was asked first: a good answer of
// any is taken, and without it a bogus one weighs more than none. Why it is that is
// what stood in the way at last, not all that was in vain because of it.
func (a *answer) doubted(why []error) {
	explained := false
	for _, err := range why {
		d, ok := errors.AsType[*doubt](err)
		if !ok || explained && d.security >= a.security {
			continue
		}
		explained = true
		a.security, a.why, a.stripped = d.security, d.why, d.stripped
		a.failure.Security, a.failure.Why, a.failure.Unsigned = d.security, d.why, d.stripped
		if d.security == Bogus {
			a.expires = a.since.Add(keepBogus)
		}
	}
}

func failures(all []*server, why []error) (each []Failure) {
	for i, s := range all {
		if why[i] != nil {
			each = append(each, Failure{s.text, strings.Map(graphic, inWords(why[i]))})
		}
	}
	return each
}

// graphic replaces what has no place in a line of a log: the names in the
// certificate of a server get into errors.
func graphic(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}

func (r *Resolver) fails(q question, each []Failure, err error) *answer {
	now := r.cache.now()
	failure := &TemporaryError{Name: q.name, Type: dns.TypeToString[q.kind], Failures: each, Err: err}
	failure.Why = failure.Error()
	return &answer{question: q, target: q.name, trust: trust{why: failure.Why}, failure: failure, since: now, expires: now.Add(keepFailure)}
}

// askOne asks one server, without EDNS if that is what it does not understand.
func (r *Resolver) askOne(ctx context.Context, s *server, q question, by way, check checker) (*answer, error) {
	if s.wrong != nil {
		return nil, s.wrong
	}
	now := r.cache.now()
	edns := q.mode == Validate || s.takesEDNS(now) // without EDNS there are no signatures
	m, err := s.exchange(ctx, r.dial, q, edns, by)
	if err == nil && edns && rejectsEDNS(m) {
		if m, err = s.exchange(ctx, r.dial, q, false, by); err == nil && understood(m) {
			s.noEDNS(now)
		}
	}
	if err != nil {
		s.failed(now)
		return nil, err
	}
	s.worked()
	if !understood(m) {
		return nil, refused(refusal(m))
	}
	a, why := read(m, q, now)
	if why != "" {
		return nil, refused(why)
	}
	a.server = s.text
	if err := check(ctx, m, a); err != nil {
		return nil, err
	}
	return a, nil
}

func understood(m *dns.Msg) bool {
	return m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError
}

// rejectsEDNS says whether the question may do better without EDNS
// (RFC 6891, 7, and the servers that answer what they do not know in other ways).
func rejectsEDNS(m *dns.Msg) bool {
	return m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented || m.Rcode == dns.RcodeBadVers
}

// refused is what a server said instead of an answer, in words.
type refused string

func (r refused) Error() string { return string(r) }

// silent says whether asking the same server again may help: nothing came from
// it that was an answer.
func silent(err error) bool {
	_, said := errors.AsType[refused](err)
	_, doubted := errors.AsType[*doubt](err)
	return !said && !doubted
}

// inWords is the reason without addresses: the server's stands beside it.
func inWords(err error) string {
	var timeout net.Error
	stray, strayed := errors.AsType[strayError](err)
	switch {
	case strayed && stray.error == nil:
		return stray.Error()
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		if strayed {
			return fmt.Sprintf("timeout, with %d stray datagrams,", stray.n)
		}
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}
