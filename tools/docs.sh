#!/bin/sh
# Checks what the documents say against the tree: links to files, the names of
# make targets, and that nothing names a machine's paths.
set -eu
cd "$(dirname "$0")/.."
bad=0
for doc in *.md docs/*.md docs/*/*.md bench/*.md; do
	[ -f "$doc" ] || continue
	for link in $(grep -o '](\([^)]*\))' "$doc" | sed 's/^](//; s/)$//; s/#.*//' | grep -v '^[a-z]*:' || true); do
		[ -z "$link" ] || [ -e "$(dirname "$doc")/$link" ] || { echo "$doc: no such file: $link" >&2; bad=1; }
	done
	for target in $(grep -o '`make [a-z0-9-]*' "$doc" | sed 's/`make //' || true); do
		grep -q "^$target:" Makefile || { echo "$doc: no such make target: $target" >&2; bad=1; }
	done
done
if git grep -nE '/(root|home|work)/' -- '*.md' '*.go' '*.sh' '*.peer' Makefile .ci deploy ':!tools/docs.sh'; then
	echo 'paths of a machine' >&2
	bad=1
fi
exit $bad
