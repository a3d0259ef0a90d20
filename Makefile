# make demo and make test set up everything on a machine that has only Python 3.10-3.12 and make.
FITS := import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 12) else "orpheus needs Python 3.10, 3.11 or 3.12, and this is %d.%d: install one of them, or run make PYTHON=/path/to/python3.11" % v)
ifndef PYTHON
# The first that runs and fits; python3 where none does, for its line of explanation.
PYTHON := $(or $(shell for p in python3.11 python3.12 python3.10 python3 python; do $$p -c '$(FITS)' >/dev/null 2>&1 && { echo $$p; break; }; done),python3)
endif
# make test TF=2.21.0: the same on another TensorFlow, without tensorflow-io and with the newest of everything else.
TF :=
VENV := .venv$(if $(TF),-$(TF))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
FREE := s/^tensorflow==.*/tensorflow==$(TF)/; /^tensorflow-io/d; /^(keras|tensorflow)==/!s/==[^;]*//; /frozen so that/,$$d

.PHONY: help setup demo test lint clean

help:
	@echo "make demo   train a small tagger on synthetic music and tag a held-out file (5 minutes)"
	@echo "make test   the test suite (SLOW=1: the slow tests too; TF=2.21.0: on that TensorFlow, without tensorflow-io)"
	@echo "make lint   ruff and mypy"
	@echo "make setup  only create .venv with the pinned requirements"

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c '$(FITS)'
	$(PYTHON) -m venv $(VENV)
ifeq ($(TF),)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
else
	sed -E '$(FREE)' requirements.txt > $(VENV)/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(VENV)/requirements.txt pytest pytest-xdist
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
endif
	@touch $(READY)

setup: $(READY)

demo: $(READY)
	$(BIN)/python -m tools.demo

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(if $(SLOW),--slow)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv .venv-* demo
