"""The rules for a reference clip: how long, how clean, and which part of it the speaker encoder sees."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from ..errors import AudioError, OptionError
from ..types import Reference
from .loudness import normalize_volume
from .read import AudioSource, decode_audio, open_source, source_name
from .resample import resample
from .samples import Samples
from .silence import frame_levels, speech_bounds, trim_silence

SAMPLE_RATE = 16000
MIN_SECONDS = 1.0
_KEEP = 0.05  # seconds of silence left at each end
_CLIPPED_LEVEL = 0.98
_CLIPPED_RUN = 3  # samples in a row: a single peak at full scale is not clipping
_CLIPPED_SHARE = 0.0005
_LEAST_SNR = 20.0  # dB


@dataclass(frozen=True, eq=False)
class ReferenceClip:
    """A clip that is ready for the encoders.

    samples: (N,) float32 at 16 kHz, volume-normalised and trimmed; warnings: sentences with advice;
    source_sha256: hex digest of the file's bytes, or of an array's.
    """

    samples: Samples
    warnings: tuple[str, ...]
    source_sha256: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / SAMPLE_RATE


def load_reference(
    source: AudioSource,
    reference: Reference = "whole",
    max_seconds: float | None = 60.0,
    volume_normalize: bool = True,
) -> ReferenceClip:
    """Reads a reference clip and judges it.

    source: as for `read_audio`. "first-6s" leaves out the trimming, as published. max_seconds: the rest is
    ignored, with a warning; None reads all. Raises AudioError if there is less than 1 s of sound, OptionError
    for an unknown `reference`.
    """
    _check_reference(reference)
    name = source_name(source)
    source, digest = _hashed(source)
    native, rate = decode_audio(source, None if max_seconds is None else max_seconds + 0.1)
    warnings: list[str] = []
    if max_seconds is not None and len(native) > round(max_seconds * rate):
        native = native[: round(max_seconds * rate)]
        warnings.append(
            f"The clip is longer than {max_seconds:g} s; only its first {max_seconds:g} s are used, "
            "so cut out the best part yourself if that is another one."
        )
    start, end = speech_bounds(native, rate)
    _check_enough(name, (end - start) / rate)
    warnings += quality_warnings(native[start:end], rate)
    samples = resample(native, rate, SAMPLE_RATE)
    if volume_normalize:
        samples = normalize_volume(samples)
    if reference == "whole":
        samples = trim_silence(samples, SAMPLE_RATE, _KEEP)
    return ReferenceClip(samples, tuple(warnings), digest)


def reference_window(
    samples: Samples,
    reference: Reference,
    seconds: float = 6.0,
    sample_rate: int = SAMPLE_RATE,
    hop: int = 320,
) -> Samples:
    """What the speaker encoder sees of a clip.

    samples: (N,), N > 0. "first-6s": the first `seconds` of it, a multiple of hop; "whole": all of it. A
    shorter clip is repeated up to `seconds`. Returns (M,). Raises AudioError for an empty clip, OptionError.
    """
    _check_reference(reference)
    if samples.size == 0:
        raise AudioError("The reference clip holds no samples; give a recording of a voice.")
    length = int(sample_rate * seconds) // hop * hop
    if samples.size < length:
        return np.resize(samples, length)
    return samples[:length] if reference == "first-6s" else samples


def quality_warnings(samples: Samples, sample_rate: int) -> list[str]:
    """Sentences about clipping and noise. samples: (N,) at the clip's own rate, where clipping shows."""
    warnings = []
    if _clipped_share(samples) >= _CLIPPED_SHARE:
        warnings.append(
            "The clip is clipped: its loudest parts are cut off at full scale, so the voice will sound "
            "rough; record with a lower gain."
        )
    ratio = _signal_to_noise(samples, sample_rate)
    if ratio < _LEAST_SNR:
        warnings.append(
            f"The clip is noisy: its speech is only about {max(ratio, 0.0):.0f} dB above the background, "
            "which becomes part of the voice; record closer to the microphone, in a quiet room without music."
        )
    return warnings


def _hashed(source: AudioSource) -> tuple[AudioSource, str]:
    """The source, and the digest of its bytes; a stream that can be read only once becomes bytes."""
    if isinstance(source, tuple):
        return source, hashlib.sha256(np.ascontiguousarray(source[0]).tobytes()).hexdigest()
    if isinstance(source, bytes):
        return source, hashlib.sha256(source).hexdigest()
    with open_source(source) as file:
        try:
            digest = _file_digest(file)
        except (OSError, ValueError, TypeError) as error:
            raise AudioError(f"{source_name(source)} gives no bytes; open it in binary mode ('rb').") from error
        if hasattr(source, "read"):
            file.seek(0)
            return file.read(), digest
    return source, digest


def _file_digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _check_reference(reference: str) -> None:
    if reference not in ("whole", "first-6s"):
        raise OptionError(f"reference is '{reference}'; it must be 'whole' or 'first-6s'.")


def _check_enough(name: str, seconds: float) -> None:
    if seconds == 0.0:
        raise AudioError(f"{name} is silent; give a recording of a voice.")
    if seconds < MIN_SECONDS:
        raise AudioError(
            f"{name} has only {seconds:.1f} s of sound; give at least {MIN_SECONDS:.0f} s, better 5 to 15 s."
        )


def _clipped_share(samples: Samples) -> float:
    """Share of samples that stand at full scale for several samples in a row."""
    edges = np.flatnonzero(np.diff(np.abs(samples) >= _CLIPPED_LEVEL, prepend=False, append=False))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= _CLIPPED_RUN].sum()) / max(1, samples.size)


def _signal_to_noise(samples: Samples, sample_rate: int) -> float:
    """dB between the loud frames and the quiet ones, which are the pauses."""
    quiet, loud = np.percentile(frame_levels(samples, sample_rate), (5, 95))
    return float(loud - quiet)
