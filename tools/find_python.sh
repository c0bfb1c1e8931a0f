#!/bin/sh
# Finds the newest Python here that has a lock under requirements/.
#
#   tools/find_python.sh         prints "3.13 py313-jax0.12 /path/of/python3.13"
#   tools/find_python.sh --all   prints such a line for each version here, newest first
#
# Looks for python3.x on the PATH, then among pyenv's versions, also those that pyenv does
# not have active. PYTHON, a version (3.11) or a program, asks for that one.
set -eu
cd "$(dirname "$0")/../requirements"
pyenv=${PYENV_ROOT:-${HOME:-}/.pyenv}/versions

# Prints "VERSION PROGRAM" for the Python $1, nothing if it does not run. A virtual
# environment answers with the Python it was made of, for it may be about to be replaced.
ask() {
    "$1" -c 'import os, sys
version = "%d.%d" % sys.version_info[:2]
program = sys.executable
if sys.prefix != getattr(sys, "base_prefix", sys.prefix):
    program = os.path.join(sys.base_prefix, "bin", "python" + version)
print(version + " " + program)' 2>/dev/null || true
}

# Prints the line of the Python that `ask` told of, if there is a lock for it.
line() {
    for lock in "py3${1#3.}"-jax*[0-9].txt; do
        [ ! -f "$lock" ] || echo "$1 ${lock%.txt} $2"
    done
}

# Prints the line of a Python of version $1, or fails if there is none here.
search() {
    release=$(ls "$pyenv" 2>/dev/null | grep "^3\.${1#3.}\.[0-9]*$" | sort -t . -k 3n | tail -n 1)
    for program in "python$1" "$pyenv/$release/bin/python$1"; do
        answer=$(ask "$program")
        if [ "${answer%% *}" = "$1" ]; then
            line "$1" "${answer#* }"
            return
        fi
    done
    return 1
}

fail() {
    echo "$1: set PYTHON to one of $(echo $versions | sed 's/ /, /g') or to its path" >&2
    exit 1
}

versions=
for lock in py3*-jax*[0-9].txt; do
    minor=${lock#py3}
    versions="3.${minor%%-*} $versions"
done
wanted=${PYTHON:-}
[ "${1:-}" != --all ] || wanted=

if [ -z "$wanted" ]; then
    found=$(for version in $versions; do
        search "$version" && [ "${1:-}" != --all ] && break
    done) || [ -n "$found" ] || fail "no Python that has a lock on the PATH or in $pyenv"
elif echo " $versions" | grep -qF " $wanted "; then
    found=$(search "$wanted") || fail "no Python $wanted on the PATH or in $pyenv"
else
    answer=$(ask "$wanted")
    [ -n "$answer" ] || fail "PYTHON=$wanted: no such Python"
    found=$(line "${answer%% *}" "${answer#* }")
    [ -n "$found" ] || fail "PYTHON=$wanted is Python ${answer%% *}, which has no lock"
fi
echo "$found"
