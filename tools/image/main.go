// Command image writes container images of postern without a container engine:
// "image -out FOLDER amd64 arm64" takes FOLDER/bin/ARCH/postern, and writes
//
//	rootfs-ARCH.tar         the files of the image, which the Dockerfile adds
//	postern-linux-ARCH.tar  the image, for docker load and podman load
//	postern-oci.tar         all of them as one image, in the OCI image layout, for
//	                        skopeo, crane and other tools that push to a registry
//
// The same program gives the same octets, wherever and whenever it is done: files
// are sorted, and have the date of the revision that the program was built from,
// or that of SOURCE_DATE_EPOCH (reproducible-builds.org/specs/source-date-epoch).
// The certificates of public authorities are Mozilla's, in the version that go.sum
// pins, and not those of the machine.
package main

import (
	"bytes"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

func main() {
	out := flag.String("out", "dist/image", "the `FOLDER` of the programs, and of the images")
	source := flag.String("source", "..", "the `FOLDER` that has LICENSE and NOTICE")
	flag.Parse()
	if err := write(*out, *source, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// maxSize is what an image may have, unpacked.
const maxSize = 40 << 20

// write writes all images.
func write(out, source string, archs []string) error {
	if len(archs) == 0 {
		return errors.New("name the architectures, such as amd64 arm64")
	}
	all := archive{}
	var images []descriptor
	var f facts
	for _, arch := range archs {
		layer, found, err := build(filepath.Join(out, "bin", arch, "postern"), source)
		if err != nil {
			return err
		}
		if len(layer) > maxSize {
			return fmt.Errorf("the image for %s has %d octets, more than %d", arch, len(layer), maxSize)
		}
		one := archive{}
		image, err := one.addImage(arch, layer, found)
		if err != nil {
			return err
		}
		maps.Copy(all, one)
		images, f = append(images, image), found
		if err := save(out, "rootfs-"+arch+".tar", layer); err != nil {
			return err
		}
		if err := one.save(out, "postern-linux-"+arch+".tar", f, image); err != nil {
			return err
		}
	}
	delete(all, dockerManifest) // docker load knows one architecture
	return all.save(out, "postern-oci.tar", f, images...)
}

// facts is what is known of a program.
type facts struct {
	version, revision string
	date              time.Time // of the revision, or of SOURCE_DATE_EPOCH
}

// build returns the only layer of an image.
func build(program, source string) (layer []byte, f facts, err error) {
	if f, err = factsOf(program); err != nil {
		return nil, f, err
	}
	files, err := rootfs(program, source)
	if err != nil {
		return nil, f, err
	}
	var b bytes.Buffer
	err = pack(&b, files, f.date)
	return b.Bytes(), f, err
}

// factsOf reads what the toolchain has recorded in a program. The date is that of
// its revision, 1970 when there is none.
func factsOf(program string) (f facts, err error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return f, err
	}
	f = facts{version: info.Main.Version, date: time.Unix(0, 0).UTC()}
	if f.version == "" || f.version == "(devel)" {
		f.version = "devel"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			f.revision = s.Value
		case "vcs.time":
			if f.date, err = time.Parse(time.RFC3339, s.Value); err != nil {
				return f, err
			}
		}
	}
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return f, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
		}
		f.date = time.Unix(seconds, 0).UTC()
	}
	return f, nil
}

// save says what it writes: that is the result of the command.
func save(folder, name string, data []byte) error {
	path := filepath.Join(folder, name)
	fmt.Printf("%s: %.1f MB\n", path, float64(len(data))/1e6)
	return os.WriteFile(path, data, 0o644)
}
