# Needs Python 3.11+ with venv and pip, nothing else; `make e2e` a Chromium as well. `make demo` and `make test` install into .venv
# by themselves, once.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
DEMO := demo
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
limited = $(shell command -v timeout && echo --foreground --signal=INT --kill-after=1m $(1))
# Compiled at its first import: most modules of these packages are never imported. So the compiled modules must be kept.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable

.PHONY: install demo test soak docs pictures e2e postgres wheel freqtrade examples matrix newest newcomer check cover lint bench clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(PIP) '.[dev]'
	touch $@

# What a check needs beyond that, once: an extra of pyproject.toml.
.venv/with-%: $(INSTALLED)
	$(PIP) '.[$*]'
	touch $@

demo: install
	$(BIN)/steelyard demo --home $(DEMO)

test: install
	$(PYTEST)

# What hurts on purpose, in full: kills, crowds, locks, full disks; then the demo against its times. Stopped after half an hour.
soak: install
	$(call limited,20m) $(PYTEST) -m soak --ignore tests/soak/test_demo.py
	$(call limited,10m) $(BIN)/python -m pytest -m soak tests/soak/test_demo.py

# Guide and reference as one site, build/site/index.html; it refuses a page in no menu and a link that leads nowhere.
docs: .venv/with-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -P -m mkdocs build --quiet --strict

# The pictures of the documentation that follow from the code.
pictures: install
	$(BIN)/python docs/_site/architecture.py
	$(BIN)/python docs/_site/concepts.py

# What a person sees, in a real browser: set PICTURES to a folder to keep screenshots.
e2e: docs .venv/with-e2e
	$(BIN)/python -m pytest e2e $(if $(PICTURES),--pictures $(PICTURES))

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

# A week of flows with every database on PostgreSQL and MLflow's files on S3. Needs a server's programs: apt-get install postgresql.
postgres: .venv/with-store
	$(BIN)/python -m pytest tests/postgres -m postgres

# The wheel, installed into a fresh environment and used in a folder with packages named tasks and flows.
wheel: install
	$(BIN)/python .ci/check_wheel.py

# The adapter of examples/freqtrade in a backtest, in an environment of freqtrade's own: its pins and ours do not fit together.
freqtrade: install
	$(BIN)/python -P .ci/check_freqtrade.py

# The notebook and every command of examples/README.md: a minute.
examples: .venv/with-examples
	$(BIN)/python -P .ci/check_examples.py

# Every Python from 3.11 on that is on this machine, each in a new environment: core, a session, a replay. Two minutes or so for each.
matrix: install
	$(BIN)/python .ci/matrix.py dev constraints.txt

# The same with the newest releases that pyproject.toml allows.
newest: install
	$(BIN)/python .ci/matrix.py dev

# docs/start.md as a newcomer follows it: each command, from the installation on, in an empty account. Needs the last commit, git and bash.
newcomer:
	$(PYTHON) tests/newcomer

# What to run before a commit: linters, types, import contracts, and the tests of the pure core and of the documents.
check: lint
	$(PYTEST) tests/market tests/evaluation tests/weight tests/views tests/test_project.py tests/test_documentation.py

# Every test, with the floor of branch coverage.
cover: install
	$(PYTEST) --cov --cov-report=term:skip-covered

bench: .venv/with-bench
	$(BIN)/python benchmarks

clean:
	rm -rf .venv $(DEMO) build .mypy_cache .pytest_cache .ruff_cache .coverage
