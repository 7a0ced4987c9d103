# Everything runs in a virtual environment of its own; `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SYNTHETIC := experiments/synthetic.yaml
TABLE := runs/tables/synthetic
DEMO := runs/demo/$(shell date +%Y-%m-%d_%H-%M-%S)

.DEFAULT_GOAL := help
.PHONY: help setup demo table test test-slow test-slurm lint format wheel clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY) ## Create the virtual environment and install the package with its tools

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY) ## Train a two-token model and DEVIAS on the synthetic benchmark; table and figures
	$(BIN)/devias train experiment=synthetic model=two_token paths.run_dir=$(DEMO)/two_token
	$(BIN)/devias train experiment=synthetic model=devias paths.run_dir=$(DEMO)/devias
	$(BIN)/devias report $(DEMO)

table: $(READY) ## Six methods, three seeds on the synthetic benchmark: table and chart (18 runs)
	$(BIN)/devias tables run $(SYNTHETIC) cluster=local cluster.n_jobs=2
	$(BIN)/devias tables show $(SYNTHETIC)
	$(BIN)/devias tables show $(SYNTHETIC) 'output=[$(TABLE)/synthetic.md,$(TABLE)/synthetic.html,$(TABLE)/synthetic.png]'
	$(BIN)/devias report $(TABLE)

test: $(READY) ## Run the tests, on all cores (minutes)
	$(BIN)/python -m pytest --numprocesses auto --dist loadscope

test-slow: $(READY) ## Run the tests that train or measure for minutes
	$(BIN)/python -m pytest -m slow

test-slurm: $(READY) ## Run the tests on a Slurm cluster of two nodes, where one is at hand
	$(BIN)/python -m pytest -m slurm

lint: $(READY) ## Check style, types and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(READY) ## Build the wheel into dist/, from what git knows alone
	$(BIN)/python -m build

clean: ## Remove the virtual environment and caches; runs and datasets stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .import_linter_cache .ruff_cache .hypothesis
