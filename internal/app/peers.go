package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"postern/config"
	"postern/peers"
	"postern/store"
)

// PeersOptions is what the commands about the memory are asked for.
type PeersOptions struct {
	Name   string    // a domain, a server or the address of a client
	Config string    // the file; empty for the usual places
	JSON   bool      // write the result as JSON
	Out    io.Writer // for the result
}

// peerReader is the memory of a postern that runs, or the file of one that does
// not.
type peerReader interface {
	List() ([]peers.Summary, error)
	Show(name string) ([]PeerRecord, error)
	Forget(name string) (n int, err error)
}

// ListPeers writes a line about everybody of whom something is remembered.
func ListPeers(o PeersOptions) error {
	return o.read(func(m peerReader, where string) error {
		all, err := m.List()
		switch {
		case err != nil:
			return err
		case o.JSON:
			return json.NewEncoder(o.Out).Encode(nonNil(all))
		case len(all) == 0:
			_, err = fmt.Fprintf(o.Out, "Nothing is remembered %s.\n", where)
			return err
		}
		return printSummaries(o.Out, all, time.Now())
	})
}

// ShowPeer writes all that is remembered about a name. Of a name that nothing is
// known of the error says so.
func ShowPeer(o PeersOptions) error {
	return o.read(func(m peerReader, where string) error {
		records, err := m.Show(o.Name)
		if err == nil && o.JSON {
			err = json.NewEncoder(o.Out).Encode(nonNil(records))
		} else if err == nil {
			err = printRecords(o.Out, records, time.Now())
		}
		if err == nil && len(records) == 0 {
			err = o.unknown(where)
		}
		return err
	})
}

// ForgetPeer forgets what ShowPeer would write. That nothing is known of the
// name is an error here too.
func ForgetPeer(o PeersOptions) error {
	return o.read(func(m peerReader, where string) error {
		n, err := m.Forget(o.Name)
		if err == nil && o.JSON {
			err = json.NewEncoder(o.Out).Encode(map[string]int{"forgotten": n})
		} else if err == nil && n > 0 {
			_, err = fmt.Fprintf(o.Out, "%s of %s forgotten\n", count(n, "record"), printable(o.Name))
		}
		if err == nil && n == 0 {
			err = o.unknown(where)
		}
		return err
	})
}

func (o PeersOptions) unknown(where string) error {
	return problem("postern peers list shows what there is.", "nothing is remembered of %q %s", o.Name, where)
}

// nonNil is written as [] and not as null.
func nonNil[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

// read lets f work with the memory: that of the postern that answers on the admin
// socket, or else the file.
func (o PeersOptions) read(f func(m peerReader, where string) error) error {
	cfg, _, err := load(o.Config)
	if err != nil {
		return err
	}
	live, err := askAdmin(cfg.Admin.Socket)
	switch {
	case err != nil:
		return err
	case live != nil:
		return f(live, "by the postern at "+cfg.Admin.Socket)
	case cfg.State.Kind == "memory":
		return problem(socketHint, "what is remembered is in the memory of a postern that runs (state \"memory\"), and none answers")
	}
	m, kept, where, err := readMemory(cfg)
	if isInUse(err) {
		return problem(socketHint, "%w", err)
	}
	if err != nil {
		return problem(stateHint, "%w", err)
	}
	if kept != nil {
		defer kept.Close()
	}
	return f(remembered{Memory: m, kept: kept}, "in "+where)
}

// socketHint is for who asks beside a postern that runs.
const socketHint = "To ask the postern that runs, give it a socket, and restart it:\n  admin {\n    socket = \"/run/postern/admin.sock\"\n  }"

func isInUse(err error) bool { return errors.Is(err, store.ErrInUse) }

// readMemory opens the state of a postern that does not run, which the caller closes;
// kept is nil where there is none. A file that does not exist is not made: it would
// belong to whoever asks.
func readMemory(cfg *config.Config) (m *peers.Memory, kept store.Store, where string, err error) {
	path := cfg.State.Path
	if cfg.State.Kind == "memory" {
		return emptyMemory(), nil, "memory", nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return emptyMemory(), nil, path + ", which does not exist", nil
	}
	s, err := store.OpenBolt(store.BoltOptions{Path: path, Bounds: stateBounds(slog.New(slog.DiscardHandler))})
	if err != nil {
		return nil, nil, path, err
	}
	m = peers.New(peers.Options{Store: s})
	for _, out := range cfg.Outbounds {
		m.Outbound(peerRules(out)) // so that it knows for how long they remember
	}
	return m, s, path, nil
}

func emptyMemory() *peers.Memory {
	return peers.New(peers.Options{Store: store.NewMemory(time.Now)})
}

// printable keeps what a peer or a user wrote from doing anything to a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
