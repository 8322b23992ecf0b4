# Every target works alone on a fresh machine that has Python 3.11 or newer: what it needs is installed into .venv first.
#
#   PYTHON=/path/to/python3.12 make test     use this Python
#   make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"     the small torch, without CUDA

VENV     := .venv
RUN      := $(VENV)/bin/python
PIP      := $(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_ARGS)
DECLARED := pyproject.toml constraints.txt
DEMO_OUT := demo-output
COMMA    := ,
# On two cores half the time; more than four processes load torch and Keras more often than they save.
PARALLEL := -n auto --maxprocesses 4 --dist worksteal

# mkdocs-material announces its successor on every build; the pinned version is the one we mean.
export NO_MKDOCS_2_WARNING := 1
export PYTHONUTF8 := 1
# Threads of torch that have nothing to do sleep instead of spinning. On a machine with other work to do, spinning made a training
# step of the demo six times slower (two cores, load 5: 360 ms against 56 ms).
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: demo test test-all lint docs bench bench-gpu clean help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.runtime ## Define a layer, check it, train it three ways on digits; pictures in demo-output/ (3 minutes)
	@$(VENV)/bin/laminar demo --output $(DEMO_OUT)

test: lint docs ## Style, types, walls, docs, then every test that is neither slow nor for a GPU (10 minutes)
	@echo "== tests and doctests, with the coverage of src (at least 90 % of lines)"
	@$(RUN) -m pytest $(PARALLEL) -m "not slow and not gpu" --cov --cov-report=term --cov-fail-under=90

test-all: lint docs ## The same with the slow tests, fifty configurations in each comparison with a peer, and those for a GPU
	@echo "== all tests and doctests, with the coverage of src (at least 90 % of lines)"
	@LAMINAR_PARITY_EXAMPLES=50 $(RUN) -m pytest $(PARALLEL) --cov --cov-report=term --cov-fail-under=90

lint: $(VENV)/.dev ## Style (ruff), walls (import-linter), types (mypy --strict)
	@echo "== style"
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@echo "== walls: a row imports only from rows below it"
	@$(VENV)/bin/lint-imports --no-cache # its cache does not notice that a module has been added
	@echo "== types (the first run takes a minute, later ones seconds)"
	@$(RUN) -m mypy

docs: $(VENV)/.dev ## Build the site into site/; a warning is an error
	@echo "== docs"
	@$(RUN) -m mkdocs build --strict
	@echo "The site is built: site/index.html"

bench: $(VENV)/.runtime ## Against Keras, Lightning, skorch and PyTorch by hand; writes docs/benchmarks.md (BENCH_ARGS="--rounds 1")
	@$(RUN) benchmarks/imports.py --repeats 5
	@$(RUN) benchmarks/loop.py --repeats 3
	@PYTHONPATH=benchmarks PIP_ARGS="$(PIP_ARGS)" $(RUN) -m frameworks $(BENCH_ARGS)

bench-gpu: $(VENV)/.runtime ## Steps, R5, inference and CIFAR-10 on a GPU; writes gpu-benchmarks.md (BENCH_ARGS=--miniature: without one)
	@PYTHONPATH=benchmarks $(RUN) -m gpu $(BENCH_ARGS)

clean: ## Remove what the targets made; .venv stays
	@rm -rf site build dist htmlcov .coverage .coverage.* $(DEMO_OUT) gpu-benchmarks.md .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +

# ── installation: a stamp per set of dependencies, older than none of the files that declare them ─────────────────────────

$(RUN):
	@python=; for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
	  if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Laminar needs Python 3.11 or newer, and none was found as $(or $(PYTHON),python3$(COMMA) python3.13$(COMMA) python3.12 or python3.11)."; \
	  echo "Install one (for example: apt install python3.11 python3.11-venv, or brew install python@3.12)"; \
	  echo "or name it: make PYTHON=/path/to/python3.12 ..."; \
	  exit 1; \
	fi; \
	if ! $$python -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	  version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  echo "$$python cannot make virtual environments: its ensurepip module is missing, as Debian and Ubuntu package it apart."; \
	  echo "Install it: sudo apt install python$$version-venv"; \
	  exit 1; \
	fi; \
	echo "== creating $(VENV) with $$($$python --version)"; \
	$$python -m venv --clear $(VENV)

$(VENV)/.runtime: $(DECLARED) | $(RUN)
	@echo "== installing Laminar and what it runs on into $(VENV) (once; one to three minutes, torch is the large part)"
	@$(PIP) -e .
	@touch $@

$(VENV)/.dev: $(DECLARED) | $(RUN)
	@echo "== installing Laminar and what it is developed with into $(VENV) (once; one to three minutes, torch is the large part)"
	@$(PIP) -e ".[dev,docs]"
	@touch $(VENV)/.runtime $@
