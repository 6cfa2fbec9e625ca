# Commands for contributors; `make help` lists them. The first one that you run creates the virtual environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?= -n auto
CONTAINER ?= docker
IMG_REGISTRY ?= localhost
CHART_REGISTRY ?= $(IMG_REGISTRY)/charts
PLATFORMS ?= linux/amd64,linux/arm64
BASE_IMAGE ?= python:3.13-slim
REVISION = $$(git rev-parse --short=12 HEAD 2>/dev/null)
BUILD_ARGS = --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION)
FIND_HELM = $$(command -v helm || $(BIN)/python -m tests.real_parts --path helm)
KUBERNETES_VERSIONS ?= 1.29.6 1.33.13 1.37.2
UV_VERSION := 0.13.9
UPGRADE ?= --upgrade
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help demo test soak e2e compat images push installer dist release check fix lock bench pictures clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

define CHECK_PYTHON
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.13 ..."; exit 1; }
endef

$(VENV)/.ready: pyproject.toml requirements/dev.txt
	$(CHECK_PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.demo

# Only what the commands need: a third of what the tests need.
$(VENV)/.demo: pyproject.toml requirements/injector.txt requirements/build.txt
	$(CHECK_PYTHON)
	@echo "1/3 creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "2/3 installing what livery needs, locked in requirements/injector.txt"
	@$(BIN)/pip install --quiet --disable-pip-version-check --progress-bar on --require-hashes \
	  --requirement requirements/build.txt --requirement requirements/injector.txt \
	  || { echo "the package index cannot be reached? HTTPS_PROXY names a proxy, PIP_INDEX_URL a mirror"; exit 1; }
	@echo "3/3 installing livery"
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV)/.demo ## run the demo on this machine: inject, label and re-expose; Ctrl-C ends it
	$(BIN)/livery demo

test: $(VENV)/.ready ## run all tests (kube-apiserver, Prometheus and so on are built once, outside the repository)
	$(BIN)/python -m tests.real_parts
	$(BIN)/python -m pytest $(PYTEST_ARGS)

soak: $(VENV)/.ready ## run the property tests with 20,000 examples each, and the chaos test 20 times; takes hours
	LIVERY_HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest tests/sidecar/forward/test_chaos.py $(PYTEST_ARGS)
	LIVERY_HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest -m hypothesis --timeout 0 $(PYTEST_ARGS)

e2e: $(VENV)/.ready ## run the end-to-end tests in the cluster of KUBECONFIG; E2E_BUILD_IMAGE builds its images
	@test -n "$(E2E_BUILD_IMAGE)" || { echo 'E2E_BUILD_IMAGE="COMMAND" is needed: called as COMMAND TAG CONTEXT -f DOCKERFILE, it builds an image and loads it into the cluster'; exit 1; }
	$(BIN)/python -m pytest tests/e2e -p no:xdist -v -s

compat: $(VENV)/.ready ## run the API server tests with each of KUBERNETES_VERSIONS, and the tests of Prometheus 2.42 and 3.x
	for version in $(KUBERNETES_VERSIONS); do \
	  echo "Kubernetes $$version"; \
	  LIVERY_KUBERNETES_VERSION=$$version $(BIN)/python -m pytest $(PYTEST_ARGS) tests/cluster || exit 1; done
	CI=true $(BIN)/python -m pytest $(PYTEST_ARGS) tests/cluster/test_discovery.py tests/sidecar/gateway/test_grafana.py

images: ## build both images with $(CONTAINER)
	$(CONTAINER) build $(BUILD_ARGS) --tag $(IMG_REGISTRY)/livery-injector:$(VERSION) -f Dockerfile.injector .
	$(CONTAINER) build $(BUILD_ARGS) --tag $(IMG_REGISTRY)/livery-sidecar:$(VERSION) -f Dockerfile.sidecar .

push: ## push both images to IMG_REGISTRY
	$(CONTAINER) push $(IMG_REGISTRY)/livery-injector:$(VERSION)
	$(CONTAINER) push $(IMG_REGISTRY)/livery-sidecar:$(VERSION)

installer: $(VENV)/.ready ## render the chart as install.yaml for IMG_REGISTRY, for users without Helm
	scripts/install-yaml.sh $(FIND_HELM) charts/livery $(IMG_REGISTRY) > install.yaml

dist: export RUNBOOK_URL ?=
dist: $(VENV)/.ready ## build the wheel, the chart and install.yaml for IMG_REGISTRY in dist/
	scripts/dist.sh $(BIN)/python $(VERSION) $(IMG_REGISTRY) $(FIND_HELM)

release: dist ## run dist, push both images for $(PLATFORMS) to IMG_REGISTRY and the chart to CHART_REGISTRY, and write SBOMs
	@test "$(IMG_REGISTRY)" != localhost || { echo 'IMG_REGISTRY=… is needed: where images are pushed'; exit 1; }
	@case "$(BASE_IMAGE)" in *@sha256:*) ;; *) echo 'BASE_IMAGE=python:3.13-slim@sha256:… is needed: a release names its base by digest, which `$(CONTAINER) buildx imagetools inspect $(BASE_IMAGE)` shows'; exit 1;; esac
	for image in injector sidecar; do \
	  $(CONTAINER) buildx build $(BUILD_ARGS) --platform $(PLATFORMS) --provenance=true --sbom=true --push \
	    --tag $(IMG_REGISTRY)/livery-$$image:$(VERSION) -f Dockerfile.$$image . || exit 1; \
	  $(CONTAINER) buildx build $(BUILD_ARGS) --platform $(PLATFORMS) --target sbom \
	    --output dist/sbom-$$image -f Dockerfile.$$image . || exit 1; done
	$(FIND_HELM) push dist/livery-$(VERSION).tgz oci://$(CHART_REGISTRY)
	cd dist && find . -type f ! -name SHA256SUMS -exec sha256sum {} + > SHA256SUMS

check: $(VENV)/.ready ## check style, types, import contracts and the wheel's contents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/check_wheel.py

fix: $(VENV)/.ready ## fix style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## update requirements/ from pyproject.toml; `make lock UPGRADE=` changes only what is needed
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet 'uv==$(UV_VERSION)'
	scripts/lock.sh build/lock/bin/uv $(UPGRADE)

bench: $(VENV)/.ready ## run the benchmark of each claim and print the table
	$(BIN)/python -m bench

pictures: $(VENV)/.ready ## retake the pictures of README and docs (needs Chromium)
	$(BIN)/python -m tests.browser.pictures

clean: ## remove the virtual environment, builds and caches
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis
