package app

import (
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notifier tells the service manager how the service does (sd_notify). Where
// there is none, it does nothing. Its methods return at once.
type notifier struct {
	log  *slog.Logger
	send func(state string) error
}

// systemd returns the notifier of NOTIFY_SOCKET.
func systemd(log *slog.Logger) notifier {
	return notifier{log: log, send: func(state string) error {
		_, err := daemon.SdNotify(false, state)
		return err
	}}
}

// tell sends assignments such as READY=1. A manager that cannot be told is no
// reason to stop serving mail.
func (n notifier) tell(assignments ...string) {
	if err := n.send(strings.Join(assignments, "\n")); err != nil {
		n.log.Warn("the service manager cannot be told", "what", assignments[0], "error", err)
	}
}

// status is one line for `systemctl status`.
func status(text string) string {
	return "STATUS=" + strings.Join(strings.Fields(text), " ")
}

func (n notifier) ready(text string)    { n.tell(daemon.SdNotifyReady, status(text)) }
func (n notifier) stopping(text string) { n.tell(daemon.SdNotifyStopping, status(text)) }
func (n notifier) watchdog()            { n.tell(daemon.SdNotifyWatchdog) }

// successor says that another process is the main one from now on. What we
// would say later is not for us to say.
func (n notifier) successor(pid int) {
	n.tell("MAINPID="+strconv.Itoa(pid), status("another process has taken over"))
}

// reloading must be followed by ready. Type=notify-reload wants to know when it
// began, by the clock that the manager uses too.
func (n notifier) reloading() {
	n.tell(daemon.SdNotifyReloading, strings.TrimSpace(daemon.SdNotifyMonotonicUsec()))
}

// watchdogTicker ticks twice in the time after which the manager gives the
// process up for dead; nil when it does not watch. stop it when done.
func watchdogTicker(log *slog.Logger) (tick <-chan time.Time, stop func()) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog of the service manager is not served", "error", err)
	}
	if err != nil || every <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(every / 2)
	return t.C, t.Stop
}
