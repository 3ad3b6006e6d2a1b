# Every target makes what it needs in .venv, once: a second run installs nothing until
# pyproject.toml, constraints.txt or the compiled kernels change.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PLUGINS := $(wildcard plugins/*/pyproject.toml)
# compiled at installation
NATIVE := swarm/tensors/kernels/_native.c
PROTO := swarm/transport/grpc/swarm.proto

# One thread per process: tests and demos start several processes, and more threads than cores only slow them down.
export OMP_NUM_THREADS ?= 1
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help demo test chaos upgrade mutants fuzz lint bench proto

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.demo ## four hospitals, then MNIST: each trained alone, in a swarm, and on all data pooled
	$(BIN)/swarm demo heart
	$(BIN)/swarm demo mnist

# Every run counts, and the whole suite comes last.
test: .venv/.dev ## all tests; those of Keras on each of its backends
	@status=0; \
	for backend in torch jax; do \
		echo "== Keras on $$backend"; \
		KERAS_BACKEND=$$backend $(BIN)/pytest tests/keras || status=1; \
	done; \
	echo "== everything, Keras on tensorflow"; \
	KERAS_BACKEND=tensorflow $(BIN)/pytest || status=1; \
	exit $$status

chaos: .venv/.dev ## every fault that the guarantees cover, with real peers (some need root, for networks and disks)
	$(BIN)/pytest tests/faults

upgrade: .venv/.dev ## a running swarm of an earlier commit, updated one peer after the other: FROM=826a173
	$(BIN)/python -m benchmarks.upgrade $(if $(FROM),--from $(FROM)) | tee /dev/stderr | grep --quiet ': passed$$'

mutants: .venv/.dev ## how many random changes of the product the tests notice: ROOMS="merge codec" SAMPLE=40 SEED=1 JOBS=2
	$(BIN)/python tests/mutation/mutants.py $(ROOMS) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS))

fuzz: .venv/.dev ## changed inputs for every decoder and for a whole peer, ten minutes: DURATION=600 SEED=1 JOBS=2
	$(BIN)/python -m benchmarks.fuzz --seconds $(or $(DURATION),600) $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS))

lint: .venv/.dev ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.dev ## a short set of benchmarks, in one table: batches, merges beside gloo, growth with the peers
	$(BIN)/python -m benchmarks

proto: .venv-proto/.made ## the generated messages of the gRPC transport
	.venv-proto/bin/python -m grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. $(PROTO)
	sha256sum $(PROTO) | cut -d' ' -f1 > $(PROTO).sha256

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Swarm needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.demo: .venv/.made pyproject.toml constraints.txt $(NATIVE)
	$(INSTALL) --editable '.[torch,demo]'
	@touch $@

.venv/.dev: .venv/.made pyproject.toml constraints.txt $(NATIVE) $(PLUGINS)
	$(INSTALL) --editable '.[dev]' $(foreach plugin,$(PLUGINS),--editable ./$(dir $(plugin)))
	@touch $@

# The oldest generator whose output runs on every protobuf that we allow.
.venv-proto/.made:
	$(PYTHON) -m venv .venv-proto
	.venv-proto/bin/python -m pip install --quiet --disable-pip-version-check grpcio-tools==1.74.0
	@touch $@
