# make run     installs into .venv and starts the assistant with a chat in this terminal
# make test    installs what the tests need and runs everything
# make check   style, types, layers and the fast tests
# make bench   measures, and writes build/bench.json

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Tests that need neither the whole service nor an engine; two files at a time.
FAST := -n 2 --dist loadfile -m "not service and not engine"
INPUTS := pyproject.toml constraints.txt

.PHONY: help run test check lint bench constraints clean

help:
	@sed -n '1,4s/^# //p' Makefile

run: $(VENV)/.installed
	@$(BIN)/nanoclaw chat

# NANOCLAW_TEST_ENGINE=install (as root, on Debian): installs a container engine if there is none, and starts one for the
# tests alone. Without it the tests of containers use the engine that answers, or are skipped.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(FAST)
	$(BIN)/python -m pytest -m "service or engine"

check: lint
	$(BIN)/python -m pytest $(FAST)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	$(BIN)/python -m bench

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "NanoClaw needs Python 3.11 or newer. Name one with: make PYTHON=/path/to/python3 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "Python's venv module is missing. On Debian or Ubuntu: apt install python3-venv"; exit 1; }

# A stamp is newer than what it was made from: nothing is installed again until that changes.
$(VENV)/.installed: $(INPUTS) | $(VENV)/bin/python
	@echo "Installing NanoClaw into $(VENV) …"
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(INPUTS) | $(VENV)/bin/python
	@echo "Installing NanoClaw and its test tools into $(VENV) …"
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.installed

# Writes constraints.txt from a fresh installation of the newest versions that fit.
constraints:
	rm -rf build/constraints
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip --quiet --disable-pip-version-check install --editable '.[dev]'
	sed -n '/^#/p' constraints.txt > build/constraints.txt
	build/constraints/bin/python -m pip freeze --exclude-editable >> build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/constraints

clean:
	rm -rf $(VENV) build dist
