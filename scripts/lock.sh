#!/bin/sh
# Write requirements/*.txt from pyproject.toml: every platform, Python 3.11 and newer, with hashes.
# Called by `make lock` as: lock.sh UV [--upgrade]
set -eu
uv=$1
shift
lock() {
  name=$1
  shift
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-package livery-metrics --custom-compile-command 'make lock' \
    --output-file "requirements/$name.txt" "$@"
}
lock dev pyproject.toml --group dev "$@"
# The others use the versions of dev, so that images contain what the tests ran with.
lock injector pyproject.toml --constraint requirements/dev.txt "$@"
for group in sidecar build release; do
  lock "$group" --group "$group" --constraint requirements/dev.txt "$@"
done
