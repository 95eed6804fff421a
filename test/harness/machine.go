package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Machine is a Namespace that has its own /etc, /usr, /var and /run too: what is
// written there in Do or Run is gone with the test. So configuration files and
// commands are used as a document has them, with their paths and ports.
type Machine struct {
	*Namespace
	t testing.TB
}

// NewMachine makes one. On it is what is installed here, postern, and what
// test/install.sh has unpacked into folders of these names.
func NewMachine(t testing.TB, unpacked ...string) *Machine {
	t.Helper()
	m := &Machine{NewNamespace(t), t}
	layers := map[string]string{"etc": "/etc", "usr": "/usr", "var": "/var"}
	for _, name := range unpacked {
		folder := Cached(t, name)
		for part := range layers {
			if _, err := os.Stat(filepath.Join(folder, part)); err == nil {
				layers[part] = filepath.Join(folder, part) + ":" + layers[part]
			}
		}
	}
	m.Run(strings.NewReplacer("DIR", openDir(t), "POSTERN", Binary(t), "ETC", layers["etc"], "USR", layers["usr"], "VAR", layers["var"]).Replace(machineStart))
	return m
}

// The changes of the file systems are kept in memory.
const machineStart = `
cd DIR
mount -t tmpfs tmpfs DIR
layer() {
	mkdir DIR/$1 DIR/$1.work
	chmod 755 DIR/$1
	mount -t overlay overlay -o "lowerdir=$2,upperdir=DIR/$1,workdir=DIR/$1.work" /$1
}
layer etc ETC
layer usr USR
layer var VAR
mount -t tmpfs -o mode=755 tmpfs /run
rm -f /etc/resolv.conf
echo nameserver 127.0.0.1 >/etc/resolv.conf
cp POSTERN /usr/bin/postern
mkdir -p /etc/postern /var/lib/postern /run/postern
`

// Write writes a file of the machine.
func (m *Machine) Write(path, text string) {
	m.t.Helper()
	m.Do(func() {
		must(m.t, os.MkdirAll(filepath.Dir(path), 0o755))
		write(m.t, path, text, 0o644)
	})
}

// Shell runs a command line as a person would on the machine, and returns what it
// said and its exit code.
func (m *Machine) Shell(line string) (out string, code int) {
	m.t.Helper()
	m.Do(func() { out, code = Run(m.t, "", "sh", "-ec", line) })
	return out, code
}

// Postern runs postern with /etc/postern/config.hcl, which listens on these
// addresses. The environment has further variables, as "NAME=value".
func (m *Machine) Postern(env []string, listens ...string) *Postern {
	m.t.Helper()
	p := &Postern{t: m.t, Addr: listens[0], config: "/etc/postern/config.hcl"}
	m.Do(func() {
		p.Process = StartProcess(m.t, "env", append(env, "postern", "run")...)
		m.t.Cleanup(p.finish)
		for _, addr := range listens {
			if !Poll(Deadline, func() bool { return p.Ended() || Listening(addr) }) || p.Ended() {
				m.t.Fatalf("postern does not listen on %s:\n%s", addr, p.Out.String())
			}
		}
	})
	return p
}
