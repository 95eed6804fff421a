package app

import (
	"context"
	"log/slog"
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

// adminListeners are where the admin pages are served; each is nil where there
// is none.
type adminListeners struct {
	page   *adminListener // for the network: it only reads
	socket *adminListener // for whoever may open the file
}

// adminListener is one of them.
type adminListener struct {
	net.Listener
	server *admin.Server
	done   chan struct{}
}

// openAdmin opens both, but for those that are open already.
func openAdmin(c config.Admin, o startOptions) (all adminListeners, err error) {
	opened := o.admin
	if opened == nil {
		opened = o.estate.take(c.Listen)
	}
	if opened == nil && c.Listen != "" {
		if opened, err = listen(c.Listen); err != nil {
			return all, problem(Hint(err), "admin: %w", err)
		}
	}
	if opened != nil {
		all.page = &adminListener{Listener: opened}
	}
	if socket := o.estate.take(c.Socket); socket != nil {
		all.socket = &adminListener{Listener: socket}
	} else if c.Socket != "" {
		socket, err := listenSocket(c.Socket)
		if err != nil {
			return all, problem(Hint(err), "admin: %w", err)
		}
		all.socket = &adminListener{Listener: socket}
	}
	return all, nil
}

func (a adminListeners) serve(metrics http.Handler, p *process) {
	o := admin.Options{Ready: p.ready, Metrics: metrics, Memory: peerPages{remembered{p.memory, p.memories, p.sts}, p.log}, Log: p.log}
	a.page.serve(o)
	o.Control, o.Explain, o.Upgrade = true, p.explain, p.upgrade
	seen := &tlsaSeen{state: p.memories, now: time.Now}
	o.Seen = func(at admin.Sighting) (any, error) { return seen.note(at) }
	a.removeSocket(true)
	a.socket.serve(o)
}

// removeSocket says whether the file of the socket goes when we close it: not
// when another process serves it.
func (a adminListeners) removeSocket(at bool) {
	if a.socket == nil {
		return
	}
	if u, ok := a.socket.Listener.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(at)
	}
}

func (a adminListeners) close() {
	a.page.close()
	a.socket.close()
}

func (a *adminListener) serve(o admin.Options) {
	if a == nil {
		return
	}
	a.server = admin.New(o)
	a.done = make(chan struct{})
	go func() {
		defer close(a.done)
		if err := a.server.Serve(a.Listener); err != nil {
			o.Log.Error("the admin page is served no more", "address", a.Addr().String(), "error", err)
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

// peerPages shows the memory on the admin pages.
type peerPages struct {
	remembered
	log *slog.Logger
}

// Forget implements admin.Memory. It may let mail leave by a weaker TLS than it had to, so
// the log has it.
func (p peerPages) Forget(name string) (n int, err error) {
	if n, err = p.remembered.Forget(name); n > 0 {
		p.log.Warn("forgotten by command", "name", name, "records", n)
	}
	return n, err
}

// List implements admin.Memory.
func (p peerPages) List() (any, error) { return p.Memory.List() }

// Show implements admin.Memory.
func (p peerPages) Show(name string) (any, int, error) {
	records, err := p.remembered.Show(name)
	return records, len(records), err
}

// observer returns what counts, and the page that shows it. Without an admin
// page nobody could read the counters, and nothing is counted.
func (p *process) observer(cfg *config.Config, opened net.Listener) (proxy.Observer, http.Handler, error) {
	if cfg.Admin.Listen == "" && cfg.Admin.Socket == "" && opened == nil {
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
