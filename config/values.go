package config

import (
	"log/slog"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// value is one attribute as written, or one item of a list.
type value struct {
	d    *decoder
	name string
	expr hclsyntax.Expression
	val  cty.Value
	good bool // it was read without a mistake
}

func (v value) wrong(summary, detail string) {
	v.d.wrong(v.expr.Range(), v.name+": "+summary, detail)
}

func (v value) warn(summary, detail string) {
	v.d.warn(v.expr.Range(), v.name+": "+summary, detail)
}

// source returns the expression as it stands in the file.
func (v value) source() string {
	return string(v.expr.Range().SliceBytes(v.d.src))
}

// read runs the reader and notes whether it found a mistake.
func (v value) read(f func(value)) value {
	before := len(v.d.diags)
	f(v)
	v.good = !v.d.diags[before:].HasErrors()
	return v
}

// evaluate computes an attribute. ok is false when it has no value; that was
// reported, here or by the parser.
func (d *decoder) evaluate(a *hclsyntax.Attribute) (v value, ok bool) {
	v = value{d: d, name: a.Name, expr: a.Expr}
	if word := hcl.ExprAsKeyword(a.Expr); word != "" && !slices.Contains([]string{"true", "false", "null"}, word) {
		v.wrong("quotes missing", "Write "+a.Name+" = "+quote(word)+".")
		return v, false
	}
	if n := hugeNumber(a.Expr); n != nil {
		d.wrong(n.SrcRange, a.Name+": too large a number", "Nothing here is counted beyond 10 to the 18th: write a smaller one.")
		return v, false
	}
	var diags hcl.Diagnostics
	v.val, diags = a.Expr.Value(d.eval)
	if diags.HasErrors() {
		for _, x := range located(diags, a.Expr.Range()) {
			d.diags = append(d.diags, rewordCall(x))
		}
		return v, false
	}
	if v.val.IsNull() {
		v.wrong("null is no value", "Remove the line, and the default applies.")
		return v, false
	}
	return v, v.val.IsWhollyKnown()
}

// hugeNumber finds a literal such as 1e99999999, which would be written out in
// full, for hours, as soon as it is turned into text.
func hugeNumber(e hclsyntax.Expression) (found *hclsyntax.LiteralValueExpr) {
	bound := cty.NumberFloatVal(1e18)
	hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		l, ok := n.(*hclsyntax.LiteralValueExpr)
		if ok && l.Val.Type() == cty.Number && l.Val.IsKnown() && !l.Val.IsNull() && l.Val.GreaterThan(bound).True() {
			found = l
		}
		return nil
	})
	return found
}

// text returns the value as text.
func (v value) text() (string, bool) {
	s, err := convert.Convert(v.val, cty.String)
	if err != nil || s.IsNull() || !s.IsKnown() {
		v.wrong("one text is expected", `Write one value in double quotes: `+v.name+` = "…".`)
		return "", false
	}
	return s.AsString(), true
}

// items returns the values of a list, each with its own place where it has one.
func (v value) items() ([]value, bool) {
	if t := v.val.Type(); !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		v.wrong("a list is expected", "Write "+v.name+" = ["+v.source()+"].")
		return nil, false
	}
	var exprs []hclsyntax.Expression
	if list, ok := v.expr.(*hclsyntax.TupleConsExpr); ok {
		exprs = list.Exprs
	}
	items := make([]value, 0, v.val.LengthInt())
	for i, item := range v.val.AsValueSlice() {
		x := value{d: v.d, name: v.name, expr: v.expr, val: item}
		if i < len(exprs) {
			x.expr = exprs[i]
		}
		items = append(items, x)
	}
	return items, true
}

// each reads every item of a list of texts; what parse refuses is left out of
// the result and reported by it. A list that must not be empty has an example
// of what to write into it.
func each[T any](v value, example string, parse func(value, string) (T, bool)) []T {
	items, ok := v.items()
	if ok && len(items) == 0 && example != "" {
		v.wrong("empty list", "Write "+example+".")
	}
	var out []T
	for _, item := range items {
		if text, ok := item.text(); ok {
			if t, ok := parse(item, text); ok {
				out = append(out, t)
			}
		}
	}
	return out
}

// texts is a list of any texts.
func texts(name string, target *[]string) field {
	return field{name: name, read: func(v value) {
		*target = each(v, "", func(_ value, text string) (string, bool) { return text, true })
	}}
}

// choice is one of a few words.
func choice(name string, target *string, words ...string) field {
	return field{name: name, read: func(v value) {
		text, ok := v.text()
		switch {
		case !ok:
		case slices.Contains(words, text):
			*target = text
		default:
			v.wrong("unknown value "+quote(text), suggest(text, words))
		}
	}}
}

// boolean is true or false.
func boolean(name string, target *bool) field {
	return field{name: name, read: func(v value) {
		b, err := convert.Convert(v.val, cty.Bool)
		if err != nil || b.IsNull() || !b.IsKnown() {
			v.wrong("true or false is expected", "Write "+name+" = true or "+name+" = false.")
			return
		}
		*target = b.True()
	}}
}

// optionalBoolean is a boolean of which it matters whether it was written.
func optionalBoolean(name string, target **bool) field {
	b := new(bool)
	f := boolean(name, b)
	read := f.read
	f.read = func(v value) {
		if v.read(read).good {
			*target = b
		}
	}
	return f
}

// filePath is the path of a file, made absolute. Whether it can be read is seen
// when it is.
func filePath(name string, target *string) field {
	return field{name: name, read: func(v value) {
		text, ok := v.text()
		switch {
		case !ok:
		case text == "" || strings.ContainsRune(text, 0):
			v.wrong("not a path", "Write the path of a file; a relative one starts at the folder of this file.")
		case strings.HasPrefix(text, "-----BEGIN"):
			v.wrong("the content of a file in place of its path", `Write the path itself, without file("…"): it is read again when the file changes.`)
		default:
			*target = absolute(v.d.dir, text)
		}
	}}
}

// rootsFile is a file of root certificates, or the word "system".
func rootsFile(name string, target *string) field {
	f := filePath(name, target)
	path := f.read
	f.read = func(v value) {
		if text, err := convert.Convert(v.val, cty.String); err == nil && text.RawEquals(cty.StringVal("system")) {
			*target = "system"
			return
		}
		path(v)
	}
	return f
}

// logLevel is a level of log/slog.
func logLevel(name string, target *slog.Level) field {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	word := ""
	f := choice(name, &word, "debug", "info", "warn", "error")
	read := f.read
	f.read = func(v value) {
		if v.read(read).good {
			*target = levels[word]
		}
	}
	return f
}
