package kube

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// program is a postern of this tree.
var program string

func TestMain(m *testing.M) {
	os.Exit(withProgram(m.Run))
}

// withProgram builds the program for as long as run needs it.
func withProgram(run func() int) int {
	dir, err := os.MkdirTemp("", "postern-kube")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "postern")
	build := exec.Command("go", "build", "-o", program, "./cmd/postern")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("go build: %v\n%s", err, out))
	}
	return run()
}

// postern is a folder with what a pod has.
type postern struct{ dir string }

// newPostern makes one.
func newPostern(t *testing.T) postern {
	t.Helper()
	p := postern{t.TempDir()}
	for _, dir := range []string{"state", "run", "certificates/mx"} {
		if err := os.MkdirAll(filepath.Join(p.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p.writePair(t)
	return p
}

// writePair writes a certificate as a Secret has it.
func (p postern) writePair(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx1.example.org"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * 90 * time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: cert}, "tls.key": {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(p.dir, "certificates/mx", name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// check runs postern check on a configuration whose paths are those of a pod.
func (p postern) check(t *testing.T, hcl string) (out string, err error) {
	t.Helper()
	hcl = strings.NewReplacer("/certificates/", p.dir+"/certificates/", "/var/lib/postern", p.dir+"/state", "/run/postern", p.dir+"/run").Replace(hcl)
	file := filepath.Join(t.TempDir(), "config.hcl")
	if err := os.WriteFile(file, []byte(hcl), 0o600); err != nil {
		t.Fatal(err)
	}
	check := exec.Command(program, "check", "--config", file)
	check.Env = append(os.Environ(), "STATE_DIRECTORY="+p.dir+"/state")
	text, err := check.CombinedOutput()
	return string(text), err
}

// configurations returns the config.hcl of each ConfigMap among objects.
func configurations(all []any) (found []string) {
	for _, object := range all {
		if o, is := object.(*corev1.ConfigMap); is && o.Data["config.hcl"] != "" {
			found = append(found, o.Data["config.hcl"])
		}
	}
	return found
}

func TestEveryConfigurationSatisfiesPosternCheck(t *testing.T) {
	p := newPostern(t)
	for name, g := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			found := configurations(objects(t, g))
			if len(found) != 1 {
				t.Fatalf("%d configurations", len(found))
			}
			if out, err := p.check(t, found[0]); err != nil {
				t.Errorf("postern check: %v\n%s", err, out)
			}
		})
	}
}

func TestASecretWithoutItsKeyIsNamed(t *testing.T) {
	p := newPostern(t)
	if err := os.Remove(p.dir + "/certificates/mx/tls.key"); err != nil {
		t.Fatal(err)
	}
	out, err := p.check(t, configurations(objects(t, goldens(t)["helm edge"]))[0])
	if want := p.dir + "/certificates/mx/tls.key does not exist: correct the path"; err == nil || !strings.Contains(out, want) {
		t.Errorf("%v: no %q in %s", err, want, out)
	}
}

// TestValuesBecomeHCLAsTheyAre has text in the values that means something in HCL.
func TestValuesBecomeHCLAsTheyAre(t *testing.T) {
	values := parseValues(t, `
mode: egress
config:
  hostname: mx1.example.org
  outbound:
    egress:
      from: ["10.0.0.0/8"]
      reuse_idle: null
      trusted_roots: '/etc/${HOME}/%{if}/<"&>.pem'
      limits: {connections: 123456789}
      destination: {"*.example": {level: secure}, .example.net: null}
`)
	text, err := template(values)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`trusted_roots = "/etc/$${HOME}/%%{if}/\u003c\"\u0026\u003e.pem"`,
		`connections = 123456789`, `destination "*.example" {`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	for _, unwanted := range []string{"reuse_idle", "example.net"} {
		if strings.Contains(text, unwanted) {
			t.Errorf("%s in\n%s", unwanted, text)
		}
	}
}

func TestBackendsOfASidecarCanBeSeveral(t *testing.T) {
	values := readValues(t, chartDir+"/ci/sidecar-values.yaml")
	values["config"] = parseValues(t, `{hostname: mx1.example.org, inbound: {mx: {backend: {addresses: ["127.0.0.1:25", "[::1]:25"], client_address: xclient}}}}`)
	text, err := template(values)
	if err != nil {
		t.Fatal(err)
	}
	all, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := newPostern(t).check(t, configurations(all)[0]); err != nil {
		t.Errorf("postern check: %v\n%s", err, out)
	}
}

func TestThePodLivesLongerThanTheDrain(t *testing.T) {
	for name, g := range goldens(t) {
		for _, object := range objects(t, g) {
			d, is := object.(*appsv1.Deployment)
			if !is {
				continue
			}
			c := ours(t, d.Spec.Template.Spec)
			if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Sleep == nil {
				t.Fatalf("%s: preStop does not sleep", name)
			}
			// 60 s is shutdown_grace of every configuration here.
			if need := c.Lifecycle.PreStop.Sleep.Seconds + 60; *d.Spec.Template.Spec.TerminationGracePeriodSeconds <= need {
				t.Errorf("%s: the pod has %d s, sleep and drain take %d", name, *d.Spec.Template.Spec.TerminationGracePeriodSeconds, need)
			}
			for _, hcl := range configurations(objects(t, g)) {
				if name != "helm configfile" && !strings.Contains(hcl, `"60s"`) {
					t.Errorf("%s: no shutdown_grace of 60s in\n%s", name, hcl)
				}
			}
		}
	}
}

// ours returns the container of postern, which is an init container in a sidecar.
func ours(t *testing.T, pod corev1.PodSpec) corev1.Container {
	t.Helper()
	for _, c := range append(pod.InitContainers, pod.Containers...) {
		if c.Name == "postern" {
			return c
		}
	}
	t.Fatal("no container postern")
	return corev1.Container{}
}
