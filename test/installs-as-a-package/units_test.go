package installs

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postern/test/harness"
)

const units = "../../deploy/systemd"

// Of the highest exposure, 10 means that nothing is confined. systemd-analyze
// counts in tenths.
const highestExposure = "20"

func TestTheServiceIsConfined(t *testing.T) {
	analyze := harness.Tool(t, "systemd-analyze")
	unit := filepath.Join(units, "postern.service")
	out, code := harness.Run(t, "", analyze, "security", "--offline=true", "--no-pager", "--threshold="+highestExposure, unit)
	if code != 0 {
		t.Errorf("too much exposure:\n%s", out)
	}
}

func TestTheUnitsAreValid(t *testing.T) {
	analyze := harness.Tool(t, "systemd-analyze")
	dir := t.TempDir()
	files, err := filepath.Glob(units + "/*.s[eo][rc][vk]*")
	if err != nil || len(files) != 3 {
		t.Fatalf("%q %v", files, err)
	}
	for i, file := range files {
		// The program is installed elsewhere, and the pages are not.
		text := strings.ReplaceAll(read(t, file), "/usr/bin/postern", harness.Binary(t))
		files[i] = filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(files[i], []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, code := harness.Run(t, "", analyze, append([]string{"verify", "--man=no"}, files...)...)
	if code != 0 || strings.Contains(out, "postern") {
		t.Errorf("%d:\n%s", code, out)
	}
}

// The sockets are for the inbound and the outbound that the template has, and
// postern takes them for these.
func TestSystemdOpensTheSockets(t *testing.T) {
	activate := harness.Tool(t, "systemd-socket-activate")
	listen := map[string]string{"mx": harness.FreePort(t, "127.0.0.1"), "egress": harness.FreePort(t, "127.0.0.1")}
	backend := harness.NewBackend(t, harness.Script{})
	file := filepath.Join(t.TempDir(), "config.hcl")
	text := strings.NewReplacer(`certificate "mx" {`, "state \"memory\" {}\ncertificate \"mx\" {\n  self_signed = [\"mx.test\"]", "  cert_file", "# cert_file", "  key_file", "# key_file",
		"127.0.0.1:2525", backend.Addr, `"xclient"`, `"none"`, `hostname = "mx1.example.org"`, `hostname = "mx.test"`, "admin {", "log {", "  socket =", "#", `  listen = "127.0.0.1:9025"`, "").
		Replace(uncommented(read(t, "../../deploy/debian/config.hcl")))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for name := range listen {
		unit := filepath.Join(units, "postern-"+name+".socket")
		if !strings.Contains(read(t, unit), "\nFileDescriptorName="+name+"\n") {
			t.Errorf("%s is not for %s", unit, name)
		}
	}
	p := harness.StartProcess(t, activate, "-l", listen["mx"], "-l", listen["egress"], "--fdname=mx:egress", harness.Binary(t), "run", "--config", file)
	harness.Eventually(t, "systemd listens", func() bool { return harness.Listening(listen["mx"]) && harness.Listening(listen["egress"]) })
	c := harness.Dial(t, listen["mx"]) // waits for postern to start
	c.Deliver(harness.Message("activated"))
	c.Quit()
	harness.Eventually(t, "the message arrives", func() bool { return len(backend.Messages()) == 1 })
	harness.Dial(t, listen["egress"]).Quit()
	if log := p.Out.String(); strings.Contains(log, "0.0.0.0:25") || strings.Contains(log, ":10025") {
		t.Errorf("it listens on its own addresses too:\n%s", log)
	}
	p.Signal(syscall.SIGTERM)
	if !p.Wait(harness.Deadline) || p.ExitCode() != 0 {
		t.Errorf("it does not end well:\n%s", p.Out.String())
	}
}
