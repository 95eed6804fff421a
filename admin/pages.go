package admin

import (
	"io"
	"net/http"
	"strings"
	"unicode"
)

// handler routes requests. Whatever is asked for, another method than GET or
// HEAD is refused first, so that no page can ever be made to act; with Control,
// those that act go on to the page that knows each.
func handler(options Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", index(options))
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) {
		text(w, http.StatusOK, "ok\n")
	})
	mux.HandleFunc("/readyz", readyz(options.Ready))
	if options.Metrics != nil {
		mux.Handle("/metrics", options.Metrics)
	}
	if options.Memory != nil {
		mux.HandleFunc("/peers", list(options.Memory))
		mux.HandleFunc("GET /peers/{name}", show(options.Memory))
	}
	if options.Control && options.Memory != nil {
		mux.HandleFunc("DELETE /peers/{name}", forget(options.Memory))
	}
	if options.Control && options.Explain != nil {
		mux.HandleFunc("/explain", explain(options.Explain))
	}
	if options.Control && options.Seen != nil {
		mux.HandleFunc("POST "+seenPath, seen(options.Seen))
	}
	if options.Control && options.Upgrade != nil {
		mux.HandleFunc("POST /upgrade", upgrade(options.Upgrade))
	}
	return onlyReading(mux, options.Control)
}

func onlyReading(next http.Handler, control bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		forgets := r.Method == http.MethodDelete && strings.HasPrefix(r.URL.Path, "/peers/")
		notes := r.Method == http.MethodPost && r.URL.Path == seenPath
		upgrades := r.Method == http.MethodPost && r.URL.Path == "/upgrade"
		acts := control && (forgets || notes || upgrades)
		if r.Method != http.MethodGet && r.Method != http.MethodHead && !acts {
			// RFC 9110, 15.5.6: a 405 says what is allowed.
			w.Header().Set("Allow", "GET, HEAD")
			text(w, http.StatusMethodNotAllowed, "only GET and HEAD are served here\n")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func index(options Options) http.HandlerFunc {
	page := "postern\n\n" +
		"/livez    is the process alive\n" +
		"/readyz   can mail be taken, and if not, why\n"
	if options.Metrics != nil {
		page += "/metrics  metrics for Prometheus\n"
	}
	if options.Memory != nil {
		page += "/peers    what is remembered of other mail systems\n"
	}
	if options.Control && options.Explain != nil {
		page += "/explain  what would be done with mail for ?domain=\n"
	}
	return func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, page) }
}

func readyz(ready func() (bool, []string)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if ready == nil {
			text(w, http.StatusOK, "ok\n")
			return
		}
		ok, reasons := ready()
		if ok {
			text(w, http.StatusOK, "ok\n")
			return
		}
		text(w, http.StatusServiceUnavailable, lines(reasons))
	}
}

// lines puts each reason on one line, whatever is in it: an error that holds
// a peer's words must not look like two reasons.
func lines(reasons []string) string {
	if len(reasons) == 0 {
		return "not ready\n"
	}
	var b strings.Builder
	for _, reason := range reasons {
		b.WriteString(strings.Map(printable, reason))
		b.WriteByte('\n')
	}
	return b.String()
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}

// text answers with plain text. A client that is gone cannot be told so.
func text(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}
