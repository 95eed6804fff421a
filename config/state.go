package config

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// stateFolder is where the state is kept when the service manager names no
// other folder.
const stateFolder = "/var/lib/postern"

// defaultStatePath returns where the state is kept when no path is written:
// the first folder of STATE_DIRECTORY, which systemd sets for a service with
// StateDirectory= (systemd.exec(5)), or else /var/lib/postern.
func defaultStatePath() string {
	folder, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
	if !filepath.IsAbs(folder) {
		folder = stateFolder
	}
	return filepath.Join(folder, "state.db")
}

func stateTable(st *State, s *section) table {
	st.Written = true
	switch s.label {
	case "bolt", "": // a block without a name was reported, and is read as the default
		return table{fields: []field{filePath("path", &st.Path)}}
	case "memory":
		*st = State{Kind: "memory", Written: true}
		return table{fields: []field{refused("path", `state "memory" has no file: write state "bolt" to keep what is remembered in one`)}}
	case "redis":
		s.d.wrong(s.labelRange, "not available yet", notYet(`state "redis"`, `write state "bolt" {} for a file, or state "memory" {}`)+".")
	default:
		s.d.wrong(s.labelRange, "unknown kind of state "+quote(s.label), suggest(s.label, []string{"bolt", "memory"}))
	}
	return table{closed: true}
}

func (a *Admin) table() table {
	return table{
		fields: []field{
			listenOne("listen", &a.Listen),
			socketPath("socket", &a.Socket),
		},
		check: func(s *section) {
			if !s.has("listen") && !s.has("socket") {
				s.d.wrong(s.at, "listen is missing", `Write listen = "127.0.0.1:9025" for health and metrics, or socket = "/run/postern/admin.sock" for the commands, or both.`)
			}
		},
	}
}

// maxSocketPath is what fits into a socket address besides the final NUL, in
// octets (unix(7)).
const maxSocketPath = 107

// socketPath is the path of a unix socket, made absolute.
func socketPath(name string, target *string) field {
	path := ""
	f := filePath(name, &path)
	read := f.read
	f.read = func(v value) {
		switch {
		case !v.read(read).good:
		case len(path) > maxSocketPath:
			v.wrong("too long a path for a socket", "The system takes at most "+strconv.Itoa(maxSocketPath)+` octets: write a shorter one, as in "/run/postern/admin.sock".`)
		default:
			*target = path
		}
	}
	return f
}
