# make demo and make test set up everything on a machine that has only Python 3.10-3.13 and make.
FITS := import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else "orpheus needs Python 3.10, 3.11, 3.12 or 3.13, and this is %d.%d: install one of them, or run make PYTHON=/path/to/python3.11" % v)
# make PYTHON=python3.13 has an environment of its own, .venv-3.13: requirements.txt pins another TensorFlow there.
VENV := .venv$(if $(PYTHON),-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
ifndef PYTHON
# The first that runs and fits; python3 where none does, for its line of explanation.
PYTHON := $(or $(shell for p in python3.11 python3.12 python3.10 python3.13 python3 python; do $$p -c '$(FITS)' >/dev/null 2>&1 && { echo $$p; break; }; done),python3)
endif
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup tagger demo test lint clean

help:
	@echo "make tagger a published tagger as runs/msd-musicnn, to tag files with at once (29 MB from PyPI)"
	@echo "make demo   train a small tagger on synthetic music and tag a held-out file (5 minutes)"
	@echo "make test   the test suite (SLOW=1: the slow tests too; PYTHON=python3.13: there, with its TensorFlow; TESTS='-k cut': these)"
	@echo "make lint   ruff and mypy"
	@echo "make setup  only create .venv with the pinned requirements"

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c '$(FITS)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(READY)

setup: $(READY)

tagger: runs/msd-musicnn

runs/msd-musicnn: | $(READY)
	$(BIN)/python -m tools.pretrained MSD_musicnn -o $@

demo: $(READY)
	$(BIN)/python -m tools.demo

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(if $(SLOW),--slow) $(TESTS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv .venv-* demo
