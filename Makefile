# The verbs of the project: people, hooks and CI type the same ones. `make` alone lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup loop test check repro lock ui bench doctor test-cluster clean

# Every chapter is a process of its own: without cached bytecode each would compile its libraries again.
unexport PYTHONDONTWRITEBYTECODE
# Tools keep out of the home folder and send nothing out; the same list stands in src/slipway/environment.py.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export BENTOML_HOME := $(CURDIR)/.slipway/bentoml
export DVC_SITE_CACHE_DIR := $(CURDIR)/.slipway/dvc
export DVC_GLOBAL_CONFIG_DIR := $(CURDIR)/.slipway/dvc
export MPLCONFIGDIR := $(CURDIR)/.slipway/matplotlib
export DVC_NO_ANALYTICS := 1
export PYTHONUTF8 := 1
export OMP_WAIT_POLICY := PASSIVE
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export ORT_DISABLE_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
ifneq ($(shell cache="$${XDG_CACHE_HOME:-$$HOME/.cache}"; mkdir -p "$$cache" 2>/dev/null && test -w "$$cache" && echo yes),yes)
export UV_CACHE_DIR ?= $(CURDIR)/.slipway/uv
export PIP_CACHE_DIR ?= $(CURDIR)/.slipway/pip
endif

PY := .venv/bin/python
# The interpreter that environments are made of; an environment's own one may be the one about to be replaced.
FIND := import sys; sys.version_info < (3, 11) and sys.exit(1); print(sys._base_executable)
OLD := needs Python 3.11 or newer, and found none; install one, or name it: make setup PYTHON=/path/to/python3
BARE := has no venv module; on Debian or Ubuntu: apt install python3-venv
OFFLINE := locks: could not be compiled, so their freshness is unknown (they need the package index: is there a network?)

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

setup: .venv/ready ## install what the lock says into .venv; nothing to do the second time

loop: setup ## the whole loop on this machine (TARGET=cluster, ARGS=--keep)
	@$(PY) -m slipway loop $(if $(TARGET),--target $(TARGET)) $(ARGS)

test: setup ## all tests that need no cluster, with branch coverage
	@$(PY) -m pytest -n 2 --dist loadscope -m "not cluster" --cov --cov-report=term $(ARGS)

check: setup ## format, lint, types, and locks and generated docs that are current
	@$(PY) -m ruff format --check
	@$(PY) -m ruff check
	@$(PY) -m mypy
	@rm -rf .slipway/locks && mkdir -p .slipway/locks && cp -R pyproject.toml requirements .slipway/locks
	@cd .slipway/locks/requirements && { $(compile); } || { echo "$(OFFLINE)" >&2; exit 2; }
	@diff -r requirements .slipway/locks/requirements || { echo "locks: not what pyproject.toml asks for; run: make lock" >&2; exit 2; }
	@$(commands) .slipway/commands.md >/dev/null
	@diff docs/commands.md .slipway/commands.md || { echo "docs/commands.md: not what the commands say; run: make lock" >&2; exit 2; }

repro: setup ## run the stages of dvc.yaml whose inputs changed
	@$(PY) -m dvc repro $(ARGS)

lock: setup ## generate anew: locks (ARGS=--upgrade for the newest) and docs/commands.md
	@cd requirements && $(compile)
	@$(commands) docs/commands.md >/dev/null

ui: setup ## open MLflow's pages on this machine (PORT=5000)
	@$(PY) -m mlflow ui --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}" --port $(or $(PORT),5000)

bench: setup ## the pipeline's figures, each a ratio within one run
	@$(PY) benchmarks/pipeline.py $(ARGS)

doctor: setup ## what is there, what is missing, and how to get it
	@$(PY) -m slipway doctor

test-cluster: setup ## the tests that need a cluster, a registry and an image builder
	@$(PY) -m pytest -m cluster $(ARGS)

clean: ## remove the environment, caches and scratch; data, models and DVC's cache stay
	rm -rf .venv .slipway .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*

commands = $(PY) -m typer slipway.cli utils docs --name slipway --title Commands --output

# dev holds every group; the others are constrained by it, so that all four agree.
compile = for group in dev pipeline serve load; do \
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header $(ARGS) \
	$$(test $$group = dev || echo "-c dev.lock") --group ../pyproject.toml:$$group -o $$group.lock || exit; done

# `ready` is a copy of the lock that was installed whole. Anything else starts from an empty environment:
# a killed set-up leaves packages that only look installed, and a new lock may drop some.
.venv/ready: requirements/dev.lock
	@if cmp -s $< $@; then touch $@; exit; fi; set -e; rm -f $@; \
	for name in $(if $(PYTHON),"$(PYTHON)",python3.14 python3.13 python3.12 python3.11 python3); do \
		if python=$$("$$name" -c '$(FIND)' 2>/dev/null); then break; fi; done; \
	test "$$python" || { echo "make $(OLD)" >&2; exit 2; }; \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $$python $(BARE)" >&2; exit 2; }; \
	echo "setting up .venv with $$("$$python" --version) …" >&2; \
	rm -rf .venv; "$$python" -m venv .venv; \
	sed -n '/^uv==/,/# via/p' $< > .venv/uv.txt; \
	$(PY) -m pip install -q --no-deps --require-hashes -r .venv/uv.txt; \
	.venv/bin/uv pip install -q --python $(PY) --require-hashes -r $<; \
	.venv/bin/uv pip install -q --python $(PY) --no-deps -e .; \
	cp $< $@
