package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// Memory is what is remembered of other mail systems. Its methods are called by
// several requests at once. What is of type any is written as JSON.
type Memory interface {
	// List returns a line about each of them.
	List() (lines any, err error)
	// Show returns all that is kept about a name, and how many records that are.
	Show(name string) (records any, n int, err error)
	// Forget forgets them, and says how many they were.
	Forget(name string) (n int, err error)
}

// Explain says what would be done with mail for a domain, by the outbound of that
// name, or by each for "". The error is ErrUnknown when there is no such outbound.
type Explain func(ctx context.Context, domain, outbound string) (answer any, err error)

// ErrUnknown says that what was asked for does not exist: 404. What is returned
// wraps it in words that say what does.
var ErrUnknown = errors.New("unknown")

func list(memory Memory) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		lines, err := memory.List()
		answer(w, lines, err)
	}
}

func show(memory Memory) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		records, n, err := memory.Show(r.PathValue("name"))
		if err == nil && n == 0 {
			err = ErrUnknown
		}
		answer(w, records, err)
	}
}

func forget(memory Memory) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n, err := memory.Forget(r.PathValue("name"))
		if err == nil && n == 0 {
			err = ErrUnknown
		}
		answer(w, map[string]int{"forgotten": n}, err)
	}
}

// explainTimeout is for all the questions that must be asked of the DNS. An
// answer that comes so late must still be written.
const explainTimeout = time.Minute

func explain(f Explain) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		domain := r.FormValue("domain")
		if domain == "" {
			fail(w, http.StatusBadRequest, "domain is missing: /explain?domain=example.com")
			return
		}
		// A connection that has no deadlines needs no later one.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(explainTimeout + writeTimeout))
		ctx, cancel := context.WithTimeout(r.Context(), explainTimeout)
		defer cancel()
		found, err := f(ctx, domain, r.FormValue("outbound"))
		answer(w, found, err)
	}
}

// answer writes a value, or the error in its place.
func answer(w http.ResponseWriter, value any, err error) {
	switch {
	case errors.Is(err, ErrUnknown):
		fail(w, http.StatusNotFound, err.Error())
	case err != nil:
		fail(w, http.StatusInternalServerError, err.Error())
	default:
		write(w, http.StatusOK, value)
	}
}

func fail(w http.ResponseWriter, status int, what string) {
	write(w, status, map[string]string{"error": what})
}

// write answers with JSON. A client that is gone cannot be told so.
func write(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		fail(w, http.StatusInternalServerError, "the answer cannot be written as JSON: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
