# Everything a contributor runs; `make help` lists it. The first target creates what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?= -n auto
CONTAINER ?= docker
IMG_REGISTRY ?= localhost
PLATFORMS ?= linux/amd64,linux/arm64
BASE_IMAGE ?= python:3.13-slim
REVISION = $$(git rev-parse --short=12 HEAD 2>/dev/null)
BUILD_ARGS = --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION)
FIND_HELM = $$(command -v helm || $(BIN)/python -m tests.real_parts --path helm)
UV_VERSION := 0.13.9
UPGRADE ?= --upgrade
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help demo test soak e2e images push installer dist release check fix lock bench pictures clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.13 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV)/.ready ## inject, label and re-expose on this machine; stays until Ctrl-C
	$(BIN)/livery demo

test: $(VENV)/.ready ## run all tests (real parts are built once, outside the repository)
	$(BIN)/python -m tests.real_parts
	$(BIN)/python -m pytest $(PYTEST_ARGS)

soak: $(VENV)/.ready ## run the property tests with 20,000 examples each, and chaos 20 times; takes hours
	LIVERY_HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest tests/sidecar/forward/test_chaos.py $(PYTEST_ARGS)
	LIVERY_HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest -m hypothesis --timeout 0 $(PYTEST_ARGS)

e2e: $(VENV)/.ready ## install into the cluster of KUBECONFIG; E2E_BUILD_IMAGE builds images for it
	@test -n "$(E2E_BUILD_IMAGE)" || { echo 'E2E_BUILD_IMAGE="COMMAND" is needed: called as COMMAND TAG CONTEXT -f DOCKERFILE, it builds an image and loads it into the cluster'; exit 1; }
	$(BIN)/python -m pytest tests/e2e -p no:xdist -v -s

images: ## build both images with $(CONTAINER)
	$(CONTAINER) build $(BUILD_ARGS) --tag $(IMG_REGISTRY)/livery-injector:$(VERSION) -f Dockerfile.injector .
	$(CONTAINER) build $(BUILD_ARGS) --tag $(IMG_REGISTRY)/livery-sidecar:$(VERSION) -f Dockerfile.sidecar .

push: ## push both images to IMG_REGISTRY
	$(CONTAINER) push $(IMG_REGISTRY)/livery-injector:$(VERSION)
	$(CONTAINER) push $(IMG_REGISTRY)/livery-sidecar:$(VERSION)

installer: $(VENV)/.ready ## render the chart as install.yaml for IMG_REGISTRY, for people without Helm
	scripts/install-yaml.sh $(FIND_HELM) charts/livery $(IMG_REGISTRY) > install.yaml

dist: $(VENV)/.ready ## make wheel, chart and install.yaml for IMG_REGISTRY, in dist/
	scripts/dist.sh $(BIN)/python $(VERSION) $(IMG_REGISTRY) $(FIND_HELM)

release: dist ## make dist, push both images for $(PLATFORMS) to IMG_REGISTRY, and write their SBOMs
	@test "$(IMG_REGISTRY)" != localhost || { echo 'IMG_REGISTRY=… is needed: where images are pushed'; exit 1; }
	@case "$(BASE_IMAGE)" in *@sha256:*) ;; *) echo 'BASE_IMAGE=python:3.13-slim@sha256:… is needed: a release names its base by digest, which `$(CONTAINER) buildx imagetools inspect $(BASE_IMAGE)` shows'; exit 1;; esac
	for image in injector sidecar; do \
	  $(CONTAINER) buildx build $(BUILD_ARGS) --platform $(PLATFORMS) --provenance=true --sbom=true --push \
	    --tag $(IMG_REGISTRY)/livery-$$image:$(VERSION) -f Dockerfile.$$image . || exit 1; \
	  $(CONTAINER) buildx build $(BUILD_ARGS) --platform $(PLATFORMS) --target sbom \
	    --output dist/sbom-$$image -f Dockerfile.$$image . || exit 1; done
	cd dist && find . -type f ! -name SHA256SUMS -exec sha256sum {} + > SHA256SUMS

check: $(VENV)/.ready ## style, types, import contracts, the wheel's contents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/check_wheel.py

fix: $(VENV)/.ready ## put style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## renew requirements/ from pyproject.toml; `make lock UPGRADE=` changes only what it must
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet 'uv==$(UV_VERSION)'
	scripts/lock.sh build/lock/bin/uv $(UPGRADE)

bench: $(VENV)/.ready ## measure each claim and print the table
	$(BIN)/python -m bench

pictures: $(VENV)/.ready ## take the pictures of README and docs anew (needs Chromium)
	$(BIN)/python -m tests.browser.pictures

clean: ## remove what the other targets made here
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis
