# Chip Passport. `make demo` and `make test` do all of their own set-up in .venv.
# Variables: PYTHON=/path/to/python3.11   ARGS="--devices 50"   MARK="slow or faults"

VENV  := .venv
PEER  := .venv-peer
BIN   := $(VENV)/bin
PY    := $(BIN)/python
RUN   := $(PY) -m pytest
SLOW  := slow or faults or browser or postgres
CI    ?=
ARGS  ?=
MARK  ?=

# Test peers pin an older cbor2 than the product, so they live in an environment of their own.
PEER_PACKAGES := "cbor2<6" "cwt==3.3.0" "pycose==1.1.0"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow test-peer test-all lint format types bench bench-quick docs \
        constraints peer clean

help: ## show this list
	@echo "Chip Passport: make TARGET"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1	\2/p' Makefile | expand -t 16

demo: $(VENV)/.ready-demo ## run the demo fleet against an embedded ledger (ARGS="--devices 50")
	$(BIN)/chip-passport demo $(ARGS)

test: $(VENV)/.ready-test ## run the quick tests on all cores (ARGS="-k merkle")
	$(RUN) -n auto $(ARGS)

test-slow: $(VENV)/.ready-test ## run the slow, fault, browser and PostgreSQL tests (MARK=postgres)
	$(RUN) -m "$(or $(MARK),$(SLOW))" $(ARGS) || [ $$? -eq 5 ]  # 5: nothing has the marker yet

test-peer: $(VENV)/.ready-test $(PEER)/.ready ## run the tests against other implementations
	CHIP_PASSPORT_PEER_PYTHON="$(CURDIR)/$(PEER)/bin/python" $(RUN) -m peer $(ARGS) || [ $$? -eq 5 ]

test-all: $(VENV)/.ready-test $(PEER)/.ready ## run every test
	CHIP_PASSPORT_PEER_PYTHON="$(CURDIR)/$(PEER)/bin/python" $(RUN) -m "" $(ARGS)

lint: $(VENV)/.ready-lint ## check style (ruff)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.ready-lint ## bring the code into the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/.ready-lint ## check types (mypy --strict)
	$(BIN)/mypy --strict

bench: $(VENV)/.ready-test ## run the benchmarks
	$(PY) -m benchmarks $(ARGS)

bench-quick: $(VENV)/.ready-test ## run short benchmarks
	$(PY) -m benchmarks --quick $(ARGS)

docs: $(VENV)/.ready-demo ## regenerate the pages made from the code
	$(PY) -m api.reference docs/reasons.md
	$(PY) -m api.cli.reference docs/cli.md

constraints: $(VENV)/.ready-uv ## pin the newest fitting versions in constraints.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --all-extras \
	  --no-header --no-annotate --no-emit-index-url --strip-extras --upgrade --quiet \
	  --output-file constraints.txt pyproject.toml

peer: $(PEER)/.ready ## make the environment of the test peers

clean: ## remove environments, caches and the demo's output
	rm -rf $(VENV) $(PEER) build dist *.egg-info chip-passport-demo
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: each stamp lies in the environment that it vouches for --------------------------

# uv installs in a quarter of pip's time. Where it cannot reach a package index that pip can
# (an index set in pip's own configuration), pip does the work.
define install
$(BIN)/uv pip install --quiet --python $(1)/bin/python $(2) \
  || { echo "uv could not install; trying pip"; \
       $(PY) -m pip --disable-pip-version-check --python $(1)/bin/python install --quiet $(2); }
endef

$(VENV)/.ready-demo: $(VENV)/.ready-uv pyproject.toml constraints.txt
	@echo "Installing Chip Passport into $(VENV)"
	@$(call install,$(VENV),-c constraints.txt -e .)
	@touch $@

$(VENV)/.ready-test: $(VENV)/.ready-uv pyproject.toml constraints.txt
	@echo "Installing Chip Passport and its test tools into $(VENV)"
	@$(call install,$(VENV),-c constraints.txt -e '.[test]')
	@touch $@ $(VENV)/.ready-demo

$(VENV)/.ready-lint: $(VENV)/.ready-uv pyproject.toml constraints.txt
	@echo "Installing Chip Passport and its lint tools into $(VENV)"
	@$(call install,$(VENV),-c constraints.txt -e '.[lint]')
	@touch $@ $(VENV)/.ready-demo

$(PEER)/.ready: $(VENV)/.ready-uv Makefile
	@echo "Installing the test peers into $(PEER)"
	@$(BIN)/uv venv --quiet --clear --python $(PY) $(PEER)
	@$(call install,$(PEER),$(PEER_PACKAGES))
	@touch $@

# An environment with uv and pip in it. Debian ships Python without ensurepip (package
# python3-venv), so three ways are tried: venv with pip; venv filled by the system's pip; and, as
# root on such a machine, Debian's python3-venv is installed first.
export FIND_PYTHON
define FIND_PYTHON
for p in $${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
  "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && exit 0
done
found=$$("$${PYTHON:-python3}" --version 2>/dev/null) || found="no Python"
echo "Chip Passport needs Python 3.11 or newer, but $${PYTHON:-python3} is $$found." \
  "Install it, or name one: make PYTHON=/path/to/python3.11" >&2
exit 1
endef

export MAKE_VENV
define MAKE_VENV
set -e
has() { "$$python" -c "import $$1" 2>/dev/null; }
python=$$(sh -c "$$FIND_PYTHON") || exit 1
if ! has ensurepip && ! has pip && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "This Python has neither ensurepip nor pip: installing Debian's python3-venv"
  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install -y --no-install-recommends python3-venv; } >/dev/null || true
fi
if has ensurepip; then
  "$$python" -m venv $(VENV)
  $(PY) -m pip --disable-pip-version-check install -q -c constraints.txt uv
elif has pip; then
  "$$python" -m venv --without-pip $(VENV)
  "$$python" -m pip --disable-pip-version-check --python $(PY) install -q -c constraints.txt uv pip
else
  echo "$$python has neither ensurepip nor pip." \
    "Install one and try again; on Debian: apt-get install python3-venv" >&2
  exit 1
fi
endef

$(VENV)/.ready-uv:
	@[ -x $(BIN)/uv ] || { echo "Making $(VENV)"; PYTHON="$(PYTHON)" sh -c "$$MAKE_VENV"; }
	@touch $@
