from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from sparktts.audio.audio import SYNTHETIC_NOTICE, Audio
from sparktts.audio.read import decode_audio

from .signals import speechlike


@pytest.fixture
def audio() -> Audio:
    return Audio(speechlike(1.5), 16000)


def comment(data: bytes) -> str:
    with av.open(io.BytesIO(data)) as container:
        return {**container.metadata, **container.streams.audio[0].metadata}["comment"]


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "opus", "ogg"])
def test_saved_files_say_that_they_are_synthetic(audio: Audio, format: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{format}"
    audio.save(path)
    assert comment(path.read_bytes()) == SYNTHETIC_NOTICE
    assert audio.to_bytes(format) == path.read_bytes()


def test_a_format_can_be_given_against_the_suffix(audio: Audio, tmp_path: Path) -> None:
    audio.save(tmp_path / "a.bin", "flac")
    assert (tmp_path / "a.bin").read_bytes().startswith(b"fLaC")


def test_it_plays_in_a_notebook(audio: Audio) -> None:
    page = audio._repr_html_()
    match = re.search(r'<audio controls[^>]* src="data:audio/wav;base64,([^"]+)"', page)
    assert match
    assert decode_audio(base64.b64decode(match[1]))[0].size == 24000
    assert "synthetic speech" in page
    assert "<audio" not in Audio(np.zeros(0, np.float32), 16000)._repr_html_()


def test_it_shows_its_length_and_no_numbers(audio: Audio) -> None:
    assert audio.duration == 1.5
    assert repr(audio) == "Audio(1.50 s of synthetic speech at 16000 Hz)"


def test_importing_the_audio_modules_loads_no_codec() -> None:
    code = (
        "import sys\n"
        "from sparktts.audio import audio, join, mel, read, reference, write\n"
        "assert not {'av', 'soxr', 'torch', 'scipy'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
