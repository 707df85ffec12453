# Everything runs in a virtual environment; stamp files in it record what is installed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
INSTALL := $(PIP) install -c constraints.txt
SOURCES := src tests scripts notebooks $(wildcard benchmarks)
INPUTS ?= 10000

# Datasets: $(MIEN_DATA)/fer2013/fer2013.csv.gz. Only train-demo and some tests use them.
FER2013 := $(wildcard $(MIEN_DATA)/fer2013/fer2013.csv.gz)
DEMO_DATA := $(or $(and $(MIEN_DATA),$(FER2013)),runs/drawn.npz)

.PHONY: help demo docs site notebooks speed test fuzz check train-demo lint format types wheel lock clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.base  ## recognise the expression in one photo; installs no PyTorch
	$(BIN)/mien predict docs/images/astronaut.png --out demo
	@echo "the annotated picture is in $(CURDIR)/demo"

docs: demo $(VENV)/.dev  ## update the generated pictures, tables and reference in the documents
	cp demo/astronaut.png docs/images/demo.png
	$(BIN)/python scripts/update_docs.py
	$(BIN)/python scripts/formats.py

site: $(VENV)/.dev  ## build the documentation as a site with search and reference, in site/; checks its links
	$(BIN)/python scripts/site.py

notebooks: $(VENV)/.dev  ## run the notebooks and write their pages into docs/notebooks; takes minutes
	$(BIN)/python scripts/notebooks.py

speed: $(VENV)/.dev  ## measure the speed of mien on this machine, into docs/reports/speed.md; takes minutes
	$(BIN)/python scripts/speed.py

test: $(VENV)/.dev  ## run the tests, a file at a time on each core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --max-worker-restart 2

fuzz: $(VENV)/.dev  ## open 10,000 damaged and odd files of every kind; takes minutes (INPUTS=…, DOOR=…)
	$(BIN)/python -W ignore tests/fuzz/fuzzing.py --inputs $(INPUTS) $(DOOR)

check: lint types test wheel site  ## everything a change must pass

train-demo: $(VENV)/.dev $(if $(filter runs/%,$(DEMO_DATA)),$(DEMO_DATA))  ## train a tiny net: drawn faces, or MIEN_DATA's FER2013
	$(BIN)/mien train tiny --data $(DEMO_DATA) --run runs/demo-$(shell date +%Y%m%d-%H%M%S)

lint: $(VENV)/.dev  ## check the code and its formatting
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

format: $(VENV)/.dev  ## format the code
	$(BIN)/ruff check --fix-only $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

types: $(VENV)/.dev  ## check the types
	$(BIN)/mypy

wheel: $(VENV)/.dev  ## build the wheel and check its contents
	rm -rf dist
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .
	$(BIN)/python scripts/check_wheel.py dist

lock:  ## renew constraints.txt (Python 3.11)
	$(PYTHON) scripts/lock.py

clean:  ## remove everything that make created, except runs/
	rm -rf $(VENV) dist build demo site .mypy_cache .pytest_cache .ruff_cache .hypothesis

runs/drawn.npz: scripts/draw_faces.py src/mien/data/synthetic.py | $(VENV)/.dev
	$(BIN)/python scripts/draw_faces.py 5000 $@

# hatchling goes in first and builds here, not in an environment of pip's own, so that it is the locked one too.
$(VENV)/.base: pyproject.toml constraints.txt
	scripts/system-packages $(PYTHON)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) hatchling editables
	$(INSTALL) --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	scripts/system-packages $(PYTHON) test
	scripts/npm-packages $(VENV)
	$(INSTALL) --no-build-isolation -e '.[train,dev,app,keras,site]'
	@touch $@
