"""Checking and measuring clips: one batch, a whole list, resumed, with bad clips among them."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr

from sparktts.audio.samples import Samples
from sparktts.audio.write import write_audio
from sparktts.data import corpus
from sparktts.data.attributes import pitch, pitch_level, pitch_value, speed_level, speed_value
from sparktts.data.build import prepare
from sparktts.data.folder import read_state
from sparktts.data.manifest import read_manifest
from sparktts.data.prepare import PrepareOptions, input_table, output_schema, prepare_batch
from sparktts.data.shards import read_shards, shard_metadata, shard_name, shard_paths, source_folder
from sparktts.errors import OptionError

from .conftest import SENTENCES, write_list


class Notes:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.last = (0, 0)

    def note(self, sentence: str) -> None:
        self.said.append(sentence)

    def progress(self, phase: str, done: int, total: int, left: float | None) -> None:
        if phase == "Checking":
            self.last = (done, total)


def rejected(out: Path) -> dict[str, str]:
    lines = (out / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["id"]: row["reason"] for row in map(json.loads, lines)}


def test_a_batch_is_measured(manifest: Path) -> None:
    found = read_manifest(manifest)
    table = prepare_batch(input_table(found.entries), PrepareOptions(), str(found.root))
    assert table.schema == output_schema()
    first = table.to_pylist()[0]
    assert first["rejected"] is None
    assert first["duration"] == pytest.approx(2.5)
    assert 80 < first["f0_mean"] < 350
    assert first["pitch_value"] == int(2595 * np.log10(1 + first["f0_mean"] / 700))
    assert first["pitch_level"] == pitch_level(first["pitch_value"], "female")
    assert 11 / 2.5 <= first["syllables_per_second"] < 11 / 1.5
    assert first["speed_value"] == int(first["syllables_per_second"])
    assert -45 < first["loudness"] < -5
    assert first["words"] is None


def test_a_tone_has_its_own_pitch_and_noise_has_none() -> None:
    time = np.arange(32000) / 16000
    voice = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 20)).astype(np.float32) * 0.1
    found = pitch(voice)
    assert found is not None
    assert found.mean == pytest.approx(150, rel=0.02)
    assert found.std < 3
    assert pitch(np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)) is None


def test_values_and_levels_follow_the_published_thresholds() -> None:
    assert [pitch_level(value, "male") for value in (144, 145, 164, 212, 250)] == [0, 1, 2, 3, 4]
    assert [pitch_level(value, "female") for value in (224, 225, 258, 314, 353)] == [0, 1, 2, 3, 4]
    assert pitch_level(200, None) is None
    assert [speed_level(rate, "zh") for rate in (2.6, 3.0, 4.0, 5.5, 6.1)] == [0, 1, 2, 3, 4]
    assert [speed_level(rate, "en") for rate in (2.5, 3.0, 4.0, 5.0, 5.5)] == [0, 1, 2, 3, 4]
    assert speed_level(4.0, "de") is None
    assert (speed_value(4.9), speed_value(15.0), pitch_value(100.0), pitch_value(1e6)) == (4, 10, 150, 1000)


def test_a_tar_is_prepared_as_it_is_and_its_phonemes_are_kept(opus_tar: Path, tmp_path: Path) -> None:
    prepare(opus_tar, tmp_path / "out", workers=1)
    clips = list(read_shards(tmp_path / "out"))
    assert [clip.id for clip in clips] == ["a", "b", "c"]
    assert [clip.language for clip in clips] == ["en", "en", "zh"]
    assert clips[0].audio == "en_00.tar::a.opus"
    assert clips[0].words == ("hə", "lˈO,", "wˈɜɹld.")
    assert (clips[0].gender, clips[0].speaker) == ("female", "ann")
    assert source_folder(tmp_path / "out") == tmp_path
    assert rejected(tmp_path / "out") == {}


def bad_clips(folder: Path, speech: Samples) -> dict[str, str]:
    """Writes one clip for every reason; id -> reason."""
    wavs = folder / "wavs"
    time = np.arange(16000) / 16000
    write_audio(wavs / "silent.wav", np.zeros(32000, np.float32), 16000)
    write_audio(wavs / "short.wav", speech[4000:8000], 16000)
    write_audio(wavs / "long.wav", np.tile(speech, 4), 16000)
    write_audio(wavs / "clipped.wav", np.clip(30 * speech[:40000], -1, 1), 16000)
    write_audio(wavs / "fast.wav", speech[:32000], 16000)
    write_audio(wavs / "wordless.wav", speech[:32000], 16000)
    write_audio(wavs / "tone.wav", np.sin(440 * 2 * np.pi * time).astype(np.float32) * 0.1, 16000)
    (wavs / "text.wav").write_text("no sound")
    (wavs / "empty.wav").write_bytes(b"")
    (wavs / "cut.wav").write_bytes((wavs / "a.wav").read_bytes()[:3000])
    nan = np.full(16000, np.nan, "<f4").tobytes()
    header = b"RIFF" + (36 + len(nan)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    header += bytes([3, 0, 1, 0]) + (16000).to_bytes(4, "little") + (64000).to_bytes(4, "little") + bytes([4, 0, 32, 0])
    (wavs / "nan.wav").write_bytes(header + b"data" + len(nan).to_bytes(4, "little") + nan)
    return {
        "silent": "silent",
        "short": "too_short",
        "long": "too_long",
        "clipped": "clipped",
        "fast": "speed_range",
        "wordless": "no_syllables",
        "text": "unreadable",
        "empty": "unreadable",
        "cut": "unreadable",
        "nan": "non_finite",
        "missing": "missing_file",
    }


def test_bad_clips_are_left_out_each_with_its_reason(
    recordings: Path, rows: list[dict[str, Any]], speech: Samples, tmp_path: Path
) -> None:
    reasons = bad_clips(recordings, speech)
    texts = {"fast": "word " * 90, "wordless": "... !"}
    bad = [{"id": n, "audio": f"wavs/{n}.wav", "text": texts.get(n, "One two three four.")} for n in reasons]
    unusable: list[dict[str, Any]] = [
        {"id": "a", "audio": "wavs/b.wav", "text": "Twice."},
        {"id": "mute", "audio": "x.wav"},
    ]
    out = tmp_path / "out"
    prepare(write_list(recordings / "m.jsonl", [*bad, *rows, *unusable]), out, workers=1)
    assert [clip.id for clip in read_shards(out)] == ["a", "b", "c"]
    assert rejected(out) == {**reasons, "a": "duplicate_id", "mute": "empty_text"}
    for line in (out / "rejected.jsonl").read_text(encoding="utf-8").splitlines():
        assert json.loads(line)["detail"].endswith(".")


def test_stereo_at_8_khz_is_taken_and_flagged(recordings: Path, tmp_path: Path, speech: Samples) -> None:
    import av

    low = soxr.resample(speech[:40000], 16000, 8000)
    with av.open(str(recordings / "low.flac"), "w") as container:
        stream = container.add_stream("flac", rate=8000, layout="stereo")
        left = np.clip(low * 32767, -32768, 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.stack([left, 0 * left], 1).reshape(1, -1), "s16", "stereo")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    prepare(
        write_list(recordings / "l.jsonl", [{"audio": "low.flac", "text": SENTENCES[0]}]), tmp_path / "out", workers=1
    )
    (clip,) = read_shards(tmp_path / "out")
    assert clip.duration == pytest.approx(2.5)
    assert clip.speaker == clip.id
    assert shard_metadata(tmp_path / "out" / shard_name(0))["flags"] == {"low_rate": 1}


def test_a_tar_that_breaks_later_costs_only_its_clips(opus_tar: Path, recordings: Path, tmp_path: Path) -> None:
    lines = [
        {"id": "x", "audio": "en_00.tar::a.opus", "text": SENTENCES[0]},
        {"id": "gone", "audio": "en_00.tar::z.opus", "text": SENTENCES[0]},
        {"id": "y", "audio": "recordings/wavs/a.wav", "text": SENTENCES[0]},
    ]
    listed = write_list(tmp_path / "list.jsonl", lines)
    prepare(listed, tmp_path / "whole", workers=1)
    assert rejected(tmp_path / "whole") == {"gone": "missing_file"}
    opus_tar.write_bytes(opus_tar.read_bytes()[:5000])
    prepare(listed, tmp_path / "out", workers=1)
    assert [clip.id for clip in read_shards(tmp_path / "out")] == ["y"]
    assert rejected(tmp_path / "out") == {"x": "unreadable", "gone": "unreadable"}


def test_a_second_run_keeps_what_is_finished_and_makes_what_is_missing(
    many: Callable[[int], Path], tmp_path: Path
) -> None:
    listed, out = many(9), tmp_path / "out"
    prepare(listed, out, workers=1, shard_clips=3)
    before = {path: path.stat().st_mtime_ns for path in shard_paths(out)}
    clips = list(read_shards(out))
    assert len(before) == 3
    (out / shard_name(1)).unlink()
    notes = Notes()
    prepare(listed, out, workers=1, shard_clips=3, watcher=notes)
    assert "6 of them are done already" in notes.said[0]
    assert notes.last == (3, 3)
    assert list(read_shards(out)) == clips
    changed = [path.name for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert changed == [shard_name(1)]


def test_a_damaged_shard_is_made_again(many: Callable[[int], Path], tmp_path: Path) -> None:
    listed, out, notes = many(4), tmp_path / "out", Notes()
    prepare(listed, out, workers=1, shard_clips=2)
    clips = list(read_shards(out))
    (out / shard_name(0)).write_bytes(b"PAR1 broken")
    prepare(listed, out, workers=1, shard_clips=2, watcher=notes)
    assert "damaged" in notes.said[0]
    assert list(read_shards(out)) == clips


def test_changed_options_and_lists_are_refused_and_force_begins_anew(
    many: Callable[[int], Path], tmp_path: Path
) -> None:
    listed, out = many(4), tmp_path / "out"
    prepare(listed, out, workers=1, shard_clips=2)
    with pytest.raises(OptionError, match=r"--min-seconds 0\.5 instead of 1\.0"):
        prepare(listed, out, PrepareOptions(min_seconds=1.0), workers=1, shard_clips=2)
    lines = listed.read_text(encoding="utf-8").splitlines()
    listed.write_text("\n".join(lines[:3]), encoding="utf-8")
    with pytest.raises(OptionError, match="another list of clips"):
        prepare(listed, out, workers=1, shard_clips=2)
    assert len(list(read_shards(out))) == 4
    prepare(listed, out, workers=1, shard_clips=4, force=True)
    assert [clip.id for clip in read_shards(out)] == ["u0", "u1", "u2"]
    assert len(shard_paths(out)) == 1


def test_processes_give_what_one_process_gives(many: Callable[[int], Path], tmp_path: Path) -> None:
    listed = many(40)
    prepare(listed, tmp_path / "one", workers=1, shard_clips=30)
    prepare(listed, tmp_path / "two", workers=2, shard_clips=30)
    assert list(read_shards(tmp_path / "one")) == list(read_shards(tmp_path / "two"))
    assert not multiprocessing.active_children()


def test_what_is_to_be_done_and_how_long_it_takes_is_said_first(many: Callable[[int], Path], tmp_path: Path) -> None:
    notes = Notes()
    prepare(many(70), tmp_path / "out", workers=1, watcher=notes)
    assert notes.said[0].startswith("70 clips of ")
    assert notes.said[1].startswith("Expected time: ")


def test_a_pace_far_from_the_corpus_leaves_in_the_last_pass(many: Callable[[int], Path], tmp_path: Path) -> None:
    listed, out = many(30), tmp_path / "out"
    lines = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()]
    lines[7]["text"] = "one two"
    write_list(listed, lines)
    prepare(listed, out, PrepareOptions(speed_outliers=4.0), workers=1, shard_clips=20)
    assert rejected(out) == {"u7": "speed_outlier"}
    assert len(list(read_shards(out))) == 29
    prepare(listed, tmp_path / "all", PrepareOptions(speed_outliers=0.0), workers=1)
    assert len(list(read_shards(tmp_path / "all"))) == 30


def test_a_last_pass_that_was_stopped_goes_on_as_it_began(
    many: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = many(30)
    lines = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()]
    lines[25]["text"] = "one two"
    write_list(listed, lines)
    prepare(listed, tmp_path / "whole", workers=1, shard_clips=10)

    written: list[Path] = []

    def stop_at_second(path: Path, *arguments: Any) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        original(path, *arguments)

    original = corpus.write_shard
    monkeypatch.setattr(corpus, "write_shard", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        prepare(listed, tmp_path / "out", workers=1, shard_clips=10)
    monkeypatch.undo()
    decided = (read_state(tmp_path / "out") or {})["corpus"]
    prepare(listed, tmp_path / "out", workers=1, shard_clips=10)
    assert (read_state(tmp_path / "out") or {})["corpus"] == decided
    assert list(read_shards(tmp_path / "out")) == list(read_shards(tmp_path / "whole"))
    assert rejected(tmp_path / "out") == {"u25": "speed_outlier"}


def test_the_usual_range_ignores_outliers() -> None:
    values = [*np.random.default_rng(0).normal(4.5, 0.5, 200), 0.8, 11.9]
    low, high = corpus.usual_range(values, 5.0) or (0.0, 0.0)
    assert 0.8 < low < 3
    assert 6.5 < high < 11.9
    assert corpus.usual_range([4.0] * 5, 5.0) is None


def test_gender_is_guessed_only_when_asked(recordings: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    for row in rows:
        del row["gender"]
    listed = write_list(recordings / "m.jsonl", rows)
    prepare(listed, tmp_path / "plain", workers=1)
    prepare(listed, tmp_path / "guessed", PrepareOptions(guess_gender=True), workers=1)
    plain, guessed = list(read_shards(tmp_path / "plain")), list(read_shards(tmp_path / "guessed"))
    assert {(clip.gender, clip.pitch_level) for clip in plain} == {(None, None)}
    f0 = float(np.median([clip.f0_mean for clip in guessed if clip.f0_mean]))
    expected = "male" if f0 < 165 else "female"
    assert {clip.gender for clip in guessed} == {expected}
    assert [clip.pitch_level for clip in guessed] == [pitch_level(clip.pitch_value or 0, expected) for clip in guessed]


def test_phonemes_are_added_where_the_list_has_none(
    recordings: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    pytest.importorskip("gruut")
    rows[1]["phonemes"] = "ʃi sˈɛlz."
    rows[2]["language"] = "de"
    prepare(write_list(recordings / "m.jsonl", rows), tmp_path / "out", PrepareOptions(phonemes=True), workers=1)
    first, second = read_shards(tmp_path / "out")
    assert first.words is not None
    assert len(first.words) == 9
    assert second.words == ("ʃi", "sˈɛlz.")
    assert rejected(tmp_path / "out") == {"c": "no_phonemes"}


@pytest.mark.parametrize(
    "change", [{"min_seconds": 0.0}, {"min_seconds": 40.0}, {"max_seconds": 1e9}, {"speed_outliers": 0.5}]
)
def test_options_without_sense_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        PrepareOptions(**change)


def test_a_folder_with_shards_of_others_is_left_alone(many: Callable[[int], Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / shard_name(0)).write_bytes(b"mine")
    with pytest.raises(OptionError, match="unknown origin"):
        prepare(many(2), out, workers=1)
    assert (out / shard_name(0)).read_bytes() == b"mine"
    assert [path.name for path in out.iterdir()] == [shard_name(0)]
