# Two commands for a newcomer: `make demo` and `make test`. Everything lands in .venv and demo_output.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The tests' tensors are tiny: one thread each and two workers, which also holds where other programs run. A file stays
# with one worker, since it shares models between its tests.
WORKERS ?= 2

.PHONY: help demo test lint clean

help:
	@echo "make demo   install into $(VENV), segment a bundled picture and video by words, write demo_output"
	@echo "make test   install into $(VENV) with the test tools, run the test suite"
	@echo "make lint   check style and formatting"
	@echo "make clean  remove what the other targets made"

$(VENV)/.run: pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

demo: $(VENV)/.run
	$(BIN)/desa2va demo --out demo_output --replace

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) demo_output build dist *.egg-info .pytest_cache .ruff_cache
