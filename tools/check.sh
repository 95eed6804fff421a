#!/bin/sh
# Everything that can be checked without running postern.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}

step() { printf 'check: %s\n' "$1"; }
fail() { printf 'check: %s\n' "$1" >&2; exit 1; }

step gofmt
unformatted=$(gofmt -l $(git ls-files --cached --others --exclude-standard '*.go'))
[ -z "$unformatted" ] || fail "not formatted, run gofmt -w on: $unformatted"

step 'go vet'
$go vet ./...
(cd tools && $go vet ./...)

step staticcheck
$go tool -modfile=tools/go.mod staticcheck ./...
(cd tools && $go tool staticcheck ./...)

step 'go.mod is tidy'
$go mod tidy -diff || fail 'run go mod tidy'

step 'who imports whom'
$go test -count=1 ./internal/layout

step 'the example configuration'
$go build -o bin/postern ./cmd/postern
$go test -count=1 -run Example ./config

step 'manual pages'
$go test -count=1 -run ManPages ./cmd/postern

step Kubernetes
staticcheck=$($go tool -modfile=tools/go.mod -n staticcheck)
(cd tools/kube && $go vet . && "$staticcheck" .)
$go test -C tools/kube -count=1 .

step documents
./tools/docs.sh
