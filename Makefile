# `make` alone lists the targets.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Python that makes the environment; 3.11 or newer.
PYTHON ?= python3
# onnxruntime for the CPU or for a GPU: cpu, gpu.
ONNXRUNTIME ?= cpu
# Folder of the Roadmap tracks over the ENCODE pilot regions, params, and folder of the results, for `make pilot`.
DATA ?= ../shared/data/roadmap-pilot
PARAMS ?= presets/roadmap-pilot.yaml
RESULTS ?= results/roadmap-pilot
# Container images to build; those for the CPU unless others are named (images/build.py).
IMAGES ?=
# Given to pytest, for example PYTEST_ARGS='-k binning', and the number of its processes.
PYTEST_ARGS ?=
TEST_PROCESSES ?= 2
# Files are given to the processes whole, in the order of tests/conftest.py: what a file's tests share is made once.
PARALLEL := -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

VENV := .venv
INSTALLED := $(VENV)/installed-$(ONNXRUNTIME)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help demo pilot genome genome-cross-fitted gallery check test lint local-pipeline bench bench-scaling bench-gpu bench-serving images pipelines dashboards docs env clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r target text; do \
		printf '  make %-19s  %s\n' "$$target" "$$text"; done

demo: env ## run the whole pipeline on a simulated epigenome
	dvc repro
	@echo "report: $(CURDIR)/report/report.html"

pilot: env ## run it on the real Roadmap tracks in DATA, into RESULTS; PARAMS may name other params than the preset's
	@test -f $(DATA)/samplesheet.csv || { echo "error: no samplesheet.csv in DATA=$(DATA)" >&2; exit 1; }
	epilstm run $(DATA)/samplesheet.csv --assembly hg19 --regions $(DATA)/pilot-regions.bed --params $(PARAMS) \
		--tasks tasks/roadmap-pilot.yaml --labels $(DATA)/labels --to $(RESULTS)

genome: DATA := ../shared/data/encode-peaks
genome: PARAMS := presets/encode-peaks.yaml
genome: RESULTS := results/encode-peaks
genome: env ## run it on the peak tracks of six cell lines over the whole genome in DATA, into RESULTS (hours)
	@test -f $(DATA)/regions.bed || { echo "error: no regions.bed in DATA=$(DATA)" >&2; exit 1; }
	epilstm run $(DATA)/samplesheet.csv --assembly hg19 --regions $(DATA)/regions.bed --params $(PARAMS) \
		--tasks tasks/encode-peaks.yaml --labels $(DATA)/labels --to $(RESULTS)

# What each step of a group's model reads and writes.
GROUPED = --params presets/encode-peaks-group-$(1).yaml
OF_GROUP = $(RESULTS)/group-$(1)
define embed_by_group
	epilstm train $(GROUPED) --matrix $(RESULTS)/matrix --model $(OF_GROUP)/model
	epilstm export $(GROUPED) --model $(OF_GROUP)/model --encoder $(OF_GROUP)/encoder
	epilstm embed $(GROUPED) --matrix $(RESULTS)/matrix --encoder $(OF_GROUP)/encoder --embeddings $(OF_GROUP)/embeddings

endef

genome-cross-fitted: DATA := ../shared/data/encode-peaks
genome-cross-fitted: RESULTS := results/encode-peaks
genome-cross-fitted: env ## after `make genome`: score every chromosome by a model that was trained without it (hours)
	@test -d $(RESULTS)/matrix || { echo "error: no $(RESULTS)/matrix; run: make genome DATA=..." >&2; exit 1; }
	$(foreach group,1 2,$(call embed_by_group,$(group)))
	cd $(RESULTS) && epilstm evaluate --params $(CURDIR)/presets/encode-peaks-cross-fitted.yaml --matrix matrix \
		--model group-1/model --tasks $(CURDIR)/tasks/encode-peaks.yaml --labels $(abspath $(DATA)/labels) \
		--evaluation cross-fitted

# Folders of a finished pilot run: those that `make pilot` leaves, unless others are named.
MATRIX ?= $(RESULTS)/matrix
MODEL ?= $(RESULTS)/model
EMBEDDINGS ?= $(RESULTS)/embeddings
EVALUATION ?= $(RESULTS)/evaluation
HISTORY ?= $(RESULTS)/metrics/history.csv
GENES = $(DATA)/labels/gencode_10_genes.gtf.gz
EMBEDDED = --matrix $(MATRIX) --embeddings $(EMBEDDINGS)
WINDOW = $(EMBEDDED) --model $(MODEL) --genes $(GENES) --region chr22:32852500-32952500
FINE := --quiet --dpi 110 --overwrite
SEGMENTATION := $(RESULTS)/segmentation

gallery: env ## draw the README's figure and docs/gallery from a finished `make pilot`
	@test -f $(EVALUATION)/scores.json && test -f $(GENES) || { \
		echo "error: no $(EVALUATION)/scores.json or $(GENES); run: make pilot DATA=..." >&2; exit 1; }
	@mkdir -p docs/gallery
	epilstm segment --quiet --overwrite $(EMBEDDED) --annotation $(GENES) --segmentation $(SEGMENTATION)
	epilstm plot window $(FINE) $(WINDOW) --segments $(SEGMENTATION)/segmentation.bed \
		$(foreach track,E116-H3K4me3 E116-H3K4me1 E116-H3K36me3 E116-H3K27me3 E003-H3K27me3 E116-H3K9me3,--track $(track)) \
		--to docs/figure.png
	epilstm plot window $(FINE) $(WINDOW) --to docs/gallery/window.png
	epilstm plot scores $(FINE) --evaluation $(EVALUATION) --to docs/gallery/scores.png
	epilstm plot curves $(FINE) --evaluation $(EVALUATION) --to docs/gallery/curves.png
	@# Only where the evaluation was asked to impute.
	! grep -q '"imputation": {' $(EVALUATION)/scores.json || \
		epilstm plot imputation $(FINE) --evaluation $(EVALUATION) --to docs/gallery/imputation.png
	$(foreach kind,smoothness density loadings,epilstm plot $(kind) $(FINE) $(EMBEDDED) \
		--to docs/gallery/$(kind).png &&) true
	epilstm plot training $(FINE) --history $(HISTORY) --to docs/gallery/training.png

check: env lint ## run the linters, the contract of imports and the unit tests: before every push
	pytest tests/unit $(PARALLEL) --unit-seconds=5 $(PYTEST_ARGS)

test: env lint ## run the linters and every test
	pytest $(PARALLEL) $(PYTEST_ARGS)

lint: env ## check style (ruff), types (mypy), and that imports run downwards (import-linter)
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-logo --no-cache

local-pipeline: env ## run the compiled Kubeflow pipelines on this machine, on a simulated epigenome, without a cluster
	epilstm pipeline local --pipeline simulation --to build/local-pipeline
	epilstm pipeline local --pipeline training --to build/local-pipeline

bench: env ## measure the speed of every stage (5 to 10 minutes), print a table
	python -m benchmarks

bench-scaling: env ## measure how speed and memory follow the size of the data
	python -m benchmarks --scaling

bench-gpu: env ## measure training on a CUDA GPU
	python -m benchmarks train --device cuda

bench-serving: env ## measure the server over real sockets, beside bare onnxruntime
	python -m benchmarks.serving

images: env ## build the container images (IMAGES='train-gpu ...' for others), print sizes, write SBOMs
	python -m images.build $(IMAGES)

pipelines: env ## compile the Kubeflow pipelines into pipelines/compiled
	epilstm pipeline compile

dashboards: env ## write the Grafana dashboards of manifests/monitoring/dashboards as JSON
	python -m manifests.monitoring.dashboards

docs: env ## write the generated tables of the documentation
	python -m docs.generate

env: $(INSTALLED) ## make the Python environment in .venv

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: '$(PYTHON)' is not Python 3.11 or newer; name one that is: make PYTHON=python3.12 ..." >&2; exit 1; }
	@# onnxruntime and onnxruntime-gpu share one folder: no switching within an environment.
	@test -z '$(filter-out $(INSTALLED),$(wildcard $(VENV)/installed-*))' || rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "error: $(PYTHON) cannot make environments; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e '.[train,serve,client,outputs,examples,$(ONNXRUNTIME),pipeline,dev]'
	@touch $@

clean: ## remove the pipeline's outputs and the tools' caches (`dvc checkout` brings the outputs back)
	rm -rf data/simulated data/signal data/matrix data/embeddings data/*.record.json
	rm -rf models evaluation evaluation.record.json report cache
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
