# Everything runs in a virtual environment of its own, made on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= .venv-demo
MINDSPORE ?= .venv-mindspore
CLIP ?= recipes/ember/eval/prompts/af_nova_0.ogg

.PHONY: install demo test test-all test-mindspore lint format ember quality clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[torch,export,train,eval,server,ui,dev]"
	touch $(STAMP)

# Without PyTorch, as a user installs it. The voice is one that Ember has never heard.
demo:  ## a cloned voice speaks English and Chinese, into demo/
	test -x $(DEMO)/bin/sparktts || { $(PYTHON) -m venv $(DEMO) && $(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check .; }
	mkdir -p demo
	$(DEMO)/bin/sparktts clone $(CLIP) -o demo/voice.json --force
	$(DEMO)/bin/sparktts say "Hello! I learned this voice from five seconds of sound." --voice demo/voice.json --seed 1 -o demo/english.wav
	$(DEMO)/bin/sparktts say "你好!这个声音,是我从五秒钟的录音里学来的。" --voice demo/voice.json --seed 1 -o demo/chinese.wav
	@echo "Listen: $(CURDIR)/demo/english.wav and $(CURDIR)/demo/chinese.wav, in the voice of $(CLIP)"

test: $(STAMP)  ## the fast tests, under ten minutes on two cores
	$(BIN)/python -m pytest -n 2

test-all: $(STAMP)  ## everything, with soak and full-size checks: 10 GB of memory, 5 GB of disk
	$(BIN)/python -m pytest -m "slow or not slow"

# Its environment is its own: MindSpore wants an older numpy than the rest. Without MindSpore it fails.
test-mindspore:  ## the MindSpore engine: 3 GB of packages for Python 3.11, three minutes
	test -x $(MINDSPORE)/bin/pytest || { $(PYTHON) -m venv $(MINDSPORE) && $(MINDSPORE)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[mindspore]" "pytest>=8"; }
	$(MINDSPORE)/bin/python -m pytest -m mindspore tests/engine/test_mindspore.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ember: $(STAMP)  ## the embedded model from nothing, into out/ember: many hours; goes on where it was stopped
	PATH="$(abspath $(BIN)):$$PATH" recipes/ember/run.sh out/ember

quality: $(STAMP)  ## every figure that Ember is held to, into out/quality: half an hour
	PATH="$(abspath $(BIN)):$$PATH" recipes/ember/judges.sh out/judges out/people
	$(BIN)/python -m benchmarks.quality -o out/quality --judges out/judges --humans out/people

clean:
	rm -rf $(VENV) $(DEMO) $(MINDSPORE) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
