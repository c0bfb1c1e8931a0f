# Each target sets up .venv from a lock under requirements/ by itself, with the newest Python
# here that has one: tools/find_python.sh. Run again, that costs nothing.
VENV := .venv
BIN := $(VENV)/bin
AXE := $(VENV)/browser
PYTEST := $(BIN)/python -m pytest
PYTEST_ARGS :=
WORKERS := logical
CASES := 2000
KILLS := 100
RESTARTS := 100

# Tests mostly compile, which takes one core. Those of a file share what they compiled;
# the order is that of tests/own_level.py. WORKERS=0 is this process alone.
BESIDE := -n $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# What most depends on the versions of Python and JAX: gradients, what networks compute,
# steps, resume. Paths, so that one which moved is an error and not a test less.
CORE_TESTS := $(addprefix tests/,gradients models/ops runs) \
    $(patsubst %,tests/models/test_%.py,applying gradients) \
    $(patsubst %,tests/training/test_%.py,bits losses objective optim run space steps)

EVERYDAY := -m "not slow and not faults and not cluster and not browser"

.PHONY: help
help:  ## these lines
	@echo "make TARGET [PYTHON=3.11 or a path] [VENV=folder] [WORKERS=2] [PYTEST_ARGS=...]"
	@sed -n 's/^\([a-z-]*\):[^#]*## */  \1\t/p' Makefile | expand -t 18

.PHONY: quickstart
quickstart: environment  ## trains a small U-Net on procedural images and shows its gradients
	$(BIN)/resseg train --config quickstart --workdir runs/quickstart

.PHONY: test
test: environment  ## everything that is not marked slow and needs nothing but Python
	$(PYTEST) $(EVERYDAY) $(BESIDE) $(PYTEST_ARGS)

.PHONY: test-core
test-core: environment  ## those of them that most depend on Python and JAX
	$(PYTEST) $(EVERYDAY) $(BESIDE) $(CORE_TESTS) $(PYTEST_ARGS)

.PHONY: test-matrix
test-matrix:  ## `make test` with each Python here that has a lock, in .venv-3.x
	@set -e; found=$$(tools/find_python.sh --all); failed=; \
	for version in $$(echo "$$found" | cut -d ' ' -f 1); do \
	    $(MAKE) --no-print-directory test PYTHON=$$version VENV=.venv-$$version \
	        || failed="$$failed $$version"; \
	done; \
	[ -z "$$failed" ] || { echo "failed with Python$$failed" >&2; exit 1; }

.PHONY: test-slow
test-slow: environment  ## what takes longer than a minute
	$(PYTEST) -m slow $(PYTEST_ARGS)

.PHONY: test-faults
test-faults: environment  ## 100 kills, 100 restarts on other devices, processes that die or are stuck
	RESSEG_FAULTS=$(KILLS) RESSEG_RESTARTS=$(RESTARTS) $(PYTEST) -m faults $(PYTEST_ARGS)

.PHONY: test-hostile
test-hostile: environment  ## 2,000 cases of each kind of odd files, words and options
	RESSEG_HOSTILE_CASES=$(CASES) $(PYTEST) tests/hostile $(PYTEST_ARGS)

.PHONY: test-cluster
test-cluster: extras  ## a Slurm and a Ray cluster on this machine; as root, Debian
	RESSEG_CLUSTER_TESTS=1 $(PYTEST) -m cluster $(PYTEST_ARGS)

.PHONY: test-browser
test-browser: extras  ## the report in Chromium; as root, Debian
	PYTHON=$(BIN)/python tools/setup_browser.sh $(AXE)
	RESSEG_BROWSER_TESTS=1 RESSEG_AXE=$(AXE)/axe.min.js $(PYTEST) -m browser $(PYTEST_ARGS)

.PHONY: lint
lint: extras  ## style and types, those of the extras too
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

.PHONY: format
format: environment  ## rewrites the code in one style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: clean
clean:  ## removes the environments and what was built
	rm -rf .venv .venv-3.* build *.egg-info

.PHONY: environment extras
environment:
	@tools/environment.sh $(VENV)
extras:
	@tools/environment.sh $(VENV) --extras
