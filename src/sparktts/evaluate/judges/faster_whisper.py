"""Whisper on CTranslate2: quick on a CPU (about 0.1 of real time for the base model on one core)."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

from ...audio.samples import Samples
from ...types import Language
from .packages import JudgeMissing, PackageFiles, needed

BEAM = 5


class FasterWhisper:
    """Beam search without sampling, so that the same samples give the same text."""

    def __init__(self, directory: Path, name: str) -> None:
        """directory: a Whisper model in CTranslate2's form. Raises JudgeMissing."""
        try:
            from faster_whisper import WhisperModel
        except ImportError:
            raise needed("eval", "faster-whisper") from None
        threads = int(os.environ.get("OMP_NUM_THREADS") or 0)  # 0: the library's choice
        try:
            self._model = WhisperModel(
                str(directory), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
            )
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).split("\n")[0]
            raise JudgeMissing(f"{directory} holds no Whisper model for CTranslate2 ({reason}).") from None
        self.name = f"{name} (int8, beam {BEAM}, faster-whisper {importlib.metadata.version('faster-whisper')})"

    def transcribe(self, samples: Samples, language: Language) -> str:
        """What is said. No earlier text is shown to the model: it would repeat it."""
        segments, _ = self._model.transcribe(
            samples,
            language=language,
            beam_size=BEAM,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=len(samples) < 28 * 16000,
        )
        return "".join(segment.text for segment in segments).strip()


def from_directory(path: str, packages: PackageFiles) -> FasterWhisper:
    """ctranslate2:DIR. Raises JudgeMissing."""
    directory = Path(path)
    if not (directory / "model.bin").is_file():
        raise JudgeMissing(f"{path} holds no Whisper model for CTranslate2 (there is no model.bin).")
    return FasterWhisper(directory, directory.resolve().name)
