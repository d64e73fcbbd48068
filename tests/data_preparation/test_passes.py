"""Codec tokens and word times in finished shards; the summary; the command."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sparktts.audio.loudness import normalize_volume
from sparktts.audio.reference import reference_window
from sparktts.audio.silence import trim_silence
from sparktts.checkpoint.layout import Checkpoint
from sparktts.data.audio_source import open_audio
from sparktts.data.build import prepare
from sparktts.data.shards import read_shards, shard_metadata, shard_name, shard_paths
from sparktts.data.summary import write_summary
from sparktts.data.tokens import CodecSource, add_tokens
from sparktts.engine import load_engine
from sparktts.engine.torch.codec import TorchCodec
from sparktts.errors import OptionError
from sparktts.train.features.student import Student, StudentOptions

from ..cli.runner import Result, run
from .conftest import write_list


@pytest.fixture
def prepared(opus_tar: Path, tmp_path: Path) -> Path:
    """The three clips of the tar, in two shards."""
    prepare(opus_tar, tmp_path / "out", workers=1, shard_clips=2)
    return tmp_path / "out"


def test_tokens_are_those_of_the_codec(prepared: Path, mini: Path, tmp_path: Path) -> None:
    before = list(read_shards(prepared))
    add_tokens(prepared, CodecSource(str(mini), device="cpu"))
    codec = load_engine(Checkpoint.open(mini), device="cpu").codec
    clips = list(read_shards(prepared))
    assert [(clip.id, clip.words, clip.f0_mean) for clip in clips] == [(c.id, c.words, c.f0_mean) for c in before]
    for clip in clips:
        samples = normalize_volume(open_audio(tmp_path, clip.audio))
        assert clip.semantic == tuple(codec.semantic_tokens(samples).tolist())
        window = reference_window(trim_silence(samples, 16000), "whole")
        assert clip.global_tokens == tuple(codec.speaker_tokens(window).tolist())
        assert clip.codec == codec.fingerprint
        assert len(clip.semantic) == pytest.approx(clip.duration * 50, abs=2)


def test_a_codec_may_hear_through_another_encoder_whose_features_are_kept(
    prepared: Path, mini: Path, tmp_path: Path
) -> None:
    checkpoint, cache = Checkpoint.open(mini), tmp_path / "cache"
    layers = ",".join(str(layer) for layer in checkpoint.options.features.layers)
    command = ["prepare", prepared, "--codec", mini, "--device", "cpu", "--features", checkpoint.wav2vec2_dir]
    result = run(*command, "--layers", layers, "--features-cache", cache)
    assert result.code == 0, result.stderr
    kept = {path: np.load(path) for path in cache.rglob("*.npy")}
    assert len(kept) == len(list(read_shards(prepared))) == 3
    codec = load_engine(checkpoint, device="cpu").codec
    assert isinstance(codec, TorchCodec)
    expected = {tuple(codec.quantize(features).tolist()) for features in kept.values()}
    assert {clip.semantic for clip in read_shards(prepared)} == expected
    for clip in read_shards(prepared):
        samples = normalize_volume(open_audio(tmp_path, clip.audio))
        own = codec.features(samples)
        assert min(np.abs(own - f).max() for f in kept.values() if f.shape == own.shape) < 2e-3 * np.abs(own).max()


def test_features_of_another_width_are_refused(prepared: Path, mini: Path, tmp_path: Path) -> None:
    Student(StudentOptions(16, 1, 2, 32, (8,), (400,), (320,), 4, 2), 16).export(tmp_path / "other")
    result = run("prepare", prepared, "--codec", mini, "--features", tmp_path / "other", "--layers", "1")
    assert (result.code, "have 16 values, but the codec" in result.stderr) == (2, True), result.stderr
    assert all(clip.semantic is None for clip in read_shards(prepared))


def test_tokens_go_on_where_they_stopped(prepared: Path, mini: Path) -> None:
    add_tokens(prepared, CodecSource(str(mini), device="cpu"))
    whole = list(read_shards(prepared))
    done = (prepared / shard_name(0)).stat().st_mtime_ns
    shutil.copy(prepared / shard_name(1), prepared / "kept")
    (prepared / shard_name(1)).unlink()
    prepare(prepared.parent / "en_00.tar", prepared, workers=1, shard_clips=2)
    add_tokens(prepared, CodecSource(str(mini), device="cpu"))
    assert (prepared / shard_name(0)).stat().st_mtime_ns == done
    assert list(read_shards(prepared)) == whole


def test_two_codecs_are_not_mixed(prepared: Path, mini: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    from sparktts.checkpoint.convert import convert_checkpoint
    from sparktts.checkpoint.tensors import TensorFile

    other = convert_checkpoint(mini, tmp_path / "other")
    path = other / "BiCodec" / "model.safetensors"
    file = TensorFile.open(path)
    tensors = {name: np.ascontiguousarray(file.read(name)) for name in file.names}
    tensors["quantizer.codebook.weight"] = tensors["quantizer.codebook.weight"] + 1
    save_file(tensors, path)
    add_tokens(prepared, CodecSource(str(mini), device="cpu"))
    before = list(read_shards(prepared))
    with pytest.raises(OptionError, match="two cannot be mixed"):
        add_tokens(prepared, CodecSource(str(other), device="cpu"))
    assert list(read_shards(prepared)) == before
    add_tokens(prepared, CodecSource(str(other), device="cpu"), force=True)
    assert {clip.codec for clip in read_shards(prepared)} == {Checkpoint.open(other).codec_fingerprint}


def test_a_clip_that_is_gone_by_then_leaves_with_the_reason(manifest: Path, mini: Path, tmp_path: Path) -> None:
    prepare(manifest, tmp_path / "out", workers=1)
    (manifest.parent / "wavs" / "b.wav").unlink()
    add_tokens(tmp_path / "out", CodecSource(str(mini), device="cpu"))
    assert [clip.id for clip in read_shards(tmp_path / "out")] == ["a", "c"]
    (line,) = (tmp_path / "out" / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["reason"] == "unreadable"


def test_a_corrupt_shard_stops_tokens_with_one_sentence_and_loses_nothing(prepared: Path, mini: Path) -> None:
    (prepared / shard_name(1)).write_bytes(b"PAR1 broken PAR1")
    result = run("prepare", prepared, "--codec", mini)
    assert_one_sentence(result, "is damaged")
    assert len(list(read_shards_of(prepared / shard_name(0)))) == 2


def read_shards_of(path: Path) -> list[object]:
    from sparktts.data.schema import to_clips
    from sparktts.data.shards import read_table

    return list(to_clips(read_table(path)))


def assert_one_sentence(result: Result, said: str) -> None:
    assert result.code == 2, result.stderr
    assert "Traceback" not in result.stderr
    error = result.stderr.strip().splitlines()[-1]
    assert error.startswith("Error: ")
    assert said in error


def test_the_summary_counts_and_draws(prepared: Path, mini: Path) -> None:
    add_tokens(prepared, CodecSource(str(mini), device="cpu"))
    found = write_summary(prepared)
    clips = list(read_shards(prepared))
    assert found == json.loads((prepared / "summary.json").read_text(encoding="utf-8"))
    assert (found["clips"], found["speakers"], found["genders"]) == (3, 1, {"female": 3})
    assert found["languages"]["en"]["clips"] == 2
    assert found["hours"] == pytest.approx(sum(clip.duration for clip in clips) / 3600, abs=1e-4)
    codes = [code for clip in clips for code in clip.semantic or ()]
    assert found["tokens"]["semantic_tokens"] == len(codes)
    assert found["tokens"]["codes_used"] == len(set(codes))
    assert 1 <= found["tokens"]["perplexity"] <= len(set(codes))
    page = (prepared / "summary.html").read_text(encoding="utf-8")
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 6
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "ann" in page


def test_a_folder_whose_clips_were_all_left_out_has_a_summary_too(recordings: Path, tmp_path: Path) -> None:
    prepare(write_list(recordings / "m.jsonl", [{"audio": "no.wav", "text": "Hi."}]), tmp_path / "out", workers=1)
    found = write_summary(tmp_path / "out")
    assert (found["clips"], found["rejected"], found["duration"]) == (0, {"missing_file": 1}, None)


def test_the_command_does_both_passes(opus_tar: Path, mini: Path, tmp_path: Path) -> None:
    result = run("prepare", opus_tar, "-o", tmp_path / "out", "--workers", 1, "--codec", mini, "--json")
    assert result.code == 0, result.stderr
    assert result.json["clips"] == 3
    assert result.json["tokens"]["codec"] == Checkpoint.open(mini).codec_fingerprint
    assert "3 clips of" in result.stderr
    assert "summary.html" in result.stderr
    again = run("prepare", tmp_path / "out", "--codec", mini, "--quiet")
    assert (again.code, again.stderr, again.stdout) == (0, "", b"")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing.jsonl", "-o", "out"], "There is no manifest"),
        (["list.jsonl"], "--output DIR"),
        (["list.jsonl", "-o", "out", "--min-secs", "1"], "--min-secs"),
        (["list.jsonl", "-o", "out", "--min-seconds", "-1"], "--min-seconds"),
        (["list.jsonl", "-o", "out", "--workers", "0"], "--workers"),
        (["list.jsonl", "-o", "list.jsonl"], "cannot be used"),
        (["list.jsonl", "-o", "out", "--language", "?"], "no language"),
        (["list.jsonl", "-o", "out", "--layers", "1"], "--aligner"),
        (["list.jsonl", "-o", "out", "--codec", "no-such-model"], "no-such-model"),
        ([".", "--codec", "MINI"], "no prepared clips"),
        (["list.jsonl", "-o", "out", "--aligner", "no-aligner", "--layers", "1,x"], "--layers"),
    ],
)
def test_wrong_usage_is_one_sentence(
    words: list[str], said: str, tmp_path: Path, mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_list(tmp_path / "list.jsonl", [{"audio": "a.wav", "text": "Hi."}])
    assert_one_sentence(run("prepare", *(str(mini) if word == "MINI" else word for word in words)), said)


def test_a_full_disk_is_one_sentence_and_loses_nothing(many: Callable[[int], Path], tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    listed, out = many(8), tmp_path / "out"
    assert run("prepare", listed, "-o", out, "--workers", 1, "--shard-clips", 2, "--quiet").code == 0
    whole = list(read_shards(out))
    small = (out / shard_name(0)).stat().st_size
    (out / shard_name(0)).unlink()
    shutil.copytree(out, tmp_path / "copy")

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (small // 2, small // 2))

    command = [sys.executable, "-m", "sparktts", "prepare", str(listed), "-o", str(out), "--shard-clips", "2"]
    command += ["--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=little_room, timeout=60, check=False)
    assert_one_sentence(Result(done.returncode, b"", done.stderr), "cannot be written")
    kept = sorted(path.name for path in out.iterdir() if path.suffix == ".parquet")
    assert kept == sorted(path.name for path in (tmp_path / "copy").glob("*.parquet"))
    assert not list(out.glob(".*"))
    assert run("prepare", listed, "-o", out, "--workers", 1, "--shard-clips", 2, "--quiet").code == 0
    assert list(read_shards(out)) == whole


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT to a group")
def test_ctrl_c_stops_and_the_next_run_goes_on(many: Callable[[int], Path], tmp_path: Path) -> None:
    listed, out = many(100), tmp_path / "out"
    words = ["prepare", str(listed), "-o", str(out), "--workers", "2", "--shard-clips", "10"]
    command = [sys.executable, "-m", "sparktts", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until = time.monotonic() + 60
    while not list(out.glob("clips-*.parquet")) and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "What is finished is kept" in said
    assert "Traceback" not in said
    kept = {path.name: path.stat().st_mtime_ns for path in shard_paths(out)}
    assert 1 <= len(kept) < 10
    assert not [path for path in out.iterdir() if path.suffix == ".part"]
    result = run(*words[:-3], "1", *words[-2:])
    assert result.code == 0, result.stderr
    assert "done already" in result.stderr
    assert len(list(read_shards(out))) == 100
    assert all(shard_metadata(path)["final"] for path in shard_paths(out))
