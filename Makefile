# Needs Python ≥ 3.11 (with venv) and make. Everything else is installed into .venv, pinned by hash.

PYTHON ?= python3
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
PINNED := $(PIP) install --quiet --require-hashes --only-binary=:all:

.DELETE_ON_ERROR:
.PHONY: help run test test-slow faults fuzz lint types wheel bench wheelhouse pins clean

help:       ## show this list
	@sed -n 's/^\([a-z-]*\): *[^#]*## /\1\t/p' Makefile | expand -t 12

run: .venv/run  ## install, run the digits relay, say where its report is
	$(BIN)/relayjax run --config=configs/digits.py --workdir=runs/digits

test: lint types  ## install, then linter, formatter, type checker and the fast tests
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

test-slow: .venv/dev  ## the proofs that take minutes: kills, bit flips, five seeds
	$(BIN)/pytest -m "slow and not faults"

faults: .venv/dev  ## crashes, disk errors and flipped bits at every operation, about 20 minutes on two cores
	@export FAULTS_TALLY=$$(mktemp); \
	seq 0 7 | xargs -P $$(nproc) -I PART $(BIN)/pytest -m faults -s tests/faults -k partPART || exit 1; \
	$(BIN)/pytest -m faults tests/faults/test_tracing.py || exit 1; \
	PYTHONPATH=tests $(BIN)/python -m faults.tally $$FAULTS_TALLY

SECONDS ?= 60
fuzz: .venv/dev  ## every parser under a coverage-guided fuzzer, SECONDS=60 each; or those in PARSERS="note pack"
	PYTHONPATH=tests $(BIN)/python -m fuzz $(SECONDS) $(PARSERS)

lint: .venv/dev  ## linter and formatter
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: wheel  ## type checker, over the source and over the built wheel
	$(BIN)/pyright --pythonpath $(BIN)/python
	cd build/wheel && ../../$(BIN)/pyright --pythonpath ../../$(BIN)/python relayjax

wheel: .venv/dev  ## build the wheel into dist/ and unpack it into build/wheel
	rm -rf build dist
	$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(PIP) install --quiet --no-deps --no-index --target build/wheel dist/*.whl

bench: .venv/run  ## quality and speed: every script in benchmarks/
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

wheelhouse: .venv/run  ## download every pinned package, to carry to a site without a network
	$(PIP) download --quiet --require-hashes --only-binary=:all: --dest wheelhouse \
	  -r third_party/requirements.txt -r third_party/requirements-dev.txt

pins:       ## resolve the dependencies anew (needs uv), then licences and bill of materials
	third_party/update

clean:      ## remove what the targets above made, except runs/
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

# A changed pin starts from an empty environment: nothing is left over from the one before.
.venv/run: third_party/requirements.txt setup.cfg
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "RelayJAX needs Python 3.11 or newer. Name one: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "installing into .venv, about a minute"
	$(PYTHON) -m venv --clear .venv
	$(PINNED) -r third_party/requirements.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: .venv/run third_party/requirements-dev.txt
	$(PINNED) -r third_party/requirements-dev.txt
	@touch $@
