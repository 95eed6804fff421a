package mtasts

import "time"

// Source says where a finding's policy comes from.
type Source string

// The sources of a policy.
const (
	SourceNone    Source = "none"    // there is no policy to apply
	SourceCache   Source = "cache"   // it was known before the question
	SourceFetched Source = "fetched" // it was fetched for the question, which waited
)

// Result is what went wrong with the last discovery or fetch, as reports
// call it (RFC 8460, 4.3). The empty Result is nothing.
type Result string

// The results of RFC 8460, 4.3.2.2, and TXTError.
const (
	FetchError    Result = "sts-policy-fetch-error" // HTTPS failed, or answered with no policy
	PolicyInvalid Result = "sts-policy-invalid"     // the TXT record or the policy breaks RFC 8461
	WebPKIInvalid Result = "sts-webpki-invalid"     // the policy host's certificate is not valid for it
	// TXTError says that the DNS did not tell whether there is a record. It is no
	// type of RFC 8460: whether the domain has a policy at all is not known.
	TXTError Result = "txt-error"
)

// Reportable says whether the result is one that a report may contain.
func (r Result) Reportable() bool { return r != "" && r != TXTError }

// Finding is what is known of a domain's policy at the moment of the question.
type Finding struct {
	Policy  *Policy // nil: go on as without MTA-STS. Shared, not to be changed
	ID      string  // of the TXT record when the policy was fetched
	Fetched time.Time
	Age     time.Duration
	// Expires is until when this stands if nothing newer is found out. Ask again rather
	// than keep a finding: a policy with a new id replaces it at any time.
	Expires time.Time
	Source  Source

	// Result is set when the last attempt to find out failed, also when there is a Policy,
	// which then is the one of before and counts (RFC 8461, 3.3).
	Result Result
	// Trouble is what the last attempt met instead of a policy, for people; empty when it went
	// well. It is set beside a Policy too, and without a Result where the domain has merely no record (any more).
	Trouble string
	Why     string // the story in one line, for people: fit for a log and a reply
	// Pending says that there is no policy, that one is being looked for, and that this
	// delivery is not to wait for it (SEM 26).
	Pending bool
}

// finding is what a delivery is told of k.
func (k *known) finding(source Source, now time.Time) Finding {
	f := Finding{Source: SourceNone, Expires: k.fresh, Result: k.result, Trouble: k.trouble, Why: k.why}
	if k.policy != nil {
		f.Policy, f.ID, f.Fetched, f.Source = k.policy, k.entry.ID, k.entry.Fetched, source
		f.Age = max(0, now.Sub(k.entry.Fetched))
	}
	return f
}
