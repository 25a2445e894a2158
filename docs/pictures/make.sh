#!/bin/sh
# Takes the pictures of the docs from real runs: it builds angz, starts the shop on
# free ports with a home of its own, types what a person types into terminals of
# tmux, and has render.py draw what is on them. Whatever happens, nothing keeps
# running and nothing is left but the pictures.
#
#   make pictures                 all of them
#   docs/pictures/make.sh trace   those of these names
set -eu
cd "$(dirname "$0")/../.."
pictures=$PWD/docs/pictures wanted=" $* "

command -v tmux >/dev/null || { echo "docs/pictures/make.sh: tmux is not installed" >&2; exit 1; }
work=$(mktemp -d /tmp/angz-pictures.XXXXXX) # short, for sockets
terminals=angz-pictures-$$
in_tmux() { at_home tmux -L "$terminals" -f /dev/null "$@"; }

end() {
	trap - EXIT INT TERM HUP
	[ ! -x "$work/bin/angz" ] || at_home angz stop --all >/dev/null 2>&1 || true
	in_tmux kill-server 2>/dev/null || true
	rm -rf "$work"
}
trap end EXIT
trap 'end; exit 1' INT TERM HUP

# What angz finds around it says nothing of this machine.
at_home() {
	env -i PATH="$work/bin:$PATH" HOME="$work/home" XDG_RUNTIME_DIR="$work/home" XDG_STATE_HOME="$work/home" TMPDIR="$work/home" \
		GOCACHE="$caches/build" GOMODCACHE="$modules" GOTOOLCHAIN=local USER=you LC_ALL=C.UTF-8 TZ=UTC TERM=tmux-256color "$@"
}
modules=$(go env GOMODCACHE) caches=$work/cache
mkdir -p "$work/home" "$work/bin" "$caches"
ln -s "$(go env GOCACHE)" "$caches/build"

echo "building"
go build -trimpath -o "$work/bin/angz" ./cmd/angz
sh examples/shop/python/setup.sh
mkdir -p "$work/examples"
cp -R go.mod go.sum proto "$work/"
cp -R examples/shop "$work/examples/"
rm -rf "$work/examples/shop/.angz"
shop=$work/examples/shop

# A network of its own has the usual ports, and nobody else who might use them. Where
# there is none, the ports are said to all commands, since looking for them may fail
# on a slow machine.
alone="" ports=""
if unshare -rn ip link set lo up 2>/dev/null; then
	alone="unshare -rn sh $pictures/alone.sh"
else
	ports="ANGZARR_SERVER__AGGREGATE_PORT=21313 ANGZARR_SERVER__EVENT_QUERY_PORT=21314 ANGZARR_GATEWAY__PORT=21316 ANGZARR_STREAM__PORT=21315"
fi
# shellcheck disable=SC2086 # lists of words
at_home $ports $alone tmux -L "$terminals" -f /dev/null new-session -d -s first sh

sign=$(printf '\033[32m$\033[0m ')
# open NAME WIDTH HEIGHT opens a terminal in the shop.
open() {
	terminal=$1
	in_tmux new-session -d -s "$1" -x "$2" -y "$3" -c "$shop" "env PS1='$sign' sh" # sh reads no file that changes the prompt
	prompt
}
# at NAME goes back to a terminal.
at() { terminal=$1; }
# write TEXT and press KEY... are what a person does in the open terminal.
write() { in_tmux send-keys -t "$terminal" -l "$1"; }
press() { in_tmux send-keys -t "$terminal" "$@"; }
run() { write "$1"; press Enter; }
screen() { in_tmux capture-pane -p -t "$terminal"; }

# see PATTERN... waits until all of them are on the screen, see_not until one is gone.
see() {
	for pattern in "$@"; do
		tries=0
		until screen | grep -q -e "$pattern"; do again "there is no $pattern"; done
	done
}
see_not() {
	tries=0
	while screen | grep -q -e "$1"; do again "there is still $1"; done
}
again() {
	tries=$((tries + 1))
	[ $tries -lt 900 ] || { echo "$1 on the screen of $terminal:" >&2; screen >&2; exit 1; }
	sleep 0.1
}
# prompt waits for the next prompt on a line of its own.
prompt() { see '^\$ *$'; }

# take NAME TITLE draws the screen as it is.
take() {
	case $wanted in "  " | *" $1 "*) ;; *) return 0 ;; esac
	in_tmux capture-pane -e -N -p -t "$terminal" | python3 "$pictures/render.py" "$2" >"$work/picture.svg"
	mv "$work/picture.svg" "$pictures/$1.svg"
	echo "docs/pictures/$1.svg"
}

. "$pictures/scenes.sh"
