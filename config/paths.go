package config

import (
	"slices"
	"strings"
)

// schemaPaths lists every name that may be written, as "inbound.limits.errors".
func schemaPaths() []string {
	d := &decoder{partial: true}
	var paths []string
	walk(new(Config).table(d), "", &paths)
	return paths
}

func walk(t table, prefix string, paths *[]string) {
	fields, _ := t.names()
	for _, name := range fields {
		*paths = append(*paths, prefix+name)
	}
	for _, k := range t.blocks {
		if k.no != "" {
			continue
		}
		*paths = append(*paths, prefix+k.name)
		walk(k.open(&section{d: new(decoder), name: k.name}), prefix+k.name+".", paths)
	}
}

// schemaNames lists the last parts of all paths.
func schemaNames() []string {
	paths := schemaPaths()
	for i, path := range paths {
		_, paths[i], _ = cutLast("."+path, ".")
	}
	return paths
}

// blocksWith returns where the name may stand, as "into inbound { limits { … } }".
func blocksWith(name string) []string {
	var homes []string
	for _, path := range schemaPaths() {
		if path == name {
			homes = append(homes, "at the top level of the file, outside of every block")
		}
		if home, ok := strings.CutSuffix(path, "."+name); ok {
			homes = append(homes, "into "+braces(home))
		}
	}
	slices.Sort(homes)
	return slices.Compact(homes)
}

func braces(path string) string {
	parts := strings.Split(path, ".")
	return strings.Join(parts, " { ") + " { … " + strings.Repeat("} ", len(parts)-1) + "}"
}
