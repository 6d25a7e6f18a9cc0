# `make check` is what has to pass before a change goes in. BIN= runs the tools of the active environment.
BIN ?= $(if $(wildcard .venv/bin/python),.venv/bin/,)

.PHONY: check lint format types test notebooks docs gallery twin campaign faults planted right mutants mutated-files hostile-options perturbations interrupts training bench costs size peers agreement circuits ci

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
	$(BIN)python -m pytest -n 2 --dist worksteal

# executes the notebooks and the code of the documents from clean; python notebooks/rerun.py writes what they give
notebooks:
	$(BIN)python -m pytest -m notebooks -n 2 --dist worksteal

# the documentation site: docs/_build/html/index.html
docs:
	$(BIN)python -m sphinx --fail-on-warning --keep-going --fresh-env -b html -c docs . docs/_build/html

# the pictures of docs/gallery.md, by the code that the page shows
gallery:
	$(BIN)python docs/draw_gallery.py

# the kernels as the plain Python that they are written in, which is slow; numpy warns of an inf or NaN, compiled code does not
twin:
	NUMBA_DISABLE_JIT=1 $(BIN)python -m pytest -W ignore::RuntimeWarning tests/eventsolve

# random networks against mpmath, and certified; goes on where it was interrupted
campaign:
	$(BIN)python -m tests.campaign --networks 20000 --seed 1 --certify --summary docs/campaign.json

# faults planted in random networks, each of which a certificate has to refuse
faults:
	$(BIN)python -m tests.planted_faults --each 1000

# records of an implementation of its own, right ones and with faults planted in them: what is the verdict on each?
planted:
	$(BIN)python -m tests.planted_records

# right records of an implementation of its own, in the many ways in which people step a network: all are accepted
right:
	$(BIN)python -m tests.right_records

# small errors planted one by one in the sources, each of which a test has to notice; goes on where it was interrupted
mutants:
	$(BIN)python -m tests.mutants

# records, certificates, NIR graphs and checkpoints, changed at random: each is read or refused, within its memory
mutated-files:
	$(BIN)python -m tests.mutated_files

# hostile values for every option of every command: each ends with 0, 1 or 2, and without a traceback
hostile-options:
	$(BIN)python -m tests.hostile_options

# changes within trust radii, which must not change the order of events, and beyond
perturbations:
	$(BIN)python -m tests.perturbations

# interrupts at random times in every verb: no crash, no wrong next answer; goes on where it was interrupted
interrupts:
	$(BIN)python -m tests.interrupts --interrupts 10000 --seed 1

# every training of docs/training.md, three seeds each; goes on where it was interrupted
training:
	$(BIN)python benchmarks/tables/training.py

# 100,000 random updates of spiking backpropagation, by its circuit and by its closed form, to the last bit
circuits:
	$(BIN)python -m tests.circuits

# the last version before the house was put in order, and this one, with the time of `make test > FILE` by SUITE=FILE:
# writes docs/reference/size.md
BEFORE = 32ff798
size:
	test -d build/before || git clone --quiet --shared . build/before
	git -C build/before checkout --quiet $(BEFORE)
	$(BIN)python benchmarks/size.py build/before . --page docs/reference/size.md $(if $(SUITE),--suite $(SUITE))

bench:
	@for script in $(filter-out benchmarks/peers.py benchmarks/agreement.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)python "$$script" || exit 1; done

# every row of costs that is promised, each beside what bounds it, with ratios
costs:
	@for script in coldstart yinyang recurrent sparse; do echo "== $$script"; $(BIN)python benchmarks/$$script.py || exit 1; done

# installs other simulators, each into an environment of its own, and writes docs/benchmarks.md
peers:
	$(BIN)python benchmarks/peers.py

# installs every framework that there is an adapter for, into one environment, and writes docs/adapters.md
agreement: benchmarks/.environments/adapters/bin/python
	$< -m pip install --quiet -e ".[brian2,eventax,jax,jaxsnn,nest,nir,norse,snntorch,torch]"
	$< benchmarks/agreement.py

benchmarks/.environments/adapters/bin/python:
	python3 -m venv benchmarks/.environments/adapters

ci:
	.ci/run
