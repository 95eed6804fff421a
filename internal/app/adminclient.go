package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"postern/admin"
	"postern/peers"
)

// adminClient asks a postern that runs, through its admin socket.
type adminClient struct {
	http http.Client
	path string
}

// adminTimeout is longer than the server takes for anything.
const adminTimeout = 2 * time.Minute

// askAdmin returns a client of the postern that answers on a socket, nil when
// there is none: no socket is configured, or nobody answers.
func askAdmin(path string) (*adminClient, error) {
	if path == "" {
		return nil, nil
	}
	c, err := net.DialTimeout("unix", path, probeTimeout)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, problem("Do it as root, or as a user of the group that the socket belongs to.", "the admin socket: %w", err)
	case err != nil:
		return nil, fmt.Errorf("the admin socket: %w", err)
	}
	_ = c.Close()
	return &adminClient{path: path, http: http.Client{Timeout: adminTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}}, nil
}

// ask sends a request and reads the answer into a value. What does not exist is
// admin.ErrUnknown.
func (c *adminClient) ask(ctx context.Context, method, path string, into any) error {
	return c.send(ctx, method, path, nil, into)
}

// send is ask with a body.
func (c *adminClient) send(ctx context.Context, method, path string, body io.Reader, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://postern"+path, body)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("the postern at %s: %w", c.path, err)
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(response.Body)
	if response.StatusCode == http.StatusOK {
		if err := decoder.Decode(into); err != nil {
			return fmt.Errorf("the answer of the postern at %s cannot be read; is it of the same version? %w", c.path, err)
		}
		return nil
	}
	var failed struct{ Error string }
	// An answer that says nothing has its status.
	if decoder.Decode(&failed) != nil || failed.Error == "" {
		failed.Error = response.Status
	}
	if response.StatusCode == http.StatusNotFound {
		return unknown(failed.Error)
	}
	text, hint, _ := strings.Cut(failed.Error, "\n")
	return problem(hint, "the postern at %s: %s", c.path, text)
}

// unknown says in words that what was asked for does not exist.
type unknown string

func (u unknown) Error() string { return string(u) }

// Is makes it an admin.ErrUnknown.
func (u unknown) Is(target error) bool { return target == admin.ErrUnknown }

// List implements peerReader.
func (c *adminClient) List() (all []peers.Summary, err error) {
	err = c.ask(context.Background(), http.MethodGet, "/peers", &all)
	return all, err
}

// Show implements peerReader.
func (c *adminClient) Show(name string) (records []PeerRecord, err error) {
	err = c.ask(context.Background(), http.MethodGet, "/peers/"+url.PathEscape(name), &records)
	if errors.Is(err, admin.ErrUnknown) {
		return nil, nil
	}
	return records, err
}

// Forget implements peerReader.
func (c *adminClient) Forget(name string) (n int, err error) {
	var answer struct{ Forgotten int }
	err = c.ask(context.Background(), http.MethodDelete, "/peers/"+url.PathEscape(name), &answer)
	if errors.Is(err, admin.ErrUnknown) {
		return 0, nil
	}
	return answer.Forgotten, err
}

func (c *adminClient) explain(ctx context.Context, domain, outbound string) (all []Explanation, err error) {
	query := url.Values{"domain": {domain}}
	if outbound != "" {
		query.Set("outbound", outbound)
	}
	err = c.ask(ctx, http.MethodGet, "/explain?"+query.Encode(), &all)
	return all, err
}
