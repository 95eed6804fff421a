package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// made writes the images of a program, which is this test, and returns their folder.
func made(t *testing.T) string {
	t.Helper()
	out := t.TempDir()
	program := must(os.ReadFile(must(os.Executable())))
	for _, arch := range []string{"amd64", "arm64"} {
		folder := filepath.Join(out, "bin", arch)
		check(os.MkdirAll(folder, 0o700))
		check(os.WriteFile(filepath.Join(folder, "postern"), program, 0o700))
	}
	if err := write(out, "../..", []string{"amd64", "arm64"}); err != nil {
		t.Fatal(err)
	}
	return out
}

// unpacked are the files of a tar archive.
func unpacked(data []byte) map[string]*tar.Header {
	all := map[string]*tar.Header{}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		check(err)
		h.PAXRecords = map[string]string{"data": string(must(io.ReadAll(r)))}
		all[h.Name] = h
	}
}

func archived(t *testing.T, path string) archive {
	t.Helper()
	a := archive{}
	for name, h := range unpacked(must(os.ReadFile(path))) {
		a[name] = []byte(h.PAXRecords["data"])
	}
	return a
}

func TestTheFilesOfTheImage(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	all := unpacked(must(os.ReadFile(filepath.Join(made(t), "rootfs-arm64.tar"))))
	for name, want := range map[string]struct {
		mode int64
		uid  int
	}{
		"usr/":                              {0o755, 0},
		"usr/bin/postern":                   {0o755, 0},
		"usr/share/doc/postern/NOTICE":      {0o644, 0},
		"etc/passwd":                        {0o644, 0},
		"etc/ssl/certs/ca-certificates.crt": {0o644, 0},
		"var/lib/":                          {0o755, 0},
		"var/lib/postern/":                  {0o750, 10025},
		"run/postern/":                      {0o750, 10025},
	} {
		switch h := all[name]; {
		case h == nil:
			t.Errorf("no %s", name)
		case h.Mode != want.mode || h.Uid != want.uid || h.Gid != want.uid || h.ModTime.Unix() != 1700000000:
			t.Errorf("%s: mode %o, owner %d:%d, date %v", name, h.Mode, h.Uid, h.Gid, h.ModTime)
		}
	}
	for name := range all {
		if parent := name[:strings.LastIndex(strings.TrimSuffix(name, "/"), "/")+1]; parent != "" && all[parent] == nil {
			t.Errorf("%s is in no folder", name)
		}
	}
}

// ISRG Root X1 stands for the rest: half of the mail servers are certified by it.
func TestTheCertificatesOfPublicAuthoritiesAreThere(t *testing.T) {
	n, found := 0, false
	for rest := roots(); ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Error(err)
		}
		found = found || c.Subject.CommonName == "ISRG Root X1"
	}
	if n < 100 || !found {
		t.Errorf("%d certificates, that of Let's Encrypt: %t", n, found)
	}
}

// Everything is found from index.json, with the digest that it is said to have, and
// docker load finds the same.
func TestTheArchivesAreWhole(t *testing.T) {
	out := made(t)
	one := archived(t, filepath.Join(out, "postern-linux-amd64.tar"))
	if got := whole(t, one, one["index.json"]); got != 1 {
		t.Errorf("%d images for one architecture", got)
	}
	var docker []struct {
		Config           string
		RepoTags, Layers []string
	}
	check(json.Unmarshal(one["manifest.json"], &docker))
	if len(docker) != 1 || docker[0].RepoTags[0] != "postern:latest" || one[docker[0].Config] == nil || one[docker[0].Layers[0]] == nil {
		t.Errorf("manifest.json: %s", one["manifest.json"])
	}
	both := archived(t, filepath.Join(out, "postern-oci.tar"))
	if got := whole(t, both, both["index.json"]); got != 2 || both["manifest.json"] != nil {
		t.Errorf("%d images for two architectures", got)
	}
}

// whole checks all that an index leads to, and counts the images.
func whole(t *testing.T, a archive, data []byte) (images int) {
	t.Helper()
	var index struct{ Manifests []descriptor }
	check(json.Unmarshal(data, &index))
	for _, d := range index.Manifests {
		blob := get(t, a, d)
		if d.MediaType == typeIndex {
			images += whole(t, a, blob)
			continue
		}
		images++
		var m manifest
		check(json.Unmarshal(blob, &m))
		var config struct {
			Architecture, OS string
			RootFS           struct {
				DiffIDs []string `json:"diff_ids"`
			}
		}
		check(json.Unmarshal(get(t, a, m.Config), &config))
		if *d.Platform != (platform{config.Architecture, config.OS}) {
			t.Errorf("%v is for %s", d.Platform, config.Architecture)
		}
		layer := must(io.ReadAll(must(gzip.NewReader(bytes.NewReader(get(t, a, m.Layers[0]))))))
		if config.RootFS.DiffIDs[0] != digest(layer) {
			t.Errorf("the layer of %s has another digest", config.Architecture)
		}
	}
	return images
}

func get(t *testing.T, a archive, d descriptor) []byte {
	t.Helper()
	data := a[path(d)]
	sum := sha256.Sum256(data)
	if len(data) != d.Size || d.Digest != "sha256:"+hex.EncodeToString(sum[:]) {
		t.Fatalf("%s is not what it is said to be", d.Digest)
	}
	return data
}

func TestTheDateIsThatOfTheEpoch(t *testing.T) {
	program := must(os.Executable())
	t.Setenv("SOURCE_DATE_EPOCH", "86400")
	if f := must(factsOf(program)); !f.date.Equal(time.Unix(86400, 0)) {
		t.Errorf("it is %v", f.date)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if _, err := factsOf(program); err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH") {
		t.Errorf("a date that is none: %v", err)
	}
}

// An image that has grown too large is not written.
func TestAnImageHasALimit(t *testing.T) {
	out := t.TempDir()
	folder := filepath.Join(out, "bin", "amd64")
	check(os.MkdirAll(folder, 0o700))
	program := append(must(os.ReadFile(must(os.Executable()))), make([]byte, maxSize)...)
	check(os.WriteFile(filepath.Join(folder, "postern"), program, 0o700))
	if err := write(out, "../..", []string{"amd64"}); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("it says %v", err)
	}
	if left := must(filepath.Glob(filepath.Join(out, "*.tar"))); len(left) > 0 {
		t.Errorf("there is %v", left)
	}
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
