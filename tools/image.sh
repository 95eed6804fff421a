#!/bin/sh
# Builds the container image without a container engine, into dist/image:
# "image.sh [ARCH …]", amd64 and arm64 where none is named. tools/image says what
# the files are. The same commit and toolchain give the same octets anywhere.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
out=dist/image
[ $# -gt 0 ] || set -- amd64 arm64
for arch; do
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch GOAMD64=v1 GOARM64=v8.0 \
		$go build -buildvcs=auto -trimpath -tags timetzdata -ldflags '-s -w' -o "$out/bin/$arch/postern" ./cmd/postern
done
cd tools
$go run ./image -out "../$out" "$@"
