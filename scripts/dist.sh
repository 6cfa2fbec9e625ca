#!/bin/sh
# Make what a release hands out, in dist/: wheel, chart, install.yaml, an SBOM for each image.
# Called by `make dist` as: dist.sh PYTHON VERSION IMG_REGISTRY HELM
set -eu
python=$1 version=$2 registry=$3 helm=$4
rm -rf dist build/chart build/sbom
mkdir -p dist build/chart
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
cp -R charts/livery build/chart/
# A released chart names the registry that its images were pushed to.
sed -i.bak "s|^  registry: localhost$|  registry: $registry|" build/chart/livery/values.yaml
rm build/chart/livery/values.yaml.bak
"$helm" package build/chart/livery --destination dist --version "$version" --app-version "$version"
scripts/install-yaml.sh "$helm" build/chart/livery "$registry" > dist/install.yaml
"$python" -m venv build/sbom/tool
build/sbom/tool/bin/pip install --quiet --require-hashes -r requirements/release.txt
for image in injector sidecar; do
  "$python" -m venv build/sbom/$image
  build/sbom/$image/bin/pip install --quiet --require-hashes -r requirements/$image.txt
  build/sbom/$image/bin/pip install --quiet --no-deps dist/livery-*.whl
  build/sbom/tool/bin/cyclonedx-py environment --output-reproducible \
    --output-file build/sbom/$image.json build/sbom/$image/bin/python
  # Where it was built is nobody's business.
  sed "s|file://[^\"]*/dist/||g" build/sbom/$image.json > "dist/livery-$image-$version.cdx.json"
done
(cd dist && sha256sum -- * > SHA256SUMS && cat SHA256SUMS)
