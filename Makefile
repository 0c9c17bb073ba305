# Every target runs the set-up that it needs: `make demo` works on a fresh clone with Python 3.11, make, gcc and git.
# All paths are relative, so that a clone may be in a folder whose name has spaces.
.DEFAULT_GOAL := help
SHELL := /bin/bash -o pipefail

# python3, unless it was compiled without optimization (pyenv's default: a stage takes 1.2 times as long to start) and the
# distribution's isn't. Python's configure script optimizes when it is asked to; distributions have a way of their own.
OPTIMIZED = import ensurepip, ssl, sys, sysconfig, venv; sys.exit(sys.base_prefix != "/usr" \
	and "--enable-optimizations" not in (sysconfig.get_config_var("CONFIG_ARGS") or ""))
PYTHON ?= $(or $(shell for python in python3 /usr/bin/python3.11; do \
	"$$python" -c '$(OPTIMIZED)' 2>/dev/null && echo "$$python" && break; done),python3)
UV_VERSION := 0.13.9
UV := .uv/bin/uv
LOCK = $(UV) pip compile --quiet --generate-hashes
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: configuration golden images images-local help setup platform demo demo-loop test test-all check format lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-zA-Z_.-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make .venv from the lock files, with centernet in .venv/bin (2 minutes; a second call does nothing)

# The platforms for which every locked package has a wheel.
platform:
	@case "$$(uname -s) $$(uname -m)" in \
		"Linux x86_64" | "Linux aarch64" | "Darwin arm64") ;; \
		"Darwin x86_64") echo "error: macOS on Intel is not supported: TensorFlow has no package for it; use Linux" >&2; exit 2 ;; \
		MINGW* | MSYS* | CYGWIN*) echo "error: Windows is not supported; run make inside WSL 2" >&2; exit 2 ;; \
		*) echo "error: $$(uname -s) $$(uname -m) is not supported; use Linux (x86-64, arm64) or macOS (arm64)" >&2; exit 2 ;; \
	esac

$(UV): | platform
	"$(PYTHON)" -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-uv.lock

# A change of a lock file or of pyproject.toml updates the environment. The sync removes every package that is not in the
# lock, the editable project too, so the project is installed after it. Bytecode is compiled because TensorFlow and Model
# Garden import in 13 s without it and in 5 s with it, and every stage of a run is its own process.
$(STAMP): requirements.lock requirements-dev.lock pyproject.toml | platform $(UV)
	$(UV) venv --quiet --allow-existing --python "$(PYTHON)" .venv
	UV_COMPILE_BYTECODE=1 $(UV) pip sync --quiet --require-hashes --python $(BIN)/python requirements-dev.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@"$(PYTHON)" -c '$(OPTIMIZED)' || echo "note: this Python was compiled without optimization (pyenv's default): a stage" \
		"takes 1.2 times as long to start; install your distribution's Python 3.11, or compile it with" \
		"--enable-optimizations; then make clean and make setup" >&2
	@test "$(PYTHON)" = python3 || echo "installed for $(PYTHON)" >&2
	touch $@

demo: $(STAMP)  ## generate a small data set, train, gate and report on it (minutes on 2 cores)
	$(BIN)/centernet run

demo-loop: $(STAMP)  ## train, let the champion watch darker images with a new shape, label, train again (about 6 minutes on 2 cores)
	$(BIN)/python -m pipeline.local.demo_loop

# On two cores a third worker uses the time in which another one waits: for a server, a process, a retry.
WORKERS ?= 3

test: $(STAMP)  ## run the tests except the slow ones; those of import boundaries are tests/test_imports.py
	$(BIN)/python -m pytest -n $(WORKERS) -q

test-all: $(STAMP)  ## run all tests
	$(BIN)/python -m pytest -n 2 -q -m ""

check: $(STAMP)  ## lint (code and Dockerfile), format, types, and whether pipeline.yaml and watch.yaml are current
	$(BIN)/ruff check .
	$(BIN)/hadolint trainer/Dockerfile
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/centernet compile --check
	$(BIN)/centernet compile --check --pipeline watch

format: $(STAMP)  ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: pipeline.yaml watch.yaml
pipeline.yaml: $(STAMP)  ## compile the graph
	$(BIN)/centernet compile

watch.yaml: $(STAMP)  ## compile the second graph
	$(BIN)/centernet compile --pipeline watch

.PHONY: aot
aot: $(STAMP)  ## compile the reference training step for a TPU v5e you don't have at hand (20 minutes); AOT=FLAGS adds flags
	$(BIN)/centernet aot compile $(AOT)

configuration: $(STAMP)  ## rewrite trainer/config/keys.json and docs/configuration.md from the configuration classes
	TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/python -m trainer.config.key_table

golden: $(STAMP)  ## rewrite tests/golden's compiled specs and the table of docs/targets.md
	PYTHONPATH=. $(BIN)/python tests/pipeline/graph/golden.py

IMAGE_REPOSITORY ?=
IMAGE_VERSION ?= $(shell sed -n 's/^VERSION = "\(.*\)"$$/\1/p' trainer/shared/versions.py)
images:  ## build and push all images: IMAGE_REPOSITORY=REGION-docker.pkg.dev/PROJECT/centernet
	@test -n "$(IMAGE_REPOSITORY)" || { echo "error: IMAGE_REPOSITORY: not given; there is no default"; exit 2; }
	for kind in cpu gpu tpu beam serve; do \
		docker build --file trainer/Dockerfile --target $$kind \
			--tag "$(IMAGE_REPOSITORY)/python-$$kind:$(IMAGE_VERSION)" . && \
		docker push "$(IMAGE_REPOSITORY)/python-$$kind:$(IMAGE_VERSION)" || exit 1; \
	done

# The first engine that answers; buildah keeps no layers by itself.
IMAGES ?= cpu
ENGINES ?= docker podman buildah
PYTHON_IMAGE ?=
images-local:  ## build images for this machine: IMAGES="cpu gpu tpu serve" (default: cpu), PYTHON_IMAGE=another base image
	@for engine in $(ENGINES) ""; do [ -z "$$engine" ] || ! $$engine info >/dev/null 2>&1 || break; done; \
	case "$$engine" in \
		"") echo "error: none of $(ENGINES) answers: install one, or start Docker's daemon" >&2; exit 2 ;; \
		buildah) build="buildah build --layers" ;; \
		*) build="$$engine build" ;; \
	esac; \
	for kind in $(IMAGES); do \
		$$build --file trainer/Dockerfile --target $$kind $(if $(PYTHON_IMAGE),--build-arg PYTHON_IMAGE="$(PYTHON_IMAGE)") \
			--tag "localhost/python-$$kind:$(IMAGE_VERSION)" . || exit 1; \
	done

lock: | $(UV)  ## resolve the dependencies of pyproject.toml again, with the hashes of all files
	$(LOCK) --universal --python-version 3.11 --extra weights pyproject.toml -o requirements.lock
	$(LOCK) --universal --python-version 3.11 --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(LOCK) --universal --python-version 3.12 trainer/aot/requirements-aot.in -o trainer/aot/requirements-aot.lock
	$(LOCK) --universal --python-version 3.11 trainer/serving/requirements-serve.in -o trainer/serving/requirements-serve.lock
	$(LOCK) --no-deps --python-version 3.11 trainer/requirements-tpu.in -o trainer/requirements-tpu.lock
	{ echo "# What tensorflow[and-cuda] adds to requirements.lock. Written by make lock."; \
		echo "tensorflow[and-cuda]" | $(LOCK) --no-header --no-annotate --python-version 3.11 \
		--python-platform x86_64-manylinux_2_28 -c requirements.lock - | awk '/^[a-z]/ { keep = /^nvidia-/ } keep'; \
	} > trainer/requirements-gpu.lock
	echo "uv==$(UV_VERSION)" | $(LOCK) --no-header --no-annotate --python-version 3.11 - > requirements-uv.lock

clean:  ## remove caches and the environment; keep runs, registry and demo data
	rm -rf .venv .venv-aot .venv-serve .uv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
