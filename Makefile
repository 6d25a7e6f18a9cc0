# `make check` is what has to pass before a change goes in. BIN= runs the tools of the active environment.
BIN ?= $(if $(wildcard .venv/bin/python),.venv/bin/,)

.PHONY: check lint format types test twin campaign faults perturbations bench peers ci

check: lint types test

lint:
	$(BIN)ruff check
	$(BIN)ruff format --check
	$(BIN)lint-imports

format:
	$(BIN)ruff check --fix
	$(BIN)ruff format

types:
	$(BIN)mypy

test:
	$(BIN)python -m pytest

# the kernels as the plain Python that they are written in, which is slow
twin:
	NUMBA_DISABLE_JIT=1 $(BIN)python -m pytest tests/eventsolve

# random networks against mpmath; goes on where it was interrupted
campaign:
	$(BIN)python -m tests.campaign --networks 20000 --seed 1 --summary docs/campaign.json

# faults planted in random networks, each of which a certificate has to refuse
faults:
	$(BIN)python -m tests.planted_faults --each 1000

# changes within trust radii, which must not change the order of events, and beyond
perturbations:
	$(BIN)python -m tests.perturbations

bench:
	@for script in $(filter-out benchmarks/peers.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)python "$$script" || exit 1; done

# installs other simulators, each into an environment of its own, and writes docs/benchmarks.md
peers:
	$(BIN)python benchmarks/peers.py

ci:
	.ci/run
