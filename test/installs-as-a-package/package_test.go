// Package installs proves that the Debian package does what an administrator
// expects of one: it installs, starts nothing that was not asked for, runs as its
// own user with the rights that its unit gives, is upgraded without a harm to what
// runs, and goes away without a trace.
//
// Everything happens in a Debian of its own, unpacked into a folder. systemd is not
// process 1 there: the test starts what the unit says, and listens where
// systemd would.
package installs

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"postern/test/harness"
)

const config = "/etc/postern/config.hcl"

func TestTheLifeOfAPackage(t *testing.T) {
	m := newMachine(t)
	first := built(t)
	shipped := ""
	t.Run("installed", func(t *testing.T) {
		m.must(t, "dpkg", "-i", m.put(t, first))
		shipped = m.read(t, config)
		m.owns(t, "/var/lib/postern", 0o700)
		m.owns(t, "/run/postern", 0o750)
		m.has(t, "/usr/share/bash-completion/completions/postern", "__start_postern")
		m.has(t, "/usr/share/zsh/vendor-completions/_postern", "#compdef postern")
		m.has(t, "/usr/share/fish/vendor_completions.d/postern.fish", "complete -c postern")
		m.exists(t, "/usr/share/man/man1/postern-run.1.gz", true)
		m.exists(t, "/usr/share/man/man5/postern-config.5.gz", true)
		m.exists(t, "/etc/systemd/system/multi-user.target.wants/postern.service", false)
		if s := m.systemctl(t); strings.Contains(s, "start") {
			t.Errorf("a new package starts something:\n%s", s)
		}
	})
	t.Run("not configured", func(t *testing.T) {
		if out, code := m.run(t, "postern", "run"); code != 78 || !strings.Contains(out, "no inbound and no outbound") {
			t.Errorf("it ends with %d:\n%s", code, out)
		}
	})
	t.Run("the template is right", func(t *testing.T) {
		m.write(t, config, uncommented(shipped))
		if out, _ := m.run(t, "postern", "check"); !strings.Contains(out, "fullchain.pem does not exist") || !strings.Contains(out, ": 1 mistake") {
			t.Errorf("but for the certificate, it should be good:\n%s", out)
		}
	})
	listen := harness.FreePort(t, "127.0.0.1")
	m.write(t, config, egress(listen))
	old := m.start(t)
	t.Run("upgraded", func(t *testing.T) { m.upgraded(t, old, listen, repack(t, first, "2.0.0")) })
	t.Run("upgraded with a configuration that is wrong", func(t *testing.T) {
		m.write(t, config, "outbund {}\n")
		out := m.must(t, "dpkg", "-i", m.put(t, repack(t, first, "3.0.0")))
		if s := m.systemctl(t); strings.Contains(s, "restart") || !strings.Contains(out, "the old one goes on") {
			t.Errorf("systemctl was called with\n%s\nand dpkg said\n%s", s, out)
		}
	})
	old.stop(t)
	t.Run("removed", func(t *testing.T) {
		m.must(t, "dpkg", "--remove", "postern")
		if s := m.systemctl(t); !regexp.MustCompile(`(?m)^stop .*postern\.service`).MatchString(s) {
			t.Errorf("the service goes on; systemctl was called with\n%s", s)
		}
		m.exists(t, "/usr/bin/postern", false)
		m.exists(t, config, true)
		m.exists(t, "/var/lib/postern/state.db", true)
	})
	t.Run("purged", func(t *testing.T) {
		m.must(t, "dpkg", "--purge", "postern")
		for _, path := range []string{"/etc/postern", "/var/lib/postern", "/run/postern", "/etc/systemd/system/postern.service"} {
			m.exists(t, path, false)
		}
	})
	t.Run("installed again", func(t *testing.T) {
		m.must(t, "dpkg", "-i", m.put(t, first))
		m.must(t, "/var/lib/dpkg/info/postern.postinst", "configure", "1.0.0")
		m.owns(t, "/var/lib/postern", 0o700)
	})
}

// upgraded says that an upgrade leaves the running program, the configuration and
// what is enabled as they are, and asks for a restart.
func (m *machine) upgraded(t *testing.T, old *service, listen, file string) {
	wants := m.path("/etc/systemd/system/multi-user.target.wants")
	if err := os.MkdirAll(wants, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr/lib/systemd/system/postern.service", wants+"/postern.service"); err != nil {
		t.Fatal(err)
	}
	before := m.read(t, config)
	m.must(t, "dpkg", "-i", m.put(t, file))
	if s := m.systemctl(t); !regexp.MustCompile(`daemon-reload(?s:.*)try-restart postern\.service`).MatchString(s) || strings.Contains(s, "stop") {
		t.Errorf("systemctl was called with\n%s", s)
	}
	if m.read(t, config) != before {
		t.Error("the configuration was changed")
	}
	m.exists(t, "/etc/systemd/system/multi-user.target.wants/postern.service", true)
	c := harness.Dial(t, listen) // the old one serves until systemd stops it
	c.Quit()
	old.reload(t)
}

// uncommented is the template with everything switched on.
func uncommented(text string) string {
	return regexp.MustCompile(`(?m)^# (  |hostname|certificate "|inbound "|outbound "|\})`).ReplaceAllString(text, "$1")
}

func egress(listen string) string {
	return "hostname = \"mx.test\"\noutbound \"egress\" {\n  listen = [\"" + listen + "\"]\n}\nadmin {\n  socket = \"/run/postern/admin.sock\"\n}\n"
}

func TestThePackageIsReproducible(t *testing.T) {
	t.Parallel()
	first, second := built(t), build(t, t.TempDir(), "amd64")
	if read(t, first) != read(t, second) {
		t.Errorf("%s and %s differ", first, second)
	}
}

func TestThePackageForARM(t *testing.T) {
	t.Parallel()
	root := unpack(t, build(t, t.TempDir(), "arm64"))
	f, err := elf.Open(filepath.Join(root, "usr/bin/postern"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); f.Machine != elf.EM_AARCH64 || len(libraries) != 0 || err != nil {
		t.Errorf("%v, libraries %q, %v", f.Machine, libraries, err)
	}
}

// shared is the package that most tests install.
var shared struct {
	sync.Mutex
	dir, file string
}

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(shared.dir)
	os.Exit(code)
}

// built returns a package of version 1.0.0 for this machine, made once.
func built(t *testing.T) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.file == "" {
		dir, err := os.MkdirTemp("", "postern-package-")
		if err != nil {
			t.Fatal(err)
		}
		shared.dir = dir
		shared.file = build(t, dir, runtime.GOARCH)
	}
	return shared.file
}

// build makes a package of version 1.0.0 in a folder and returns its file.
func build(t *testing.T, dist, architecture string) string {
	t.Helper()
	harness.Tool(t, "dpkg-deb")
	cmd := exec.Command("../../tools/deb.sh", architecture)
	cmd.Env = append(os.Environ(), "VERSION=1.0.0", "DIST="+dist)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tools/deb.sh: %v\n%s", err, out)
	}
	return filepath.Join(dist, "postern_1.0.0_"+architecture+".deb")
}

// repack makes the same package with another version.
func repack(t *testing.T, file, version string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	command(t, "dpkg-deb", "-R", file, root)
	control := filepath.Join(root, "DEBIAN/control")
	text := strings.Replace(read(t, control), "Version: 1.0.0", "Version: "+version, 1)
	if err := os.WriteFile(control, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	next := filepath.Join(t.TempDir(), "postern_"+version+".deb")
	command(t, "dpkg-deb", "-Znone", "--build", root, next)
	return next
}

func unpack(t *testing.T, file string) string {
	t.Helper()
	root := t.TempDir()
	command(t, "dpkg-deb", "-x", file, root)
	return root
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, code := harness.Run(t, "", name, args...)
	if code != 0 {
		t.Fatalf("%s %q: %d\n%s", name, args, code, out)
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ownerOf is the user and the group of a file.
func ownerOf(t *testing.T, info os.FileInfo) (uid, gid uint32) {
	t.Helper()
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("no owner of %s", info.Name())
	}
	return s.Uid, s.Gid
}
