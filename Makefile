# Two commands do all set-up: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
LABELS := labels
SPACES := classification detection kws super_resolution
NPUS := ethos-u55-32 ethos-u55-128 ethos-u55-256 ethos-u65-512 ethos-u85-256 ethos-u85-1024

PHONES := $(addprefix help-,pixel2 pixel3 samsung-a50 samsung-s7 essential-ph-1 raspi4) \
  $(addprefix nnmeter-,cortex-a76-cpu-tflite adreno-640-gpu-tflite adreno-630-gpu-tflite myriad-vpu-openvino) \
  $(addprefix eagle-,snapdragon-855-cpu snapdragon-855-gpu snapdragon-855-dsp edgetpu jetson-nano jetson-nano-fp16) \
  $(addprefix hwnasbench-,edgetpu edgegpu)

.PHONY: help demo serve test test-slow fuzz lint docs bench labels predictor phones clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "PerfSAGE trains on CPython 3.11 (DGL has no wheels for later versions). Set PYTHON=/path/to/python3.11."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "Could not make a virtual environment. On Debian and Ubuntu: apt-get install python3.11-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[all,dev]'
	@touch $@

demo: $(VENV)/.installed  ## Measure, store, learn and predict on this machine (about 4 minutes)
	$(BIN)/perfsage demo --output $(DEMO)

serve: $(VENV)/.installed  ## Serve the predictor that `make demo` left
	$(BIN)/perfsage serve --predictor $(DEMO)/predictor

test: $(VENV)/.installed  ## Run the test suite
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup -m "not slow"

test-slow: $(VENV)/.installed  ## Run the slow tests as well (long fuzzing, converter twins)
	$(BIN)/python -m pytest

fuzz: $(VENV)/.installed  ## Read 100,000 damaged models (about 8 minutes)
	$(BIN)/python -m tests.graph.reader_mutations 100000

lint: $(VENV)/.installed  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed  ## Write docs/cli.md from the commands' own help
	$(BIN)/python -m tests.api.test_docs

bench: $(VENV)/.installed  ## Run every benchmark and print its ratios
	for file in benchmarks/[a-z]*.py; do $(BIN)/python -m benchmarks.$$(basename $$file .py) || exit 1; done

labels: $(VENV)/.installed  ## Label 134,912 networks on TFLM and one of six NPUs each (hours), export and check them
	$(BIN)/perfsage collect $(SPACES:%=--space %) --count 33728 -d tflm $(NPUS:%=--rotate %) --per-operator --db $(LABELS).db
	$(BIN)/perfsage collect --space operators --count 4500 -d tflm $(NPUS:%=-d %) --per-operator --db $(LABELS).db
	$(BIN)/perfsage dataset export --db $(LABELS).db --output $(LABELS) --kind labels --title EdgeDLPerf
	$(BIN)/perfsage dataset check --db $(LABELS).db --vendor 200

predictor: $(VENV)/.installed  ## Train the predictor that ships again, from the labels that ship (an hour or more)
	@mkdir -p build
	$(BIN)/perfsage dataset import dataset/published --db build/published.db
	OMP_NUM_THREADS=1 $(BIN)/torchrun --nproc-per-node 2 -m api.cli.main train --db build/published.db \
	  --time-limit 3000 --output build/predictor

phones: $(VENV)/.installed  ## Add published phones to the predictor that ships (HELP=folder ONEPROXY=folder)
	@mkdir -p build
	$(BIN)/perfsage dataset import-source oneproxy '$(ONEPROXY)' --db build/phones.db
	$(BIN)/perfsage dataset import-source help-nasbench201 '$(HELP)' --db build/phones.db
	$(BIN)/perfsage dataset import-source help-fbnet '$(HELP)' --db build/phones.db
	$(BIN)/perfsage adapt --db build/phones.db $(PHONES:%=--device %) --output build/phones

clean:  ## Remove the environment and what the demo left
	rm -rf $(VENV) $(DEMO) build *.egg-info
