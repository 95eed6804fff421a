package telemetry

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const page = "../docs/metrics.md"

// documented is a row of the page's tables: a metric's type and labels.
type documented struct {
	Type   string
	Labels []string
}

func TestThePageListsExactlyWhatIsExposed(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("the process metrics need /proc:", err)
	}
	// go_memory_limit_bytes is only there when a limit is set.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 40))

	tel := start(t)
	exercise(tel)
	exposed := map[string]documented{}
	for name, family := range scrape(t, tel) {
		exposed[name] = documented{strings.ToLower(family.GetType().String()), labelNames(family)}
	}
	if diff := cmp.Diff(pageMetrics(t), exposed); diff != "" {
		t.Errorf("docs/metrics.md (-) and what is exposed (+) differ:\n%s", diff)
	}
}

func TestThePageListsEveryCause(t *testing.T) {
	declared := declaredCauses(t)
	slices.Sort(declared)
	var listed []string
	for _, cells := range rows(t, 2) {
		if name := strings.Trim(cells[0], "`"); cells[0] != name && !isLabel(t, name) {
			listed = append(listed, name)
		}
	}
	slices.Sort(listed)
	if diff := cmp.Diff(listed, declared); diff != "" || len(declared) == 0 {
		t.Errorf("docs/metrics.md (-) and the causes of package proxy (+) differ:\n%s", diff)
	}
}

// declaredCauses reads package proxy's source, for the constants of a type
// cannot be listed at run time.
func declaredCauses(t *testing.T) []string {
	files, err := filepath.Glob("../proxy/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && isCause(spec) {
				word, _ := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				declared = append(declared, word)
			}
			return true
		})
	}
	return declared
}

func isCause(spec *ast.ValueSpec) bool {
	name, ok := spec.Type.(*ast.Ident)
	return ok && name.Name == "Cause" && len(spec.Values) == 1
}

// isLabel says whether name is a label of a documented metric, and so its row
// one of the table of labels and not of causes.
func isLabel(t *testing.T, name string) bool {
	for _, metric := range pageMetrics(t) {
		if slices.Contains(metric.Labels, name) {
			return true
		}
	}
	return false
}

func pageMetrics(t *testing.T) map[string]documented {
	quoted := regexp.MustCompile("`([^`]+)`")
	metrics := map[string]documented{}
	for _, cells := range rows(t, 5) {
		name := quoted.FindStringSubmatch(cells[0])
		if name == nil {
			continue
		}
		labels := []string{}
		for _, label := range quoted.FindAllStringSubmatch(cells[2], -1) {
			labels = append(labels, label[1])
		}
		slices.Sort(labels)
		metrics[name[1]] = documented{cells[1], labels}
	}
	return metrics
}

// rows returns the cells of the page's table rows with so many columns.
func rows(t *testing.T, columns int) [][]string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var found [][]string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) == columns {
			found = append(found, cells)
		}
	}
	return found
}
