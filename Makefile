# Every command of the house. Each sets up what it needs first: `make test` works on a fresh Debian 12.

# Nothing is left in the checkout but .venv/ and build/.
export PYTHONPYCACHEPREFIX := $(CURDIR)/build/cache/python
PYTHON := .venv/bin/python

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: setup
setup: ## system packages that are missing, .venv/, the engine
	@.ci/setup

.PHONY: engine
engine: setup ## the packet engine, in build/engine
	@.ci/engine engine

.PHONY: engine-asan
engine-asan: ## set-up, and the packet engine with sanitizers, in build/engine-asan
	@.ci/setup engine-asan

.PHONY: engine-fuzz
engine-fuzz: setup ## the fuzz targets, in build/engine-fuzz
	@.ci/engine engine-fuzz

.PHONY: generate
generate: setup ## code from table schemas and .proto files, in place
	@$(PYTHON) .ci/generate.py

.PHONY: lint
lint: setup ## ruff, mypy --strict, import rules, clang-format, freshness of generated code
	@$(PYTHON) -m tests.run lint

.PHONY: format
format: setup ## lay out Python and C as lint wants it
	@.ci/format

.PHONY: test
test: engine-asan ## every suite; the fuzz targets are built by theirs
	@$(PYTHON) -m tests.run

.PHONY: test-long
test-long: engine-asan ## every suite at length; continues where an interrupted run stopped
	@$(PYTHON) -m tests.run --long

.PHONY: fuzz
fuzz: setup engine-fuzz ## fuzz at length, ten minutes a target; may be interrupted and goes on
	@$(PYTHON) -m tests.fuzz

HOURS ?= 1
.PHONY: soak
soak: setup ## an hour (HOURS=n) of churn and kills: nothing leaks, nothing drifts
	@$(PYTHON) -m tests.soak --hours $(HOURS)

.PHONY: bench
bench: setup ## the figures, into build/bench.json
	@$(PYTHON) -m tests.bench

.PHONY: demo
demo: setup ## a software card with three hosts, seen to forward and to filter
	@$(PYTHON) -m tests.demo

.PHONY: lock
lock: setup ## requirements.lock anew, from pyproject.toml
	@.ci/lock

.PHONY: clean
clean: ## remove .venv/ and build/
	rm -rf --one-file-system .venv build
