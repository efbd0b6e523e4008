#!/usr/bin/env bash
# Renews vega.min.js.gz and LICENSES.txt from npm: the library that draws the page of
# `sandwich labels --html`, and the licences of all that is in it. Needs npm and network;
# nothing else of the project does.
#
#   internal/catalog/vega/renew.sh [VERSION]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=${1:-6.4.0}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$work"
npm install --silent --no-audit --no-fund --ignore-scripts "vega@$version"
# Without name and time in its header the file is the same whoever makes it.
gzip -9 -n -c node_modules/vega/build/vega.min.js > "$here/vega.min.js.gz"
{
  echo "vega.min.js.gz is the file build/vega.min.js of the npm package vega $version."
  echo "It holds code of the packages below, under their licences."
  for dir in node_modules/*/; do
    name=$(basename "$dir")
    licence=$(find "$dir" -maxdepth 1 -iname 'licen[cs]e*' | head -n 1)
    if [[ -n $licence && ( $name == vega* || $name == d3-* || $name =~ ^(topojson-client|delaunator|robust-predicates|internmap)$ ) ]]; then
      printf '\n== %s %s\n\n' "$name" "$(node -p "require('./$dir/package.json').version")"
      cat "$licence"
    fi
  done
} > "$here/LICENSES.txt"
