package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"postern/admin"
	"postern/config"
	"postern/store"
	"postern/tls/dane"
)

const (
	seenKey  = "tlsa-seen/"                 // and the owner, a slash and the record
	seenFor  = 90 * 24 * time.Hour          // after the last time
	seenMost = 64                           // records of an owner
	seenLong = 160                          // octets of a record; of a longer one the key has a digest
	longTTL  = 7 * 24 * 60 * 60 * uint32(1) // seconds; RFC 2181, 8, lets resolvers cut longer ones
)

// PublishedTLSA is what is remembered of a TLSA record that was seen published.
type PublishedTLSA struct {
	Record string    `json:"record"`
	First  time.Time `json:"first"`          // it was seen
	Last   time.Time `json:"last"`           // it was seen
	Used   time.Time `json:"used,omitzero"`  // the last time that the server has shown a certificate that matches it
	Ready  time.Time `json:"ready"`          // from then on no resolver knows the records without it: two TTLs after First
	Held   time.Time `json:"held"`           // until then resolvers may know the records as of Last
	Added  bool      `json:"added"`          // others were seen at the name before
	Gone   bool      `json:"gone,omitempty"` // it is not published any more
}

// tlsaSeen keeps them in the state.
type tlsaSeen struct {
	mu    sync.Mutex // two reports at once would each miss what the other writes
	state store.Store
	now   func() time.Time
}

// note implements admin.Seen. It returns what is known of each record after it, and of those
// that are gone as long as resolvers may have them.
func (t *tlsaSeen) note(s admin.Sighting) ([]PublishedTLSA, error) {
	if err := checkSighting(s); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	before, err := t.at(s.Owner)
	if err != nil {
		return nil, err
	}
	all, now := merge(before, s, t.now().UTC().Round(0)), t.now()
	var changes []store.Change
	for _, p := range all {
		text, err := json.Marshal(p)
		if err != nil {
			return nil, err
		}
		changes = append(changes, store.Change{Key: seenAt(s.Owner, p.Record), Value: text, Expires: now.Add(seenFor)})
		delete(before, p.Record)
	}
	for record := range before {
		changes = append(changes, store.Change{Key: seenAt(s.Owner, record)})
	}
	return all, t.state.Write(changes...)
}

func checkSighting(s admin.Sighting) error {
	if s.Owner == "" || len(s.Owner) > 255 || strings.Contains(s.Owner, "/") || len(s.Records) > seenMost {
		return fmt.Errorf("%d records of %.80q cannot be noted", len(s.Records), s.Owner)
	}
	for _, r := range s.Records {
		if _, err := dane.Parse(r.Record); err != nil {
			return err
		}
	}
	return nil
}

// at returns what is remembered of an owner, by record. What cannot be read is forgotten.
func (t *tlsaSeen) at(owner string) (map[string]PublishedTLSA, error) {
	all := map[string]PublishedTLSA{}
	err := t.state.Scan(seenKey+owner+"/", func(_ string, text []byte) error {
		var p PublishedTLSA
		if json.Unmarshal(text, &p) == nil && p.Record != "" {
			all[p.Record] = p
		}
		return nil
	})
	return all, err
}

// merge brings what was known up to date: in the order of the sighting, then what is gone.
func merge(before map[string]PublishedTLSA, s admin.Sighting, now time.Time) (all []PublishedTLSA) {
	ttl := time.Duration(min(s.TTL, longTTL)) * time.Second
	held := time.Time{} // by resolvers, of any records of before
	for _, p := range before {
		held = later(held, p.Held)
	}
	seen := map[string]bool{}
	for _, r := range s.Records {
		p, known := before[r.Record]
		if !known || p.Gone {
			// A change of the TTL counts too: who has the records of before has them by theirs.
			p = PublishedTLSA{Record: r.Record, First: now, Used: p.Used, Added: len(before) > 0, Ready: later(now.Add(2*ttl), held)}
		}
		if p.Last, p.Held = now, later(p.Held, now.Add(ttl)); r.InUse {
			p.Used = now
		}
		if !seen[r.Record] {
			all = append(all, p)
		}
		seen[r.Record] = true
	}
	for record, p := range before {
		if !seen[record] && now.Before(p.Held.Add(ttl)) {
			p.Gone = true
			all = append(all, p)
		}
	}
	return all
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func seenAt(owner, record string) string {
	if len(record) > seenLong {
		sum := sha256.Sum256([]byte(record))
		record = record[:len("3 1 1 ")] + "sha256:" + hex.EncodeToString(sum[:])
	}
	return seenKey + owner + "/" + record
}

// notSeen says why it is not known since when records are published.
type notSeen string

// seenBy finds who remembers: the postern that runs, or the file of one that does not.
func seenBy(ctx context.Context, cfg *config.Config) (note admin.Seen, why notSeen, done func(), err error) {
	done = func() {}
	live, err := askAdmin(cfg.Admin.Socket)
	switch {
	case err != nil:
		return nil, "", done, err
	case live != nil:
		return func(s admin.Sighting) (any, error) { return live.seen(ctx, s) }, "", done, nil
	case cfg.State.Kind == "memory":
		return nil, `nothing remembers them: write state "bolt", or give the postern that runs an admin socket`, done, nil
	}
	if _, err := os.Stat(cfg.State.Path); err != nil {
		return nil, notSeen("nothing remembers them: " + cfg.State.Path + " is made when postern first runs"), done, nil
	}
	s, err := store.OpenBolt(store.BoltOptions{Path: cfg.State.Path, Bounds: stateBounds(slog.New(slog.DiscardHandler))})
	if errors.Is(err, store.ErrInUse) {
		return nil, "nothing remembers them: the postern that runs has the state, and no admin { socket }", done, nil
	}
	if err != nil {
		return nil, "", done, problem(stateHint, "%w", err)
	}
	t := &tlsaSeen{state: s, now: time.Now}
	return func(s admin.Sighting) (any, error) { return t.note(s) }, "", func() { _ = s.Close() }, nil
}

// seen lets the postern that runs note them.
func (c *adminClient) seen(ctx context.Context, s admin.Sighting) (all []PublishedTLSA, err error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return all, c.send(ctx, http.MethodPost, "/tlsa-seen", bytes.NewReader(body), &all)
}
