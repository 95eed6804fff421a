package policy_test

import (
	"context"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/tls/level"
	"postern/tls/policy"
)

func BenchmarkDecide(b *testing.B) {
	rules := []policy.Rule{rule(".example.org", level.Encrypt), rule("example.net", level.Secure)}
	for _, remember := range []policy.Remember{policy.Enforce, policy.Observe, policy.Off} {
		e := policy.New(policy.Options{Default: policy.Rule{Auto: true}, Rules: rules, Remember: remember,
			Memory: remembers{"a.example.com/mx.example.com": policy.Remembered{Host: true, Sessions: 5, Since: today, LastSuccess: today, Expires: time.Now().Add(time.Hour)}}})
		b.Run(map[policy.Remember]string{policy.Enforce: "enforce", policy.Observe: "observe", policy.Off: "off"}[remember], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				e.Decide(context.Background(), "a.example.com", "mx.example.com", 25)
			}
		})
	}
}

func BenchmarkJudge(b *testing.B) {
	root := catest.New(b)
	state := shown(root.Intermediate(b).Issue(b, catest.Leaf{Names: []string{mx}, Key: catest.RSA2048}))
	warm := demands(&policy.Roots{Pool: root.Pool()}, nil)["verify"]
	cold := &policy.Decision{Level: level.Verify, Host: mx, Names: warm.Names, Roots: warm.Roots} // of no engine
	for name, d := range map[string]*policy.Decision{"warm": warm, "cold": cold} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !d.Judge(state, time.Now()).Met {
					b.Fatal("not met")
				}
			}
		})
	}
}

func BenchmarkConfig(b *testing.B) {
	d := demands(nil, nil)["may"]
	b.ReportAllocs()
	for b.Loop() {
		d.Config(policy.ConfigOptions{})
	}
}
