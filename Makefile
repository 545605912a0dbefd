# The two commands are `make train` and `make test`. Both create .venv first, with python3 (3.11 to 3.13).
PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/lenet5-digits
TO ?= saved_models/lenet5-digits
LOWEST ?= .venv-lowest
BIN = $(VENV)/bin
IMAGES ?= images

.PHONY: train test slow lowest contract lint models results ship bench docs

train: $(VENV)/.installed
	$(BIN)/zoo train lenet5-digits --run $(RUN)
	$(BIN)/zoo export $(RUN) --to $(TO) --force

test: $(VENV)/.installed
	@echo "The tests take 10 to 40 minutes on two cores, by the processor."
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

# Installs PyTorch too, about a gigabyte.
slow: $(VENV)/.bench
	$(BIN)/python -m pytest -m slow

# The tests with the lowest versions that setup.cfg allows, in an environment of their own, with Python 3.11 or 3.12.
lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest -n auto --dist worksteal -m "not slow"

# The contract of the networks on another installed backend: make contract KERAS_BACKEND=jax
contract: $(VENV)/.installed
	$(BIN)/python -m pytest -n auto tests/test_contract.py

# mypy sees the folders as they are installed, under the one name zoo, and what the systems lack.
lint: $(VENV)/.installed
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff check --preview --select PLW1514 zoo training tuning saved_models benchmarks
	rm -rf build/lint/zoo && mkdir -p build/lint/zoo
	ln -s $(CURDIR)/zoo/* $(CURDIR)/training $(CURDIR)/tuning $(CURDIR)/saved_models build/lint/zoo
	cd build/lint && for platform in linux darwin win32; do \
		$(abspath $(BIN))/python -m mypy --config-file $(CURDIR)/setup.cfg --platform $$platform -p zoo || exit; done

# zoo/models.json: what `zoo list` prints, and the family tree in docs; training/data/tfds_names.json: data sets by name.
models: $(VENV)/.installed
	$(BIN)/python -m zoo.catalog
	$(BIN)/python -m zoo.family_tree
	$(BIN)/python -m zoo.training.data.names

# Train the recipes of docs/results.md in runs/results and update its table: make results RECIPES="lenet5-digits" SEEDS="0 1 2"
# It skips finished runs and resumes interrupted ones. `python -m zoo.training.results.record` only updates the table.
results: $(VENV)/.installed
	$(BIN)/python -m zoo.training.results.rerun $(RECIPES) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FILES),--files $(FILES))

# saved_models/shipped, from finished runs: make ship RUNS="runs/results/lenet5-digits-*"
ship: $(VENV)/.installed
	$(BIN)/python -m zoo.training.results.publish $(RUNS)

# Benchmarks beside other libraries, see benchmarks/README.md: make bench IMAGES=FOLDER
bench: $(VENV)/.bench
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/inference.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/zoo train lenet5-digits --run $(RUN)
	$(BIN)/zoo export $(RUN) --to $(TO) --force
	$(BIN)/python benchmarks/export.py $(RUN) resnet20-cifar10 textcnn-uit_vsfc
	$(BIN)/python benchmarks/serve.py $(TO)
	test ! -d "$(IMAGES)" || $(BIN)/python benchmarks/pipeline.py $(IMAGES)
	test ! -d "$(TFDS_DATA_DIR)/mnist" || $(BIN)/python benchmarks/time_to_accuracy.py 1

# The site in build/docs, and the notebooks of docs/, from their pages.
docs: $(VENV)/.docs
	$(BIN)/python -m docs.site.notebooks
	$(BIN)/python -m docs.site.pages build/docs-source
	$(BIN)/python -m sphinx -q -W --keep-going -c docs/site build/docs-source build/docs
	@echo "The site is build/docs/index.html"

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev,docs]"
	touch $@

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev,bench]"
	touch $@

$(VENV)/.installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

$(LOWEST)/.installed: setup.cfg constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --disable-pip-version-check -c constraints-lowest.txt -e ".[dev]"
	touch $@
