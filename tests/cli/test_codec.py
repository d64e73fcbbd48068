"""sparktts encode and decode: the codec as a tool."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sparktts.pipeline import SparkTTS

from .runner import run


def test_tokens_are_those_of_the_library_and_decode_to_its_sound(mini: Path, out: Path, clip_24k: Path) -> None:
    assert run("encode", clip_24k, "-o", out / "t.json", "--model", mini).code == 0
    content = json.loads((out / "t.json").read_text())
    tts = SparkTTS.from_pretrained(mini)
    speaker, semantic = tts.encode(clip_24k)
    assert content == {
        "global_tokens": speaker.tolist(),
        "semantic_tokens": semantic.tolist(),
        "codec": tts.engine.codec.fingerprint,
        "sample_rate": 16000,
    }
    result = run("decode", out / "t.json", "-o", out / "t.pcm", "--model", mini)
    assert result.code == 0, result.stderr
    samples = np.fromfile(out / "t.pcm", "<i2") / 32768
    np.testing.assert_allclose(samples, tts.decode(semantic, speaker).samples, atol=2 / 32768)


def test_the_published_rule_gives_the_golden_tokens(
    mini: Path, clip_24k: Path, golden: Mapping[str, np.ndarray]
) -> None:
    result = run("encode", clip_24k, "--reference", "first-6s", "--model", mini)
    assert result.stderr == ""
    assert result.json["global_tokens"] == golden["short.global"].ravel().tolist()
    expected = golden["short.semantic"].ravel()
    assert np.mean(np.array(result.json["semantic_tokens"]) == expected) >= 0.99


def test_pipes_join_the_two(mini: Path, clip_24k: Path) -> None:
    tokens = run("encode", clip_24k, "--model", mini).stdout
    result = run("decode", "-", "-o", "-", "--model", mini, stdin=tokens)
    with wave.open(io.BytesIO(result.stdout)) as sound:
        assert sound.getnframes() == 320 * len(json.loads(tokens)["semantic_tokens"])


def test_tokens_without_a_fingerprint_are_decoded(mini: Path, out: Path) -> None:
    tokens = json.dumps({"global_tokens": [1] * 32, "semantic_tokens": [5, 6, 7]}).encode()
    result = run("decode", "-", "-o", out / "a.wav", "--model", mini, "--quiet", stdin=tokens)
    assert (result.code, result.stderr) == (0, "")
    assert (out / "a.wav").exists()
