package config

import (
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxFile bounds a configuration and what file() reads, in octets: far above
// any sensible file, and small enough that a wrong path cannot fill the memory.
const maxFile = 1 << 20

// Load reads and validates a file. Mistakes in it come back as *Error, a file
// that cannot be read as the error of package os (errors.Is with fs.ErrNotExist
// works), and what is only doubtful in Config.Warnings.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(src, path)
}

// Parse validates the text of a file. The filename appears in diagnostics, and
// its folder is where relative paths start from.
func Parse(src []byte, filename string) (*Config, error) {
	if len(src) > maxFile {
		return nil, fmt.Errorf("%s: larger than 1 MiB: this is no configuration of postern", filename)
	}
	dir, err := folder(filename)
	if err != nil {
		return nil, fmt.Errorf("find the folder of %s: %w", filename, err)
	}
	file, syntax := parseFile(src, filename)
	d := &decoder{dir: dir, src: src, eval: evalContext(dir), partial: syntax.HasErrors()}
	c := Default()
	if body, ok := file.Body.(*hclsyntax.Body); ok {
		d.read(fileSection(d, filename), body, c.table(d))
	}
	d.diags = append(syntax, dropShadowed(syntax, d.diags)...)
	mistakes, warnings := d.finish()
	if len(mistakes) > 0 {
		return nil, &Error{diags: mistakes, files: map[string]*hcl.File{filename: file}}
	}
	c.Warnings = warnings
	return c, nil
}

// fileSection is the file itself, as if it were a block without a header: what
// is missing in it is shown at its first line.
func fileSection(d *decoder, filename string) *section {
	start := hcl.InitialPos
	return &section{
		d: d, at: hcl.Range{Filename: filename, Start: start, End: start},
		attrs: map[string]value{}, blocks: map[string]*section{},
	}
}
