#!/bin/sh
# Sets up a virtual environment from a lock under requirements/, with resseg in it as it
# stands in this folder. Where that is done already it costs nothing; for another version of
# Python the environment is made anew.
#
#   tools/environment.sh FOLDER            what resseg and its everyday tests need
#   tools/environment.sh FOLDER --extras   what tests of its extras need besides
#
# tools/find_python.sh finds the Python; PYTHON asks for another.
set -eu
cd "$(dirname "$0")/.."
venv=$1
found=$(tools/find_python.sh)
version=${found%% *}
python=${found#* * }
lock=${found#* }
lock=requirements/${lock%% *}

install() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

# A stamp holds what was installed: the lock's name and a checksum of what it follows from.
done_before=$(cat "$venv/.ready" 2>/dev/null || true)
[ -x "$venv/bin/python" ] || done_before=  # of a Python that is gone
wanted="$lock $(cat "$lock.txt" pyproject.toml | cksum)"
if [ "$done_before" != "$wanted" ]; then
    echo "$venv: Python $version, $lock.txt"
    rm -f "$venv/.ready" "$venv/.extras"
    [ "${done_before%% *}" = "$lock" ] || "$python" -m venv --clear "$venv"
    # A package that has to be built is built by the setuptools of the lock.
    sed -n '/^setuptools==/,/[^\]$/p' "$lock.txt" | install --require-hashes -r /dev/stdin
    install --require-hashes --no-build-isolation -r "$lock.txt"
    # compat: a plain path entry. The import hook of the other modes comes after the search
    # of folders, where a clone named resseg in the current one passes for the package.
    install --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
    echo "$wanted" >"$venv/.ready"
fi

[ "${2:-}" = --extras ] || exit 0
wanted=$(cksum <"$lock-extras.txt")
if [ "$(cat "$venv/.extras" 2>/dev/null || true)" != "$wanted" ]; then
    install --no-deps --require-hashes -r "$lock-extras.txt"
    echo "$wanted" >"$venv/.extras"
fi
