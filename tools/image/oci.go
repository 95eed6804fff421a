package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// archive is an image as a set of files: the OCI image layout (OCI Image Format
// Specification 1.1), and beside it the manifest.json that docker load reads.
type archive map[string][]byte

// Names and types that the specification gives.
const (
	dockerManifest = "manifest.json"
	typeIndex      = "application/vnd.oci.image.index.v1+json"
	typeManifest   = "application/vnd.oci.image.manifest.v1+json"
	typeConfig     = "application/vnd.oci.image.config.v1+json"
	typeLayer      = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// tag is the name that the image has after docker load.
const tag = "postern:latest"

// descriptor names a blob.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// manifest is an image: its configuration and its layers.
type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

// addImage adds an image that has one layer.
func (a archive) addImage(arch string, layer []byte, f facts) (image descriptor, err error) {
	config, err := json.Marshal(imageOf(arch, digest(layer), f))
	if err != nil {
		return image, err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(layer); err != nil {
		return image, err
	}
	if err := z.Close(); err != nil {
		return image, err
	}
	m := manifest{2, typeManifest, a.add(typeConfig, config), []descriptor{a.add(typeLayer, packed.Bytes())}}
	data, err := json.Marshal(m)
	if err != nil {
		return image, err
	}
	image = a.add(typeManifest, data)
	image.Platform = &platform{arch, "linux"}
	a[dockerManifest], err = json.Marshal([]map[string]any{{
		"Config": path(m.Config), "RepoTags": []string{tag}, "Layers": []string{path(m.Layers[0])},
	}})
	return image, err
}

// save adds the index of all images, and writes everything as a tar archive. Each
// image of the top index is one that can be chosen by name; what has several
// architectures is one index below it.
func (a archive) save(folder, name string, f facts, images ...descriptor) error {
	top := images[0]
	if len(images) > 1 {
		data, err := json.Marshal(indexOf(images...))
		if err != nil {
			return err
		}
		top = a.add(typeIndex, data)
	}
	top.Annotations = map[string]string{"org.opencontainers.image.ref.name": "latest"}
	data, err := json.Marshal(indexOf(top))
	if err != nil {
		return err
	}
	a["index.json"] = data
	a["oci-layout"] = []byte(`{"imageLayoutVersion":"1.0.0"}`)
	var files []file
	for _, name := range slices.Sorted(maps.Keys(a)) {
		files = append(files, file{name: name, data: a[name]})
	}
	var b bytes.Buffer
	if err := pack(&b, files, f.date); err != nil {
		return err
	}
	return save(folder, name, b.Bytes())
}

func indexOf(all ...descriptor) any {
	return map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": all}
}

// add adds a blob.
func (a archive) add(mediaType string, data []byte) descriptor {
	d := descriptor{MediaType: mediaType, Digest: digest(data), Size: len(data)}
	a[path(d)] = data
	return d
}

func path(d descriptor) string { return "blobs/sha256/" + d.Digest[len("sha256:"):] }

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// imageOf is the configuration of an image, which says the same as the Dockerfile.
// Healthcheck is Docker's addition to the specification.
func imageOf(arch, diff string, f facts) any {
	none := struct{}{}
	config := map[string]any{
		"User":         "10025:10025",
		"Env":          []string{"PATH=/usr/bin"},
		"Entrypoint":   []string{"/usr/bin/postern"},
		"Cmd":          []string{"run"},
		"ExposedPorts": map[string]any{"25/tcp": none, "9025/tcp": none, "10025/tcp": none},
		"Volumes":      map[string]any{"/var/lib/postern": none},
		"StopSignal":   "SIGTERM",
		"WorkingDir":   "/",
		"Healthcheck": map[string]any{
			"Test":     []string{"CMD", "/usr/bin/postern", "healthcheck"},
			"Interval": 10 * time.Second, "Timeout": 6 * time.Second, "StartPeriod": 5 * time.Second, "Retries": 3,
		},
		"Labels": map[string]string{
			"org.opencontainers.image.title":       "postern",
			"org.opencontainers.image.description": "A transparent STARTTLS proxy for SMTP",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.version":     f.version,
			"org.opencontainers.image.revision":    f.revision,
			"org.opencontainers.image.created":     f.date.Format(time.RFC3339),
		},
	}
	return map[string]any{
		"architecture": arch, "os": "linux", "created": f.date.Format(time.RFC3339), "config": config,
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{diff}},
		"history": []map[string]any{{"created": f.date.Format(time.RFC3339), "created_by": "tools/image.sh"}},
	}
}
