package app

import (
	"errors"
	"fmt"
	"syscall"

	"postern/config"
	"postern/proxy"
)

// privileges says what a configuration needs of the kernel that this process may not do.
func privileges(cfg *config.Config) (all error) {
	if cfg.Mark != 0 {
		if err := proxy.MayMark(uint32(cfg.Mark)); err != nil {
			all = notAllowed(err, "CAP_NET_ADMIN", "mark = %d: this process cannot mark its connections", cfg.Mark)
		}
	}
	for _, in := range cfg.Inbounds {
		if in.Backend.ClientAddress == "transparent" {
			all = errors.Join(all, mayBeTransparent(`inbound %q: client_address = "transparent"`, in.Name))
		}
	}
	for _, out := range cfg.Outbounds {
		if out.Transparent {
			all = errors.Join(all, mayBeTransparent("outbound %q: transparent = true", out.Name))
		}
	}
	return all
}

func mayBeTransparent(format string, args ...any) error {
	if err := proxy.MayBeTransparent(); err != nil {
		return notTransparent(err, format, args...)
	}
	return nil
}

// notTransparent is the error of a socket that should use addresses of others.
func notTransparent(err error, format string, args ...any) error {
	return notAllowed(err, "CAP_NET_RAW", "%s: this process cannot use addresses of others", fmt.Sprintf(format, args...))
}

// notAllowed says how to give the process a capability, where it lacks one.
func notAllowed(err error, capability, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if !errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("%s: %w", text, err)
	}
	name := capability[len("CAP_"):]
	return problem("It needs "+capability+": AmbientCapabilities="+capability+" in the systemd service, docker run --cap-add "+name+
		", securityContext.capabilities.add [\""+name+"\"] in Kubernetes.", "%s: %w", text, err)
}
