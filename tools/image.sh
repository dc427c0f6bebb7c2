#!/bin/sh
# image.sh NAME[:TAG]
#
# Builds the programs for this machine's architecture (GOARCH=arm64 for another) and the image of deploy/image/Containerfile from
# them, with buildah, podman or docker, whichever is there. Without a tag it gets latest. Pushing it is yours to do.
#
# The build tag static leaves the embedded ClickHouse out of huoma: what loads it needs a C library, and the image has none.
set -eu
cd "$(dirname "$0")/.."

fail() {
	echo "huoma: $*" >&2
	exit 1
}

[ $# = 1 ] || fail "name the image, such as: tools/image.sh images.example.com/huoma:1.0.0"

for tool in buildah podman docker; do
	command -v "$tool" >/dev/null && break
	tool=
done
[ -n "$tool" ] || fail "none of buildah, podman and docker is here; install one (Debian and Ubuntu: sudo apt-get install buildah) and run this again."

certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
[ -r "$certificates" ] || fail "$certificates is missing; install ca-certificates, or name a bundle with SSL_CERT_FILE, and run this again."

# Without revision stamps where git does not trust this folder, like the Makefile.
git rev-parse HEAD >/dev/null 2>&1 || export GOFLAGS="${GOFLAGS:-} -buildvcs=false"

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
CGO_ENABLED=0 GOOS=linux go build -tags static -trimpath -ldflags=-s -o "$context/" ./cmd/...
cp "$certificates" "$context/ca-certificates.crt"
chmod 0644 "$context/ca-certificates.crt"

platform=linux/$(go env GOARCH)
case $tool in
buildah) buildah build --platform "$platform" -f deploy/image/Containerfile -t "$1" "$context" ;;
*) "$tool" build --platform "$platform" -f deploy/image/Containerfile -t "$1" "$context" ;;
esac
