#!/bin/sh
# need.sh go node npm cc curl make certificates zbarimg poppler chromium clickhouse_client fuse
#
# Checks that this machine has each of the named things. What apt can install is installed when running as root;
# anything else that is missing is one sentence on standard error and exit status 1.
set -eu
cd "$(dirname "$0")/.."

fail() {
	echo "huoma: $*" >&2
	exit 1
}

# install PACKAGE… for WHAT: with apt as root, else a sentence.
install() {
	what=$1
	shift
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "huoma: installing $*" >&2
		log=$(mktemp)
		if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1; then
			tail -n 20 "$log" >&2
			rm -f "$log"
			fail "apt could not install $*; install $what and run this again."
		fi
		rm -f "$log"
		return
	fi
	fail "$what is missing; install it (Debian and Ubuntu: sudo apt-get install $*) and run this again."
}

need_go() {
	command -v go >/dev/null || fail "Go is missing; install Go 1.26 or newer from https://go.dev/dl/ and run this again."
	# Within the module, so that a toolchain which can fetch the wanted version does.
	go env GOVERSION >/dev/null 2>&1 ||
		fail "Huoma needs $(sed -n 's/^go /Go /p' go.mod) or newer and this is $(cd / && go env GOVERSION 2>/dev/null || echo older); install it from https://go.dev/dl/ and run this again."
}

need_node() {
	command -v node >/dev/null || fail "Node.js is missing; install Node.js 18 or newer from https://nodejs.org/ and run this again."
	have=$(node -p 'process.versions.node.split(".")[0]')
	[ "$have" -ge 18 ] || fail "Huoma needs Node.js 18 or newer and this is $(node --version); install it from https://nodejs.org/ and run this again."
}

need_npm() {
	command -v npm >/dev/null || fail "npm is missing; it comes with Node.js from https://nodejs.org/, or install the package npm, and run this again."
	have=$(npm --version | cut -d. -f1)
	[ "$have" -ge 9 ] || fail "Huoma needs npm 9 or newer and this is $(npm --version); run npm install -g npm and run this again."
}

# A compiler that also finds the C headers: go test -race links C.
need_cc() {
	out=$(mktemp)
	cc=$(go env CC)
	if ! echo '#include <stdlib.h>
int main(void) { return 0; }' | $cc -xc -o "$out" - >/dev/null 2>&1; then
		rm -f "$out"
		install "a C compiler (the race detector links C)" gcc libc6-dev
	fi
	rm -f "$out"
}

need_curl() { command -v curl >/dev/null || install curl curl; }
# What tests look at the product with: a decoder of QR pictures and a native ClickHouse client that are not ours.
need_zbarimg() { command -v zbarimg >/dev/null || install zbarimg zbar-tools; }
need_poppler() { { command -v pdftoppm && command -v pdfimages && command -v pdftotext; } >/dev/null || install "poppler (the tests print sheets)" poppler-utils; }
# And with a browser that shows the page of a screen, Chinese words and all.
need_chromium() { command -v chromium >/dev/null || install chromium chromium fonts-noto-cjk; }
need_clickhouse_client() { command -v clickhouse-client >/dev/null || install clickhouse-client clickhouse-client; }

# The disk of the power cut tests is a FUSE file system; root mounts it without help.
need_fuse() {
	[ "$(uname)" = Linux ] || return 0
	[ -e /dev/fuse ] || modprobe fuse 2>/dev/null || true
	[ -e /dev/fuse ] ||
		fail "/dev/fuse is missing, and the power cut tests mount a file system of their own; load the module fuse (in a container, pass --device /dev/fuse and the right to mount) and run this again."
	[ "$(id -u)" = 0 ] || command -v fusermount3 >/dev/null || install "fusermount3 (the power cut tests mount a file system)" fuse3
}

need_make() { command -v make >/dev/null || install make make; }

# The registries are read over TLS.
need_certificates() {
	[ "$(uname)" != Linux ] || [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ] ||
		[ -e /etc/ssl/cert.pem ] || [ -n "${SSL_CERT_FILE:-}" ] || install "a bundle of certificates" ca-certificates
}

for thing; do
	"need_$thing"
done
