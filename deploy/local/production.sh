#!/bin/sh
# production.sh runs the production shape on one machine: NATS, ClickHouse and every role as processes of their own, each
# started with the command line that it would have anywhere else. docs/production.md explains it.
#
# It is a shell script, not a program, because its text is the documentation: `command_of` below has every command line, ready
# to be copied into a unit file, and nothing stands between a reader and what is run.
set -eu
umask 077

usage() {
	cat <<'END'
Usage: production.sh [up|start|stop|status|restart] [options] [NAME…]

  up        start everything, stay, and stop everything on Ctrl-C or SIGTERM (the default)
  start     start everything and return
  stop      stop everything, or the processes named: gateways first, servers last
  status    what runs and whether it is ready; exit status 1 unless all of it is
  restart   restart the roles one after the other, each ready before the next, or the processes named; a name that is
            new, such as scan-worker-4, adds a process

Names are nats-N, clickhouse, gateway-N, scan-worker-N and analytics-worker-N. Options, kept in the data folder from the first
start on:

  --data DIR             folder for everything that is kept (./data); that of a stopped huoma up is taken over as it is
  --nats 1|3             one NATS server that syncs before it acknowledges (1), or a cluster of three with three copies
  --cluster              the same as --nats 3
  --nats-url URL         NATS servers that run already, instead
  --clickhouse-url URL   a ClickHouse that runs already, instead of the embedded engine
  --partitions N         partitions of the log, fixed at installation (8 in a new folder)
  --gateways N           (2)   --scan-workers N (3)   --analytics-workers N (2), at most 9 of each
  --public-url URL       what pictures and links begin with (the first gateway's address)
  --port N               instead of the usual ports, a block of 41 from N on; 0 looks for a free one
  --bin DIR              folder of the programs (bin of this project)
  --ready-file FILE      file to write the addresses to, once everything answers; not kept

Other flags of the roles are set in the environment, as HUOMA_<FLAG>.
END
}

say() { echo "production: $*"; }
fail() {
	echo "production: $*" >&2
	exit 1
}
wrong() {
	echo "production: $*: see production.sh --help" >&2
	exit 2
}

# Probes of this machine, past any proxy.
ask() { curl -q -s -f --noproxy '*' --max-time 2 "$@"; }

root=$(cd "$(dirname "$0")/../.." && pwd)

# ---- options ----

read_options() {
	data=./data ready='' given='' names=''
	for o in nats nats_url clickhouse_url partitions gateways scan_workers analytics_workers public_url port bin; do eval "o_$o="; done
	command=up
	case ${1:-} in
	up | start | stop | status | restart)
		command=$1
		shift
		;;
	esac
	while [ $# -gt 0 ]; do
		case $1 in
		-h | --help)
			usage
			exit 0
			;;
		--cluster)
			o_nats=3
			shift
			continue
			;;
		--*=*)
			flag=${1%%=*} value=${1#*=}
			shift
			;;
		-*)
			flag=$1 value=${2:-}
			shift
			[ $# = 0 ] || shift
			;;
		*)
			names="$names $1"
			shift
			continue
			;;
		esac
		case $flag in
		--data | --ready-file | --nats | --nats-url | --clickhouse-url | --partitions | --gateways | --scan-workers | --analytics-workers | --public-url | --port | --bin)
			[ -n "$value" ] || wrong "$flag needs a value"
			;;
		*) wrong "there is no $flag" ;;
		esac
		case $flag in
		--data) data=$value ;;
		--ready-file) ready=$value ;;
		*)
			eval "o_$(echo "${flag#--}" | tr - _)=\$value"
			given=$flag
			;;
		esac
	done
	[ -z "$names" ] || case $command in stop | restart) ;; *) wrong "$command takes no names" ;; esac
	[ -z "$given" ] || case $command in up | start) ;; *) wrong "$given goes with up and start" ;; esac
	case ${o_nats:-1} in 1 | 3) ;; *) wrong "--nats is 1 or 3" ;; esac
	case $data in /*) ;; *) data=$PWD/$data ;; esac
	case $ready in /* | '') ;; *) ready=$PWD/$ready ;; esac
	case $o_bin in /* | '') ;; *) o_bin=$PWD/$o_bin ;; esac
	run=$data/run log=$data/log settings=$data/run/settings
}

# number FLAG VALUE LEAST MOST
number() {
	case $2 in '' | *[!0-9]* | 0?* | ??????*) wrong "$1 is a number from $3 to $4" ;; esac
	[ "$2" -ge "$3" ] && [ "$2" -le "$4" ] || wrong "$1 is a number from $3 to $4"
}

# settle takes what was given, else what was kept, else what is usual, and keeps it.
settle() {
	nats='' nats_url='' clickhouse_url='' partitions='' gateways=2 scan_workers=3 analytics_workers=2 public_url='' port='' bin=$root/bin
	# shellcheck disable=SC1090
	[ ! -e "$settings" ] || . "$settings"
	[ -z "$o_nats" ] || [ -z "$o_nats_url" ] || wrong "--nats and --nats-url exclude each other"
	if [ -d "$data/nats-1" ]; then kept=3; elif [ -d "$data/nats" ]; then kept=1; else kept=''; fi
	if [ -n "$o_nats_url" ]; then nats=0; elif [ -n "$o_nats" ]; then nats=$o_nats; fi
	nats=${nats:-${kept:-1}}
	[ "$nats" = 0 ] || [ -z "$kept" ] || [ "$kept" = "$nats" ] ||
		fail "$data has the log of $kept NATS server(s) and a log does not change their number by itself: docs/production.md says how to move it"
	for o in nats_url clickhouse_url partitions gateways scan_workers analytics_workers public_url port bin; do
		eval "[ -z \"\$o_$o\" ] || $o=\$o_$o"
	done
	[ "$nats" = 0 ] || nats_url=''
	# An installed log keeps its number.
	[ -n "$partitions$kept" ] || [ "$nats" = 0 ] || partitions=8
	number --gateways "$gateways" 1 9
	number --scan-workers "$scan_workers" 1 9
	number --analytics-workers "$analytics_workers" 1 9
	number --partitions "${partitions:-1}" 1 1024
	number --port "${port:-0}" 0 65000
	[ -x "$bin/huoma" ] && [ -x "$bin/gateway" ] || fail "there are no programs in $bin: run make setup, or name their folder with --bin"
	mkdir -p "$run" "$log" || fail "the data folder $data cannot be made: name another with --data"
	[ "$port" != 0 ] || find_ports
	for o in nats nats_url clickhouse_url partitions gateways scan_workers analytics_workers public_url port bin; do
		eval "value=\$$o"
		printf "%s='%s'\n" "$o" "$(printf %s "$value" | sed "s/'/'\\\\''/g")"
	done >"$settings.new"
	mv "$settings.new" "$settings"
}

# place derives from the settings where everything is.
place() {
	nats_port=4222 nats_http=8222 nats_route=6222 ch_port=9000 ch_http=8123 base=8080
	if [ -n "$port" ]; then
		base=$port
		nats_port=$((base + 30)) nats_http=$((base + 33)) nats_route=$((base + 36)) ch_port=$((base + 39)) ch_http=$((base + 40))
	fi
	case $nats in
	1) nats_url=nats://127.0.0.1:$nats_port ;;
	3) nats_url=nats://127.0.0.1:$nats_port,nats://127.0.0.1:$((nats_port + 1)),nats://127.0.0.1:$((nats_port + 2)) ;;
	esac
	clickhouse=${clickhouse_url:-clickhouse://127.0.0.1:$ch_port/huoma}
	public=${public_url:-http://127.0.0.1:$base}
	# Addresses may hold passwords, and a process's arguments are everybody's to read.
	export HUOMA_NATS_URL="$nats_url" HUOMA_CLICKHOUSE_URL="$clickhouse"
}

# find_ports looks for a block below the ports that systems give to outgoing connections.
find_ports() {
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		port=$((10000 + $(od -An -N2 -tu2 /dev/urandom | tr -d ' ') % 400 * 50))
		p=$port
		while [ $p -le $((port + 40)) ]; do
			status=0
			ask -o /dev/null "http://127.0.0.1:$p/" || status=$?
			[ $status = 7 ] || break # 7: nobody listens
			p=$((p + 1))
		done
		[ $p -le $((port + 40)) ] || return 0
	done
	fail "no 41 free ports in a row were found: name the first of a block with --port"
}

# ---- processes ----

# port_of NAME is where it answers; probe_of NAME is what tells that it is ready.
port_of() {
	n=${1##*-}
	case $1 in
	nats-*) echo $((nats_port + n - 1)) ;;
	clickhouse) echo "$ch_port" ;;
	gateway-*) echo $((base + n - 1)) ;;
	scan-worker-*) echo $((base + 10 + n - 1)) ;;
	analytics-worker-*) echo $((base + 20 + n - 1)) ;;
	esac
}
probe_of() {
	case $1 in
	nats-*) echo "http://127.0.0.1:$((nats_http + ${1##*-} - 1))/healthz" ;;
	clickhouse) echo "http://127.0.0.1:$ch_http/ping" ;;
	*) echo "http://127.0.0.1:$(port_of "$1")/readyz" ;;
	esac
}

# command_of NAME puts its command line, to be run, into the words of `line`, one a line. HUOMA_NATS_URL and
# HUOMA_CLICKHOUSE_URL are in the environment.
command_of() {
	at=127.0.0.1:$(port_of "$1")
	case $1 in
	nats-*) set -- "$bin/nats-server" --config "$run/$1.conf" ;;
	clickhouse) set -- "$bin/huoma" clickhouse --addr "$at" --http-addr "127.0.0.1:$ch_http" --data "$data" ;;
	gateway-*) set -- "$bin/gateway" --addr "$at" --public-url "$public" --api-key-file "$data/api-key" --keyring "$data/keyring.json" --spool-dir "$(spool_of "${1##*-}")" ;;
	scan-worker-*) set -- "$bin/scan-worker" --addr "$at" --keyring "$data/keyring.json" ;;
	analytics-worker-*) set -- "$bin/analytics-worker" --addr "$at" ;;
	*) fail "there is no $1: a name is nats-N, clickhouse, gateway-N, scan-worker-N or analytics-worker-N" ;;
	esac
	case $1 in
	*/gateway | */scan-worker | */analytics-worker)
		[ -z "$partitions" ] || set -- "$@" --partitions "$partitions"
		[ "$nats" != 3 ] || set -- "$@" --replicas 3
		;;
	esac
	line=$(printf '%s\n' "$@")
}

# spool_of N is where a gateway keeps what NATS does not take for now: each its own, and the first that of huoma up.
spool_of() { if [ "$1" = 1 ]; then echo "$data/spool"; else echo "$data/spool-$1"; fi; }

# nats_store N is where a NATS server keeps the log: a single one where that of huoma up does.
nats_store() { if [ "$nats" = 1 ]; then echo "$data/nats"; else echo "$data/nats-$1"; fi; }

# nats_conf N is the configuration of a NATS server. One alone syncs before it acknowledges; of three a majority has the
# message by then.
nats_conf() {
	sync=
	[ "$nats" != 1 ] || sync='sync_interval: always'
	cat <<-END
		server_name: "nats-$1"
		listen: "127.0.0.1:$((nats_port + $1 - 1))"
		http: "127.0.0.1:$((nats_http + $1 - 1))"
		max_payload: 8388608
		jetstream {
		  store_dir: "$(nats_store "$1")"
		  $sync
		}
	END
	[ "$nats" = 1 ] || cat <<-END
		cluster {
		  name: "huoma"
		  listen: "127.0.0.1:$((nats_route + $1 - 1))"
		  routes: ["nats-route://127.0.0.1:$nats_route", "nats-route://127.0.0.1:$((nats_route + 1))", "nats-route://127.0.0.1:$((nats_route + 2))"]
		}
	END
}

# A terminal's Ctrl-C goes to all processes of its session's group: ours must not get it, they are stopped in order.
apart=
if command -v setsid >/dev/null; then apart=setsid; fi

# A NATS server does not mind another one on its files, and both would spoil them: it starts under the lock that the NATS of
# huoma up takes, where there is a flock that can.
locks=
if flock --help 2>&1 | grep -q -e --no-fork; then locks=yes; fi

# launch NAME starts it. The first line of its pid file is the process, the others are its command line, by which a number
# that the system has given to another process is told.
launch() {
	command_of "$1"
	name=$1 ifs=$IFS lock=
	case $name in
	nats-*)
		nats_conf "${name##*-}" >"$run/$name.conf"
		lock=$(nats_store "${name##*-}")
		mkdir -p "$lock"
		lock=$lock/lock
		[ -z "$locks" ] || flock -n "$lock" true || fail "$(dirname "$lock") is in use by another NATS server, such as that of a huoma up: stop that one"
		;;
	esac
	IFS='
'
	set -f
	# shellcheck disable=SC2086
	set -- $line
	set +f
	IFS=$ifs
	[ -z "$locks" ] || [ -z "$lock" ] || set -- flock -n -F "$lock" "$@"
	[ -n "$apart" ] || set -m
	$apart "$@" >>"$log/$name.log" 2>&1 </dev/null &
	pid=$!
	[ -n "$apart" ] || set +m
	printf '%s\n' "$pid" "$line" >"$run/$name.pid"
	# It is itself only when it has replaced the shell's copy.
	tries=0
	until is "$pid" "$line" || ended "$pid" || [ $tries -eq 500 ]; do
		tries=$((tries + 1))
		sleep 0.01
	done
}

# is PID LINE reports whether a process has this command line, one word a line.
is() {
	if [ -d /proc/self ]; then
		[ "$({ tr '\0' '\n' <"/proc/$1/cmdline"; } 2>/dev/null)" = "$2" ]
	else
		[ "$(ps -ww -o args= -p "$1" 2>/dev/null)" = "$(echo "$2" | tr '\n' ' ' | sed 's/ $//')" ]
	fi
}

# ended PID reports whether a process is no more, or a zombie.
ended() {
	kill -0 "$1" 2>/dev/null || return 0
	case $(ps -o stat= -p "$1" 2>/dev/null || sed -n 's/^State:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null) in Z*) return 0 ;; esac
	return 1
}

# running NAME sets pid when the process runs.
running() {
	[ -s "$run/$1.pid" ] || return 1
	pid=$(sed -n 1p "$run/$1.pid")
	kill -0 "$pid" 2>/dev/null && is "$pid" "$(sed 1d "$run/$1.pid")"
}

# all KIND… are the names of the processes there are, in order of kinds.
all() {
	for kind; do
		for f in "$run/$kind.pid" "$run/$kind"-[1-9].pid; do
			[ ! -e "$f" ] || basename "$f" .pid
		done
	done
}

no_start() {
	words=$(last_words "$1") hint=
	case $words in *"in use"*) hint=', or all of them with --port 0, which looks for free ones' ;; esac
	fail "$1 does not start: $words$hint (more in $log/$1.log)"
}

last_words() { grep -v '^$' "$log/$1.log" 2>/dev/null | tail -n 1; }

# await NAME… waits until each is ready; one that ends instead, or is not ready within a minute, is a failure.
await() {
	for name; do
		tries=0
		until ask -o /dev/null "$(probe_of "$name")"; do
			running "$name" || no_start "$name"
			[ $tries -lt 600 ] || fail "$name is not ready after a minute: $(curl -q -s --noproxy '*' --max-time 2 "$(probe_of "$name")" || true) (more in $log/$name.log)"
			tries=$((tries + 1))
			sleep 0.1
		done
		running "$name" || no_start "$name" # what answered is another's
	done
}

# halt NAME… ends them and returns when they have ended.
halt() {
	for name; do
		if running "$name"; then kill -TERM "$pid" 2>/dev/null || true; fi
	done
	for name; do
		tries=0
		while running "$name"; do
			if [ $tries -eq 450 ]; then
				say "$name did not end within 45 s and is killed; nothing that was acknowledged is lost" >&2
				kill -KILL "$pid" 2>/dev/null || true
				unclean=1
			fi
			tries=$((tries + 1))
			sleep 0.1
		done
		rm -f "$run/$name.pid"
	done
}

# Intake first, servers last. The log keeps what a later stage has not seen.
kinds='gateway scan-worker analytics-worker nats clickhouse'
unclean=0
halt_all() {
	for kind in $kinds; do
		# shellcheck disable=SC2046
		halt $(all "$kind")
	done
}

# ---- commands ----

count() {
	i=1
	while [ $i -le "$2" ]; do
		echo "$1-$i"
		i=$((i + 1))
	done
}

start() {
	[ -z "$(any_running)" ] || fail "$data is in use: $(any_running) runs; production.sh stop --data $data stops everything"
	command -v curl >/dev/null || fail "curl is missing, by which readiness is asked for: install it and run this again"
	settle
	place
	if [ "$nats" != 0 ]; then
		if [ -e "$root/go.mod" ] && command -v go >/dev/null; then
			(cd "$root" && CGO_ENABLED=0 go build -o "$bin/nats-server" github.com/nats-io/nats-server/v2) ||
				fail "the NATS server could not be built: name one that runs with --nats-url"
		fi
		[ -x "$bin/nats-server" ] || fail "there is no nats-server in $bin: put one there, or name one that runs with --nats-url"
	fi
	rm -f "$run"/*.pid
	# From here on, whatever ends this script ends what it has started.
	trap leave EXIT
	trap 'exit 0' INT TERM HUP
	[ -e "$data/keyring.json" ] || "$bin/huoma" keys new --keyring "$data/keyring.json" >/dev/null || fail "there is no keyring"
	if [ -n "${HUOMA_API_KEY:-}" ]; then
		printf '%s\n' "$HUOMA_API_KEY" >"$data/api-key"
	elif [ ! -s "$data/api-key" ]; then
		echo "hk_$(od -An -v -N24 -tx1 /dev/urandom | tr -d ' \n')" >"$data/api-key"
	fi
	unset HUOMA_API_KEY

	servers=$(count nats "$nats")
	[ -n "$clickhouse_url" ] || servers="$servers clickhouse"
	for name in $servers; do launch "$name"; done
	# shellcheck disable=SC2086
	await $servers
	"$bin/huoma" migrate >>"$log/migrate.log" 2>&1 || fail "the schema could not be made: $(last_words migrate)"
	roles="$(count gateway "$gateways") $(count scan-worker "$scan_workers") $(count analytics-worker "$analytics_workers")"
	# The first role makes the streams. On a cluster it is quicker alone: of several that make the same stream at once some get no
	# answer, and ask again only after a while.
	launch gateway-1
	await gateway-1
	for name in $roles; do
		[ "$name" = gateway-1 ] || launch "$name"
	done
	# shellcheck disable=SC2086
	await $roles
	welcome
}

any_running() {
	for name in $(all $kinds); do
		if running "$name"; then
			echo "$name"
			return
		fi
	done
}

leave() {
	status=$?
	trap '' INT TERM HUP
	trap - EXIT
	[ -z "$(all $kinds)" ] || say "stopping"
	halt_all
	[ $unclean = 0 ] || status=1
	[ $status != 0 ] || say "everything has stopped"
	exit $status
}

# without PASSWORD: an address as it may be shown.
without_password() { printf '%s' "$1" | sed 's#//[^/@]*@#//#g'; }

welcome() {
	key=$(cat "$data/api-key")
	if [ -n "$ready" ]; then
		list=$(for name in $(all gateway); do printf '"http://127.0.0.1:%s",' "$(port_of "$name")"; done)
		own="127.0.0.1:$ch_port" own_http="http://127.0.0.1:$ch_http"
		[ -z "$clickhouse_url" ] || own='' own_http=''
		printf '{"gateway":"http://127.0.0.1:%s","gateways":[%s],"nats":"%s","clickhouse":"%s","clickhouse_http":"%s","api_key":"%s"}\n' \
			"$base" "${list%,}" "$nats_url" "$own" "$own_http" "$key" >"$ready.tmp"
		mv "$ready.tmp" "$ready" || fail "the ready file $ready cannot be written: name another with --ready-file"
	fi
	echo
	echo "Huoma is up, in processes of its own."
	echo
	for name in $(all $kinds); do
		running "$name" || true
		printf '  %-20s 127.0.0.1:%-7s process %s\n' "$name" "$(port_of "$name")" "$pid"
	done
	echo
	[ "$nats" != 0 ] || printf '  %-20s %s\n' nats "$(without_password "$nats_url")"
	if [ -n "$clickhouse_url" ]; then
		printf '  %-20s %s\n' clickhouse "$(without_password "$clickhouse_url")"
	else
		printf '  %-20s http://127.0.0.1:%s\n' 'clickhouse by HTTP' "$ch_http"
	fi
	printf '  %-20s %s\n' 'pictures begin with' "$public"
	printf '  %-20s %s   (kept in %s)\n' 'api key' "$key" "$data/api-key"
	printf '  %-20s %s\n\n' 'logs' "$log"
}

status() {
	ok=0
	names=$(all $kinds)
	[ -n "$names" ] || fail "nothing of $data runs"
	for name in $names; do
		state=ready
		if ! running "$name"; then
			state="ended: $(last_words "$name")" pid=-
		elif ! ask -o /dev/null "$(probe_of "$name")"; then
			state="not ready: $(curl -q -s --noproxy '*' --max-time 2 "$(probe_of "$name")" || echo no answer)"
		fi
		[ "$state" = ready ] || ok=1
		printf '%-20s %-8s 127.0.0.1:%-6s %s\n' "$name" "$pid" "$(port_of "$name")" "$state"
	done
	return $ok
}

restart() {
	# A worker before a gateway, so that whatever a new gateway writes is understood.
	[ $# -gt 0 ] || {
		# shellcheck disable=SC2046
		set -- $(all analytics-worker scan-worker gateway)
	}
	for name; do
		ours=no
		case $name in
		gateway-[1-9] | scan-worker-[1-9] | analytics-worker-[1-9]) ours=yes ;;
		clickhouse) [ -n "$clickhouse_url" ] || ours=yes ;;
		nats-[1-3]) [ "${name#nats-}" -gt "$nats" ] || ours=yes ;;
		esac
		[ $ours = yes ] || fail "there is no $name here: production.sh --help says what names there are"
	done
	for name; do
		halt "$name"
		launch "$name"
		await "$name"
		say "$name is ready"
	done
}

# watch stays, and tells of processes that end.
watch() {
	say "Ctrl-C stops everything"
	told=' '
	while :; do
		names=$(all $kinds)
		[ -n "$names" ] || exit 0 # another terminal has stopped everything
		for name in $names; do
			if running "$name"; then
				told=$(printf %s "$told" | sed "s/ $name / /")
			else
				case $told in
				*" $name "*) ;;
				*)
					told="$told$name "
					[ ! -e "$run/$name.pid" ] || say "$name has ended; production.sh restart --data $data $name starts it again. Its last words: $(last_words "$name")" >&2
					;;
				esac
			fi
		done
		sleep 1 &
		wait $! || true # a signal ends the wait, not the sleep
	done
}

read_options "$@"
case $command in
up)
	start
	watch
	;;
start)
	start
	trap - EXIT INT TERM HUP
	say "production.sh stop --data $data stops everything"
	;;
*)
	[ -e "$settings" ] || fail "nothing was started in $data: name the folder with --data"
	# shellcheck disable=SC1090
	. "$settings"
	place
	# shellcheck disable=SC2086
	case $command in
	status) status ;;
	restart) restart $names ;;
	stop)
		if [ -n "$names" ]; then
			for name in $names; do [ -e "$run/$name.pid" ] || fail "there is no $name: production.sh status lists what there is"; done
			for kind in $kinds; do
				chosen=
				for name in $names; do
					case $name in "$kind" | "$kind"-*) chosen="$chosen $name" ;; esac
				done
				halt $chosen
			done
		else
			halt_all
		fi
		[ $unclean = 0 ]
		;;
	esac
	;;
esac
