package certs_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/catest"
	"postern/tls/certs"
)

// reloaded is what WatchOptions.Reloaded was told.
type reloaded struct {
	changed bool
	err     error
}

// watching runs Watch on real files, with polls so rare that only notifications
// count, and returns what it reports. The first report, which says that the
// folders are watched, is taken already.
func watching(t *testing.T, s *certs.Source, log *slog.Logger) <-chan reloaded {
	t.Helper()
	reports := make(chan reloaded, 100)
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		certs.Watch(ctx, []*certs.Source{s}, certs.WatchOptions{
			Log: log, Settle: time.Millisecond, Poll: time.Hour,
			Reloaded: func(_ *certs.Source, changed bool, err error) { reports <- reloaded{changed, err} },
		})
	})
	t.Cleanup(func() { stop(); done.Wait() })
	if r := <-reports; r.changed || r.err != nil {
		t.Fatalf("at the start: %+v", r)
	}
	return reports
}

// waitFor takes reports until one fits.
func waitFor(reports <-chan reloaded, fits func(reloaded) bool) {
	for !fits(<-reports) {
	}
}

func succeeded(r reloaded) bool { return r.changed && r.err == nil }
func refused(r reloaded) bool   { return r.err != nil }

func TestWatchSeesFilesThatAreOverwritten(t *testing.T) {
	ca := catest.New(t)
	certFile, keyFile := ca.Files(t, catest.Leaf{})
	s := fromFiles(t, certFile, keyFile)
	reports := watching(t, s, nil)
	for range 3 {
		next := ca.Issue(t, catest.Leaf{})
		writePair(t, certFile, keyFile, next)
		waitFor(reports, succeeded)
		expectShown(t, s, next.Leaf)
	}
}

func TestWatchSeesFilesThatAreRenamedIntoPlace(t *testing.T) {
	ca := catest.New(t)
	certFile, keyFile := ca.Files(t, catest.Leaf{})
	s := fromFiles(t, certFile, keyFile)
	var out bytes.Buffer
	reports := watching(t, s, slog.New(slog.NewTextHandler(&out, nil)))
	next := ca.Issue(t, catest.Leaf{})
	newCert, newKey := filepath.Dir(certFile)+"/new-cert", filepath.Dir(certFile)+"/new-key"
	writePair(t, newCert, newKey, next)

	rename(t, newCert, certFile)
	waitFor(reports, refused)
	rename(t, newKey, keyFile)
	waitFor(reports, succeeded)
	expectShown(t, s, next.Leaf)
	log := out.String()
	for _, want := range []string{"certificate not reloaded, the old one stays in use", "certificate reloaded", "certificate=mx", "sha256="} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
}

// TestWatchSeesASecretSwapped does what the kubelet does: the files are links into
// ..data, which is a link to a folder with a new name at each change, and
// is replaced by a rename.
func TestWatchSeesASecretSwapped(t *testing.T) {
	ca := catest.New(t)
	volume := t.TempDir()
	swapSecret(t, volume, "..1", ca.Issue(t, catest.Leaf{}))
	for _, name := range []string{"tls.crt", "tls.key"} {
		symlink(t, filepath.Join("..data", name), filepath.Join(volume, name))
	}
	s := fromFiles(t, filepath.Join(volume, "tls.crt"), filepath.Join(volume, "tls.key"))
	reports := watching(t, s, nil)
	for _, version := range []string{"..2", "..3"} {
		next := ca.Issue(t, catest.Leaf{})
		swapSecret(t, volume, version, next)
		waitFor(reports, succeeded)
		expectShown(t, s, next.Leaf)
	}
}

// TestWatchSeesTheTargetOfALinkOverwritten has links from one folder to
// files in another, as certbot has, and a change in the other.
func TestWatchSeesTheTargetOfALinkOverwritten(t *testing.T) {
	ca := catest.New(t)
	certFile, keyFile := ca.Files(t, catest.Leaf{})
	live := t.TempDir()
	symlink(t, certFile, live+"/cert.pem")
	symlink(t, keyFile, live+"/key.pem")
	s := fromFiles(t, live+"/cert.pem", live+"/key.pem")
	reports := watching(t, s, nil)
	next := ca.Issue(t, catest.Leaf{})
	writePair(t, certFile, keyFile, next)
	waitFor(reports, succeeded)
	expectShown(t, s, next.Leaf)
}

func expectShown(t *testing.T, s *certs.Source, want *x509.Certificate) {
	t.Helper()
	if got := s.Certificates()[0].Leaf; !got.Equal(want) {
		t.Errorf("serial %v is shown, want %v", got.SerialNumber, want.SerialNumber)
	}
}

func swapSecret(t *testing.T, volume, version string, pair tls.Certificate) {
	t.Helper()
	dir := filepath.Join(volume, version)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	writePair(t, dir+"/tls.crt", dir+"/tls.key", pair)
	old, _ := os.Readlink(volume + "/..data")
	symlink(t, version, volume+"/..data_tmp")
	rename(t, volume+"/..data_tmp", volume+"/..data")
	if old == "" {
		return
	}
	if err := os.RemoveAll(filepath.Join(volume, old)); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, link string) {
	t.Helper()
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
