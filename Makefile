# Aliases, nothing more: what each target runs is shown in README.md and works the same when typed by hand.
# `make demo` and `make test` set everything up by themselves; the second time that costs nothing.

BIN := .venv/bin
STAMP := .venv/.installed

# The first of these that runs, is 3.11 or newer, and can make a venv (a shim on PATH may do none of it). PYTHON=... overrides.
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11
USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON = $(firstword $(foreach p,$(CANDIDATES),$(shell $(p) -c '$(USABLE)' >/dev/null 2>&1 && echo $(p))))

.PHONY: demo test dev fuzz chaos fleet model check lint types imports format lock docs-table coverage bench setup clean
.DEFAULT_GOAL := demo

demo: setup
	$(BIN)/mailworker demo

test: setup
	$(BIN)/pytest

dev: setup
	$(BIN)/mailworker dev

# Ten minutes for each target; what it finds stays in .fuzz and is named at the end.
fuzz: setup
	$(BIN)/python -m tests.fuzz headers
	$(BIN)/python -m tests.fuzz addresses
	$(BIN)/python -m tests.fuzz raw
	$(BIN)/python -m tests.fuzz replies

# Half an hour of faults at random; exit code 1 and the evidence if a promise was broken.
chaos: setup
	$(BIN)/python -m tests.chaos --mails 200000 --faults 1000 --json .chaos.json

# Fifty workers for a minute on relays that throttle, refuse, die and heal; exit code 1 if a promise was not kept. It
# wants a machine that has nothing else to do.
fleet: setup
	$(BIN)/python -m tests.fleet --workers 50 --seconds 60 --json .fleet.json
	$(BIN)/python -m tests.fleet --workers 50 --seconds 60 --kinds dead --calm
	$(BIN)/python -m tests.fleet --workers 8 --seconds 60 --hammer

# Thousands of stories about one lane: workers, sweeps, crashes and people in any order. A quarter of an hour.
model: setup
	$(BIN)/pytest -n0 tests/redis/test_whole_model.py --hypothesis-profile=model --timeout=0

check: lint types imports

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy
	$(BIN)/mypy --strict --config-file=/dev/null tests/typing/caller.py tests/typing/sender.py

imports: setup
	$(BIN)/lint-imports --no-logo

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: setup
	$(BIN)/uv lock
	$(BIN)/uv export --quiet --locked --all-extras --no-hashes --no-emit-project --no-header --no-annotate -o constraints.txt

# One test is left out: it looks at what an import loads, and measuring loads more.
coverage: setup
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q tests/protocol tests/message tests/resilience tests/wire tests/servers \
		--deselect tests/wire/test_surface.py::test_importing_the_package_loads_nothing_until_it_is_used
	$(BIN)/coverage combine -q
	$(BIN)/coverage json -q -o .coverage.json
	$(BIN)/python -m tests.coverage_bounds .coverage.json

docs-table: setup
	$(BIN)/python -m tests.acceptance
	$(BIN)/python -m tests.presets_page

bench: setup
	$(BIN)/python -m bench transport
	$(BIN)/python -m bench queue

setup: $(STAMP)

# A venv without a working pip was left half made, or belongs to a Python that is gone: it is made anew.
$(STAMP): pyproject.toml constraints.txt
	$(if $(PYTHON),,$(error Python 3.11 or newer with venv and pip is needed. On Debian: apt install python3 python3-venv; or PYTHON=/path/to/python make ...))
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "Installing the locked dependencies into .venv (about a minute, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,embedded,sentry]"
	@touch $@

clean:
	rm -rf .venv .mailworker .fuzz dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .servers .import_linter_cache .coverage* .chaos.json .fleet.json
