#!/bin/sh
# Build an image and load it into a kind cluster: E2E_BUILD_IMAGE=scripts/kind-image.sh make e2e
set -eu
docker build --tag "$1" "$2" "$3" "$4"
kind load docker-image "$1"
