#!/bin/sh
# Prints the licences of Go and of the libraries that are linked into postern:
# whoever passes the program on must pass them on too.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}

printf '==== Go standard library\n\n'
cat "$($go env GOROOT)/LICENSE"
$go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/postern | sort -u |
while read -r path version dir; do
	printf '\n==== %s %s\n' "$path" "$version"
	for file in "$dir"/*; do
		case ${file##*/} in
		[Ll][Ii][Cc][Ee][Nn][CcSs][Ee]* | [Cc][Oo][Pp][Yy][Ii][Nn][Gg]* | NOTICE*) printf '\n' && cat "$file" ;;
		esac
	done
done
