#!/bin/sh
# Build the bench, and postern, and run it: ./run.sh -scenarios a,c -peers direct,postern,nginx-buf
set -eu
cd "$(dirname "$0")"
mkdir -p bin
rm -f bin/postern
go build -o bin/ ./cmd/...
if [ -d ../cmd/postern ]; then
	go build -o bin/ ../cmd/postern
else
	echo "run.sh: ../cmd/postern is not there: postern is left out" >&2
fi
exec bin/run "$@"
