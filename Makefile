# Everything runs in a virtual environment of its own, made on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install test test-all lint format ember clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[torch,export,train,eval,server,ui,dev]"
	touch $(STAMP)

test: $(STAMP)  ## the fast tests, under ten minutes on two cores
	$(BIN)/python -m pytest -n 2

test-all: $(STAMP)  ## everything, with soak and full-size checks: 10 GB of memory, 5 GB of disk
	$(BIN)/python -m pytest -m "slow or not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ember: $(STAMP)  ## the embedded model from nothing, into out/ember: many hours; goes on where it was stopped
	PATH="$(abspath $(BIN)):$$PATH" recipes/ember/run.sh out/ember

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
