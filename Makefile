# Any target installs what it needs first: `make demo` and `make test` are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo serve test lint types unit bench reproduce reader clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
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
	$(BIN)/pytest --cov --cov-report=term --cov-fail-under=90

bench: install
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[bench]"
	$(BIN)/cartridges bench serve
	$(BIN)/cartridges bench train
	$(BIN)/python -m benchmarks.plots
	$(BIN)/python -m evaluation.tables --write

reproduce: install
	$(BIN)/cartridges reproduce gates
	$(BIN)/python -m evaluation.tables --write

# Train the bundled reader again, from nothing; interrupt and repeat to resume.
reader: install
	$(BIN)/python -m reader.train --out data/reader --publish reader/checkpoint

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
