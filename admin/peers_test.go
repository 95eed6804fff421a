package admin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
)

// fake is a memory of one peer.
type fake struct {
	known     string
	forgotten string
	err       error
}

func (f *fake) List() (any, error) { return []string{f.known}, f.err }

func (f *fake) Show(name string) (any, int, error) {
	if name != f.known {
		return []string{}, 0, f.err
	}
	return []string{"all about " + name}, 1, f.err
}

func (f *fake) Forget(name string) (int, error) {
	if name != f.known || f.err != nil {
		return 0, f.err
	}
	f.forgotten = name
	return 2, nil
}

func explainNothing(context.Context, string, string) (any, error) { return []string{}, nil }

func TestTheMemoryIsShown(t *testing.T) {
	broken := errors.New("disk full")
	for name, c := range map[string]struct {
		memory Memory
		path   string
		code   int
		body   string
	}{
		"list":                  {&fake{known: "mx"}, "/peers", 200, `["mx"]`},
		"list that fails":       {&fake{err: broken}, "/peers", 500, `{"error":"disk full"}`},
		"show":                  {&fake{known: "mx.example.com:25"}, "/peers/mx.example.com:25", 200, `["all about mx.example.com:25"]`},
		"show an address":       {&fake{known: "2001:db8::1"}, "/peers/2001:db8::1", 200, `["all about 2001:db8::1"]`},
		"show what is escaped":  {&fake{known: "a/b ?"}, "/peers/a%2Fb%20%3F", 200, `["all about a/b ?"]`},
		"show nothing":          {&fake{known: "mx"}, "/peers/other", 404, `{"error":"unknown"}`},
		"show that fails":       {&fake{known: "mx", err: broken}, "/peers/mx", 500, `{"error":"disk full"}`},
		"no memory":             {nil, "/peers", 404, "404 page not found"},
		"no memory for a name":  {nil, "/peers/mx", 404, "404 page not found"},
		"a page below the name": {&fake{known: "mx"}, "/peers/mx/x", 404, "404 page not found"},
	} {
		for _, control := range []bool{true, false} {
			w := ask(Options{Memory: c.memory, Control: control}, http.MethodGet, c.path)
			if w.Code != c.code || strings.TrimSpace(w.Body.String()) != c.body {
				t.Errorf("%s: got %d %q, want %d %q", name, w.Code, w.Body, c.code, c.body)
			}
		}
	}
}

func TestForgettingIsForTheControlSocketAlone(t *testing.T) {
	for name, c := range map[string]struct {
		control bool
		memory  *fake
		path    string
		code    int
		body    string
	}{
		"known":       {true, &fake{known: "mx"}, "/peers/mx", 200, `{"forgotten":2}`},
		"unknown":     {true, &fake{known: "mx"}, "/peers/other", 404, `{"error":"unknown"}`},
		"failing":     {true, &fake{known: "mx", err: errors.New("disk full")}, "/peers/mx", 500, `{"error":"disk full"}`},
		"everything":  {true, &fake{known: "mx"}, "/peers", 405, "only GET and HEAD are served here"},
		"nothing":     {true, &fake{known: "mx"}, "/peers/", 404, "404 page not found"},
		"readiness":   {true, &fake{known: "mx"}, "/readyz", 405, "only GET and HEAD are served here"},
		"the network": {false, &fake{known: "mx"}, "/peers/mx", 405, "only GET and HEAD are served here"},
	} {
		w := ask(Options{Memory: c.memory, Control: c.control}, http.MethodDelete, c.path)
		if w.Code != c.code || strings.TrimSpace(w.Body.String()) != c.body {
			t.Errorf("%s: got %d %q, want %d %q", name, w.Code, w.Body, c.code, c.body)
		}
		if forgotten := c.memory.forgotten != ""; forgotten != (c.code == 200) {
			t.Errorf("%s: forgotten %v", name, forgotten)
		}
	}
}

func TestNothingElseActsOnTheControlSocket(t *testing.T) {
	for _, path := range []string{"/", "/livez", "/peers", "/peers/mx", "/explain?domain=x", "/tlsa-seen", "/unknown"} {
		for _, method := range []string{"POST", "PUT", "PATCH", "OPTIONS", "TRACE", "DELETE"} {
			if method == "POST" && path == "/tlsa-seen" || method == "DELETE" && path == "/peers/mx" {
				continue // these do
			}
			memory := &fake{known: "mx"}
			w := ask(Options{Memory: memory, Explain: explainNothing, Seen: seenNothing, Control: true}, method, path)
			if w.Code != http.StatusMethodNotAllowed || memory.forgotten != "" {
				t.Errorf("%s %s: %d", method, path, w.Code)
			}
		}
	}
}

func TestExplainingIsForTheControlSocketAlone(t *testing.T) {
	say := func(ctx context.Context, domain, outbound string) (any, error) {
		if _, limited := ctx.Deadline(); !limited {
			t.Error("it may take for ever")
		}
		switch outbound {
		case "none":
			return nil, fmt.Errorf("no such outbound: %w", ErrUnknown)
		case "broken":
			return nil, errors.New("broken")
		case "strange":
			return math.NaN(), nil
		}
		return []string{domain, outbound}, nil
	}
	for path, want := range map[string]string{
		"/explain?domain=example.com":            `200 ["example.com",""]`,
		"/explain?domain=example.com&outbound=a": `200 ["example.com","a"]`,
		"/explain?domain=x&outbound=none":        `404 {"error":"no such outbound: unknown"}`,
		"/explain?domain=x&outbound=broken":      `500 {"error":"broken"}`,
		"/explain?domain=x&outbound=strange":     `500 {"error":"the answer cannot be written as JSON: json: unsupported value: NaN"}`,
		"/explain":                               `400 {"error":"domain is missing: /explain?domain=example.com"}`,
	} {
		w := ask(Options{Explain: say, Control: true}, http.MethodGet, path)
		if got := fmt.Sprint(w.Code, " ", strings.TrimSpace(w.Body.String())); got != want {
			t.Errorf("%s: %s", path, got)
		}
		if got := w.Header().Get("Content-Type"); got != "application/json" {
			t.Errorf("%s is %s", path, got)
		}
		if w := ask(Options{Explain: say}, http.MethodGet, path); w.Code != http.StatusNotFound {
			t.Errorf("%s on the page for the network: %d", path, w.Code)
		}
	}
}
