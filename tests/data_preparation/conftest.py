"""Small corpora made of the golden clips: folders of wav, lists of every form, tars of Opus."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparktts.audio.read import read_audio
from sparktts.audio.samples import Samples
from sparktts.audio.write import encode_audio, write_audio

SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "She sells sea shells by the sea shore.",
    "今天的天气真不错，我们去公园吧。",
)


@pytest.fixture(scope="session")
def speech(clip_16k: Path) -> Samples:
    """8 s of speech at 16 kHz."""
    return read_audio(clip_16k)


@pytest.fixture(scope="session")
def pieces(speech: Samples) -> list[Samples]:
    """Three clips of 2.5 s."""
    return [speech[start : start + 40000] for start in (0, 40000, 80000)]


def write_list(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A JSONL manifest."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def recordings(tmp_path: Path, pieces: list[Samples]) -> Path:
    """A folder with wavs/{a,b,c}.wav."""
    folder = tmp_path / "recordings"
    (folder / "wavs").mkdir(parents=True)
    for name, samples in zip("abc", pieces, strict=True):
        write_audio(folder / "wavs" / f"{name}.wav", samples, 16000)
    return folder


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Lines for `recordings`."""
    return [
        {"id": name, "audio": f"wavs/{name}.wav", "text": text, "voice": "ann", "gender": "f"}
        for name, text in zip("abc", SENTENCES, strict=True)
    ]


@pytest.fixture
def manifest(recordings: Path, rows: list[dict[str, Any]]) -> Path:
    """A JSONL list of `recordings`."""
    return write_list(recordings / "manifest.jsonl", rows)


@pytest.fixture
def opus_tar(tmp_path: Path, pieces: list[Samples], rows: list[dict[str, Any]]) -> Path:
    """A tar of Opus clips with its list inside."""
    files = {f"{name}.opus": encode_audio(piece, 16000, "opus") for name, piece in zip("abc", pieces, strict=True)}
    lines = [{**row, "audio": f"{row['id']}.opus", "phonemes": "hə lˈO , wˈɜɹld ."} for row in rows]
    files["manifest.jsonl"] = "".join(json.dumps(line) + "\n" for line in lines).encode()
    return write_tar(tmp_path / "en_00.tar", files)


@pytest.fixture
def many(tmp_path: Path, pieces: list[Samples]) -> Callable[[int], Path]:
    """Makes a list of so many short clips, all different by their loudness."""

    def make(count: int) -> Path:
        folder = tmp_path / "many"
        (folder / "wavs").mkdir(parents=True)
        lines = []
        for i in range(count):
            piece = pieces[0][4000 : 28000 + 320 * (i % 7)] * np.float32(0.5 + 0.4 * i / count)
            write_audio(folder / "wavs" / f"{i}.wav", piece, 16000)
            lines.append(
                {"id": f"u{i}", "audio": f"wavs/{i}.wav", "text": "one two three four five six", "speaker": "s"}
            )
        return write_list(folder / "list.jsonl", lines)

    return make
