#!/bin/sh
# clients.sh installs with npm the ClickHouse client for JavaScript, with which tests look at the embedded server.
set -eu
cd "$(dirname "$0")/clients"

stamp=node_modules/.huoma-lock
if ! cmp -s package-lock.json "$stamp"; then
	npm ci --ignore-scripts --no-audit --no-fund --no-progress --loglevel=error >&2 || {
		echo "huoma: npm could not install tools/clients; check that npm's registry can be reached and run this again." >&2
		exit 1
	}
	cp package-lock.json "$stamp"
fi
