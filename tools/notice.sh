#!/bin/sh
# Writes NOTICE: the libraries that are linked into postern, with their licences.
set -eu
cd "$(dirname "$0")/.."
{
	cat <<-'EOT'
	postern
	Licensed under the Apache License, Version 2.0; see LICENSE.

	The program contains the Go standard library (BSD-3-Clause) and these libraries:

	EOT
	go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/postern | sort -u |
	while read -r path version dir; do
		file=$(ls "$dir" | grep -iE '^(licen[sc]e|copying)' | head -n 1)
		text=$(head -c 3000 "$dir/$file" | tr -s ' \n' ' ')
		case $text in
		*"Apache License"*) kind=Apache-2.0 ;;
		*"Mozilla Public License"*) kind=MPL-2.0 ;;
		*"Redistribution and use"*"either name of"* | *"Redistribution and use"*"names of"*) kind=BSD-3-Clause ;;
		*"Redistribution and use"*) kind=BSD-2-Clause ;;
		*"Permission is hereby granted, free of charge"*) kind=MIT ;;
		*"Permission to use, copy, modify"*) kind=ISC ;;
		*) echo "notice: cannot tell the licence of $path ($dir/$file)" >&2; exit 1 ;;
		esac
		printf '    %s %s (%s)\n' "$path" "$version" "$kind"
	done
} >NOTICE
