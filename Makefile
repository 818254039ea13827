# Two commands on a bare machine with Python 3.11: `make run` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# For the validator of FOCUS alone (tests/test_focus_export.py), which needs 3.12; empty where there is none.
PYTHON312 := $(shell for python in "$$(command -v python3.12)" "$$HOME"/.pyenv/versions/3.12*/bin/python3.12; \
	do "$$python" -c '' 2> /dev/null && echo "$$python" && break; done)
# Nothing of ours is reported anywhere.
export DO_NOT_TRACK := 1
export DAGSTER_DISABLE_TELEMETRY := 1
export GX_ANALYTICS_ENABLED := false
# Containers often set it; then every start of dbt or Dagster compiles its libraries anew, for seconds.
unexport PYTHONDONTWRITEBYTECODE

# The linter's dbt keeps to itself: tests parse the project at the same time.
LINT_ENV := LEDGER_WAREHOUSE=:memory: DBT_TARGET_PATH=target/lint DBT_LOG_PATH=target/lint

.DEFAULT_GOAL := help
.PHONY: help run test lint types pytest demo dev docs bench clean

help:  ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: .venv/.run demo  ## Set up .venv, write the demo world once, run the day, print the summary
	@$(BIN)/inference-ledger run

test: .venv/.dev  ## Set up, then lint, types, all tests (dbt and an end-to-end run included)
	@# Side by side: the SQL linter takes minutes on one core.
	@$(MAKE) --no-print-directory --jobs 2 pytest lint types

demo: .venv/.run  ## Write or extend the demo world in data/demo (60 days ending yesterday)
	@$(BIN)/python -m examples.generate

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd dbt && $(LINT_ENV) ../$(BIN)/dbt --quiet parse --profiles-dir .
	$(LINT_ENV) $(BIN)/sqlfluff lint --disable-progress-bar --nocolor dbt/models dbt/tests

types: .venv/.dev
	$(BIN)/mypy

pytest: .venv/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

dev: .venv/.run  ## Open the Dagster web page on the ledger
	$(BIN)/inference-ledger dev

docs: .venv/.run  ## Write docs/providers, docs/tables.md, ledger.schema.json and the tables made from the price sources
	$(BIN)/python -m orchestration.provider_docs
	$(BIN)/python -m orchestration.data_dictionary
	$(BIN)/python -m orchestration.ledger_schema

bench: .venv/.dev  ## Benchmarks: ratios against a bare scan and against pandas (minutes)
	$(BIN)/python -m benchmarks.request_logs
	$(BIN)/python -m benchmarks.aws_offer
	$(BIN)/python -m benchmarks.daily_run
	$(BIN)/python -m benchmarks.usage_history
	$(BIN)/python -m benchmarks.cost_history
	$(BIN)/python -m benchmarks.metric_scrapes
	$(BIN)/python -m benchmarks.price_versions
	$(BIN)/python -m benchmarks.price_history
	$(BIN)/python -m benchmarks.fleet_milp
	$(BIN)/python -m benchmarks.sizing_grid

clean:  ## Remove what was built; data/ stays
	rm -rf .venv dbt/target dbt/logs .mypy_cache .ruff_cache .pytest_cache *.egg-info

.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt uv

.venv/.run: pyproject.toml constraints.txt | .venv/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[ui]'
	@touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[ui,dev]'
	# The oldest client that must read the published file, kept apart from our own DuckDB (tests/test_publication.py).
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --target .venv/oldest-reader 'duckdb==1.2.2'
	# FOCUS's own validator, which wants older libraries than ours.
	$(if $(PYTHON312),$(BIN)/uv venv --quiet --clear --python $(PYTHON312) .venv/focus-validator && \
	$(BIN)/uv pip install --quiet --python .venv/focus-validator/bin/python 'focus-validator==2.2.1' 'numpy<2' 'pyarrow<20',\
	@echo "no Python 3.12 here: the FOCUS validator is left out and its test skipped")
	@touch $@ .venv/.run
