package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"postern/config"
	"postern/peers"
	"postern/proxy"
	"postern/store"
	"postern/tls/certs"
)

// ErrReported is an error whose text was written already, as a result.
var ErrReported = errors.New("reported")

// Report writes an error and what to do about it. What was reported already,
// as the result of the command, is not said again.
func Report(w io.Writer, err error) {
	var mistakes *config.Error
	switch {
	case errors.Is(err, ErrReported):
		return
	case errors.As(err, &mistakes):
		printMistakes(w, mistakes)
		return
	}
	for _, one := range Errors(err) {
		fmt.Fprintf(w, "postern: %s\n", strings.TrimSuffix(one.Error(), "."))
		if hint := Hint(one); hint != "" {
			fmt.Fprintln(w, hint)
		}
	}
}

// printMistakes writes the mistakes of a configuration with the lines that
// they are about, in colours on a terminal.
func printMistakes(w io.Writer, e *config.Error) {
	e.Print(w, isTerminal(w), width(w))
}

// CheckOptions is what Check is asked for.
type CheckOptions struct {
	Config string    // the file; empty for the usual places
	JSON   bool      // write the findings as one JSON object
	Out    io.Writer // for the findings
}

// Findings is the result of a check.
type Findings struct {
	File     string   `json:"file"`
	Good     bool     `json:"good"`     // postern would start, as far as can be told
	Errors   []string `json:"errors"`   // why it would not
	Warnings []string `json:"warnings"` // what is probably not meant

	mistakes *config.Error // those of Errors that are about the text of the file
}

// Check validates all that can be validated without running: the text of the
// configuration, the files of certificates, roots and state, and, as warnings, what
// this machine and this process have of addresses and limits. It opens no
// port. The findings are written to Out; the error is ErrReported when postern
// would not start, or says that no configuration could be read.
func Check(ctx context.Context, o CheckOptions) error {
	f := Findings{Errors: []string{}, Warnings: []string{}}
	cfg, path, err := load(o.Config)
	f.File = path
	switch {
	case errors.As(err, &f.mistakes):
		f.Errors = strings.Split(f.mistakes.Error(), "\n")
	case err != nil:
		return err
	default:
		f.look(ctx, cfg)
	}
	f.Good = len(f.Errors) == 0
	if err := f.write(o); err != nil {
		return fmt.Errorf("write the findings: %w", err)
	}
	if !f.Good {
		return ErrReported
	}
	return nil
}

// look builds what run would build, and throws it away.
func (f *Findings) look(ctx context.Context, cfg *config.Config) {
	f.Warnings = append(f.Warnings, cfg.Warnings...)
	p, err := builder{cfg: cfg, lasting: forNow(cfg, peers.New(peers.Options{Store: store.NewMemory(time.Now)}))}.build()
	if err = errors.Join(privileges(cfg), err); err != nil {
		for _, one := range Errors(err) {
			f.Errors = append(f.Errors, withHint(one))
		}
		p = &plan{cfg: cfg}
	}
	warnings, err := checkState(cfg.State)
	if err != nil {
		f.Errors = append(f.Errors, withHint(err))
	}
	f.Warnings = append(f.Warnings, warnings...)
	f.Warnings = append(f.Warnings, doubts(p)...)
	f.Warnings = append(f.Warnings, listenWarnings(cfg)...)
	f.Warnings = append(f.Warnings, nameWarnings(ctx, cfg)...)
}

// forNow is what a plan needs that is made to be looked at and not to be run.
func forNow(cfg *config.Config, memory *peers.Memory) lasting {
	return lasting{
		hostname: cfg.Hostname, tickets: certs.NewTickets(nil), memory: memory, own: new(ownAddresses),
		latest: new(latest), observer: proxy.NoObserver{}, log: slog.New(slog.DiscardHandler),
	}
}

func withHint(err error) string {
	if hint := Hint(err); hint != "" {
		return err.Error() + ". " + hint
	}
	return err.Error()
}

// listenWarnings are about addresses that this machine does not have, and
// ports that this user may not open. They may be there, and allowed, when the
// service starts.
func listenWarnings(cfg *config.Config) (all []string) {
	here, err := net.InterfaceAddrs()
	look := func(kind, name string, listen []string) {
		for _, address := range listen {
			host, _, _ := net.SplitHostPort(address)
			a, bad := netip.ParseAddr(host)
			if err == nil && bad == nil && !onThisMachine(a, here) {
				all = append(all, fmt.Sprintf("%s %q: this machine does not have the address of %s now (see: ip address)", kind, name, address))
			}
			if n := port(address); n != 0 && !mayOpen(n) {
				all = append(all, fmt.Sprintf("%s %q: the user that checks may not open port %d; the user that runs needs CAP_NET_BIND_SERVICE, or a systemd socket", kind, name, n))
			}
		}
	}
	for _, in := range cfg.Inbounds {
		look("inbound", in.Name, in.Listen)
	}
	for _, out := range cfg.Outbounds {
		look("outbound", out.Name, out.Listen)
	}
	return all
}

func onThisMachine(a netip.Addr, here []net.Addr) bool {
	if a = a.Unmap().WithZone(""); a.IsUnspecified() || a.IsLoopback() {
		return true
	}
	for _, h := range here {
		if p, err := netip.ParsePrefix(h.String()); err == nil && p.Addr().Unmap() == a {
			return true
		}
	}
	return false
}

// write shows the findings, for people or as JSON.
func (f *Findings) write(o CheckOptions) error {
	if o.JSON {
		return json.NewEncoder(o.Out).Encode(f)
	}
	if f.mistakes != nil {
		printMistakes(o.Out, f.mistakes)
	} else {
		for _, text := range f.Errors {
			fmt.Fprintf(o.Out, "error: %s\n", text)
		}
	}
	for _, text := range f.Warnings {
		fmt.Fprintf(o.Out, "warning: %s\n", text)
	}
	verdict := "good"
	if !f.Good {
		verdict = count(len(f.Errors), "mistake")
	}
	if len(f.Warnings) > 0 {
		verdict += ", " + count(len(f.Warnings), "warning")
	}
	_, err := fmt.Fprintf(o.Out, "%s: %s\n", f.File, verdict)
	return err
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
