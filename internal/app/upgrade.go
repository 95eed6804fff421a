package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// UpgradeOptions is what the command is asked for.
type UpgradeOptions struct {
	Config string    // the file; empty for the usual places
	Binary string    // the new program; empty for the path that the running one was started from
	JSON   bool      // write the result as JSON
	Out    io.Writer // for the result
}

// Upgrade has the postern that runs replaced by a new process, without a connection
// being refused or cut, and writes its number. An error says that the old one goes on.
func Upgrade(ctx context.Context, o UpgradeOptions) error {
	cfg, _, err := load(o.Config)
	if err != nil {
		return err // which the new process would meet too
	}
	if cfg.Admin.Socket == "" {
		return problem(socketHint+"\nWithout one, send SIGUSR2 to the process, and read its log.", "there is no admin socket to ask for an upgrade through")
	}
	live, err := askAdmin(cfg.Admin.Socket)
	if err != nil {
		return err
	}
	if live == nil {
		return problem("Is it running, and was it started with this socket? A service that does not run is just started.", "no postern answers at %s", cfg.Admin.Socket)
	}
	process, err := live.upgrade(ctx, o.Binary)
	if err != nil {
		return err
	}
	if o.JSON {
		return json.NewEncoder(o.Out).Encode(map[string]int{"process": process})
	}
	_, err = fmt.Fprintf(o.Out, "process %d serves now; the one before finishes its sessions and ends\n", process)
	return err
}

func (c *adminClient) upgrade(ctx context.Context, binary string) (process int, err error) {
	path := "/upgrade"
	if binary != "" {
		path += "?" + url.Values{"binary": {binary}}.Encode()
	}
	var answer struct{ Process int }
	err = c.ask(ctx, http.MethodPost, path, &answer)
	return answer.Process, err
}
