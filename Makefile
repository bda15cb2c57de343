# Mask-FPAN Serve. `make serve` and `make test` need nothing but Linux and Python 3.11 to 3.13.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The first of these that is 3.11 to 3.13 and can make environments; PYTHON= names another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
PORT ?= 8000
GRPC_PORT ?= 50051
export PORT GRPC_PORT
PRESET ?= smoke
BUDGET ?= full
REGISTRY ?= $(if $(filter smoke,$(PRESET)),$(RUN)/models,model_repository)
RUN ?= $(or $(FPAN_RUNS),runs)/$(PRESET)
MODEL ?= segm
PRECISION ?= fp16 int8
PLANS ?= plans
PHONE ?= phone
# Of `make verify-gpu`, for each precision: two of them are eight minutes.
VERIFY_GPU_S ?= 240
# Processes that run the tests. Each takes up to 3 GB.
WORKERS ?= 2

# A process that crashes ends the run with the name of its test: with another in its place, the run may wait for ever.
PARALLEL = --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

SERVE_ENV := .venv
TEST_ENV := .venv-test
BENCH_ENV := .venv-bench
# What builds wheels: a Python with the build backend of service/build.lock; another one is named with BUILD_PYTHON=.
BUILD_PYTHON = $(SERVE_ENV)/bin/python
DIST ?= dist
# A registry that stumbles is asked again for about two minutes.
PIP_FLAGS := --quiet --disable-pip-version-check --retries 8

ADVICE = [ -n "$(PYTHON)" ] || { echo "Python 3.11, 3.12 or 3.13 with venv is needed (Debian, Ubuntu: apt install python3-venv), or name one with PYTHON=" >&2; exit 1; }
# Its wheel exists for Linux on x86-64 with glibc 2.35 or newer; elsewhere the gateway computes in its own process.
HAS_TRITON = import platform, sys; name, version = platform.libc_ver(); \
  sys.exit(not (platform.machine() == "x86_64" and name == "glibc" and [int(v) for v in version.split(".")] >= [2, 35]))
install_triton = if $(1)/bin/python -c '$(HAS_TRITON)'; \
  then $(1)/bin/pip install $(PIP_FLAGS) --no-deps --require-hashes -r service/triton.lock; \
  else echo "no embedded Triton for this platform: networks will be computed in process"; fi
install_editable = $(1)/bin/pip install $(PIP_FLAGS) --require-hashes -r service/build.lock && \
  $(1)/bin/pip install $(PIP_FLAGS) --no-deps --no-build-isolation $(2)
# An environment holds paths of its checkout: one that was moved is made anew.
$(foreach e,$(SERVE_ENV) $(TEST_ENV) $(BENCH_ENV),$(if $(filter-out $(CURDIR),$(shell cat $(e)/ready 2>/dev/null)),$(shell rm -f $(e)/ready)))

TRAIN_FLAGS = --preset $(PRESET) --run $(RUN) $(if $(DATA),--data $(DATA)) $(if $(UNLABELLED),--unlabelled $(UNLABELLED)) \
  $(if $(BACKGROUNDS),--backgrounds $(BACKGROUNDS)) $(if $(OCCLUDERS),--occluders $(OCCLUDERS))

given = $(if $(filter-out undefined default file,$(firstword $(origin $(1)))),$(2) $($(1)))
RECIPE_FLAGS = $(RECIPE) --budget $(BUDGET) $(call given,RUN,--run) $(call given,DATA_ROOT,--data-root) $(call given,REGISTRY,--repository)

.PHONY: help serve test test-fast verify bench train train-and-deploy engine verify-gpu export-phone wheel lint lock proto clean

help: ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

serve: $(SERVE_ENV)/ready ## start the service; PORT= and GRPC_PORT= choose its ports
	@exec $(SERVE_ENV)/bin/fpan serve

test: $(TEST_ENV)/ready ## run every check; WORKERS= says on how many processes
	@$(TEST_ENV)/bin/ruff check .
	@$(TEST_ENV)/bin/ruff format --check .
	@$(TEST_ENV)/bin/mypy
	@told=$$($(TEST_ENV)/bin/lint-imports --no-cache 2>&1) || { echo "$$told"; exit 1; }
	@OMP_NUM_THREADS=1 $(TEST_ENV)/bin/python -m pytest $(PARALLEL)

test-fast: $(TEST_ENV)/ready ## run within a minute what needs no server, no Redis and no torch
	@OMP_NUM_THREADS=1 $(TEST_ENV)/bin/python -m pytest -m fast $(PARALLEL) --durations 5

verify: $(TEST_ENV)/ready ## run what takes longer than the tests may: versions exchanged under traffic, deployments and clusters killed, 50,000 broken inputs
	@$(TEST_ENV)/bin/python -m pytest --full -o faulthandler_timeout=3600 tests/e2e/rollout/test_rollout.py tests/e2e/training/test_deploy.py tests/e2e/bulk/test_bulk.py tests/e2e/bulk/test_bulk_places.py tests/fuzz

bench: $(BENCH_ENV)/ready ## measure the gateway against Triton and other servers (an hour, nothing else may run); PARTS= chooses
	@$(BENCH_ENV)/bin/python -m benchmarks.load $(if $(PARTS),--only $(PARTS))

train: $(TEST_ENV)/ready ## RECIPE=shipped rebuilds what is served, from DATA_ROOT= (BUDGET=smoke: from nothing); else the paper whole: PRESET=, DATA=, UNLABELLED=
	@$(TEST_ENV)/bin/fpan-train $(if $(RECIPE),recipe $(RECIPE_FLAGS),paper $(TRAIN_FLAGS))

train-and-deploy: $(TEST_ENV)/ready ## the same, published in REGISTRY= and answering at URL=, or in a service that is started
	@$(TEST_ENV)/bin/fpan-train $(if $(RECIPE),recipe $(RECIPE_FLAGS) --deploy,deploy $(TRAIN_FLAGS) --repository $(REGISTRY)) \
	  $(if $(URL),--url $(URL))

engine: $(SERVE_ENV)/ready ## build TensorRT plans, in NVIDIA's image; MODEL=, PRECISION=, PICTURES= and PLANS= choose
	@failed=0; for each in $(PRECISION); do \
	  $(SERVE_ENV)/bin/fpan engine $(MODEL) --precision $$each --plans $(PLANS) $(if $(PICTURES),--pictures $(PICTURES)) || failed=1; \
	done; exit $$failed

verify-gpu: $(SERVE_ENV)/ready ## on a GPU, in NVIDIA's image, eight minutes at most: build plans, compare their labels, measure latency and throughput
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT; failed=0; \
	for each in $(PRECISION); do \
	  timeout $(VERIFY_GPU_S) $(SERVE_ENV)/bin/fpan engine $(MODEL) --precision $$each --measure --plans "$$folder" $(if $(PICTURES),--pictures $(PICTURES)) || failed=1; \
	done; exit $$failed

export-phone: $(TEST_ENV)/ready ## write a version in int8 for phones, .tflite and .ort; MODEL=, DATA= and PHONE= choose (installs a gigabyte)
	@$(TEST_ENV)/bin/pip install $(PIP_FLAGS) --no-deps -r training/phone.lock
	@$(TEST_ENV)/bin/fpan-train export-phone --model $(MODEL) --out $(PHONE) $(if $(DATA),--data $(DATA))

wheel: $(if $(filter file,$(origin BUILD_PYTHON)),$(SERVE_ENV)/ready) ## build wheels of the service and of training into dist/
	@# From a copy: setuptools puts whatever an earlier build has left beside the sources into the wheel.
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT; set -e; \
	tar -c --exclude=__pycache__ --exclude='*.egg-info' --exclude=service/build --exclude=training/build service training | tar -x -C "$$folder"; \
	cp LICENSE "$$folder/service" && cp LICENSE "$$folder/training"; \
	$(BUILD_PYTHON) -m pip wheel $(PIP_FLAGS) --no-index --no-deps --no-build-isolation --wheel-dir "$$folder/made" "$$folder/service" "$$folder/training"; \
	mkdir -p $(DIST); cd "$$folder/made"; for each in *.whl; do mv "$$each" "$(abspath $(DIST))"; echo "$(DIST)/$$each"; done

lint: $(TEST_ENV)/ready ## format and check the code's style and types
	@$(TEST_ENV)/bin/ruff format .
	@$(TEST_ENV)/bin/ruff check --fix .
	@$(TEST_ENV)/bin/mypy

lock: ## pin every dependency anew, at the newest versions that fit (needs uv)
	@uv pip compile -q --universal --python-version 3.11 --upgrade --no-header --no-annotate --generate-hashes \
	  --extra serve service/pyproject.toml -o service/requirements.lock
	@uv pip compile -q --universal --python-version 3.11 --upgrade --no-header --no-annotate \
	  -c service/requirements.lock --extra serve service/pyproject.toml training/pyproject.toml tests/requirements.in \
	  -o tests/requirements.lock
	@uv pip compile -q --universal --python-version 3.11 --upgrade --no-header --no-annotate \
	  --extra serve service/pyproject.toml benchmarks/load/requirements.in -o benchmarks/load/requirements.lock
	@echo setuptools | uv pip compile -q --universal --python-version 3.11 --upgrade --no-header --no-annotate \
	  --generate-hashes - -o service/build.lock
	@uv pip compile -q --universal --python-version 3.11 --upgrade --no-header --no-annotate --generate-hashes \
	  tests/openapi_tools/requirements.in -o tests/openapi_tools/requirements.lock
	@# Whether torch needs CUDA's packages depends on the build that pip finds: pip resolves them, the lock does not.
	@sed -i -E '/^(nvidia-|cuda-|triton==)/d' tests/requirements.lock

proto: $(TEST_ENV)/ready ## make the gRPC code from proto/
	@$(TEST_ENV)/bin/python proto/generate.py

clean: ## remove the environments
	@rm -rf $(SERVE_ENV) $(TEST_ENV) $(BENCH_ENV)

$(SERVE_ENV)/ready: service/requirements.lock service/triton.lock service/build.lock service/pyproject.toml
	@$(ADVICE)
	@echo "making the environment $(SERVE_ENV), once; it takes a minute or two"
	@$(PYTHON) -m venv --clear $(SERVE_ENV)
	@$(SERVE_ENV)/bin/pip install $(PIP_FLAGS) --require-hashes -r service/requirements.lock
	@$(call install_triton,$(SERVE_ENV))
	@$(call install_editable,$(SERVE_ENV),-e ./service)
	@echo "$(CURDIR)" > $@

$(TEST_ENV)/ready: tests/requirements.lock tests/openapi_tools/requirements.lock service/triton.lock service/build.lock training/carriers.lock service/pyproject.toml training/pyproject.toml
	@$(ADVICE)
	@echo "making the environment $(TEST_ENV), once; it takes some minutes"
	@$(PYTHON) -m venv --clear $(TEST_ENV)
	@$(TEST_ENV)/bin/pip install $(PIP_FLAGS) -r tests/requirements.lock
	@$(call install_triton,$(TEST_ENV))
	@$(TEST_ENV)/bin/pip install $(PIP_FLAGS) --no-deps -r training/carriers.lock
	@$(TEST_ENV)/bin/pip install $(PIP_FLAGS) --no-deps --require-hashes --target $(TEST_ENV)/openapi-tools -r tests/openapi_tools/requirements.lock
	@$(call install_editable,$(TEST_ENV),-e ./service -e ./training)
	@echo "$(CURDIR)" > $@

$(BENCH_ENV)/ready: benchmarks/load/requirements.lock service/triton.lock service/build.lock service/pyproject.toml
	@$(ADVICE)
	@echo "making the environment $(BENCH_ENV), once; it takes some minutes"
	@$(PYTHON) -m venv --clear $(BENCH_ENV)
	@$(BENCH_ENV)/bin/pip install $(PIP_FLAGS) -r benchmarks/load/requirements.lock
	@$(call install_triton,$(BENCH_ENV))
	@$(call install_editable,$(BENCH_ENV),-e ./service)
	@echo "$(CURDIR)" > $@
