# Thin: targets call CMake presets and scripts, may be run again at any time, and fetch nothing when nothing is missing.
.PHONY: help build test lint parsers wheel wheel-torch demo bench bench-peer bench-builds bench-learning bench-memory \
  bench-ranks bench-lm-eval results learned-results rows check-vllm fuzz asan tsan lto tidy neon format
.DEFAULT_GOAL := help

JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60
PYTHON := .venv/bin/python
# spinor/linalg/fwht_bench.cpp is part of linalg_bench
BENCHES = $(sort $(foreach file,$(wildcard spinor/*/*_bench.cpp),$(notdir $(patsubst %/,%,$(dir $(file))))_bench))

help:
	@echo 'make build       build/spinor, optimized; installs what apt.txt lists if it is missing'
	@echo 'make test        all tests: unit, invariance, golden, slow, lint; the parsers under sanitizers'
	@echo 'make lint        layout, includes and types of the sources, in seconds'
	@echo 'make wheel       build/wheels/*.whl: the Python package with all that it needs'
	@echo 'make wheel-torch the same of what runs models, for the torch of requirements-client.txt; ten minutes'
	@echo 'make demo        rotate, verify and compare SmolLM2-135M-Instruct'
	@echo 'make bench       kernels against memcpy, checkpoints against cp, running models against transformers'
	@echo 'make bench-peer  whole checkpoints and GPTQ against llm-compressor (installs it into .venv-peer)'
	@echo 'make bench-builds OLD=spinor  the same jobs by an earlier program and by this one, in turn'
	@echo 'make bench-learning  what learning rotations costs on the shapes of published models'
	@echo 'make bench-ranks [MODEL=directory]  several processes against one, and what they would do to large models'
	@echo 'make bench-memory  a model in memory, rotated where it is, against spinor rotate'
	@echo 'make bench-lm-eval MODEL=directory  requests of lm-eval against its own hf model'
	@echo 'make results     docs/results.md: perplexity with fewer bits; CALIBRATION=file TEXT=file, an hour'
	@echo 'make learned-results  what learned rotations give, there too; CALIBRATION=file TEXT=file, an hour'
	@echo 'make rows        finds the rows of transformers out again, and says what changed; TYPES="..." for some'
	@echo 'make check-vllm  quantized checkpoints in vLLM on the CPU (installs it into .venv-vllm)'
	@echo 'make fuzz        every libFuzzer target for FUZZ_SECONDS=$(FUZZ_SECONDS) (clang-19)'
	@echo 'make parsers     what reads files of others (base, io, tokenizer): unit tests under ASan and UBSan'
	@echo 'make asan tsan   all unit tests under sanitizers'
	@echo 'make lto         links every program with -flto -Wodr -Werror: each type is defined once'
	@echo 'make tidy        clang-tidy-19 over every source file'
	@echo 'make neon        compiles the kernels for AArch64 (g++-aarch64-linux-gnu)'
	@echo 'make format      clang-format every source file'

build: packages client
	@tools/build.sh release spinor spinor-torch
	@ln -sfn release/cli/spinor build/spinor && echo 'built build/spinor'

test: build clang-format parsers
	@tools/build.sh release all
	@ctest --preset release --parallel $(JOBS)

lint: client clang-format
	@$(PYTHON) -m pytest -q -rs -p no:cacheprovider $(addprefix tests/,$(addsuffix _test.py,include_order layout types))

wheel: packages client
	@$(PYTHON) tools/wheel.py build/wheels

wheel-torch: packages client
	@$(PYTHON) tools/wheel.py build/wheels python/torch

rows: build
	@tools/build.sh release spinor_python
	@PYTHONPATH=build/release/python $(PYTHON) tools/rows.py $(TYPES)

demo: build
	@$(PYTHON) demo/demo.py build/spinor

bench: build
	@tools/build.sh release $(BENCHES)
	@$(PYTHON) benchmarks/kernel_bench.py build/release
	@$(PYTHON) benchmarks/rotate_bench.py build/spinor
	@$(PYTHON) benchmarks/quantize_bench.py build/spinor
	@$(PYTHON) benchmarks/runtime_bench.py build/spinor

bench-peer: build
	@tools/venv.sh .venv-peer requirements-peer.txt
	@$(PYTHON) benchmarks/rotate_bench.py build/spinor --shapes llama-1b --peer .venv-peer/bin/python
	@$(PYTHON) benchmarks/quantize_bench.py build/spinor --peer .venv-peer/bin/python
	@tools/build.sh release quant_bench
	@$(PYTHON) benchmarks/gptq_bench.py build/release --peer .venv-peer/bin/python --factorize
	@$(PYTHON) benchmarks/calibration_bench.py build/spinor --peer .venv-peer/bin/python --layer \
	  $(if $(CALIBRATION),--calibration $(CALIBRATION)) $(if $(TEXT),--text $(TEXT))

bench-builds: build
	@test -n "$(OLD)" || { echo 'say against what: make bench-builds OLD=path/of/an/earlier/spinor'; exit 1; }
	@$(PYTHON) benchmarks/builds_bench.py "$(OLD)" build/spinor \
	  $(if $(CALIBRATION),--calibration $(CALIBRATION)) $(if $(TEXT),--text $(TEXT))

bench-ranks: build
	@$(PYTHON) benchmarks/ranks_bench.py build/spinor llama-1b $(MODEL) --gptq 3 --plan

bench-memory: build
	@PYTHONPATH=build/release/python $(PYTHON) benchmarks/memory_bench.py build/spinor

bench-learning: build
	@$(PYTHON) benchmarks/learning_bench.py build/spinor

bench-lm-eval: build
	@test -n "$(MODEL)" || { echo 'say which model: make bench-lm-eval MODEL=SmolLM2-135M-Instruct'; exit 1; }
	@tools/build.sh release spinor-torch spinor_python
	@PYTHONPATH=build/release/python $(PYTHON) benchmarks/lm_eval_bench.py "$(MODEL)" \
	  --program build/release/cli/spinor-torch

results: build
	@test -n "$(CALIBRATION)" -a -n "$(TEXT)" || \
	  { echo 'say which texts: make results CALIBRATION=file TEXT=file'; exit 1; }
	@$(PYTHON) benchmarks/results.py build/spinor --calibration "$(CALIBRATION)" --text "$(TEXT)"

learned-results: build
	@test -n "$(CALIBRATION)" -a -n "$(TEXT)" || \
	  { echo 'say which texts: make learned-results CALIBRATION=file TEXT=file'; exit 1; }
	@$(PYTHON) benchmarks/learned_results.py build/spinor --calibration "$(CALIBRATION)" --text "$(TEXT)"

check-vllm: build
	@tools/venv.sh .venv-vllm requirements-vllm.txt
	@.venv-vllm/bin/python -m pip uninstall -qqy torchvision torchaudio torchcodec  # they do not match its torch
	@$(PYTHON) -m pytest -q -rs -s tests/vllm_test.py

fuzz: packages
	@tools/packages.sh clang-19 libclang-rt-19-dev
	@tools/build.sh fuzz all
	@tools/fuzz.sh build/fuzz $(FUZZ_SECONDS)

asan tsan: packages
	@tools/build.sh $@ all
	@ctest --preset $@ --parallel $(JOBS)

parsers: packages
	@tools/build.sh parsers base_test io_test tokenizer_test
	@ctest --preset parsers --parallel $(JOBS)

lto: packages client
	@tools/build.sh lto all

tidy: packages
	@tools/packages.sh clang-tidy-19
	@cmake --preset dev >/dev/null
	@git ls-files 'spinor/*.cpp' 'cli/*.cpp' | grep -v '_fuzz.cpp$$' | \
	  xargs -P $(JOBS) -n 4 clang-tidy-19 -p build/dev --quiet --extra-arg=-Wno-unknown-warning-option

neon: packages
	@tools/packages.sh g++-aarch64-linux-gnu
	@tools/neon.sh

format: clang-format
	@git ls-files '*.h' '*.cpp' | xargs clang-format-19 -i

.PHONY: packages client clang-format
packages:
	@tools/packages.sh $$(sed 's/#.*//' apt.txt)

clang-format:
	@tools/packages.sh clang-format-19

client:
	@tools/venv.sh .venv requirements-client.txt
