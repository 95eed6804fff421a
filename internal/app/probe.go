package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"postern/probe"
)

// ProbeOptions is what Probe is asked for.
type ProbeOptions struct {
	Targets []string // domains, hosts, addresses
	File    string   // with one more on each line; "-": In; empty: none
	Config  string   // the file; empty: the usual places, or the defaults where they have none

	Port         uint16 // where a target names none; 0: mx_port of the configuration, or 25
	Implicit     bool   // TLS from the first octet, whatever the port
	AllAddresses bool
	Limit        time.Duration // for one address of a host; 0: probe.DefaultLimit
	Parallel     int           // targets at once

	JSON, CSV bool // how reports are written; text otherwise
	In        io.Reader
	Out       io.Writer
	Log       io.Writer // for the progress
}

// Probe looks at domains and hosts as a stranger does, and writes what it found. Ctrl-C ends it with what was
// found by then. The error is ErrReported when something was found wanting, or could not be found out; a *UsageError
// when a target is none.
func Probe(ctx context.Context, o ProbeOptions) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	port := o.Port
	cfg, err := probeConfig(o)
	if err != nil {
		return err
	}
	if port == 0 {
		port = uint16(cfg.Outbounds[0].MXPort)
	}
	targets, err := o.targets(port)
	if err != nil {
		return err
	}
	p, err := newProber(o)
	if err != nil {
		return err
	}
	defer p.close()
	return o.run(ctx, p, targets)
}

// targets are all that are named, each once, in their order.
func (o ProbeOptions) targets(port uint16) (all []probe.Target, err error) {
	names := o.Targets
	if o.File != "" {
		more, err := o.lines()
		if err != nil {
			return nil, err
		}
		names = append(names[:len(names):len(names)], more...)
	}
	seen := map[string]bool{}
	for _, name := range names {
		t, wrong := probe.ParseTarget(name, port)
		if wrong != nil {
			err = errors.Join(err, wrong)
			continue
		}
		t.Implicit = t.Implicit || o.Implicit
		if !seen[name] {
			all = append(all, t)
		}
		seen[name] = true
	}
	if err != nil {
		return nil, &UsageError{err}
	}
	if len(all) == 0 {
		return nil, &UsageError{errors.New("nothing to look at: name a domain or a host")}
	}
	return all, nil
}

// lines are those of the file; what is behind a # is a comment.
func (o ProbeOptions) lines() (all []string, err error) {
	in := o.In
	if o.File != "-" {
		f, err := os.Open(o.File)
		if err != nil {
			return nil, problem("Name a file with a domain or host on each line, or - for standard input.", "--file: %w", err)
		}
		defer f.Close()
		in = f
	}
	s := bufio.NewScanner(in)
	for s.Scan() {
		line, _, _ := strings.Cut(s.Text(), "#")
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("--file %s: %w", o.File, err)
	}
	return all, nil
}

// run looks at all targets, several at a time, and writes each report when those before it are written.
func (o ProbeOptions) run(ctx context.Context, p *prober, targets []probe.Target) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := o.writer(len(targets))
	bar := newBar(o.Log, len(targets))
	reports := make([]chan *probe.Report, len(targets))
	for i := range reports {
		reports[i] = make(chan *probe.Report, 1)
	}
	var all sync.WaitGroup
	all.Go(func() {
		places := make(chan struct{}, max(o.Parallel, 1))
		for i, t := range targets {
			places <- struct{}{}
			all.Go(func() {
				defer func() { <-places }()
				defer close(reports[i])
				if ctx.Err() == nil {
					reports[i] <- p.Probe(ctx, t)
					bar.done(t.Text)
				}
			})
		}
	})
	good, err := true, error(nil)
	for _, ch := range reports {
		r, ok := <-ch
		if good = good && ok && r.Good(); ok && err == nil {
			if err = bar.aside(func() error { return w.report(r) }); err != nil {
				cancel() // nobody reads on
			}
		}
	}
	all.Wait()
	bar.end()
	if wrong := w.end(); err == nil {
		err = wrong
	}
	switch {
	case err != nil:
		return fmt.Errorf("write the reports: %w", err)
	case !good:
		return ErrReported
	}
	return nil
}
