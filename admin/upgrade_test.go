package admin

import (
	"context"
	"errors"
	"net/http"
	"testing"
)

func TestUpgradingIsForTheControlSocketAlone(t *testing.T) {
	for name, c := range map[string]struct {
		control      bool
		method, path string
		err          error
		code         int
		body         string
		binary       string // that was asked for
	}{
		"the same program": {true, "POST", "/upgrade", nil, 200, `{"process":4711}`, "the same"},
		"another program":  {true, "POST", "/upgrade?binary=%2Fopt%2Fpostern", nil, 200, `{"process":4711}`, "/opt/postern"},
		"a failure":        {true, "POST", "/upgrade", errors.New("no"), 500, `{"error":"no"}`, "the same"},
		"by reading":       {true, "GET", "/upgrade", nil, 405, "", ""},
		"by deleting":      {true, "DELETE", "/upgrade", nil, 405, "", ""},
		"on the page":      {false, "POST", "/upgrade", nil, 405, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			asked := ""
			w := ask(Options{Control: c.control, Upgrade: func(_ context.Context, binary string) (int, error) {
				if asked = binary; binary == "" {
					asked = "the same"
				}
				return 4711, c.err
			}}, c.method, c.path)
			if w.Code != c.code || asked != c.binary || c.body != "" && w.Body.String() != c.body+"\n" {
				t.Errorf("%d %q, asked for %q", w.Code, w.Body, asked)
			}
		})
	}
	if w := ask(Options{Control: true}, http.MethodPost, "/upgrade"); w.Code == http.StatusOK {
		t.Errorf("without Upgrade: %d", w.Code)
	}
}
