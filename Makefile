# Each target sets itself up: a virtual environment in .venv and the package with what it needs,
# installed once for each version of pyproject.toml. Only Python >= 3.10 is asked for.
#
#   make demo       draw a shop, train on it, evaluate, write runs/demo/report.html
#   make test       the test suite, but for the slow tests
#   make test-slow  the slow tests
#   make lint       style, types and the table of rooms
#   make format     put the code in order
#   make docs       the documentation site (build/site), every warning an error
#   make results    docs/results.md and its figures, out of docs/results/
#   make bench      benchmarks, into docs/benchmarks.md, and a quick comparison (runs/quick)
#
# PYTHON=python3.12 picks an interpreter, PYTEST_ARGS="-k ranks -x" narrows the tests, JOBS=4 runs them
# in so many processes (2 unless said, 0 for none beside make's own), OUT=folder moves the demo, and
# pip reads its own configuration and PIP_* variables.

VENV ?= .venv
export VENV
ifndef PYTHON
PYTHON := $(shell for p in python3 python3.12 python3.11 python3.13 python3.10; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$p && break; done)
endif
BIN := $(VENV)/bin
OUT ?= runs/demo
PYTEST_ARGS ?=
JOBS ?= 2
# Whole files to a process, for their fixtures' sake, in our order, and one thread in each.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile \
  --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format docs results bench setup-offline setup-dev clean

help:
	@sed -n 's/^#   //p' Makefile

demo: setup-offline
	@$(BIN)/tgqformer demo --out $(OUT)

test: setup-dev
	@$(PYTEST) $(PYTEST_ARGS)

test-slow: setup-dev
	@$(PYTEST) -m slow $(PYTEST_ARGS)

lint: setup-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=src $(BIN)/lint-imports --no-logo

format: setup-dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# The tests build it too.
docs: setup-dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

results: setup-dev
	@PYTHONPATH=src $(BIN)/python tools/results_page.py

bench: setup-offline setup-dev
	@$(BIN)/python benchmarks/speed.py
	@$(BIN)/python benchmarks/run.py
	@$(BIN)/tgqformer compare --quick --out runs/quick

setup-offline setup-dev: | check-python
	@$(PYTHON) tools/setup_venv.py offline $(if $(filter setup-dev,$@),dev docs)

.PHONY: check-python
check-python:
	@test -n "$(PYTHON)" || { echo "Python 3.10 or newer is needed and was not found;" \
	  "install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
