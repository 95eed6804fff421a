package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"postern/config"
	"postern/internal/sink"
)

// DemoOptions is what Demo is asked for.
type DemoOptions struct {
	Once bool      // leave after the first message
	Out  io.Writer // for what happens
	Log  io.Writer // for the log
}

// The addresses of the demo, each replaced by a free port where it is taken.
const (
	demoSTARTTLS = "127.0.0.1:2525"
	demoImplicit = "127.0.0.1:4650"
	demoAdmin    = "127.0.0.1:9025"
)

// demoCapabilities are those of an everyday mail server. SMTPUTF8 is not among
// them: net/smtp would use it, and make the first Received line a strange one.
var demoCapabilities = []string{"PIPELINING", "SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES", "XCLIENT NAME ADDR PORT PROTO HELO"}

// demoCertificate is the name of the certificate block.
const demoCertificate = "demo"

// demo is a throw-away mail server, postern in front of it, and a client.
type demo struct {
	out     *screen
	backend *sink.Server
	process *process
	arrived chan sink.Message // the first message only

	starttls, implicit, admin string // addresses
}

// Demo shows postern at work: on loopback, in memory, without a configuration
// and without rights. It sends one message through STARTTLS, shows how it
// arrives, and stays up until a signal or the end of ctx, or leaves when Once
// is asked for. The error is nil only if that message arrived over TLS.
func Demo(ctx context.Context, o DemoOptions) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	d := &demo{out: &screen{w: o.Out}, arrived: make(chan sink.Message, 1)}
	if err := d.start(o.Log); err != nil {
		return err
	}
	defer d.backend.Close()
	d.out.printf("postern demo: a throw-away mail server, and postern in front of it\n\n"+
		"  STARTTLS      %s\n  implicit TLS  %s\n  admin page    http://%s/\n\n", d.starttls, d.implicit, d.admin)
	err := d.deliver(ctx)
	if o.Once || err != nil {
		stop, cancel := context.WithCancel(ctx)
		cancel()
		return errors.Join(err, d.process.loop(stop, signals))
	}
	d.out.printf("%s", d.suggestions())
	return d.process.loop(ctx, signals)
}

// start brings the backend and the edge up.
func (d *demo) start(log io.Writer) error {
	behind, err := listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	d.backend = &sink.Server{Name: "backend.demo", Capabilities: demoCapabilities, OnMessage: d.show, MaxData: 64 << 10}
	go func() {
		// It ends when the backend is closed, and with nil.
		_ = d.backend.Serve(behind)
	}()
	sockets, err := listenOrElse(demoSTARTTLS, demoImplicit, demoAdmin)
	if err != nil {
		d.backend.Close()
		return err
	}
	d.starttls, d.implicit, d.admin = sockets[0].Addr().String(), sockets[1].Addr().String(), sockets[2].Addr().String()
	d.process, err = start(d.config(behind.Addr().String()), startOptions{
		log: log, admin: sockets[2],
		sockets: []*listener{{Listener: sockets[0], front: "starttls"}, {Listener: sockets[1], front: "implicit"}},
	})
	if err != nil {
		d.backend.Close()
	}
	return err
}

// listenOrElse opens the addresses, and a free port where one is in use.
func listenOrElse(addresses ...string) (all []net.Listener, err error) {
	for _, address := range addresses {
		l, err := listen(address)
		if errors.Is(err, syscall.EADDRINUSE) {
			l, err = listen("127.0.0.1:0")
		}
		if err != nil {
			for _, l := range all {
				// The error before it is the one to tell.
				_ = l.Close()
			}
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// config is what could as well stand in a file.
func (d *demo) config(backend string) *config.Config {
	c := config.Default()
	c.Hostname = "localhost"
	c.State = config.State{Kind: "memory", Written: true}
	c.Certificates = []config.Certificate{{Name: demoCertificate, SelfSigned: []string{"localhost", "127.0.0.1", "::1"}}}
	c.Admin.Listen = d.admin
	c.Log.Level = demoLogLevel
	for _, one := range []struct{ name, mode, address string }{{"starttls", "offer", d.starttls}, {"implicit", "implicit", d.implicit}} {
		in := config.DefaultInbound(one.name)
		in.TLS, in.Listen, in.Certificates = one.mode, []string{one.address}, []string{demoCertificate}
		in.Limits.Connections = 100
		in.Backend.Addresses, in.Backend.ClientAddress = []string{backend}, "xclient"
		c.Inbounds = append(c.Inbounds, in)
	}
	return c
}

// suggestions is what to try next.
func (d *demo) suggestions() string {
	host, port, _ := net.SplitHostPort(d.starttls)
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("It stays up. Try, from another terminal:\n")
	line("  swaks --server %s --port %s --tls --from you@example.org --to me@example.org", host, port)
	line("  openssl s_client -quiet -connect %s -starttls smtp -crlf", d.starttls)
	line("  openssl s_client -quiet -connect %s -crlf", d.implicit)
	line("  curl http://%s/metrics", d.admin)
	line("\nFor your own mail server: copy config.hcl.example, edit four places, and `postern run`.")
	line("Ctrl-C ends the demo.")
	return b.String()
}

// screen is written to by several goroutines, each a whole text at a time.
type screen struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *screen) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Nobody is left to tell when the terminal is gone.
	_, _ = fmt.Fprintf(s.w, format, args...)
}
