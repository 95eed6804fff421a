package app

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// Version says which postern this is, as the Go toolchain recorded it.
type Version struct {
	Version  string `json:"version"`            // of the release, "devel" when built from a work tree
	Revision string `json:"revision,omitempty"` // of the source
	Time     string `json:"time,omitempty"`     // of the revision, RFC 3339
	Modified bool   `json:"modified"`           // the work tree had changes
	Go       string `json:"go"`                 // the toolchain
}

// ThisVersion returns the version of the running program.
func ThisVersion() Version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Version{Version: "devel", Go: runtime.Version()}
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) Version {
	v := Version{Version: info.Main.Version, Go: info.GoVersion}
	if v.Version == "" || v.Version == "(devel)" {
		v.Version = "devel"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// String is the version in one line.
func (v Version) String() string {
	var b strings.Builder
	b.WriteString("postern " + v.Version)
	if v.Revision != "" {
		b.WriteString(" (revision " + v.Revision)
		if v.Time != "" {
			b.WriteString(" of " + v.Time)
		}
		if v.Modified {
			b.WriteString(", with local changes")
		}
		b.WriteString(")")
	}
	return b.String() + ", " + v.Go
}
