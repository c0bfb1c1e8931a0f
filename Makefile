# Each target sets up .venv from requirements.lock by itself; run again, that costs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

EXTRAS := $(VENV)/.extras
AXE := $(VENV)/browser

.PHONY: quickstart test test-slow test-cluster test-browser lint format clean

quickstart: $(READY)
	$(BIN)/resseg train --config configs/quickstart.py --workdir runs/quickstart

test: $(READY)  ## everything that is not marked slow and needs nothing but Python
	$(BIN)/python -m pytest -m "not slow and not cluster and not browser"

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

test-cluster: $(EXTRAS)  ## a Slurm and a Ray cluster on this machine; as root, Debian
	RESSEG_CLUSTER_TESTS=1 $(BIN)/python -m pytest -m cluster

test-browser: $(EXTRAS)  ## the report in Chromium; as root, Debian
	PYTHON=$(BIN)/python tools/setup_browser.sh $(AXE)
	RESSEG_BROWSER_TESTS=1 RESSEG_AXE=$(AXE)/axe.min.js $(BIN)/python -m pytest -m browser

lint: $(EXTRAS)  ## the types of the extras are checked too
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# compat: a plain path entry. The import hook of the other modes comes after the search
# of folders, where a clone named resseg in the current one passes for the package.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"resseg needs Python >= 3.11, this is {v.major}.{v.minor}: set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	@touch $@

$(EXTRAS): $(READY) requirements-tests.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-tests.lock
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info
