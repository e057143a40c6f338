# Two commands matter: `make app` serves the app, `make test` runs every test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501
ADDRESS ?= localhost
# Compiled once: tests are many processes, and each would compile the package anew.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto
APP_READY := $(VENV)/.app-ready
DEV_READY := $(VENV)/.dev-ready

.PHONY: app test check lint format types browser-libs clean train-gpt train-llama train-hybrid train-bert train-t5

app: $(APP_READY)  ## serve the app on this machine
	$(BIN)/python -m attnviz app --port $(PORT) --address $(ADDRESS)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("attnviz needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(APP_READY): requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing packages into $(VENV), 2 to 6 GB: some minutes, once."
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -e .
	touch $@

$(DEV_READY): requirements.txt requirements-dev.txt pyproject.toml | $(BIN)/python
	@echo "Installing packages and tools into $(VENV), 2 to 6 GB: some minutes, once."
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -e .
	touch $@ $(APP_READY)

test: $(DEV_READY) lint types  ## everything: format, lint, types, all tests
	$(PYTEST)

check: $(DEV_READY) lint types  ## what to run while working: no browser, nothing slow
	$(PYTEST) -m "not browser and not slow and not hub and not gpu"

lint: $(DEV_READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(DEV_READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(DEV_READY)
	$(BIN)/mypy

train-gpt train-llama train-hybrid train-bert train-t5: train-%: $(DEV_READY)  ## make a classroom model anew
	$(BIN)/python -m training.$*

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
