#!/bin/sh
# engine.sh installs the ClickHouse engine library with npm and puts it next to the binaries, as a link: it has 566 MB.
set -eu
cd "$(dirname "$0")/.."

package=lib-$(node -p 'process.platform + "-" + process.arch + (process.platform === "linux" ? "-gnu" : "")')
library=tools/chdb/node_modules/@chdb/$package/libchdb.so
stamp=tools/chdb/node_modules/.huoma-lock

if ! cmp -s tools/chdb/package-lock.json "$stamp" || { [ ! -e "$library" ] && grep -q "@chdb/$package\"" tools/chdb/package.json; }; then
	echo "huoma: installing the ClickHouse engine library with npm; it unpacks to 566 MB" >&2
	(cd tools/chdb && npm ci --ignore-scripts --no-audit --no-fund --no-progress --loglevel=error >&2) || {
		echo "huoma: npm could not install tools/chdb; check that npm's registry can be reached and run this again." >&2
		exit 1
	}
	if [ ! -e "$library" ]; then
		if grep -q "@chdb/$package\"" tools/chdb/package.json; then
			echo "huoma: npm did not install @chdb/$package; check that npm's registry can be reached and run this again." >&2
			exit 1
		fi
		echo "huoma: there is no ClickHouse engine library for this platform ($package); start Huoma with --clickhouse-url." >&2
		mkdir -p tools/chdb/node_modules
	fi
	cp tools/chdb/package-lock.json "$stamp"
fi

if [ -e "$library" ] && ! [ bin/libchdb.so -ef "$library" ]; then
	mkdir -p bin
	rm -f bin/libchdb.so
	ln "$library" bin/libchdb.so 2>/dev/null || ln -s "../$library" bin/libchdb.so
fi
