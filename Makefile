# `make demo` and `make test` each set up a fresh clone by themselves (its own .venv), then run.
PYTHON ?= python3
BIN := .venv/bin
# What `make demo` runs, by its name in configs/studies.
STUDY ?= demo

.PHONY: demo test test-minimum lint clean
.DELETE_ON_ERROR:

demo: .venv/.ready
	PYTHON=$(BIN)/python STUDY=$(STUDY) jobs/demo.sh

# Four processes, as many tests only wait; so none of them may keep several cores busy with waiting threads.
test: lint
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

# The lowest versions that pyproject.toml allows, in an environment of their own: the tests of what depends on them most.
test-minimum: .venv-minimum/.ready
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE .venv-minimum/bin/pytest --numprocesses 2 --dist loadfile \
	    tests/core tests/stores tests/numerics tests/run tests/test_fit.py tests/test_decode.py tests/test_pipeline.py

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

.venv-minimum/.ready: pyproject.toml tests/minimum.txt
	$(PYTHON) -m venv .venv-minimum
	.venv-minimum/bin/python -m pip install --quiet --disable-pip-version-check --constraint tests/minimum.txt \
	    pytest pytest-timeout pytest-xdist hypothesis mpmath obstore boto3 "moto[server]" --editable '.[ot]'
	touch $@

clean:
	rm -rf .venv .venv-minimum runs .mypy_cache .ruff_cache .pytest_cache
