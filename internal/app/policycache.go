package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/store"
	"postern/tls/mtasts"
)

// policyCache keeps MTA-STS policies in the state.
type policyCache struct{ store.Store }

const policyPrefix = "sts/" // and the domain

// Get implements mtasts.Cache.
func (c policyCache) Get(domain string) (e mtasts.Entry, ok bool, err error) {
	text, err := c.Store.Get(policyPrefix + domain)
	if errors.Is(err, store.ErrNotFound) {
		return e, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	return e, err == nil, err
}

// Put implements mtasts.Cache.
func (c policyCache) Put(domain string, e mtasts.Entry, expires time.Time) error {
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("policy of %s: %w", domain, err)
	}
	return c.Write(store.Change{Key: policyPrefix + domain, Value: text, Expires: expires, Pinned: e.Protects()})
}

// Each implements mtasts.Cache. What cannot be read is left out: it is fetched anew
// when mail asks for it.
func (c policyCache) Each(f func(domain string, e mtasts.Entry)) error {
	return c.Scan(policyPrefix, func(key string, text []byte) error {
		var e mtasts.Entry
		if json.Unmarshal(text, &e) == nil {
			f(strings.TrimPrefix(key, policyPrefix), e)
		}
		return nil
	})
}
