package mtasts_test

import (
	"fmt"
	"testing"
	"time"

	"postern/tls/mtasts"
)

// BenchmarkFind is what a delivery pays for a domain that is known.
func BenchmarkFind(b *testing.B) {
	for name, publish := range map[string]func(*internet){"policy": func(*internet) {}, "none": func(n *internet) { n.publish("", "") }, "failed": func(n *internet) { n.publish("id1", "") }} {
		n := newInternet(b)
		n.ttl = time.Hour
		publish(n)
		l := n.lookup(b)
		l.Find(b.Context(), domain)
		asked, got := n.counts()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.Find(b.Context(), domain)
			}
		})
		if a, g := n.counts(); a != asked || g != got {
			b.Errorf("%d questions, %d requests", a-asked, g-got)
		}
	}
}

// BenchmarkFindOfMany is the same among 10,000 domains, from all processors.
func BenchmarkFindOfMany(b *testing.B) {
	n := newInternet(b)
	n.publish("", "")
	n.ttl = time.Hour
	l := n.lookup(b)
	domains := make([]string, 10000)
	for i := range domains {
		domains[i] = fmt.Sprintf("customer%d.example.com", i)
		l.Find(b.Context(), domains[i])
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			l.Find(b.Context(), domains[i%len(domains)])
		}
	})
}

// BenchmarkFirstContact is a TXT answer from memory and a fetch over HTTPS on loopback.
func BenchmarkFirstContact(b *testing.B) {
	n := newInternet(b)
	for b.Loop() {
		l := mtasts.New(mtasts.Options{Resolver: n, Dial: n.Dial, Roots: n.roots})
		if l.Find(b.Context(), domain).Policy == nil {
			b.Fatal("no policy")
		}
		l.Close()
	}
}

func BenchmarkParsePolicy(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		mtasts.ParsePolicy([]byte(full))
	}
}

func BenchmarkMatch(b *testing.B) {
	p, err := mtasts.ParsePolicy([]byte(head + "mode: enforce\nmx: a.example\nmx: *.b.example\nmx: *.example.com\n" + tail))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Match("mx.example.com")
	}
}
