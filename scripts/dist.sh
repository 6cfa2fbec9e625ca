#!/bin/sh
# Build the files of a release in dist/: wheel, chart, install.yaml.
# Called by `make dist` as: dist.sh PYTHON VERSION IMG_REGISTRY HELM
set -eu
python=$1 version=$2 registry=$3 helm=$4
rm -rf dist build/chart
mkdir -p dist build/chart
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
cp -R charts/livery build/chart/
# A released chart contains the registry that its images were pushed to.
sed -i.bak "s|^  registry: \"\"$|  registry: $registry|" build/chart/livery/values.yaml
sed -i.bak "s|runbookUrl: \"\"|runbookUrl: \"${RUNBOOK_URL:-}\"|" build/chart/livery/values.yaml
rm build/chart/livery/values.yaml.bak
"$helm" package build/chart/livery --destination dist --version "$version" --app-version "$version"
scripts/install-yaml.sh "$helm" build/chart/livery "$registry" > dist/install.yaml
(cd dist && sha256sum -- * > SHA256SUMS && cat SHA256SUMS)
