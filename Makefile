# `make demo` and `make test` are all that a fresh machine needs: both set up .venv first when it is missing.
#
#   make setup INDEX=cpu            from PyTorch's own index, its CPU build (small; see README)
#   make setup PYTHON=python3.12    with another Python, 3.11 or newer

SHELL := bash
PYTHON := python3
INDEX :=
BIN := .venv/bin
STAMP := .venv/set-up-seconds
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

ifeq ($(INDEX),cpu)
  FROM := --extra-index-url https://download.pytorch.org/whl/cpu
else ifneq ($(INDEX),)
  $(error INDEX=$(INDEX): there is INDEX=cpu, or none for the default index)
endif

# of pip's many lines, what says how far it is: the packages' names, one after the other
define AS_PROGRESS
{ printf 'set-up:'; while read -r word what rest; do case "$$word" in \
  Collecting | Processing) what=$${what##*/}; what=$${what%%-[0-9]*}; printf ' %s' "$${what%%[]<>=!~;[]*}" ;; \
  Installing) [ "$$what" = build ] || printf '\nset-up: installing %d packages' $$(wc -w <<<"$${rest#*:}") ;; \
esac; done; echo; }
endef

# what only slow tests need: studies on Ray
RAY := .venv/with-ray

.PHONY: help setup demo test test-slow test-all check format clean

help:
	@echo "make setup      a .venv with everything that constraints.txt pins"
	@echo "make demo       Video-MNIST, a table with verdicts and a page, in minutes"
	@echo "make test       the tests, without the slow ones"
	@echo "make test-slow  the slow ones; make test-all: both"
	@echo "make check      format, lint, types, import arrows; make format mends the first two"
	@echo "make clean      caches and build leftovers; .venv and results stay"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "timelift needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) -V 2>&1): make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
	  exit 1; }
	@start=$$(date +%s); set -o pipefail; rm -f $@; \
	echo "set-up: a .venv with $$($(PYTHON) -V), and what constraints.txt pins (log: .venv/set-up.log)"; \
	$(PYTHON) -m venv .venv || { echo "no .venv: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }; \
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --no-compile \
	  $(FROM) -c constraints.txt -e '.[demo,dev,export]' 2>&1 | tee .venv/set-up.log | $(AS_PROGRESS) \
	  || { grep -v 'is ignored: it is neither' .venv/set-up.log | tail -n 25 >&2; \
	       echo "set-up: failed; the end of .venv/set-up.log is above" >&2; exit 1; }; \
	echo "set-up: compiling to bytecode on every core"; \
	$(BIN)/python -m compileall -qq -j 0 -x '/(tests|_internal)/' .venv/lib || true; \
	echo $$(($$(date +%s) - start)) > $@; echo "set-up: done in $$(cat $@) s"

$(RAY): $(STAMP)
	@echo "set-up: ray, for the slow tests (240 MB)"; \
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[ray]' && touch $@

demo: $(STAMP)
	@start=$$(date +%s); $(BIN)/timelift demo && \
	echo "set-up took $$(cat $(STAMP)) s (once), this demo $$(($$(date +%s) - start)) s"

test: $(STAMP)
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: $(STAMP) $(RAY)
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m slow

test-all: $(STAMP) $(RAY)
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2

check: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(ONE_THREAD) $(BIN)/python -m pytest tests/test_imports.py

format: $(STAMP)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf .pytest_cache .mypy_cache .ruff_cache build dist src/*.egg-info
	find src tests studies -name __pycache__ -type d -prune -exec rm -rf {} +
