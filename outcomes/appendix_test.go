package outcomes_test

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/outcomes"
	"postern/tls/report"
)

// appendixB is the example of RFC 8460, Appendix B, with mx-host as the array that erratum 6241 makes of it. Its
// additional-information is left out: that is a link to a page of the reporter's.
const appendixB = `{
  "organization-name": "Company-X",
  "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
  "contact-info": "sts-reporting@company-x.example",
  "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
  "policies": [{
    "policy": {
      "policy-type": "sts",
      "policy-string": ["version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400"],
      "policy-domain": "company-y.example",
      "mx-host": ["*.mail.company-y.example"]
    },
    "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
    "failure-details": [{
      "result-type": "certificate-expired",
      "sending-mta-ip": "2001:db8:abcd:12::1",
      "receiving-mx-hostname": "mx1.mail.company-y.example",
      "failed-session-count": 100
    }, {
      "result-type": "starttls-not-supported",
      "sending-mta-ip": "2001:db8:abcd:13::1",
      "receiving-mx-hostname": "mx2.mail.company-y.example",
      "receiving-ip": "203.0.113.56",
      "failed-session-count": 200
    }, {
      "result-type": "validation-failure",
      "sending-mta-ip": "198.51.100.62",
      "receiving-ip": "203.0.113.58",
      "receiving-mx-hostname": "mx-backup.mail.company-y.example",
      "failed-session-count": 3,
      "failure-reason-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"
    }]
  }]
}`

// object is one of JSON.
type object = map[string]any

// reported makes a report about one destination of what was counted on a day.
func reported(day time.Time, all []outcomes.Count) object {
	begin := day.Truncate(24 * time.Hour)
	var policies []object
	for _, c := range all {
		policies = append(policies, object{
			"policy": object{"policy-type": c.Policy.Type, "policy-string": c.Policy.Strings, "policy-domain": c.Policy.Domain, "mx-host": c.Policy.MX},
			"summary": object{
				"total-successful-session-count": c.Successes, "total-failure-session-count": c.Failures,
			},
			"failure-details": details(c.Details),
		})
	}
	return object{
		"organization-name": "Company-X", "contact-info": "sts-reporting@company-x.example", "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
		"date-range": object{"start-datetime": begin, "end-datetime": begin.Add(24*time.Hour - time.Second)},
		"policies":   policies,
	}
}

func details(all []outcomes.Detail) (list []object) {
	for _, d := range all {
		one := object{"result-type": d.Result, "failed-session-count": d.Sessions}
		for name, text := range map[string]string{"receiving-mx-hostname": d.Host, "receiving-mx-helo": d.Hello, "failure-reason-code": d.Reason} {
			if text != "" {
				one[name] = text
			}
		}
		for name, a := range map[string]netip.Addr{"sending-mta-ip": d.Sender, "receiving-ip": d.Address} {
			if a.IsValid() {
				one[name] = a
			}
		}
		list = append(list, one)
	}
	return list
}

// plain is a value as a reader of its JSON sees it.
func plain(t *testing.T, text []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestTheExampleOfRFC8460CanBeMadeOfWhatIsCounted is STANDARDS 145, counted session by session.
func TestTheExampleOfRFC8460CanBeMadeOfWhatIsCounted(t *testing.T) {
	d := newDesk(t)
	d.clock.at = time.Date(2016, 4, 1, 0, 0, 0, 0, time.UTC)
	session := report.Outcome{Domain: "company-y.example", Policy: report.Policy{Type: report.STS, Domain: "company-y.example",
		Strings: []string{"version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400"}, MX: []string{"*.mail.company-y.example"}}}
	count := func(n int, f report.Failure, sender, host, address string) {
		o := session
		o.Failure, o.Sender, o.Host = f, netip.MustParseAddr(sender), host+".mail.company-y.example"
		if address != "" {
			o.Address = netip.MustParseAddr(address)
		}
		for range n {
			d.Add(o)
			d.clock.turn(15 * time.Second)
		}
	}
	count(5326, report.Failure{}, "2001:db8:abcd:12::1", "mx1", "203.0.113.55")
	count(100, report.Failure{Result: report.CertificateExpired}, "2001:db8:abcd:12::1", "mx1", "")
	count(200, report.Failure{Result: report.STARTTLSNotSupported}, "2001:db8:abcd:13::1", "mx2", "203.0.113.56")
	count(3, report.Failure{Result: report.ValidationFailure, Reason: "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"}, "198.51.100.62", "mx-backup", "203.0.113.58")

	all, err := d.Day(d.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	made, err := json.Marshal(reported(d.clock.now(), all))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plain(t, []byte(appendixB)), plain(t, made)); diff != "" {
		t.Error(diff)
	}
}
