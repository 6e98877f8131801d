# `make demo` and `make test` each set up a fresh clone by themselves (its own .venv), then run.
PYTHON ?= python3
BIN := .venv/bin
# What `make demo` runs, by its name in configs/studies.
STUDY ?= demo

.PHONY: demo test lint clean
.DELETE_ON_ERROR:

demo: .venv/.ready
	PYTHON=$(BIN)/python STUDY=$(STUDY) jobs/demo.sh

# Four processes, as many tests only wait; so none of them may keep several cores busy with waiting threads.
test: lint
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

lint: .venv/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Made anew when the dependencies change.
.venv/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv runs .mypy_cache .ruff_cache .pytest_cache
