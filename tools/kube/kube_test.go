// Package kube tests what is in deploy for Kubernetes, without a cluster: the Helm
// chart and the kustomize components are rendered by the code of helm and kustomize
// themselves, compared with what is committed, read as strictly as an API server
// does, and held against the Pod Security Standards; every configuration in them
// must satisfy postern check.
//
// It is a module of its own, so that nothing of this is among the dependencies of
// postern. The files are outside of the module, so results must not be cached:
// go test -C tools/kube -count=1 . and, after a wanted change, the same with -update.
package kube

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	chartDir     = "../../deploy/helm/postern"
	kustomizeDir = "../../deploy/kustomize"
)

var update = flag.Bool("update", false, "write what is rendered over what is committed")

// golden is one rendering and the file that it is compared with.
type golden struct {
	file   string
	render func(t *testing.T) string
}

// goldens returns all of them: one for each file of values in ci of the chart, and
// one for each example of kustomize.
func goldens(t *testing.T) map[string]golden {
	t.Helper()
	all := map[string]golden{}
	for _, file := range files(t, chartDir+"/ci/*-values.yaml") {
		name := strings.TrimSuffix(filepath.Base(file), "-values.yaml")
		all["helm "+name] = golden{"../../deploy/helm/testdata/" + name + ".yaml", func(t *testing.T) string {
			text, err := template(readValues(t, file))
			if err != nil {
				t.Fatal(err)
			}
			return text
		}}
	}
	for _, file := range files(t, kustomizeDir+"/examples/*/kustomization.yaml") {
		dir := filepath.Dir(file)
		all["kustomize "+filepath.Base(dir)] = golden{kustomizeDir + "/testdata/" + filepath.Base(dir) + ".yaml", func(t *testing.T) string {
			return kustomize(t, dir)
		}}
	}
	return all
}

// files returns what matches, which must be something.
func files(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("nothing matches %s: %v", pattern, err)
	}
	return found
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readValues(t *testing.T, file string) map[string]any {
	t.Helper()
	return parseValues(t, read(t, file))
}

func parseValues(t *testing.T, text string) (values map[string]any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// template renders the chart as helm template does: values are held against the
// schema, and templates follow each other by name.
func template(values map[string]any) (string, error) {
	rendered, err := render(values)
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if text := strings.TrimSpace(rendered[name]); strings.HasSuffix(name, ".yaml") && text != "" {
			all.WriteString("---\n# Source: " + name + "\n" + text + "\n")
		}
	}
	return all.String(), nil
}

// render returns what each template makes, by its name.
func render(values map[string]any) (map[string]string, error) {
	chart, err := loader.LoadDir(chartDir)
	if err != nil {
		return nil, err
	}
	release := common.ReleaseOptions{Name: "mail", Namespace: "mail", Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(chart, values, release, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(chart, all)
}

// kustomize renders a folder as kubectl kustomize does.
func kustomize(t *testing.T, dir string) string {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := resources.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestWhatIsRenderedIsWhatIsCommitted(t *testing.T) {
	for name, g := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			got := g.render(t)
			if *update {
				if err := os.WriteFile(g.file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := read(t, g.file); got != want {
				t.Errorf("%s is not what is rendered: look at the difference after go test -update\n%s", g.file, firstDifference(got, want))
			}
		})
	}
}

// firstDifference shows where two texts part.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "rendered:  " + g[i] + "\ncommitted: " + w[i]
		}
	}
	return "one of them goes on"
}

func TestEveryGoldenIsRendered(t *testing.T) {
	var rendered []string
	for _, g := range goldens(t) {
		rendered = append(rendered, filepath.Clean(g.file))
	}
	for _, file := range slices.Concat(files(t, "../../deploy/helm/testdata/*"), files(t, kustomizeDir+"/testdata/*")) {
		if !slices.Contains(rendered, filepath.Clean(file)) {
			t.Errorf("%s is rendered from nothing: remove it", file)
		}
	}
}

func TestTheChartHasNoLint(t *testing.T) {
	for _, file := range files(t, chartDir+"/ci/*-values.yaml") {
		result := lint.RunAll(chartDir, readValues(t, file), "mail", lint.WithKubeVersion(&common.DefaultCapabilities.KubeVersion))
		for _, m := range result.Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %v", filepath.Base(file), m)
			}
		}
	}
}
