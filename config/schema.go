package config

// A table is what may stand in one block: the one place that names it. Reading,
// "did you mean" and the test of config.hcl.example all use it.
type table struct {
	fields []field
	blocks []block
	check  func(*section) // after everything in it was read; may be nil
	closed bool           // the block itself was refused: its content is not looked at
}

// A field is one attribute.
type field struct {
	name string
	read func(value)
	need string // what to say when it is missing; "" = it may be missing
	no   string // the name is known but cannot be used here: why, and what to do
}

// A block is one kind of nested block.
type block struct {
	name     string
	labelled bool // it has a name, as in inbound "mx"
	free     bool // any text is a name: open looks at it
	many     bool
	need     string               // what to write when there is none; "" = there may be none
	no       string               // as in field
	open     func(*section) table // called once per block that was written
}

// needed makes the attribute one that must be written, and says what to write.
func (f field) needed(write string) field {
	f.need = write
	return f
}

// refused is an attribute whose name is known and which is not to be written.
func refused(name, why string) field {
	return field{name: name, no: why}
}

// notYet is the text for what a later version will have.
func notYet(what, do string) string {
	return "this version of postern has no " + what + " yet: " + do
}

// table returns the names of the whole file, read into c.
func (c *Config) table(d *decoder) table {
	return table{
		fields: []field{hostname("hostname", &c.Hostname), integer("mark", &c.Mark, 0)},
		blocks: []block{
			{name: "state", labelled: true, open: func(s *section) table { return stateTable(&c.State, s) }},
			{name: "resolver", open: func(*section) table { return c.Resolver.table() }},
			{name: "certificate", labelled: true, many: true, open: func(s *section) table { return d.addCertificate(c, s) }},
			{name: "inbound", labelled: true, many: true, open: func(s *section) table { return d.addInbound(c, s) }},
			{name: "outbound", labelled: true, many: true, open: func(s *section) table { return d.addOutbound(s) }},
			{name: "admin", open: func(*section) table { return c.Admin.table() }},
			{name: "log", open: func(*section) table { return c.Log.table() }},
			{name: "telemetry", no: notYet("telemetry block", "remove it; metrics are served at /metrics of admin { listen }")},
		},
		check: func(s *section) { d.checkFile(c, s) },
	}
}

func (l *Log) table() table {
	return table{fields: []field{
		choice("format", &l.Format, "text", "json"),
		logLevel("level", &l.Level),
	}}
}
