# Every target sets up the local environment itself, once (about 1 GB on disk; torch is most of it).
# Everything that takes long skips what is done, so an interrupted target is simply run again.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
PACKAGES := theory sim real figures
comma := ,

# One thread on purpose: on small shared machines two torch threads ran ten times slower than one.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export TOKENIZERS_PARALLELISM := false
# Nothing is fetched at run time: models and text are in the repository.
export HF_HUB_OFFLINE := 1
export MPLBACKEND := agg

.DEFAULT_GOAL := help
.PHONY: help setup demo test nightly results agreement systems pays bench lossless figures lint docs mutants kills faults gpu clean

help:
	@echo 'make demo      the whole idea, from nothing, in about 15 minutes: out/demo/report.html'
	@echo 'make test      the test suite, from nothing, on two cores (JOBS=4: on four)'
	@echo 'make nightly   every property test on 10,000 fresh examples (hours; the same again: SEED=…; one file: TESTS=…)'
	@echo 'make results   the full runs behind the README (long, resumable): results/'
	@echo 'make agreement simulator against decoder, every drafter, learner, draft length, sampling and way of serving (resumable)'
	@echo 'make systems   the systems on every domain and target, and what ensembles and hints are worth (hours, resumable)'
	@echo 'make pays      what a mixture learned on acceptance gains on the clock, by cost, and over tokens (hours, resumable)'
	@echo 'make bench     against transformers, what a step costs, a large vocabulary, rows of a batch, the floor under plain decoding, headroom'
	@echo 'make lossless  every drafter on three model families: same tokens as plain decoding, same law under every rule'
	@echo 'make figures   figures and report again, from the result files of the demo and of results/'
	@echo 'make lint      ruff and pyright'
	@echo 'make docs      API pages from the docstrings: out/docs/index.html'
	@echo 'make mutants   changes operators and constants of learners, bounds, step sizes, verification and the speed law; tests must notice (20 minutes)'
	@echo 'make kills     kills sweeps, studies and runs at times spread over them; begun again, all but seconds must be equal (20 minutes)'
	@echo 'make faults    60 learners with a planted fault each and ten correct ones before the checker: results/theory/faults.json (20 minutes)'
	@echo 'make gpu       on a CUDA device: its tests, a Qwen3-8B-shaped pair made here, served and compared, in resumable stages (20 minutes)'
	@echo 'make clean     removes caches and out/demo; keeps .venv and results/'

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet -c constraints.txt -e '.[real,dev]'
	@touch $@

# Agreement: one frozen recording a mode, the simulator's predictions of runs never made, then those runs.
PREDICTED := ogd:2 optimistic:3 ensemble:6
define agreement
	$(PY) -m real record --schedule $(2) --temperature 0 --out $(1)/agreement/greedy.npz
	$(PY) -m real record --schedule $(2) --temperature 1 --out $(1)/agreement/sampled.npz
	for mode in greedy sampled; do for run in $(PREDICTED); do \
	  $(PY) -m sim replay $(1)/agreement/$$mode.npz --learner $${run%:*} --gamma $${run#*:} --out $(1)/agreement/predicted \
	  || exit 1; done; done
	$(PY) -m sim confirm $(1)/agreement/*.npz --gamma 1 --gamma 3 --out $(1)/confirmed.json
	$(PY) -m real agree --out $(1)
endef

# The same for linear heads, whose draft depends on where a step began; before the above, whose last line compares.
define agreement_of_heads
	$(PY) -m real record --system heads --family llama --schedule $(2) --temperature 0 --out $(1)/agreement/heads-greedy.npz
	$(PY) -m real record --system heads --family llama --schedule $(2) --temperature 1 --out $(1)/agreement/heads-sampled.npz
	for mode in greedy sampled; do for run in ogd:1 optimistic:2 ensemble:3; do \
	  $(PY) -m sim replay $(1)/agreement/heads-$$mode.npz --learner $${run%:*} --gamma $${run#*:} --out $(1)/agreement/predicted \
	  || exit 1; done; done
endef

# Every cell: recordings, what the simulator and the pseudocode make of them, then the runs.
agreement: $(READY)
	$(PY) -m real matrix --plan --jobs 2 --out results
	$(PY) -m sim foretell results/matrix/plan.json --jobs 2
	$(PY) -m sim confirm results/matrix/plan.json --jobs 2 --out results/matrix/confirmed.json
	$(PY) -m real matrix --jobs 2 --out results

# The first figure is there within a minute; the last line rebuilds it together with everything that was added.
demo: $(READY)
	$(PY) -m sim run 'drift/P8/*' --out out/demo/sim
	$(PY) -m figures regret out/demo
	$(PY) -m sim run demo --jobs 2 --out out/demo/sim
	$(PY) -m real demo --out out/demo/real
	$(call agreement,out/demo,prose:14$(comma)c:22)
	$(PY) -m real summary out/demo
	$(PY) -m figures all out/demo

results: $(READY)
	$(PY) -m sim run results --jobs 2 --out results/sim
	$(PY) -m real results --jobs 2 --out results/real
	$(PY) -m theory tightness --csv results/theory/tightness.csv
	$(call agreement_of_heads,results,prose:24$(comma)c:48)
	$(call agreement,results,prose:24$(comma)c:48)
	$(PY) -m real summary results
	$(PY) -m figures all results

# Runs lie beside what is made of them, and only the latter is tracked.
systems: $(READY)
	$(PY) -m real claims --jobs 2 --out results/claims
	for block in generalist:5 specialist:5 greedy:4; do \
	  $(PY) -m real table1 --block $${block%:*} --prompts $${block#*:} --seeds 3 --jobs 2 --out results/table1 || exit 1; done
	$(PY) -m figures all results

pays: $(READY)
	$(PY) -m real pays --tokens 9200 --jobs 2 --out out/pays
	$(PY) -m real pays --block specialist --family llama --family gpt_neox --tokens 9200 --jobs 2 --out out/pays
	$(PY) -m real pays --block specialist --domain returns --tokens 9200 --jobs 2 --out out/pays
	mkdir -p results/pays results/deep
	cp out/pays/*.csv out/pays/*.json results/pays
	$(PY) -m real table1 --block specialist --domain c-large --domain sql-large --domain python-large \
	  $(addprefix --system specialist-,eagle osd-eagle tv-eagle twice-eagle tv-twice-eagle tv-anchored-eagle) \
	  --prompts 16 --jobs 2 --out out/deep
	cp out/deep/*.csv out/deep/*.json results/deep
	$(PY) -m real table1 --block specialist --family qwen3 $(addprefix --domain ,sql-large c-large arithmetic-large stubs-large) \
	  $(addprefix --system specialist-,sd adapter-ogd adapter-optimistic adapter-ensemble adapter-speed) \
	  $(addprefix --system specialist-,heads heads-ogd heads-optimistic heads-ensemble heads-last-loss) \
	  $(addprefix --system specialist-,hydra osd-hydra opt-hydra momentum-hydra) --prompts 20 --jobs 2 --out out/ranks
	$(PY) -m real ranks out/deep out/ranks --out results/ranks.json
	$(PY) -m real curves --tokens 8000 --jobs 2 --out results/curves
	$(PY) -m figures all results

figures: $(READY)
	$(PY) -m figures all results
	@if [ -d out/demo ]; then $(PY) -m figures all out/demo; fi

lossless: $(READY)
	$(PY) -m real lossless --out results/lossless.json
	$(PY) -m real lossless --prompts 20 --compile
	$(PY) -m real audit --out results/audit.json

# Neighbours stay on one worker, which keeps the models they share; a worker that is done takes over from the other.
JOBS := 2
test: $(READY)
	$(PY) -m pytest -n $(JOBS) --dist worksteal

# Fresh examples every time, from a seed that is printed; a failure also prints how to see its example again. A test that
# says how many examples it takes keeps its number.
SEED := $(shell date +%s)
TESTS := tests
nightly: $(READY)
	$(info The same again: make nightly TESTS='$(TESTS)' SEED=$(SEED))
	$(PY) -m pytest -n $(JOBS) --dist worksteal -m hypothesis --hypothesis-profile nightly --hypothesis-seed $(SEED) $(TESTS)

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright

# Every module by name, some twice, for which pdoc need not warn: a package that says what is public hides the others.
docs: $(READY)
	$(PY) -m pip install --quiet -c constraints.txt -e '.[docs]'
	$(PY) -W 'ignore:The module specification' -m pdoc --math --docformat google --no-show-source --output-directory out/docs \
	  $$(find $(PACKAGES) -name '*.py' ! -name __main__.py | sed 's|/__init__||; s|\.py$$||; s|/|.|g' | sort)

mutants: $(READY)
	$(PY) -m pip install --quiet -c constraints.txt -e '.[mutants]'
	rm -rf mutants
	$(VENV)/bin/mutmut run --max-children 2
	$(PY) -m tests.survivors --out results/theory/mutants.json

kills: $(READY)
	$(PY) -m tests.kills

faults: $(READY)
	$(PY) -m tests.faults --out results/theory/faults.json

# Where python already has torch and a CUDA device: make gpu PY=python3 READY=
# Without one, a dry run of the same commands: make gpu DEVICE=cpu DTYPE=float32 BIG=qwen3-tiny SMALL=qwen3-tiny DRY=--dry
# In stages of at most nine minutes, each with its verdict in out/gpu; what ended on this code is not run again.
DEVICE := cuda
DTYPE := bfloat16
BIG := qwen3-8b
SMALL := qwen3-0.6b
INFLATED := out/inflated/$(BIG)-$(SMALL)
PAIR := --target $(INFLATED)/target --draft $(INFLATED)/draft --device $(DEVICE) --dtype $(DTYPE)

gpu: $(READY) $(INFLATED)/target $(INFLATED)/draft
	$(PY) -m tests.gpu $(PAIR) $(DRY)

$(INFLATED)/target $(INFLATED)/draft: | $(READY)
	$(PY) -m real inflate $(if $(filter %/target,$@),real/assets/target --like $(BIG),real/assets/specialist --like $(SMALL)) \
	  --dtype $(DTYPE) --device $(DEVICE) --out $@

bench: $(READY)
	$(PY) -m real bench --out results/bench.json
	$(PY) -m real throughput --prompts prose:32 --out results/throughput.json
	$(PY) -m real profile --compile --out results/profile.json
	$(PY) -m real wide --out results/wide.json
	$(PY) -m real floor --prompts 6 --out out/floor.json
	$(PY) -m real headroom --out results/headroom.json
	$(PY) -m figures headroom results

clean:
	rm -rf out/demo out/docs build dist mutants *.egg-info .pytest_cache .ruff_cache .hypothesis
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +
