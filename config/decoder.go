package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// decoder reads one file. It collects diagnostics and goes on, so that every
// mistake of the file is reported.
type decoder struct {
	dir   string // absolute folder of the file, which relative paths start from
	src   []byte
	eval  *hcl.EvalContext
	diags hcl.Diagnostics
	// partial says that the parser found mistakes, so parts of the file are
	// missing from the tree: what is absent is not reported as missing, and
	// nothing is compared across blocks.
	partial bool

	certificates []written
	inbounds     []*inboundSource
	outbounds    []*outboundSource
}

// written is the kind and name of a block and where it stands.
type written struct {
	kind string
	name string
	at   hcl.Range
}

// inboundSource is an inbound and the block that it was read from: checks
// across blocks need the places.
type inboundSource struct {
	in  *Inbound
	sec *section
}

// outboundSource is the same for an outbound.
type outboundSource struct {
	out  Outbound
	sec  *section
	to   []*destinationSource
	seen map[string]hcl.Range // patterns of destinations
}

// destinationSource is a destination and its block.
type destinationSource struct {
	Destination
	sec *section
}

// section is one block as written.
type section struct {
	d          *decoder
	name       string
	label      string
	at         hcl.Range // its header
	labelRange hcl.Range
	attrs      map[string]value
	blocks     map[string]*section
}

// has reports whether the attribute was written.
func (s *section) has(name string) bool {
	_, ok := s.attrs[name]
	return ok
}

// ok reports whether the attribute was written and is valid.
func (s *section) ok(name string) bool {
	return s.attrs[name].good
}

// place returns where the attribute stands, or the header of the block.
func (s *section) place(name string) hcl.Range {
	if v, ok := s.attrs[name]; ok {
		return v.expr.Range()
	}
	return s.at
}

// itemPlace returns where the i-th of n items of a list stands, or the list
// where items are not written one by one.
func (s *section) itemPlace(name string, i, n int) hcl.Range {
	if list, ok := s.attrs[name].expr.(*hclsyntax.TupleConsExpr); ok && len(list.Exprs) == n {
		return list.Exprs[i].Range()
	}
	return s.place(name)
}

// read reads a body by its table, in the order of the file.
func (d *decoder) read(s *section, body *hclsyntax.Body, t table) {
	if t.closed {
		return
	}
	for _, a := range sorted(body.Attributes) {
		d.readAttribute(s, a, t)
	}
	for _, b := range body.Blocks {
		d.readBlock(s, b, t)
	}
	if d.partial {
		return
	}
	d.checkNeeded(s, t)
	if t.check != nil {
		t.check(s)
	}
}

func sorted(attrs hclsyntax.Attributes) []*hclsyntax.Attribute {
	return slices.SortedFunc(maps.Values(attrs), func(a, b *hclsyntax.Attribute) int {
		return cmp.Compare(a.SrcRange.Start.Byte, b.SrcRange.Start.Byte)
	})
}

func (d *decoder) readAttribute(s *section, a *hclsyntax.Attribute, t table) {
	for _, f := range t.fields {
		if f.name != a.Name {
			continue
		}
		if f.no != "" {
			d.wrong(a.NameRange, f.name+": not available here", sentence(f.no))
			return
		}
		if v, ok := d.evaluate(a); ok {
			s.attrs[f.name] = v.read(f.read)
		} else {
			s.attrs[f.name] = v
		}
		return
	}
	d.unknownName(s, a.Name, a.NameRange, t, true)
}

func (d *decoder) readBlock(s *section, b *hclsyntax.Block, t table) {
	for _, k := range t.blocks {
		if k.name == b.Type {
			d.openBlock(s, b, k)
			return
		}
	}
	d.unknownName(s, b.Type, b.TypeRange, t, false)
}

func (d *decoder) openBlock(s *section, b *hclsyntax.Block, k block) {
	if k.no != "" {
		d.wrong(b.DefRange(), k.name+": not available here", sentence(k.no))
		return
	}
	if first, ok := s.blocks[k.name]; ok && !k.many {
		d.wrong(b.DefRange(), "second "+k.name+" block", fmt.Sprintf("There is one in line %d already: write both into one block.", first.at.Start.Line))
		return
	}
	child := &section{d: d, name: k.name, at: b.DefRange(), labelRange: b.DefRange(), attrs: map[string]value{}, blocks: map[string]*section{}}
	s.blocks[k.name] = child
	d.readLabel(child, b, k)
	d.read(child, b.Body, k.open(child))
}

// readLabel takes the name of a block, as in inbound "mx".
func (d *decoder) readLabel(s *section, b *hclsyntax.Block, k block) {
	switch {
	case !k.labelled && len(b.Labels) > 0:
		d.wrong(b.LabelRanges[0], k.name+" takes no name", "Write "+k.name+" { … }.")
	case k.labelled && len(b.Labels) == 0:
		d.wrong(b.DefRange(), k.name+" without a name", "Write a name behind it: "+k.name+` "`+exampleLabel(k.name)+`" { … }.`)
	case k.labelled && len(b.Labels) > 1:
		d.wrong(b.LabelRanges[1], k.name+" takes one name", "Remove "+quote(b.Labels[1])+".")
	case k.labelled && k.free && b.Labels[0] == "":
		d.wrong(b.LabelRanges[0], k.name+" without a name", "Write "+k.name+` "`+exampleLabel(k.name)+`" { … }.`)
	case k.labelled && !k.free && !validLabel(b.Labels[0]):
		d.wrong(b.LabelRanges[0], "a name that cannot be used", "A name has 1 to 64 letters, digits, dots, hyphens or underscores: it appears in logs and metrics.")
	case k.labelled:
		s.label, s.labelRange = b.Labels[0], b.LabelRanges[0]
	}
}

func exampleLabel(blockName string) string {
	switch blockName {
	case "state":
		return "bolt"
	case "outbound":
		return "egress"
	case "destination":
		return "example.com"
	}
	return "mx"
}

func validLabel(name string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	return name != "" && len(name) <= 64 && strings.Trim(name, allowed) == ""
}

func (d *decoder) checkNeeded(s *section, t table) {
	for _, f := range t.fields {
		if f.need != "" && !s.has(f.name) {
			d.wrong(s.at, f.name+" is missing", f.need)
		}
	}
	for _, k := range t.blocks {
		if k.need != "" && s.blocks[k.name] == nil {
			d.wrong(s.at, "no "+k.name+" block", "Write\n"+indent(k.need))
		}
	}
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(text, "\n", "\n  ")
}

// unknownName reports an attribute or a block that the table does not have.
func (d *decoder) unknownName(s *section, name string, at hcl.Range, t table, attribute bool) {
	fields, blocks := t.names()
	switch {
	case attribute && slices.Contains(blocks, name):
		d.wrong(at, name+" is a block", "Write "+name+" { … }, without the equals sign.")
	case !attribute && slices.Contains(fields, name):
		d.wrong(at, name+" is an attribute", "Write "+name+" = …, without the braces.")
	default:
		d.wrong(at, "unknown name "+quote(name)+s.inside(), d.whereElse(name, append(fields, blocks...)))
	}
}

// inside names the block for a sentence; at the top level it is empty.
func (s *section) inside() string {
	if s.name == "" {
		return ""
	}
	return " in " + s.name
}

// whereElse suggests a name of this block, or says which block has the name.
func (d *decoder) whereElse(name string, known []string) string {
	if homes := blocksWith(name); len(homes) > 0 {
		return "It belongs " + strings.Join(homes, " or ") + "."
	}
	if best := closest(name, known); best != "" {
		return suggest(name, known)
	}
	if best := closest(name, schemaNames()); best != "" {
		return "Did you mean " + quote(best) + "? It belongs " + strings.Join(blocksWith(best), " or ") + "."
	}
	return suggest(name, known)
}

// names returns what may be written: what is merely known is not suggested.
func (t table) names() (fields, blocks []string) {
	for _, f := range t.fields {
		if f.no == "" {
			fields = append(fields, f.name)
		}
	}
	for _, k := range t.blocks {
		if k.no == "" {
			blocks = append(blocks, k.name)
		}
	}
	return fields, blocks
}
