package admin

import (
	"io"
	"net/http"
	"strings"
	"unicode"
)

// handler routes requests. Whatever is asked for, another method than GET or
// HEAD is refused first, so that no page can ever be made to act.
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
	return readOnly(mux)
}

func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
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
