#!/bin/sh
# Prepares what the Python components need: a virtual environment in .venv with
# the packages of requirements.txt and the code for the .proto files. Does nothing
# when nothing has changed; may be started several times at once.
set -eu
cd "${0%/*}/.."

contract=../../proto # the folder of angzarr/*.proto, the wire contract

inputs() { cat python/setup.sh python/requirements.txt "$contract"/angzarr/*.proto proto/examples/*.proto; }
ready() { [ -x .venv/bin/python ] && inputs | cmp -s - .venv/made-from; }
fail() { echo "python/setup.sh: $1" >&2; exit 1; }

ready && exit 0

command -v python3 >/dev/null || fail "python3 is not installed; the shop's Python components need version 3.9 or newer"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' || fail "$(python3 --version) is too old, 3.9 or newer is needed"

# One at a time. The lock is on this file and ends with this process, whatever
# ends it.
exec 9<python/setup.sh
python3 -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
ready && exit 0

if ! { [ -x .venv/bin/python ] && [ -x .venv/bin/pip ]; }; then
    python3 -m venv --clear .venv >/dev/null 2>&1 || python3 -m virtualenv --quiet --clear .venv 2>/dev/null ||
        fail "python3 cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv"
fi
inputs >.venv/made-from.new
.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement python/requirements.txt ||
    fail "the packages of python/requirements.txt could not be installed, see above"

packages=$(echo .venv/lib/python3.*/site-packages)
rm -rf "$packages/angzarr" "$packages/examples"
.venv/bin/python -m grpc_tools.protoc --proto_path="$contract" --proto_path=proto \
    --python_out="$packages" --pyi_out="$packages" --grpc_python_out="$packages" \
    "$contract"/angzarr/*.proto proto/examples/*.proto
mv .venv/made-from.new .venv/made-from
