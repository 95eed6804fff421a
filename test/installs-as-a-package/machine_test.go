package installs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/test/harness"
)

// machine is a Debian in a folder, whose systemctl writes down what it is asked.
type machine struct{ root string }

// debian is what debootstrap made.
const debian = "debian-bookworm.tar"

// systemctlLog is where the machine's systemctl writes its arguments.
const systemctlLog = "/run/systemctl.log"

// systemctl does not run here: it takes the service for running.
const fakeSystemctl = "#!/bin/sh\n[ \"$1\" = --system ] || [ \"$1\" = --quiet ] && shift\necho \"$@\" >>" + systemctlLog + "\n"

func newMachine(t *testing.T) *machine {
	t.Helper()
	harness.Root(t)
	m := &machine{root: t.TempDir()}
	command(t, "tar", "-C", m.root, "-xf", harness.Cached(t, debian))
	// Folders of testing are closed to others, and postern runs as another user.
	for dir := m.root; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// deb-systemd-helper(1) and maintainer scripts look for this folder.
	if err := os.MkdirAll(m.path("/run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	m.write(t, "/usr/bin/systemctl", fakeSystemctl)
	if err := os.Chmod(m.path("/usr/bin/systemctl"), 0o755); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *machine) path(inside string) string { return filepath.Join(m.root, inside) }

// run runs a program of the machine.
func (m *machine) run(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	return harness.Run(t, "", "env", append([]string{
		"-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive",
		harness.Tool(t, "chroot"), m.root,
	}, args...)...)
}

func (m *machine) must(t *testing.T, args ...string) string {
	t.Helper()
	out, code := m.run(t, args...)
	if code != 0 {
		t.Fatalf("%q ends with %d:\n%s", args, code, out)
	}
	return out
}

// put copies a file to the machine and returns where it is there.
func (m *machine) put(t *testing.T, file string) string {
	t.Helper()
	m.write(t, "/tmp/"+filepath.Base(file), read(t, file))
	return "/tmp/" + filepath.Base(file)
}

func (m *machine) read(t *testing.T, path string) string {
	t.Helper()
	return read(t, m.path(path))
}

func (m *machine) write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(m.path(path), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// systemctl returns what systemctl was asked since the last time.
func (m *machine) systemctl(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(m.path(systemctlLog))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	m.write(t, systemctlLog, "")
	return string(text)
}

func (m *machine) exists(t *testing.T, path string, want bool) {
	t.Helper()
	if _, err := os.Lstat(m.path(path)); (err == nil) != want {
		t.Errorf("%s: %v", path, err)
	}
}

func (m *machine) has(t *testing.T, path, text string) {
	t.Helper()
	if !strings.Contains(m.read(t, path), text) {
		t.Errorf("%s has no %q", path, text)
	}
}

// owns says that a folder is the user's that postern runs as, with that mode.
func (m *machine) owns(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	info, err := os.Stat(m.path(path))
	if err != nil {
		t.Fatal(err)
	}
	uid, gid := ownerOf(t, info)
	if got := fmt.Sprintf("%d:%d", uid, gid); got != m.user(t) || info.Mode().Perm() != mode {
		t.Errorf("%s is of %s with mode %v", path, got, info.Mode())
	}
}

// user is "uid:gid" of postern.
func (m *machine) user(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(m.read(t, "/etc/passwd")) {
		if f := strings.Split(line, ":"); f[0] == "postern" {
			return f[2] + ":" + f[3]
		}
	}
	t.Fatal("there is no user postern")
	return ""
}

// unit returns the values of a setting of an installed unit.
func (m *machine) unit(t *testing.T, unit, name string) (values []string) {
	t.Helper()
	for line := range strings.Lines(m.read(t, "/usr/lib/systemd/system/"+unit)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && key == name {
			values = append(values, value)
		}
	}
	if len(values) == 0 {
		t.Fatalf("%s has no %s", unit, name)
	}
	return values
}

const bindService = "CAP_NET_BIND_SERVICE"

// as is the command that runs ExecStart as the user that the unit has, with these
// capabilities alone.
func (m *machine) as(t *testing.T, capabilities string) *exec.Cmd {
	t.Helper()
	set := "-all"
	for _, name := range strings.Fields(capabilities) {
		set += ",+" + strings.ToLower(strings.TrimPrefix(name, "CAP_"))
	}
	args := append([]string{
		m.root, "setpriv", "--reuid", m.unit(t, "postern.service", "User")[0], "--regid", m.unit(t, "postern.service", "Group")[0], "--clear-groups",
		"--inh-caps=" + set, "--ambient-caps=" + set, "--bounding-set=" + set, "--no-new-privs",
	}, strings.Fields(m.unit(t, "postern.service", "ExecStart")[0])...)
	cmd := exec.Command(harness.Tool(t, "chroot"), args...)
	cmd.Env = []string{"STATE_DIRECTORY=/var/lib/postern", "PATH=/usr/sbin:/usr/bin"}
	return cmd
}
