package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"postern/config"
	"postern/proxy"
)

// sayHello writes what was started, and what is doubtful about it.
func (p *process) sayHello() {
	v := ThisVersion()
	p.log.Info("postern starts", "version", v.Version, "revision", v.Revision, "go", v.Go, "config", p.path)
	for _, in := range p.plan.inbounds {
		p.log.Info("inbound is open", "inbound", in.name, "listen", p.addresses(in.name), "tls", in.cfg.TLS,
			"backend", in.cfg.Backend.Addresses, "client_address", in.cfg.Backend.ClientAddress)
	}
	for _, out := range p.plan.outbounds {
		p.log.Info("outbound is open", "outbound", out.name, "listen", p.addresses(out.name), "protocol", out.cfg.Protocol,
			"route", out.cfg.Route, "level", out.cfg.Level, "remember", out.cfg.Remember)
	}
	if page := p.admin.page; page != nil {
		p.log.Info("admin page is open", "address", "http://"+page.Addr().String())
	}
	if socket := p.admin.socket; socket != nil {
		p.log.Info("admin socket is open", "path", p.cfg.Admin.Socket)
	}
	p.warn(p.plan.cfg)
}

// warn writes the warnings about a configuration that is in use.
func (p *process) warn(cfg *config.Config) {
	for _, text := range cfg.Warnings {
		p.log.Warn(text)
	}
	for _, text := range doubts(p.plan) {
		p.log.Warn(text)
	}
}

// doubts are the warnings that do not come from the text of the configuration:
// about certificates, limits of this process and the admin page.
func doubts(p *plan) (all []string) {
	for _, s := range p.sources {
		if len(s.cfg.SelfSigned) == 0 { // who wrote self_signed knows
			all = append(all, s.Warnings(time.Now())...)
		}
	}
	if limit, known := openFiles(); known {
		all = append(all, fileWarnings(p.cfg, limit)...)
	}
	return append(all, adminWarnings(p.cfg.Admin)...)
}

// filesBeside is for listeners, logs, certificates, DNS and the admin page.
const filesBeside = 100

// fileWarnings compares the limit of open files with two per session.
func fileWarnings(cfg *config.Config, limit uint64) []string {
	need := uint64(filesBeside)
	for _, in := range cfg.Inbounds {
		need += 2 * uint64(in.Limits.Connections)
	}
	for _, out := range cfg.Outbounds {
		need += 2 * uint64(out.Limits.Connections)
	}
	if limit >= need {
		return nil
	}
	return []string{fmt.Sprintf("this process may open %d files, and limits.connections needs %d: more sessions than files are there for "+
		"are turned away with 421; raise the limit (LimitNOFILE=%d in the systemd service, ulimit -n), or lower limits.connections", limit, need, need)}
}

func newPlaces() *proxy.Places {
	limit, known := openFiles()
	if !known {
		return nil
	}
	return proxy.NewPlaces(places(limit))
}

// places are the sessions that there are files for, over all inbounds and outbounds.
func places(limit uint64) int {
	return max(int(min(limit, 1<<30))-filesBeside, 2) / 2
}

func adminWarnings(c config.Admin) []string {
	if c.Listen == "" {
		return nil
	}
	host, _, _ := net.SplitHostPort(c.Listen)
	a, err := netip.ParseAddr(host)
	if err == nil && isPrivate(a) {
		return nil
	}
	return []string{"admin: listen = \"" + c.Listen + "\" can be reached from other networks, and tells how busy this server is, who its " +
		"backends are and whom it exchanges mail with: write an address of loopback or of a private network"}
}

var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

// isPrivate says whether an address is of this machine or of a network that
// the Internet has no way to. Unspecified is everywhere, so it is not.
func isPrivate(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || carrierNAT.Contains(a)
}

// nameTimeout bounds the look-up of the names of backends.
const nameTimeout = 5 * time.Second

// nameWarnings looks up backends that are given by name, and tells of those
// that mail would cross the Internet to, in clear. config knows of those that
// are given by address.
func nameWarnings(ctx context.Context, cfg *config.Config) (all []string) {
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	for _, in := range cfg.Inbounds {
		for _, address := range in.Backend.Addresses {
			if text := nameWarning(ctx, address); text != "" {
				all = append(all, fmt.Sprintf("inbound %q: %s", in.Name, text))
			}
		}
	}
	return all
}

func nameWarning(ctx context.Context, address string) string {
	host, _, _ := net.SplitHostPort(address)
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if ctx.Err() != nil {
		return ""
	}
	if err != nil {
		return fmt.Sprintf("the name of the backend %s has no address now: %v", address, err)
	}
	return publicWarning(address, addrs)
}

// publicWarning tells of the addresses that are not private.
func publicWarning(address string, addrs []netip.Addr) string {
	var public []string
	for _, a := range addrs {
		if !isPrivate(a) {
			public = append(public, a.Unmap().String())
		}
	}
	if len(public) == 0 {
		return ""
	}
	return fmt.Sprintf("the backend %s has the public address %s: mail and passwords cross the network in clear between postern and the backend: "+
		"put postern beside the mail server, or a VPN between them", address, strings.Join(public, ", "))
}

func warnNames(ctx context.Context, log *slog.Logger, cfg *config.Config) {
	for _, text := range nameWarnings(ctx, cfg) {
		log.Warn(text)
	}
}

// summary is the state in one line.
func (p *process) summary() string {
	return "listening on " + strings.Join(p.addresses(""), ", ")
}
