package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// uid is the user and the group that postern runs as. It belongs to nobody on a
// Debian system, and to no other well-known image.
const uid = 10025

// file is a file of the image, or a folder, whose name ends in a slash.
type file struct {
	name string
	mode int64
	uid  int
	data []byte
}

// rootfs lists the files of the image: all that a program without libraries
// needs, and no shell.
func rootfs(program, source string) ([]file, error) {
	all := []file{
		{name: "etc/passwd", data: []byte("root:x:0:0::/:/\npostern:x:10025:10025::/var/lib/postern:/\n")},
		{name: "etc/group", data: []byte("root:x:0:\npostern:x:10025:\n")},
		{name: "etc/ssl/certs/ca-certificates.crt", data: roots()},
		{name: "etc/postern/"},
		{name: "run/postern/", mode: 0o750, uid: uid},
		{name: "var/lib/postern/", mode: 0o750, uid: uid},
	}
	for _, read := range []struct {
		file
		from string
	}{
		{file{name: "usr/bin/postern", mode: 0o755}, program},
		{file{name: "usr/share/doc/postern/LICENSE"}, filepath.Join(source, "LICENSE")},
		{file{name: "usr/share/doc/postern/NOTICE"}, filepath.Join(source, "NOTICE")},
	} {
		data, err := os.ReadFile(read.from)
		if err != nil {
			return nil, err
		}
		read.data = data
		all = append(all, read.file)
	}
	all = append(all, parents(all)...)
	slices.SortFunc(all, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// parents lists the folders that files are in.
func parents(all []file) (folders []file) {
	seen := map[string]bool{}
	for _, f := range all {
		seen[f.name] = true
	}
	for _, f := range all {
		for i, c := range strings.TrimSuffix(f.name, "/") {
			if folder := f.name[:i] + "/"; c == '/' && !seen[folder] {
				seen[folder] = true
				folders = append(folders, file{name: folder})
			}
		}
	}
	return folders
}

// roots are the certificates of Mozilla's program, in the order of the bundle.
// Where Mozilla limits what one may vouch for, a file cannot tell: it is as in
// the bundles of Debian and of curl.
func roots() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
	}
	return b.Bytes()
}

// pack writes files as a tar archive. Without a mode, a file is for all to read.
func pack(w io.Writer, files []file, date time.Time) error {
	t := tar.NewWriter(w)
	for _, f := range files {
		h := &tar.Header{Format: tar.FormatUSTAR, Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode,
			Uid: f.uid, Gid: f.uid, Size: int64(len(f.data)), ModTime: date}
		folder := strings.HasSuffix(f.name, "/")
		if folder {
			h.Typeflag = tar.TypeDir
		}
		switch {
		case f.mode != 0:
		case folder:
			h.Mode = 0o755
		default:
			h.Mode = 0o644
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(f.data); err != nil {
			return err
		}
	}
	return t.Close()
}
