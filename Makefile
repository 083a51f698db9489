# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0

# make demo        install into .venv and run the main job end to end; writes below outputs/
# make test        the test suite and the linters
# make test-faults  kill training and generation 20 times each at random points (minutes)
# make test-page   open the page of scores in a headless Chromium without a network (Debian, Ubuntu: apt install chromium)
# make e2s-test    install earth2studio into .venv-e2s beside this package and run the tests of the export in it
# make bench-demo  the demo with three seeds beside the U-Net baseline (hours on a CPU, resumable)
# make bench-kernels  time the spectral convolution on the CPU and the GPU (without one, write the byte model's table)

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
E2S_VENV ?= .venv-e2s
TODAY = $(shell date -u +%F)
KIND = $(shell $(BIN)/python -c 'import torch; print("measured" if torch.cuda.is_available() else "modelled")')

.PHONY: demo test lint check test-faults test-page e2s-test bench-demo bench-kernels docs clean
.DELETE_ON_ERROR:

demo: $(STAMP)
	@$(BIN)/physicsnemo-fs demo

test: $(STAMP) lint check

lint: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: $(STAMP)
	@$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

test-faults: $(STAMP)
	@PHYSICSNEMO_FS_KILLS=20 $(BIN)/python -m pytest -m faults --timeout=3600 tests/distributed

test-page: $(STAMP)
	@PHYSICSNEMO_FS_BROWSER=1 $(BIN)/python -m pytest -m browser -rs tests/pipelines

e2s-test: $(E2S_VENV)/.installed
	@PYTHONPATH= $(E2S_VENV)/bin/python -m pytest tests/export tests/pipelines/test_corrdiff_networks.py

$(E2S_VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install python3.11 (or set PYTHON=...)"; exit 1; }
	@test -x $(E2S_VENV)/bin/python || $(PYTHON) -m venv $(E2S_VENV)
	@echo "installing into $(E2S_VENV) (about 5 minutes and 8 GB, mostly PyTorch)"
	@$(E2S_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[earth2studio,test]'
	@touch $@

bench-demo: $(STAMP)
	@$(BIN)/python benchmarks/demo.py --results benchmarks/results
	@$(BIN)/python benchmarks/demo.py --results benchmarks/results --setting kolmogorov_re200

bench-kernels: $(STAMP)
	@$(BIN)/python -c 'import neuralop' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[benchmarks]'
	@$(BIN)/python benchmarks/spectral_conv_cpu.py --output benchmarks/results/spectral_conv_cpu_$(TODAY).csv
	@$(BIN)/python benchmarks/spectral_conv_gpu.py --output benchmarks/results/spectral_conv_gpu_$(KIND)_$(TODAY).csv

docs: $(STAMP)
	@$(BIN)/python docs/build.py

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install python3.11 (or set PYTHON=...)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "Python's venv module is needed: install python3-venv (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null || \
		{ echo "a C compiler is needed: install gcc (Debian, Ubuntu: apt install gcc)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (about 3 minutes and 7 GB, mostly PyTorch)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
