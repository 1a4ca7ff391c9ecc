# Every target sets up what it needs; a second call skips the set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: demo test lint types contracts fmt bench soak docs clean

$(VENV)/.runtime: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.runtime

demo: $(VENV)/.runtime
	@ART=$(BIN)/art sh bundles/demo.sh

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not soak and not real_llm"

soak: $(VENV)/.dev
	ART_EXPLORE=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "soak or hypothesis" --timeout 3600

lint: $(VENV)/.dev
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

fmt: $(VENV)/.dev
	$(BIN)/ruff check --fix-only --select I src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

docs: $(VENV)/.runtime
	$(BIN)/python -m abstractruntime.cli._reference docs/reference

bench: $(VENV)/.runtime
	$(BIN)/python benchmarks/bench.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist .art
