// Package container proves that the container image is what the documents say:
// the same octets wherever it is built, without rights, and a mail proxy.
package container

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"postern/test/harness"
)

// source is the root of the source.
const source = "../.."

var built struct {
	sync.Once
	out []byte
	err error
}

// image builds the images, once, and returns the folder that they are in.
func image(t *testing.T) string {
	t.Helper()
	built.Do(func() { built.out, built.err = makeImage(source) })
	if built.err != nil {
		t.Fatalf("make image: %v\n%s", built.err, built.out)
	}
	return filepath.Join(source, "dist", "image")
}

func makeImage(folder string, env ...string) ([]byte, error) {
	cmd := exec.Command("make", "image")
	cmd.Dir, cmd.Env = folder, append(os.Environ(), env...)
	return cmd.CombinedOutput()
}

// Neither the folder, nor the clock, nor who builds shows in the image.
func TestTheImageIsTheSameFromEverywhere(t *testing.T) {
	t.Parallel()
	here := image(t)
	elsewhere := t.TempDir()
	shell(t, `git ls-files -z --cached --others --exclude-standard | tar --null -T - -c | tar -x -C "$1" && cp -a .git "$1"`, elsewhere)
	if out, err := makeImage(elsewhere, "TZ=Asia/Tokyo", "LANG=C", "SOURCE_DATE_EPOCH="); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"postern-linux-amd64.tar", "postern-linux-arm64.tar", "postern-oci.tar"} {
		a, b := read(t, filepath.Join(here, name)), read(t, filepath.Join(elsewhere, "dist", "image", name))
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs", name)
		}
	}
}

func shell(t *testing.T, script string, args ...string) {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-euc", script, "sh"}, args...)...)
	cmd.Dir = source
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The Dockerfile and the program that needs no engine say the same twice.
func TestTheDockerfileMakesTheSameImage(t *testing.T) {
	t.Parallel()
	e := harness.NewEngine(t)
	load(t, e)
	e.Docker("build", "-q", "-f", filepath.Join(source, "deploy/container/Dockerfile"), "-t", "built", "--build-arg", "FILES=outside",
		"--build-arg", "VERSION="+label(t, e, "version"), "--build-arg", "REVISION="+label(t, e, "revision"), "--build-arg", "CREATED="+label(t, e, "created"), source)
	ours, theirs := config(t, e, "postern"), config(t, e, "built")
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		if a, b := string(ours[name]), string(theirs[name]); a != b {
			t.Errorf("%s is %s, and with the Dockerfile %s", name, a, b)
		}
	}
	if a, b := files(t, e, "postern"), files(t, e, "built"); a != b {
		t.Errorf("its files are\n%s\nand with the Dockerfile\n%s", a, b)
	}
}

// load gives the engine the image for this machine.
func load(t *testing.T, e *harness.Engine) {
	t.Helper()
	arch := strings.TrimSpace(strings.ReplaceAll(e.Docker("version", "--format", "{{.Server.Arch}}"), "\n", ""))
	e.Docker("load", "-i", filepath.Join(image(t), "postern-linux-"+arch+".tar"))
}

func label(t *testing.T, e *harness.Engine, name string) string {
	t.Helper()
	value := e.Docker("inspect", "--format", `{{index .Config.Labels "org.opencontainers.image.`+name+`"}}`, "postern")
	if value == "" {
		t.Errorf("it has no %s", name)
	}
	return value
}

// config is the configuration of an image, by its fields, without those that say
// nothing.
func config(t *testing.T, e *harness.Engine, image string) map[string]json.RawMessage {
	t.Helper()
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(e.Docker("inspect", "--format", "{{json .Config}}", image)), &fields); err != nil {
		t.Fatal(err)
	}
	delete(fields, "Image") // what it was built on
	return fields
}

// files lists the files of an image, with owners, modes, sizes and dates.
func files(t *testing.T, e *harness.Engine, image string) string {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "files.tar")
	e.Docker("export", "-o", archive, e.Docker("create", image))
	out, err := exec.Command("tar", "--numeric-owner", "--full-time", "-tvf", archive).Output()
	if err != nil {
		t.Fatal(err)
	}
	var ours []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "/postern") || strings.Contains(line, "ssl/") || strings.Contains(line, "etc/passwd") || strings.Contains(line, "etc/group") {
			ours = append(ours, line)
		}
	}
	if len(ours) < 8 {
		t.Errorf("%s has only these files:\n%s", image, out)
	}
	return strings.Join(ours, "")
}
