package mtasts_test

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAForgottenPolicyIsFoundOutAnew(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		s := newStore()
		l := n.lookup(t, s.use)
		found(t, l.Find(t.Context(), domain), "enforce fetched")
		delete(s.entries, domain)
		l.Forget("Example.COM.")
		n.publish("", "")
		found(t, l.Find(t.Context(), domain), "none")
		l.Forget("[192.0.2.1]") // of which nothing can be known
		l.Forget("nobody.example")
	})
}

// A check that is under way keeps what it began with, and does not bring it back.
func TestAPolicyThatIsForgottenDuringACheckStaysForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, n *internet) {
		s := newStore()
		l := n.lookup(t, s.use)
		found(t, l.Find(t.Context(), domain), "enforce fetched")
		pass(5 * time.Minute)
		answer := make(chan struct{})
		n.set(func() { n.held = answer })
		found(t, l.Find(t.Context(), domain), "enforce cache") // and checks it
		synctest.Wait()
		delete(s.entries, domain)
		l.Forget(domain)
		n.set(func() { n.held = nil })
		close(answer)
		synctest.Wait()
		n.publish("", "")
		found(t, l.Find(t.Context(), domain), "none")
	})
}
