# make demo and make test set up everything on a machine that has only Python 3.10-3.12 and make.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.10 python3 python,$(if $(shell command -v $(p) 2>/dev/null),$(p))))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test lint clean

help:
	@echo "make demo   train a small tagger on synthetic music and tag a held-out file (5 minutes)"
	@echo "make test   the test suite (SLOW=1 for the slow tests too)"
	@echo "make lint   ruff and mypy"
	@echo "make setup  only create .venv with the pinned requirements"

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 12) else "orpheus needs Python 3.10, 3.11 or 3.12, and $(PYTHON) is %d.%d: install one of them or run make PYTHON=/path/to/python3.11" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(READY)

setup: $(READY)

demo: $(READY)
	$(BIN)/python -m tools.demo

test: $(READY)
	$(BIN)/python -m pytest $(if $(SLOW),--slow)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo
