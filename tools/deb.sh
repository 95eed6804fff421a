#!/bin/sh
# Builds Debian packages: "tools/deb.sh [ARCHITECTURE …]", amd64 and arm64 when
# none is named. Needs Go and dpkg-deb. The same commit gives the
# same octets, on any machine with the same Go and dpkg.
#
#   VERSION            of the package (default: the tag, or 0.0.0~git and the commit)
#   DIST               where they go (default: dist)
#   SOURCE_DATE_EPOCH  of every file in it (default: that of the commit)
set -eu
cd "$(dirname "$0")/.."
export LC_ALL=C TZ=UTC
umask 022
go=${GO:-go}

of_commit() { git log -1 --date=format-local:%Y%m%d%H%M%S --format="$1"; }

# The letters after ~ sort before a release that follows, and by the time of the
# commit among themselves.
default_version() {
	if tag=$(git describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null); then
		echo "${tag#v}"
	else
		echo "0.0.0~git$(of_commit %cd).$(of_commit %h)"
	fi
}

version=${VERSION:-$(default_version)}
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(of_commit %ct)}"

put() { install -D -m 0644 "$1" "$root$2"; }

compressed() { mkdir -p "$(dirname "$root$1")" && gzip -9n >"$root$1"; }

programs() {
	CGO_ENABLED=0 GOOS=linux GOARCH=$1 $go build -buildvcs=auto -trimpath -ldflags '-s -w' -o "$root/usr/bin/postern" ./cmd/postern
}

documents() {
	doc=/usr/share/doc/postern
	for page in docs/man/*; do
		compressed "/usr/share/man/man${page##*.}/${page##*/}.gz" <"$page"
	done
	put deploy/debian/copyright $doc/copyright
	put deploy/debian/README.Debian $doc/README.Debian
	put NOTICE $doc/NOTICE
	put config.hcl.example $doc/examples/config.hcl
	find docs -name '*.md' | while read -r text; do put "$text" "$doc/${text#docs/}"; done
	compressed $doc/changelog.gz <CHANGELOG.md
	printf 'postern (%s) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- %s  %s\n' "$version" \
		'The postern authors <postern@packages.invalid>' "$(date -uR -d "@$SOURCE_DATE_EPOCH")" | compressed $doc/changelog.Debian.gz
	./tools/licenses.sh | compressed $doc/licenses.gz
}

completions() {
	share=$root/usr/share
	mkdir -p "$share/bash-completion/completions" "$share/zsh/vendor-completions" "$share/fish/vendor_completions.d"
	$go build -o "$work/postern" ./cmd/postern # that of this machine: it has to run
	"$work/postern" completion bash >"$share/bash-completion/completions/postern"
	"$work/postern" completion zsh >"$share/zsh/vendor-completions/_postern"
	"$work/postern" completion fish >"$share/fish/vendor_completions.d/postern.fish"
}

service() {
	for unit in deploy/systemd/*.service deploy/systemd/*.socket; do
		put "$unit" "/usr/lib/systemd/system/${unit##*/}"
	done
	put deploy/systemd/postern.sysusers /usr/lib/sysusers.d/postern.conf
	put deploy/systemd/postern.tmpfiles /usr/lib/tmpfiles.d/postern.conf
	put deploy/debian/config.hcl /etc/postern/config.hcl
}

control() {
	mkdir "$root/DEBIAN"
	sed "s/@VERSION@/$version/; s/@ARCHITECTURE@/$1/; s/@SIZE@/$(du -k -s --apparent-size "$root" | cut -f1)/" \
		deploy/debian/control >"$root/DEBIAN/control"
	echo /etc/postern/config.hcl >"$root/DEBIAN/conffiles"
	install -m 0755 deploy/debian/postinst deploy/debian/prerm deploy/debian/postrm "$root/DEBIAN"
	(cd "$root" && find usr -type f -print | sort | xargs md5sum) >"$root/DEBIAN/md5sums"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
[ $# -gt 0 ] || set -- amd64 arm64
dist=${DIST:-dist}
mkdir -p "$dist"
for architecture; do
	root=$work/$architecture
	mkdir "$root"
	programs "$architecture"
	documents
	completions
	service
	control "$architecture"
	find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	dpkg-deb --root-owner-group -Zxz --threads-max=1 --build "$root" "$dist/postern_${version}_$architecture.deb" >/dev/null
	echo "$dist/postern_${version}_$architecture.deb"
done
