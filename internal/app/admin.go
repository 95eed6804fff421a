package app

import (
	"context"
	"net"
	"net/http"
	"time"

	"postern/admin"
	"postern/config"
	"postern/proxy"
	"postern/telemetry"
)

// adminGrace is how long a request for a page may take at the end.
const adminGrace = time.Second

// adminListener is where the admin page is served; nil where there is none.
type adminListener struct {
	net.Listener
	server *admin.Server
	done   chan struct{}
}

// openAdmin opens the listener of the admin page, unless it is open already.
func openAdmin(c config.Admin, opened net.Listener) (*adminListener, error) {
	if opened == nil && c.Listen == "" {
		return nil, nil
	}
	if opened == nil {
		var err error
		if opened, err = listen(c.Listen); err != nil {
			return nil, problem(Hint(err), "admin: %w", err)
		}
	}
	return &adminListener{Listener: opened}, nil
}

func (a *adminListener) serve(metrics http.Handler, s *service) {
	if a == nil {
		return
	}
	a.server = admin.New(admin.Options{Ready: s.ready, Metrics: metrics, Log: s.log})
	a.done = make(chan struct{})
	go func() {
		defer close(a.done)
		if err := a.server.Serve(a.Listener); err != nil {
			s.log.Error("the admin page is served no more", "error", err)
		}
	}()
}

func (a *adminListener) close() {
	switch {
	case a == nil:
	case a.server == nil:
		_ = a.Listener.Close()
	default:
		ctx, cancel := context.WithTimeout(context.Background(), adminGrace)
		defer cancel()
		// A reader that is cut off by the end of the program knows why.
		_ = a.server.Shutdown(ctx)
		<-a.done
	}
}

// observer returns what counts, and the page that shows it. Without an admin
// page nobody could read the counters, and nothing is counted.
func (p *process) observer(cfg *config.Config, admin net.Listener) (proxy.Observer, http.Handler, error) {
	if cfg.Admin.Listen == "" && admin == nil {
		return proxy.NoObserver{}, nil, nil
	}
	v := ThisVersion()
	t, err := telemetry.New(telemetry.Build{Version: v.Version, Revision: v.Revision, Go: v.Go})
	if err != nil {
		return nil, nil, err
	}
	p.metrics = t.Shutdown
	return t, t.Handler(), nil
}
