# Two commands do everything, set-up included: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# CUDA where the driver answers, CPU elsewhere; `make HARDWARE=cpu` decides by hand.
HARDWARE ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)
# uv does not read pip's settings: wheels that pip was told of are found by uv too.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# PyTorch's CPU builds are not on the package index; where no local wheel for this Python lies ready, uv knows where they are.
TAG := $(shell $(PYTHON) -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
LOCAL_TORCH := $(if $(PIP_FIND_LINKS),$(wildcard $(PIP_FIND_LINKS)/torch-*-$(TAG)-*.whl))
TORCH := $(if $(filter cpu,$(HARDWARE)),$(if $(LOCAL_TORCH),,--torch-backend cpu))
export FEATUREHUB_HOME ?= $(CURDIR)/.featurehub

.PHONY: demo test check benchmark browser clean

demo: $(VENV)/.$(HARDWARE)
	$(BIN)/featurehub demo run

test: $(VENV)/.$(HARDWARE) browser
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder

# The tests of the pages drive a Chromium. Where it cannot be installed from here they are skipped, and say so.
browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium >/dev/null; \
	} || echo "no Chromium is installed: the pages are not tested"

check: $(VENV)/.$(HARDWARE)
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/pyright && $(BIN)/lint-imports

benchmark: $(VENV)/.$(HARDWARE)
	for name in steering reading drift throughput harvest step_time; do $(BIN)/python tests/benchmarks/$$name.py || exit; done

# Compiled once here: where PYTHONDONTWRITEBYTECODE is set, every start of vLLM would compile thousands of modules anew.
$(VENV)/.cpu $(VENV)/.cuda: pyproject.toml featurehub/demo/bundle/pyproject.toml .requirements/$(HARDWARE).txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv==0.13.8
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python $(TORCH) \
		--requirement .requirements/$(HARDWARE).txt --override .requirements/overrides.txt \
		--editable '.[$(HARDWARE),dev]' --editable featurehub/demo/bundle
	touch $@

clean:
	rm -rf $(VENV) .featurehub
