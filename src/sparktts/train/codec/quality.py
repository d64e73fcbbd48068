"""Published measures of how a recording and what was made of it differ, by libraries that may be missing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.util import find_spec

from ...audio.samples import Samples


def measures(real: Samples, made: Samples, sample_rate: int) -> Mapping[str, float]:
    """stoi: intelligibility, 0..1 (pystoi); pesq: quality, 1..4.6, wide band (pesq, at 16 kHz).

    real, made: (N,) of one length. Without a library, for less than a second, and where nothing is said, a measure is
    left out.
    """
    found: dict[str, float] = {}
    if len(real) < sample_rate:
        return found
    if find_spec("pystoi") is not None:
        from pystoi import stoi

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found["stoi"] = float(stoi(real, made, sample_rate))
    if find_spec("pesq") is not None and sample_rate == 16000 and real.any() and made.any():
        from pesq import PesqError, pesq

        score = float(pesq(sample_rate, real, made, "wb", on_error=PesqError.RETURN_VALUES))
        if score > 0:  # else it found no speech
            found["pesq"] = score
    return found
