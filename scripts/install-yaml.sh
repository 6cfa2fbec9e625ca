#!/bin/sh
# Render the chart as one file for `kubectl apply -f`, with its namespace first.
# Called as: install-yaml.sh HELM CHART REGISTRY > install.yaml
set -eu
namespace=livery-system
printf 'apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n' "$namespace"
exec "$1" template livery "$2" --namespace "$namespace" --no-hooks \
  --set-string "image.registry=$3"
