package admin

import (
	"context"
	"net/http"
	"time"
)

// Upgrade has a new process take over, and returns its number once it serves. It
// runs the given binary, or for "" the one that runs. An error says that all is
// as it was.
type Upgrade func(ctx context.Context, binary string) (process int, err error)

// upgradeTimeout is longer than an upgrade takes. Its answer must still be
// written.
const upgradeTimeout = 90 * time.Second

func upgrade(f Upgrade) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// A connection that has no deadlines needs no later one.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(upgradeTimeout + writeTimeout))
		ctx, cancel := context.WithTimeout(r.Context(), upgradeTimeout)
		defer cancel()
		process, err := f(ctx, r.URL.Query().Get("binary"))
		answer(w, map[string]int{"process": process}, err)
	}
}
