# The same four everywhere: `make lint`, `make test`, `make docs`, `make bench`.
PYTHON ?= .venv/bin/python
FAST = not (servers or browser or plugins or slow)

.PHONY: lint test slow docs bench compare

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest -q -n 2 -m "$(FAST)"

slow:
	$(PYTHON) -m pytest -q -m "servers or browser or plugins or slow"

docs:
	$(PYTHON) docs/draw_house.py
	$(PYTHON) tests/test_docs.py
	$(PYTHON) -m pytest -q tests/test_docs.py -m "$(FAST)"

bench:
	$(PYTHON) tests/benchmarks/bench_kernel.py
	$(PYTHON) tests/benchmarks/bench_sweep.py

compare:
	$(PYTHON) tests/benchmarks/compare.py
