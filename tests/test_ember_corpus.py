"""The generator of recipes/ember/corpus without its teacher: the plan, the voices, the tars that it writes."""

from __future__ import annotations

import json
import random
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for package in ("gruut", "jieba", "pypinyin", "anyascii", "swift_f0", "pyarrow"):
    pytest.importorskip(package)

from sparktts.audio.read import read_audio  # noqa: E402
from sparktts.data.manifest import read_manifest  # noqa: E402
from sparktts.errors import OptionError  # noqa: E402

CORPUS = Path(__file__).parent.parent / "recipes" / "ember" / "corpus"
MODULES = ("generate", "one_voice", "plan", "speech", "teacher", "texts", "voices")
TEXTS = [f"Sentence number {word} is about {thing}." for word in ("one", "two", "three") for thing in ("tea", "rain")]


@pytest.fixture(scope="module")
def corpus() -> Iterator[dict[str, Any]]:
    """The generator's modules, which are programs and no package."""
    sys.path.insert(0, str(CORPUS))
    yield {name: __import__(name) for name in MODULES}
    sys.path.remove(str(CORPUS))
    for name in MODULES:
        del sys.modules[name]


class Buzz:
    """Says a tone for each word: the teacher needs downloads. hertz: what is heard where the voice is not moved."""

    def __init__(self, hertz: float = 120.0) -> None:
        self.hertz = hertz
        self.speeds: list[float] = []

    def say(self, words: Sequence[str], voice: object, speed: float) -> np.ndarray:
        self.speeds.append(speed)
        seconds = np.arange(int(24000 * 0.4 * len(words) / speed)) / 24000
        buzz = sum(np.sin(2 * np.pi * self.hertz * k * seconds) / k for k in range(1, 30))
        return np.asarray(0.1 * buzz, np.float32)


@pytest.mark.parametrize("language", ["en", "zh", "mix"])
def test_blends_keep_half_of_a_voice_of_the_language_and_never_one_that_is_held_out(
    corpus: dict[str, Any], language: str
) -> None:
    voices, rng = corpus["voices"], random.Random(1)
    chosen = [voices.choose_voice(rng, language) for _ in range(2000)]
    heard = {name for voice in chosen for name, _ in voice.parts}
    assert not heard & voices.HELD_OUT
    own = voices.ENGLISH if language == "en" else voices.MANDARIN
    assert heard >= set(own)
    for voice in chosen:
        names, weights = zip(*voice.parts, strict=True)
        assert names[0] in own
        assert weights[0] >= 0.5
        assert sum(weights) == pytest.approx(1.0)
        assert {name[1] for name in names} == {voice.gender[0]}
        assert len(set(names)) == len(names)
        assert 0.85 <= voice.shift <= 1.18
    moved = sum(voice.shift != 1.0 for voice in chosen)
    assert 800 < moved < 1200
    assert {voice.gender for voice in chosen} == {"female", "male"}
    assert len({voice.name for voice in chosen}) > 1000


def test_a_moved_voice_is_called_what_it_sounds_like(corpus: dict[str, Any]) -> None:
    voices = corpus["voices"]
    voice = voices.Voice((("am_adam", 1.0),), "male")
    gender = voices.heard_gender
    assert [gender(replace(voice, shift=shift), 200.0) for shift in (0.95, 1.0, 1.05)] == ["male"] * 3
    assert [gender(replace(voice, shift=1.15), f0) for f0 in (120.0, 160.0, 200.0, None)] == [
        "male",
        None,
        "female",
        None,
    ]


def test_a_plan_is_the_same_every_time_and_more_hours_begin_with_it(corpus: dict[str, Any]) -> None:
    plan = corpus["plan"].plan
    short, again, long = plan(TEXTS, "en", 3, 0.2), plan(TEXTS, "en", 3, 0.2), plan(TEXTS, "en", 3, 0.7)
    assert short == again == long[: len(short)]
    assert len(short) < len(long)
    assert sum(shard.seconds for shard in long) > 0.7 * 3600 > sum(shard.seconds for shard in long[:-1])
    assert plan(TEXTS, "en", 4, 0.2)[0].turns[0].voice != short[0].turns[0].voice
    assert [shard.name for shard in long[:2]] == ["en3_0000", "en3_0001"]


def test_every_sentence_is_said_before_one_is_said_again(corpus: dict[str, Any]) -> None:
    turns = [turn for shard in corpus["plan"].plan(TEXTS, "en", 1, 0.3) for turn in shard.turns]
    said = [line.text for turn in turns for line in turn.lines]
    for start in range(0, len(said) - len(TEXTS), len(TEXTS)):
        assert set(said[start : start + len(TEXTS)]) == set(TEXTS)
    assert {len(turn.lines) for turn in turns} == set(range(3, 9))
    tempos = [line.tempo for turn in turns for line in turn.lines]
    assert 0.75 <= min(tempos) < 0.85 < 1.2 < max(tempos) <= 1.3


def test_a_shard_is_what_prepare_reads(corpus: dict[str, Any], tmp_path: Path) -> None:
    shard = corpus["plan"].plan(TEXTS, "en", 5, 0.01)[0]
    shard = replace(shard, turns=shard.turns[:2])
    path = tmp_path / "en5_0000.tar"
    seconds = corpus["speech"].write_shard(shard, path, Buzz(), "ogg", lambda: None)
    assert corpus["speech"].shard_seconds(path) == pytest.approx(seconds)
    entries = read_manifest(tmp_path).entries
    lines = [line for turn in shard.turns for line in turn.lines]
    assert [entry.text for entry in entries] == [line.text for line in lines]
    assert {entry.speaker for entry in entries} == {turn.voice.name for turn in shard.turns}
    assert {entry.language for entry in entries} == {"en"}
    assert entries[0].words is not None
    assert entries[0].words[0] == "sˈɛntəns"
    with tarfile.open(path) as archive:
        for entry in entries[:2]:
            member = archive.extractfile(entry.audio.split("::")[1])
            assert member is not None
            assert len(read_audio(member.read())) / 16000 == pytest.approx(entry.duration, abs=0.01)


@pytest.mark.parametrize("shift", [0.85, 1.0, 1.18])
def test_moving_a_voice_moves_its_pitch_and_keeps_its_pace(corpus: dict[str, Any], shift: float) -> None:
    voice = corpus["voices"].Voice((("am_adam", 1.0),), "male", shift)
    line = corpus["plan"].Line("One two three four.", 1.0)
    utterance = corpus["speech"].say(line, voice, "en", Buzz(150.0))
    assert utterance.f0 == pytest.approx(150 * shift, rel=0.03)
    assert len(utterance.samples) == pytest.approx(16000 * 4 * 0.4, rel=0.02)


def test_the_teacher_never_speaks_faster_or_slower_than_it_can(corpus: dict[str, Any]) -> None:
    voices, plan, buzz = corpus["voices"], corpus["plan"], Buzz()
    for tempo, shift in ((0.75, 1.18), (1.3, 0.85)):
        voice = voices.Voice((("am_adam", 1.0),), "male", shift)
        corpus["speech"].say(plan.Line("One two.", tempo), voice, "en", buzz)
    assert buzz.speeds == [0.7, 1.4]


def test_a_shard_that_is_stopped_is_not_there(corpus: dict[str, Any], tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    shard = corpus["plan"].plan(TEXTS, "en", 5, 0.01)[0]
    with pytest.raises(KeyboardInterrupt):
        corpus["speech"].write_shard(shard, tmp_path / "en5_0000.tar", Buzz(), "ogg", stop)
    assert not list(tmp_path.iterdir())


def test_finished_shards_are_kept_and_other_texts_refused(
    corpus: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, out = tmp_path / "texts", tmp_path / "out"
    texts.mkdir()
    out.mkdir()
    (texts / "en_1.txt").write_text("\n".join(TEXTS))
    shard = corpus["plan"].plan(TEXTS, "en", 7, 0.01)[0]
    corpus["speech"].write_shard(
        replace(shard, turns=shard.turns[:1]), out / "en7_0000.tar", Buzz(), "ogg", lambda: None
    )
    before = (out / "en7_0000.tar").read_bytes()
    command = ["--language", "en", "--hours", "0.01", "--seed", "7", "-o", str(out), "--texts", str(texts)]
    assert corpus["generate"].main(command) == 0
    assert "1 shards, 0 to do" in capsys.readouterr().out
    assert (out / "en7_0000.tar").read_bytes() == before
    (texts / "en_2.txt").write_text("One more.")
    assert corpus["generate"].main(command) == 1
    assert "choose another --seed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"--hours": "0"}, "--hours must be more than 0"),
        ({"--jobs": "0"}, "--jobs at least 1"),
        ({"--texts": "nowhere"}, "no text to speak"),
    ],
)
def test_wrong_options_are_one_sentence(
    corpus: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, str], told: str
) -> None:
    options = {"--language": "en", "--hours": "1", "-o": str(tmp_path / "out")} | changed
    assert corpus["generate"].main([part for pair in options.items() for part in pair]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error


def test_a_damaged_teacher_is_one_sentence(corpus: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(OptionError, match="cannot be opened"):
        corpus["teacher"].Teacher(tmp_path)


def test_it_is_installed_into_a_folder_beside_the_working_directory(
    corpus: dict[str, Any], tmp_path: Path, monkeypatch: Any
) -> None:
    """The installers run elsewhere, so that what they are told must not depend on where that is."""
    told: list[Path] = []

    def model(packages: Path, ready: Path) -> None:
        told.append(packages)
        (ready / "model.onnx").write_bytes(b"model")

    monkeypatch.setattr(corpus["teacher"], "_install_model", model)
    monkeypatch.setattr(corpus["teacher"], "_install_voices", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    corpus["teacher"].install(Path("here", "teacher"))
    assert [path.is_absolute() for path in told] == [True]
    assert corpus["teacher"].is_installed(tmp_path / "here" / "teacher")


def test_recordings_of_one_voice_are_what_prepare_reads(
    corpus: dict[str, Any], tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    buzz = Buzz()
    monkeypatch.setattr(corpus["one_voice"], "Teacher", lambda folder: buzz)
    monkeypatch.setattr(corpus["one_voice"], "install", lambda folder: None)
    out = tmp_path / "recordings"
    assert corpus["one_voice"].main(["af_nova", "--minutes", "0.3", "-o", str(out)]) == 0
    clips = read_manifest(out / "metadata.csv").entries
    texts = corpus["texts"].read_texts("en")
    assert len(clips) == len(list(out.glob("*.flac"))) == len({clip.text for clip in clips})
    assert all(clip.text in texts for clip in clips)
    seconds = sum(len(read_audio(path, 16000)) for path in out.glob("*.flac")) / 16000
    assert 18 <= seconds < 30
    assert set(buzz.speeds) == {1.0}
    assert f"{len(clips)} recordings, {seconds / 60:.1f} minutes." in capsys.readouterr().out
    assert corpus["one_voice"].main(["af_nova", "-o", str(out)]) == 1
    assert "holds recordings already" in capsys.readouterr().err
    for wrong in ("xx_nobody", "ef_dora"):
        assert corpus["one_voice"].main([wrong, "-o", str(tmp_path / "other")]) == 1
        assert f"no voice '{wrong}'" in capsys.readouterr().err


def test_a_folder_in_the_way_is_left_alone(corpus: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    """What the downloads bring is not needed to see that."""
    for step in ("_install_model", "_install_voices"):
        monkeypatch.setattr(corpus["teacher"], step, lambda *_: None)
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "mine.txt").write_text("mine")
    with pytest.raises(OptionError, match="holds no teacher"):
        corpus["teacher"].install(tmp_path / "teacher")
    assert [path.name for path in tmp_path.rglob("*")] == ["teacher", "mine.txt"]


def test_the_manifest_holds_everything_about_an_utterance(corpus: dict[str, Any], tmp_path: Path) -> None:
    shard = corpus["plan"].plan(["我的 laptop 又坏了。", "先 login，再等一等。"], "mix", 2, 0.01)[0]
    path = tmp_path / "mix.tar"
    corpus["speech"].write_shard(replace(shard, turns=shard.turns[:1]), path, Buzz(), "flac", lambda: None)
    with tarfile.open(path) as archive:
        manifest = archive.extractfile("manifest.jsonl")
        assert manifest is not None
        rows = [json.loads(line) for line in manifest.read().decode().splitlines()]
    wanted = ["id", "audio", "text", "words", "language", "speaker", "gender", "duration", "tempo"]
    assert all(list(row) == wanted for row in rows)
    assert all(row["language"] == "mix" and row["audio"].endswith(".flac") for row in rows)
    assert all("lˈæptˌɑp" in row["words"] for row in rows if "laptop" in row["text"])
