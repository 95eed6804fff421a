package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"postern/config"
)

// HealthOptions is what Healthcheck is asked for.
type HealthOptions struct {
	Config string    // the file; empty for the usual places
	Live   bool      // ask whether the process works, not whether mail can be taken
	Out    io.Writer // for the result
}

// healthTimeout is for all of a health check. It is shorter than what those who
// ask, Docker and Kubernetes among them, are usually told to wait.
const healthTimeout = 5 * time.Second

// Healthcheck asks the postern that runs with a configuration whether it is
// healthy: its admin page, or else its admin socket, or else, where it has
// neither, each address that it listens on, which tells only that somebody
// does. The result is written to Out as one line when it is good; the error
// says why not.
func Healthcheck(ctx context.Context, o HealthOptions) error {
	cfg, _, err := load(o.Config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	good, err := askHealth(ctx, cfg, o.Live)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(o.Out, good)
	return err
}

func askHealth(ctx context.Context, cfg *config.Config, live bool) (good string, err error) {
	page := "/readyz"
	good = "ready"
	if live {
		page, good = "/livez", "live"
	}
	switch {
	case cfg.Admin.Listen != "":
		return good, askPage(ctx, "tcp", near(cfg.Admin.Listen), page)
	case cfg.Admin.Socket != "":
		return good, askPage(ctx, "unix", cfg.Admin.Socket, page)
	}
	return "listening", reachAll(ctx, cfg)
}

// maxReasons bounds the text of a page that is read.
const maxReasons = 4 << 10

// askPage gets a page, and makes an error of an answer other than 200: its
// lines, in one.
func askPage(ctx context.Context, network, address, page string) error {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://postern"+page, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("no answer of a postern at %s: %w", address, errors.Unwrap(err))
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxReasons))
	if response.StatusCode == http.StatusOK {
		return nil
	}
	if reasons := strings.TrimSpace(string(text)); err == nil && reasons != "" {
		return errors.New(printable(strings.ReplaceAll(reasons, "\n", "; ")))
	}
	return fmt.Errorf("%s at %s: %s", page, address, response.Status)
}

// reachAll connects to whatever is listened on.
func reachAll(ctx context.Context, cfg *config.Config) error {
	var all []string
	for _, in := range cfg.Inbounds {
		all = append(all, in.Listen...)
	}
	for _, out := range cfg.Outbounds {
		all = append(all, out.Listen...)
	}
	for _, address := range all {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", near(address))
		if err != nil {
			return fmt.Errorf("nobody listens on %s: %w", address, err)
		}
		_ = c.Close()
	}
	return nil
}

// near is the address to connect to for one that is listened on: loopback, where
// that is any.
func near(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	a, err := netip.ParseAddr(host)
	switch {
	case host == "":
		host = "127.0.0.1"
	case err == nil && a.IsUnspecified():
		host = loopbackOf(a).String()
	}
	return net.JoinHostPort(host, port)
}
