#!/bin/sh
# What the browser tests of the report need, on Debian or Ubuntu: Chromium, playwright
# for Python (which drives it; no browser of its own is downloaded) and axe-core.
#
#   tools/setup_browser.sh [FOLDER]     default: ${XDG_CACHE_HOME:-~/.cache}/resseg-browser
#
# Then: RESSEG_BROWSER_TESTS=1 RESSEG_AXE=FOLDER/axe.min.js pytest -m browser
set -eu
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/resseg-browser}
python=${PYTHON:-python}
axe=4.14.1

if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null; then
    run=
    [ "$(id -u)" -eq 0 ] || run=sudo
    $run apt-get update
    $run apt-get install -y --no-install-recommends chromium
fi
"$python" -c 'import playwright' 2>/dev/null || "$python" -m pip install playwright

mkdir -p "$folder"
if [ ! -f "$folder/axe.min.js" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && npm pack --silent "axe-core@$axe" >/dev/null && tar -xzf axe-core-*.tgz)
    cp "$work/package/axe.min.js" "$work/package/LICENSE" "$folder/"
fi
echo "axe-core $axe: $folder/axe.min.js"
