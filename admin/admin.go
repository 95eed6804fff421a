// Package admin is the HTTP server that answers questions about a running
// postern: is it alive, does it want traffic, what are its numbers, what does it
// remember of other mail systems.
//
//	GET /              what there is
//	GET /livez         200 as long as the process can answer at all
//	GET /readyz        200 when mail can be taken, else 503 and one reason a line
//	GET /metrics       the metrics, for Prometheus
//	GET /peers         a line about each peer, as a JSON array
//	GET /peers/NAME    all that is kept about one, as a JSON array; 404 when that is nothing
//
// These only read: no request changes anything, so they need no authentication.
// What they tell is still nobody else's business: they are made for a loopback
// address or a cluster's own network, which is for the caller to see to.
// Every phase of a request has a time limit and its size has a bound, so that
// a stuck or hostile reader costs one connection for a minute, no more.
//
// A server whose Options say Control does more. It is for a unix socket, whose
// mode says who may use it, and never for the network:
//
//	GET /explain?domain=NAME[&outbound=NAME]  what would be done with mail for NAME, as a JSON array
//	POST /upgrade[?binary=PATH]               has a new process take over: {"process": 4711}
//	DELETE /peers/NAME                        forgets: {"forgotten": 2}; 404 when there was nothing
//	POST /tlsa-seen                           notes which TLSA records are published: a Sighting; since when each is, as a JSON array
//
// Explaining changes nothing either, but it makes postern ask the DNS in somebody
// else's name. An error that is not plain text is {"error": "what"}.
//
// The difference of the first two matters to an orchestrator: a process that
// is not live is restarted, which mends no certificate and no backend and cuts
// the sessions that still work; one that is not ready is given no new clients.
package admin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Options is what a Server shows. All fields may be left out.
type Options struct {
	// Ready says whether mail can be taken and, if not, why: one short
	// sentence per reason. It is called at each request, possibly by several
	// at once, and must be quick. Left out: always ready.
	Ready func() (ok bool, reasons []string)
	// Metrics serves /metrics. Left out: 404.
	Metrics http.Handler
	// Memory serves /peers. Left out: 404.
	Memory Memory
	// Explain serves /explain, with Control alone. Left out: 404.
	Explain Explain
	// Seen serves /tlsa-seen, with Control alone. Left out: 404.
	Seen Seen
	// Upgrade serves /upgrade, with Control alone. Left out: 404.
	Upgrade Upgrade
	// Control says that what changes state is served too.
	Control bool
	// Log is told of broken requests and of panics. Left out: nobody is.
	Log *slog.Logger
}

// The limits of a request.
const (
	headerTimeout  = 5 * time.Second  // until its header is read
	readTimeout    = 10 * time.Second // until all of it is read
	writeTimeout   = 30 * time.Second // until the answer is written
	idleTimeout    = 60 * time.Second // until the next on the same connection
	maxHeaderBytes = 8 << 10          // net/http adds 4 KiB of its own
)

// Server serves the pages. New makes it.
type Server struct {
	http http.Server
}

// New returns a server that shows what options say. It does not listen yet.
func New(options Options) *Server {
	log := options.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{http: http.Server{
		Handler:           handler(options),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}
}

// Serve answers requests on l until Shutdown, then returns nil; any other end
// is the error of l. It closes l. Several listeners can be served at once, each
// by its own call.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown closes the listeners and lets the requests under way end. When ctx
// is done before, they are cut, and ctx's error is returned. A Serve that
// comes later returns at once.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}
