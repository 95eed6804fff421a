package app

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"postern/config"
)

// reload takes the configuration from its file again. Sessions go on as they
// began. A configuration that cannot be used changes nothing, and the log says
// why.
func (p *process) reload() {
	defer p.flushLog()
	if p.path == "" {
		p.log.Info("nothing to reload: there is no configuration file")
		return
	}
	if p.succession.abort != nil {
		p.log.Warn("not reloaded: an upgrade is under way, and the new process reads the configuration itself; reload again should the upgrade fail")
		return
	}
	p.notify.reloading()
	cfg, err := config.Load(p.path)
	if err == nil {
		err = p.take(cfg)
	}
	if err != nil {
		p.keep(err)
		return
	}
	p.warn(cfg)
	p.needRestart(cfg)
	p.log.Info("configuration reloaded", "file", p.path, "listen", p.addresses(""))
	p.notify.ready(p.summary())
}

// keep says that the old configuration stays in use, with each mistake of the
// new one in a line of its own.
func (p *process) keep(err error) {
	var mistakes *config.Error
	if errors.As(err, &mistakes) {
		for line := range strings.SplitSeq(mistakes.Error(), "\n") {
			p.log.Error("mistake in the configuration", "error", line)
		}
		err = fmt.Errorf("mistakes in %s: %d", p.path, mistakes.Len())
	}
	for _, one := range Errors(err) {
		attrs := []any{"error", one}
		if hint := Hint(one); hint != "" {
			attrs = append(attrs, "hint", hint)
		}
		p.log.Error("configuration not reloaded, the old one stays in use", attrs...)
	}
	p.notify.ready("reload failed, the old configuration stays in use: " + err.Error())
}

// needRestart names what the new configuration has and the process has not.
func (p *process) needRestart(cfg *config.Config) {
	for _, c := range []struct {
		what     string
		now, was any
	}{
		{"hostname", cfg.Hostname, p.cfg.Hostname},
		{"state", kept(cfg.State), kept(p.cfg.State)},
		{"admin", cfg.Admin, p.cfg.Admin},
		{"log", cfg.Log, p.cfg.Log},
	} {
		if !reflect.DeepEqual(c.now, c.was) {
			p.log.Warn("a change of " + c.what + " needs a restart; it was not taken")
		}
	}
}
