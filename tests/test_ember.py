"""Ember, the model in the package: small, whole, and still saying what it said when it was measured.

`python -m tests.test_ember` records again what it says, after it was trained anew.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sparktts import SparkTTS, bundled
from sparktts.audio.read import read_audio
from sparktts.checkpoint.exported import Exported
from sparktts.evaluate.judges.aligner import of_model
from sparktts.evaluate.judges.packages import PackageFiles
from sparktts.prompt import PromptBuilder
from sparktts.sampling import SamplingOptions
from sparktts.text.spans import dominant_language

RECORDED = Path(__file__).parent / "data" / "ember.json"
SENTENCES = {
    "grace": "The ferry leaves at noon, and the last one comes back before dark.",
    "alan": "Nobody expected the old clock to strike thirteen that morning.",
    "mei": "这条小河从山里流出来,一直流到村子的东边。",
    "wei": "今天的会议改到下午三点,请大家准时参加。",
}
LARGEST = 40_000_000  # bytes
MOST_ERRORS = 0.35  # of phonemes, in the mean; the model's own recogniser listens
SAME = 10  # tokens at the beginning; later ones may differ, as processors round differently


def tokens(tts: SparkTTS, name: str, text: str) -> list[int]:
    """What the language model says, as semantic ids."""
    words = tts.frontend.words(text, dominant_language(text))
    prompt = PromptBuilder(tts.tokenizer).clone_on_demand(words, tts.voice(name).speaker)
    model = tts.engine.language_model
    model.add(prompt.ids, tts.sampling(SamplingOptions(seed=1)), prompt.grammar)
    said: list[int] = []
    while not prompt.grammar.done:
        said += model.step().values()
    low, high = tts.tokenizer.semantic.span
    return [token - low for token in said if low <= token < high]


@pytest.fixture(scope="module")
def ember() -> SparkTTS:
    return SparkTTS.from_pretrained(bundled.NAME)


@pytest.fixture(scope="module")
def said(ember: SparkTTS) -> dict[str, list[int]]:
    return {name: tokens(ember, name, text) for name, text in SENTENCES.items()}


def test_it_is_small_and_its_files_are_those_that_were_exported() -> None:
    assert sum(path.stat().st_size for path in bundled.DIRECTORY.rglob("*") if path.is_file()) <= LARGEST
    assert list(Exported.open(bundled.DIRECTORY).changes()) == []


def test_it_brings_two_voices_for_each_gender_and_one_of_them_speaks_where_none_is_named(ember: SparkTTS) -> None:
    presets = {name: ember.voices.get(name) for name in ember.voices.names() if ember.voices.is_preset(name)}
    assert Counter(voice.gender for voice in presets.values()) == {"female": 4, "male": 4}
    assert len({voice.speaker for voice in presets.values()}) == 8
    assert ember.checkpoint.options.default_voice in presets
    assert set(SENTENCES) <= set(presets)


def test_it_says_what_it_said_when_it_was_recorded(said: dict[str, list[int]]) -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert {name: one["text"] for name, one in recorded.items()} == SENTENCES
    begins = [said[name][:SAME] == one["tokens"][:SAME] for name, one in recorded.items()]
    assert sum(begins) >= len(begins) / 2
    for name, one in recorded.items():
        assert 0.6 < len(said[name]) / len(one["tokens"]) < 1.6


def test_its_own_recogniser_understands_it(ember: SparkTTS, said: dict[str, list[int]]) -> None:
    listener = of_model(bundled.NAME, PackageFiles.beside(None))
    rates = []
    for name, text in SENTENCES.items():
        samples = np.asarray(ember.decode(said[name], ember.voice(name).speaker).samples)
        rates.append(ember.engine.aligner.error_rate(samples, ember.frontend.words(text, dominant_language(text))))  # type: ignore[union-attr]
        assert listener.heard(samples)
    assert np.mean(rates) <= MOST_ERRORS


def test_it_speaks_and_clones_without_torch(tmp_path: Path, clip_24k: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from sparktts.cli import main\n"
        f"sys.argv = ['sparktts', 'clone', {str(clip_24k)!r}, '-o', 'me.json', '--model', 'ember']\n"
        "try: main()\n"
        "except SystemExit as left: assert not left.code, left\n"
        "sys.argv = ['sparktts', 'say', 'Hello. 你好。', '--voice', 'me.json', '--model', 'ember', '-o', 'a.wav']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.wav").stat().st_size > 32000


def test_it_becomes_a_checkpoint_that_says_the_same(
    ember: SparkTTS, said: dict[str, list[int]], tmp_path: Path
) -> None:
    from sparktts.export.restore import restore

    back = SparkTTS.from_pretrained(restore(bundled.DIRECTORY, tmp_path / "ember"), engine="torch", dtype="fp32")
    assert back.checkpoint.codec_fingerprint == ember.checkpoint.codec_fingerprint
    same = [tokens(back, name, text)[:SAME] == said[name][:SAME] for name, text in SENTENCES.items()]
    assert sum(same) >= len(same) / 2


def test_the_commands_of_make_demo_speak_in_a_cloned_voice(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    recipe = (root / "Makefile").read_text().split("\ndemo:")[1].split("\n\n")[0]
    lines = [line.strip() for line in recipe.splitlines() if line.strip().startswith("$(DEMO)/bin/sparktts")]
    assert len(lines) == 3
    clip = root / "recipes/ember/eval/prompts/af_nova_0.ogg"
    (tmp_path / "demo").mkdir()
    for line in lines:
        line = line.replace("$(DEMO)/bin/sparktts", f"{sys.executable} -m sparktts").replace("$(CLIP)", str(clip))
        subprocess.run(shlex.split(line), cwd=tmp_path, check=True, capture_output=True, timeout=120)
    for name in ("english", "chinese"):
        assert np.abs(read_audio(tmp_path / f"demo/{name}.wav")).max() > 0.05


def record() -> None:
    """Writes what Ember says now."""
    tts = SparkTTS.from_pretrained(bundled.NAME)
    found = {name: {"text": text, "tokens": tokens(tts, name, text)} for name, text in SENTENCES.items()}
    RECORDED.write_text(json.dumps(found, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    record()
