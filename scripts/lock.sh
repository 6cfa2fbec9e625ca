#!/bin/sh
# Write requirements/*.txt from pyproject.toml: every platform, Python 3.11 and newer, with hashes.
# Called by `make lock` as: lock.sh UV [--upgrade]
set -eu
uv=$1
shift
lock() {
  extra=$1
  shift
  "$uv" pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-package livery --custom-compile-command 'make lock' \
    --extra "$extra" --output-file "requirements/$extra.txt" "$@"
}
lock dev "$@"
# The others take the versions of the largest, so that images hold what the tests ran.
for extra in sidecar injector build release; do
  lock "$extra" --constraint requirements/dev.txt "$@"
done
