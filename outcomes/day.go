package outcomes

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"postern/tls/report"
)

// Day returns what was counted on the UTC day of a time, by all processes that write to the store and
// are not behind with it, in the order of domains. Nothing is known of a day before those that are kept. An
// error is the store's.
func (c *Counter) Day(t time.Time) ([]Count, error) {
	if err := c.Flush(); err != nil {
		return nil, err
	}
	all := map[string]*Count{}
	err := c.store.Scan(prefix+nameOf(dayOf(t))+"/", func(key string, value []byte) error {
		var one Count
		if err := json.Unmarshal(value, &one); err != nil {
			c.log.Warn("a damaged count of outcomes is left out", "key", key, "error", err)
			return nil
		}
		of := one.identity()
		if all[of] == nil {
			all[of] = &Count{Domain: one.Domain, Policy: one.Policy}
		}
		all[of].merge(&one)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sorted(all), nil
}

// identity is equal for lines that are about the same.
func (c *Count) identity() string {
	parts := []string{c.Domain, string(c.Policy.Type), c.Policy.Domain}
	return strings.Join(append(parts, c.Policy.Strings...), "\x00")
}

// merge adds another line about the same.
func (c *Count) merge(other *Count) {
	c.add(Kind{}, other.Successes, true)
	for _, d := range other.Details {
		c.add(d.Kind, d.Sessions, true)
	}
}

func sorted(all map[string]*Count) []Count {
	counts := make([]Count, 0, len(all))
	for _, one := range all {
		slices.SortFunc(one.Details, func(a, b Detail) int { return a.compare(&b.Kind) })
		counts = append(counts, *one)
	}
	slices.SortFunc(counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(order(a.Policy.Type), order(b.Policy.Type)),
			cmp.Compare(a.identity(), b.identity()))
	})
	return counts
}

// order is that of precedence (RFC 8461, 2).
func order(t report.PolicyType) int {
	return slices.Index([]report.PolicyType{report.TLSA, report.STS, report.NoPolicy}, t)
}

func (k *Kind) compare(other *Kind) int {
	return cmp.Or(cmp.Compare(k.Result, other.Result), cmp.Compare(k.Reason, other.Reason), cmp.Compare(k.Host, other.Host),
		k.Address.Compare(other.Address), k.Sender.Compare(other.Sender), cmp.Compare(k.Hello, other.Hello))
}
