# Everything a contributor runs; `make help` lists it. The first target creates what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?= -n auto

.DEFAULT_GOAL := help
.PHONY: help demo test check fix bench pictures clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.13 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(VENV)/.ready ## inject, label and re-expose on this machine; stays until Ctrl-C
	$(BIN)/livery demo

test: $(VENV)/.ready ## run all tests (real parts are built once, outside the repository)
	$(BIN)/python -m tests.real_parts
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/.ready ## style, types, import contracts, the wheel's contents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/check_wheel.py

fix: $(VENV)/.ready ## put style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready ## measure each claim and print the table
	$(BIN)/python -m bench

pictures: $(VENV)/.ready ## take the pictures of README and docs anew (needs Chromium)
	$(BIN)/python -m tests.browser.pictures

clean: ## remove what the other targets made here
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis
