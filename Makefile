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
SUPPLY := .venv-supply/bin
DOCS := .venv-docs/bin
# of the wheel, for `make sbom EXTRAS=torch`
EXTRAS ?=

# One thread per process: tests and demos start several processes, and more threads than cores only slow them down.
export OMP_NUM_THREADS ?= 1
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help demo test test-browser test-matrix docs chaos slurm upgrade mutants fuzz hostile lint bench report measure-learning gallery \
	proto dist release-check sbom audit

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.demo ## four hospitals, then MNIST: each trained alone, in a swarm, and on all data pooled
	$(BIN)/swarm demo heart
	$(BIN)/swarm demo mnist

# Every run counts, and the whole suite comes last.
test: JOBS ?= 2
test: .venv/.dev ## all tests, in two processes at a time; those of Keras on each of its backends: JOBS=2
	@status=0; \
	for backend in torch jax; do \
		echo "== Keras on $$backend"; \
		KERAS_BACKEND=$$backend $(BIN)/pytest -n $(JOBS) tests/keras || status=1; \
	done; \
	echo "== everything, Keras on tensorflow"; \
	KERAS_BACKEND=tensorflow $(BIN)/pytest -n $(JOBS) || status=1; \
	exit $$status

test-matrix: .venv/.dev ## each framework, and sites of several processes, as two real sites: ONLY="FSDP2"
	$(BIN)/python -m benchmarks.matrix $(if $(ONLY),--only "$(ONLY)")

chaos: .venv/.dev ## every fault that the guarantees cover, with real peers (some need root, for networks and disks)
	$(BIN)/pytest tests/faults

# Debian's Slurm on this machine; its daemons end with the tests.
slurm: .venv/.dev ## the example for Slurm, on a cluster of one node that the tests start (needs root)
	command -v slurmctld > /dev/null || apt-get install --yes --quiet slurm-wlm munge
	$(BIN)/pytest tests/slurm

# Debian's Chromium; axe-core, which only tests need, is fetched from npm.
test-browser: .venv/.browser ## the live page in a real browser, by a user's steps, with real peers (installs Chromium as root)
	command -v chromium > /dev/null || { apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends chromium; }
	$(BIN)/pytest tests/browser $(if $(IMAGES),--images $(IMAGES))

upgrade: .venv/.dev ## a running swarm of an earlier commit, updated one peer after the other: FROM=HEAD
	$(BIN)/python -m benchmarks.upgrade $(if $(FROM),--from $(FROM)) | tee /dev/stderr | grep --quiet ': passed$$'

mutants: .venv/.dev ## how many random changes of the product the tests notice: ROOMS="merge codec" SAMPLE=40 SEED=1 JOBS=2
	$(BIN)/python tests/mutation/mutants.py $(ROOMS) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS))

fuzz: .venv/.dev ## changed inputs for every decoder and for a whole peer, ten minutes: DURATION=600 SEED=1 JOBS=2
	$(BIN)/python -m benchmarks.fuzz --seconds $(or $(DURATION),600) $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS))

hostile: .venv/.dev ## what one bad member can do to real peers over TLS, a quarter of an hour: ONLY="blame: in turns"
	$(BIN)/python -m benchmarks.hostile $(if $(ONLY),--only "$(ONLY)")

lint: .venv/.dev ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.dev ## a short set of benchmarks, in one table: batches, merges beside gloo, growth with the peers
	$(BIN)/python -m benchmarks

report: .venv/.dev ## docs/learning.md and its pictures, from the results in docs/learning
	$(BIN)/python -m benchmarks.report

measure-learning: .venv/.dev ## those results, an hour of one core, and the report: RESULTS="policies attacks"
	$(BIN)/python -m benchmarks.report --measure $(RESULTS)

gallery: .venv/.dev ## examples/tables: each example alone, in a swarm and on all data, half an hour: ONLY="heart torch_cnn"
	$(BIN)/python -m benchmarks.gallery $(if $(ONLY),--only $(ONLY))

proto: .venv-proto/.made ## the generated messages of the gRPC transport
	.venv-proto/bin/python -m grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. $(PROTO)
	sha256sum $(PROTO) | cut -d' ' -f1 > $(PROTO).sha256

# Strict: a link that leads nowhere is an error.
docs: .venv-docs/.made ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(DOCS)/mkdocs build --quiet

# Two builds of a commit with one compiler give the same wheels, byte for byte. The version is that of the tag.
dist: .venv-supply/.made ## the wheels and the source distributions, with those of the plugins, in dist/
	rm -f dist/*.whl dist/*.tar.gz
	export SOURCE_DATE_EPOCH="$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)}" PIP_CONSTRAINT=constraints.txt; \
	for project in . $(dir $(PLUGINS)); do $(SUPPLY)/python -m build --outdir dist $$project > /dev/null; done
	$(SUPPLY)/twine check --strict dist/*

release-check: ## whether citation and changelog, and what is in DIST, are of a tag: TAG=v0.1.0 DIST=dist
	@$(PYTHON) .ci/versions.py $(TAG) $(DIST)

# Without pip in the environment, which is no part of what a user gets. The version is in no file but the wheel.
sbom: dist ## what the built wheel brings with it, in dist/sbom.cdx.json (CycloneDX): EXTRAS=torch
	rm -rf .venv-sbom
	$(PYTHON) -m venv --without-pip .venv-sbom
	$(SUPPLY)/python -m pip --python .venv-sbom/bin/python install --quiet --disable-pip-version-check \
		--constraint constraints.txt "$$(echo dist/swarm_learning-*.whl)$(if $(EXTRAS),[$(EXTRAS)])"
	version=$$(.venv-sbom/bin/python -c 'from importlib.metadata import version; print(version("swarm-learning"))'); \
		sed "s/^dynamic = .*/version = \"$$version\"/" pyproject.toml > .venv-sbom/pyproject.toml
	$(SUPPLY)/cyclonedx-py environment --mc-type library --pyproject .venv-sbom/pyproject.toml --output-reproducible \
		--output-format JSON --output-file dist/sbom.cdx.json .venv-sbom/bin/python

# Strict: a version that the service does not know is an error, not a pass.
audit: .venv-supply/.made ## known vulnerabilities of the tested versions: SERVICE=osv asks osv.dev instead of PyPI
	$(SUPPLY)/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict --progress-spinner off \
		--vulnerability-service $(or $(SERVICE),pypi)

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

.venv/.browser: .venv/.dev
	$(INSTALL) playwright
	npm install --silent --no-save --prefix .venv/browser axe-core@4.14.1
	@touch $@

# The oldest generator whose output runs on every protobuf that we allow.
.venv-proto/.made:
	$(PYTHON) -m venv .venv-proto
	.venv-proto/bin/python -m pip install --quiet --disable-pip-version-check grpcio-tools==1.74.0
	@touch $@

.venv-docs/.made:
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check mkdocs-material==9.8.2 mkdocstrings-python==2.0.11 ruff==$$(sed -n 's/^ruff==//p' constraints.txt)
	@touch $@

.venv-supply/.made:
	$(PYTHON) -m venv .venv-supply
	.venv-supply/bin/python -m pip install --quiet --disable-pip-version-check build==1.6.1 cyclonedx-bom==7.5.0 pip-audit==2.10.1 twine==7.0.0
	@touch $@
