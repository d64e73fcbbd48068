"""Subtitles say when each sentence is heard."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sparktts import ReadingOptions, SparkTTS
from sparktts.audio.join import join_timed
from sparktts.audio.read import read_audio
from sparktts.report import UtteranceReport
from sparktts.subtitles import to_srt

from .cli.runner import run

THREE = "Hello there.\n\nThis is two.\n\nAnd three."


def test_entries_are_numbered_and_timed_and_silent_ones_left_out() -> None:
    def said(text: str, start: float, end: float) -> UtteranceReport:
        return UtteranceReport(text, text, end - start, 0.2, 1, 0, (), start, end)

    made = to_srt([said("One.", 0.0, 1.5), said("...", 1.7, 1.7), said("Two\n lines.", 3661.2, 3662.0004)])
    assert made == ("1\n00:00:00,000 --> 00:00:01,500\nOne.\n\n2\n01:01:01,200 --> 01:01:02,000\nTwo lines.\n")


def test_pieces_are_found_where_they_are_said() -> None:
    tones = [0.2 * np.sin(np.arange(n) / 5).astype(np.float32) for n in (8000, 4000, 12000)]
    samples, spans = join_timed(tones, [0.5, 0.25, 0.0], 16000)
    for start, end in spans:
        assert np.abs(samples[round(start * 16000) : round(end * 16000)]).max() > 0.1
    for (_, end), (start, _) in pairwise(spans):
        assert not np.any(samples[round(end * 16000) : round(start * 16000)])
    assert spans[-1][1] == pytest.approx(len(samples) / 16000)


def test_times_of_a_speech_and_of_its_stream_lie_in_order_within_it(mini: Path) -> None:
    tts = SparkTTS.from_pretrained(mini, device="cpu")
    options = ReadingOptions(checks=False)
    stream = tts.stream(THREE, seed=4, reading=options)
    heard = sum(chunk.duration for chunk in stream)
    for report, length in ((tts.say(THREE, seed=4, reading=options).report, None), (stream.report, heard)):
        assert report is not None
        times = [time for one in report.utterances for time in (one.start, one.end)]
        assert times == sorted(times)
        assert times[0] == 0.0
        assert times[-1] <= (length or report.seconds) + 0.001
        assert len(report.utterances) == 3


def test_the_command_writes_them_beside_the_sound(mini: Path, tmp_path: Path) -> None:
    for more in ((), ("--stream",)):
        srt, wav = tmp_path / f"a{len(more)}.srt", tmp_path / f"a{len(more)}.wav"
        result = run("say", THREE, "--no-checks", "--model", mini, "-o", wav, "--subtitles", srt, "--seed", 1, *more)
        assert result.code == 0, result.stderr
        assert re.findall(r"^[A-Z].*$", srt.read_text(), re.M) == THREE.split("\n\n")
        assert len(read_audio(wav)) > 0
    refused = run("say", "Hi.", "--model", mini, "-o", tmp_path / "b.wav", "--subtitles", tmp_path / "no" / "b.srt")
    assert refused.code == 2
    assert not (tmp_path / "b.wav").exists()
