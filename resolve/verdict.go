package resolve

import (
	"fmt"
	"time"
)

// verdict is what validation says of a set of records, of a proof that there is
// none, or of a whole answer.
type verdict struct {
	security Security
	why      string        // one line for people
	keep     time.Duration // how long that holds; of a bogus one, nothing
	stripped bool          // bogus because a signature or proof is missing altogether
	ttl      time.Duration // of the records, as their zone has it; 0: not known
}

func secure(keep time.Duration, format string, a ...any) verdict {
	return verdict{security: Secure, why: fmt.Sprintf(format, a...), keep: keep}
}

func insecure(keep time.Duration, format string, a ...any) verdict {
	return verdict{security: Insecure, why: fmt.Sprintf(format, a...), keep: keep}
}

func bogus(format string, a ...any) verdict {
	return verdict{security: Bogus, why: fmt.Sprintf(format, a...)}
}

// unknown is what cannot be told: too much to do, or nothing to be had.
func unknown(format string, a ...any) verdict {
	return verdict{security: Indeterminate, why: fmt.Sprintf(format, a...)}
}

// and is the verdict of both: the weaker one's, for the shorter time.
func (v verdict) and(other verdict) verdict {
	keep := min(v.keep, other.keep)
	if other.security < v.security || v.why == "" {
		v = other
	}
	v.keep = keep
	return v
}

// doubt is a verdict that keeps an answer from being given.
type doubt struct{ verdict }

func (d *doubt) Error() string {
	if d.security == Bogus {
		return "bogus (" + d.why + ")"
	}
	return "an answer that cannot be validated (" + d.why + ")"
}

const (
	maxVerified  = 16  // signatures that are looked at for one message (STANDARDS 114)
	maxPerSet    = 8   // for one set of records
	maxFailed    = 2   // that do not verify for one set: with the second it ends
	maxColliding = 4   // keys with the same tag
	maxHashed    = 8   // names that are hashed for NSEC3 of one message
	maxSet       = 256 // records of one set that is verified
	maxProofs    = 8   // sets of NSEC and NSEC3 records of one message
	maxSigners   = 3   // zones that are tried as the signer of something

	maxAllVerified = 48 // signatures for one question, with all that has to be asked on the way
	maxAllAsked    = 48 // questions on the way
)

// effort is what a question has cost. A zone that is made to cost more than any
// honest one (KeyTrap, CVE-2023-50387 and -50868) makes the answer Indeterminate.
type effort struct {
	verified, hashed, asked int
}

// exhausted says whether nothing more is done for the question.
func (e *effort) exhausted() bool { return e.verified >= maxAllVerified || e.asked >= maxAllAsked }

// budget is what judging one message may cost, as part of the effort.
type budget struct {
	all              *effort
	verified, hashed int
}

func (e *effort) budget() *budget { return &budget{all: e} }

// verify says whether one more signature may be looked at.
func (b *budget) verify() bool {
	if b.verified >= maxVerified || b.all.verified >= maxAllVerified {
		return false
	}
	b.verified++
	b.all.verified++
	return true
}

// hash says whether one more name may be hashed.
func (b *budget) hash() bool {
	if b.hashed >= maxHashed {
		return false
	}
	b.hashed++
	b.all.hashed++
	return true
}

var tooMuch = unknown("it takes more work to validate than any honest zone does")
