# Two commands do everything on a fresh machine: `make ingest` and `make test`.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# The newest supported Python there is; PYTHON=... overrides it.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2])' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# Each of these has a Postgres of its own, and containers may see more cores than they get.
SIDE_BY_SIDE = -n logical --maxprocesses 8 --dist worksteal
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help ingest watch schedule unschedule serve test test-quick lint format bench sample reference lock clean

help:  ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

$(VENV)/.run: requirements.lock setup.cfg pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found. Install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV) with $(PYTHON) …" && $(PYTHON) -m venv $(VENV); }
	@echo "Installing what requirements.lock names …"
	@$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "Installing what requirements-dev.lock names …"
	@$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements-dev.lock
	@touch $@

ingest: $(VENV)/.run  ## Take in every zip in images_zip_input/ (ARGS="--help" shows options)
	@$(BIN)/python -m pipeline ingest $(if $(SINK),--sink $(SINK)) $(ARGS)

serve: $(VENV)/.run  ## Run the Image API on http://localhost:8000 (ARGS="--port 8080"; ARGS=--help shows options)
	@$(BIN)/python -m app $(ARGS)

watch: $(VENV)/.run  ## Take in zips as they come, until Ctrl-C
	@$(BIN)/python -m pipeline watch $(ARGS)

schedule: $(VENV)/.run  ## Have systemd take in zips every 10 minutes (ARGS="--every 1h", ARGS="--watch")
	@$(BIN)/python -m pipeline schedule --install $(ARGS)

unschedule: $(VENV)/.run  ## Take that back
	@$(BIN)/python -m pipeline schedule --remove $(ARGS)

test: $(VENV)/.dev  ## Run every test
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

test-quick: $(VENV)/.dev  ## Run the tests that take no time
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow" $(ARGS)

lint: $(VENV)/.dev  ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.dev  ## Put the code into its standard form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.run  ## Measure the speed; SCALE=0.02 ROUNDS=1 tries it in two minutes, PHOTOS=some.zip gives photographs
	@$(BIN)/python -m bench --scale $(or $(SCALE),0.2) --rounds $(or $(ROUNDS),3) $(if $(PHOTOS),--photos "$(PHOTOS)") $(ARGS)

sample: $(VENV)/.run  ## Make images_zip_input/sample.zip anew, and the copy that the tests take
	@$(BIN)/python -m bench.sample images_zip_input/sample.zip
	@cp images_zip_input/sample.zip tests/sample.zip

reference: $(VENV)/.run  ## Write the README's reference anew from the code
	@$(BIN)/python -m tools.reference

lock: $(VENV)/.dev  ## Resolve exact versions anew (wants uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml --extra lock -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml --extra lock --extra dev --extra heif --extra jxl -o requirements-dev.lock

clean:  ## Remove caches and environments; images and the catalog stay
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
