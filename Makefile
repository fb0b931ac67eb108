# Every habit of this project. Needs bash, make and Python 3.11 or later; all else goes into .venv.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
INSTALLED := .venv/installed
FLOW := examples/water/flow.yml

.PHONY: help setup demo up down test chaos bench check format docs clean

help: ## what can be done
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## virtual environment and packages; quick when nothing has changed
	@:

$(INSTALLED): pyproject.toml tools/setup
	@tools/setup

demo: setup ## run the example flow on real data, end to end, with embedded servers
	@$(BIN)/python examples/water/demo.py

up: setup ## run the example flow until Ctrl-C
	@$(BIN)/dataflow up $(FLOW)

down: setup ## stop an example flow that runs in the background
	@$(BIN)/dataflow down $(FLOW)

test: setup ## all tests; choose some with ARGS="-k name" or ARGS=tests/sync
	@$(BIN)/python -m pytest $(or $(ARGS),-n 3 --dist loadfile)

chaos: setup ## kill processes of a running flow at random, count every message; SEED=7 DURATION=600 (seconds)
	@$(BIN)/python -m dataflow.testing.chaos --seed $(or $(SEED),1) --duration $(or $(DURATION),60)

check: setup ## format, lint, types, import rule
	@failed=; \
	for step in "ruff format --check ." "ruff check ." "mypy" "python tools/check_imports.py"; do \
	  echo "$$step"; $(BIN)/$$step || failed="$$failed '$$step'"; \
	done; \
	[ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

bench: setup ## measure side by side with minimal code and with other tools; ARGS="--only hop_batch --rounds 5"
	@$(BIN)/python -m benchmarks $(ARGS)

format: setup ## bring the source into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## write the generated parts of the documentation anew
	$(BIN)/python -m dataflow.flow.reference docs/FLOW.md
	$(BIN)/python -m dataflow.flow.schema

clean: ## remove what can be made again (not .dataflow, which holds data)
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
