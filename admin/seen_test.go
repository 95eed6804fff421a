package admin

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func seenNothing(Sighting) (any, error) { return nil, errors.New("nothing is to be noted") }

func TestNotingTLSARecordsIsForTheControlSocketAlone(t *testing.T) {
	note := func(s Sighting) (any, error) {
		if s.Owner == "broken" {
			return nil, errors.New("disk full")
		}
		return []string{fmt.Sprint(s.Owner, " ", s.TTL, " ", s.Records)}, nil
	}
	for body, want := range map[string]string{
		`{"owner":"o","ttl":60,"records":[{"record":"3 1 1 ab","in_use":true}]}`: `200 ["o 60 [{3 1 1 ab true}]"]`,
		`{"owner":"broken"}`: `500 {"error":"disk full"}`,
		``:                   `400 {"error":"the sighting cannot be read: EOF"}`,
		`{"ttl":-1}`:         `400 {"error":"the sighting cannot be read: json: cannot unmarshal number -1 into Go struct field Sighting.ttl of type uint32"}`,
		`{"owner":"` + strings.Repeat("x", maxSighting) + `"}`: `400 {"error":"the sighting cannot be read: http: request body too large"}`,
	} {
		for _, c := range []struct {
			o    Options
			want string
		}{
			{Options{Seen: note, Control: true}, want},
			{Options{Seen: note}, "405 only GET and HEAD are served here"},
			{Options{Control: true}, "404 404 page not found"},
		} {
			w := httptest.NewRecorder()
			handler(c.o).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/tlsa-seen", strings.NewReader(body)))
			if got := fmt.Sprint(w.Code, " ", strings.TrimSpace(w.Body.String())); got != c.want {
				t.Errorf("%.60s: %.200s, not %s", body, got, c.want)
			}
		}
	}
}
