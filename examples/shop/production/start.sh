#!/bin/sh
# Starts the shop as in production, on this machine: PostgreSQL and RabbitMQ with
# data of their own, the six services, and every role of angz as a process, two of
# each. Ctrl-C, or kill, stops all of it. Data and logs are in .angz/production.
#
#   sh examples/shop/production/start.sh            # from anywhere
#
# It needs Go, Python 3.9 with venv, and Debian's packages postgresql and
# rabbitmq-server, which it installs when it is run by root.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
shop=$(dirname "$here")
top=$(cd "$shop/../.." && pwd)
data=${ANGZ_PRODUCTION_DATA:-$shop/.angz/production}
gateway=${ANGZ_PRODUCTION_GATEWAY:-1316}
logs=$data/logs
config=$here/angz.yaml
mkdir -p "$logs"

say() { printf '%s\n' "$*" >&2; }

# --- what has to be there -------------------------------------------------

missing=""
pg=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$pg" ] || missing="$missing postgresql"
rabbit=$(ls /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server 2>/dev/null | tail -n 1)
[ -n "$rabbit" ] || missing="$missing rabbitmq-server"
if [ -n "$missing" ]; then
	if [ "$(id -u)" != 0 ]; then
		say "missing:$missing. Install them (apt-get install$missing) and run this again."
		exit 1
	fi
	say "installing$missing"
	apt-get update -qq
	# shellcheck disable=SC2086 # a list of words
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
	pg=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
	rabbit=$(ls /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server | tail -n 1)
fi

# PostgreSQL refuses to be run by root.
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

# --- stopping ---------------------------------------------------------------

pids=""
stop() {
	trap - INT TERM EXIT
	say "stopping"
	# The roles first, then what they need.
	# shellcheck disable=SC2086 # a list of numbers
	[ -z "$pids" ] || kill -TERM $pids 2>/dev/null || true
	# shellcheck disable=SC2086
	wait $pids 2>/dev/null || true
	[ ! -s "$data/rabbitmq/pid" ] || kill -TERM "$(cat "$data/rabbitmq/pid")" 2>/dev/null || true
	[ -z "${epmd:-}" ] || epmd -port "$epmd" -kill >/dev/null 2>&1 || true
	as_postgres "$pg/pg_ctl" -D "$data/postgres" -m fast -w stop >/dev/null 2>&1 || true
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- the servers ------------------------------------------------------------

start_rabbitmq() {
	epmd=21673
	mkdir -p "$data/rabbitmq"
	echo '[].' >"$data/rabbitmq/enabled_plugins"
	{
		echo 'listeners.tcp.1 = 127.0.0.1:21672'
		echo 'log.console = false'
	} >"$data/rabbitmq/rabbitmq.conf"
	HOME=$data/rabbitmq RABBITMQ_NODENAME=angz-shop@localhost RABBITMQ_NODE_PORT=21672 RABBITMQ_DIST_PORT=21674 ERL_EPMD_PORT=$epmd \
		RABBITMQ_MNESIA_BASE=$data/rabbitmq/mnesia RABBITMQ_LOG_BASE=$logs RABBITMQ_PID_FILE=$data/rabbitmq/pid \
		RABBITMQ_ENABLED_PLUGINS_FILE=$data/rabbitmq/enabled_plugins RABBITMQ_CONFIG_FILE=$data/rabbitmq/rabbitmq.conf \
		"$rabbit" >"$logs/rabbitmq.out" 2>&1 &
}

start_postgres() {
	if [ ! -d "$data/postgres" ]; then
		mkdir -p "$data/postgres"
		[ "$(id -u)" != 0 ] || chown postgres "$data" "$data/postgres"
		as_postgres "$pg/initdb" -D "$data/postgres" -U angz -A trust -E UTF8 --locale=C >"$logs/initdb.out"
	fi
	sockets=$(mktemp -d)
	[ "$(id -u)" != 0 ] || chown postgres "$sockets"
	as_postgres "$pg/pg_ctl" -D "$data/postgres" -w -l "$data/postgres/server.log" \
		-o "-p 21432 -c listen_addresses=127.0.0.1 -c unix_socket_directories=$sockets" start >/dev/null
	as_postgres "$pg/createdb" -h 127.0.0.1 -p 21432 -U angz shop 2>/dev/null || true # it is there after the first time
}

# --- services and roles -----------------------------------------------------

# run NAME COMMAND...: in the background, with a log of its own.
run() {
	name=$1
	shift
	"$@" >"$logs/$name.log" 2>&1 &
	pids="$pids $!"
}

# role PORT NAME ROLE [COMPONENT]: one process of angz, with its metrics and
# profiles at PORT + 1000.
role() {
	port=$1 name=$2
	shift 2
	run "$name" env ANGZARR_TRANSPORT__TCP__PORT="$port" ANGZARR_SERVER__EVENT_QUERY_PORT=0 \
		ANGZARR_DEBUG__ADDRESS=127.0.0.1:$((port + 1000)) ANGZARR_CONFIG="$config" "$top/bin/angz" serve "$@"
}

say "starting RabbitMQ and PostgreSQL (RabbitMQ takes a quarter of a minute)"
start_rabbitmq # first: the rest starts meanwhile
start_postgres

say "building"
(cd "$top" && go build -trimpath -o bin/angz ./cmd/angz)
(cd "$shop" && go build -o .angz/bin/ ./order ./inventory ./reservation && sh python/setup.sh >"$logs/setup.log" 2>&1)

cd "$shop"
python=.venv/bin/python
run customer env PORT=21001 $python python/customer.py
run order env PORT=21002 .angz/bin/order
run inventory env PORT=21003 .angz/bin/inventory
run receipt env PORT=21004 RECEIPTS_DB="$data/receipts.db" $python python/receipt.py
run loyalty env PORT=21005 $python python/loyalty.py
run reservation env PORT=21006 .angz/bin/reservation

for i in 1 2; do
	role 2101$i aggregate-customer-$i aggregate customer
	role 2102$i aggregate-order-$i aggregate order
	role 2103$i aggregate-inventory-$i aggregate inventory
	role 2104$i projector-receipt-$i projector receipt
	role 2105$i saga-loyalty-$i saga loyalty
	role 2106$i saga-reservation-$i saga reservation
	role 2108$i stream-$i stream
done
role $gateway gateway-1 gateway
role 21072 gateway-2 gateway
role 21091 log log

say "waiting for the gateway"
tries=0
until "$top/bin/angz" events customer nobody --address localhost:$gateway >/dev/null 2>&1; do
	tries=$((tries + 1))
	if [ $tries -gt 120 ]; then
		say "the gateway does not answer; see $logs"
		exit 1
	fi
	sleep 1
done
say "ready: commands and queries at localhost:$gateway and localhost:21072; logs in $logs; Ctrl-C stops everything"
# Until a signal: whatever ends by itself has said why in its log.
while :; do sleep 3600 & wait $! || true; done
