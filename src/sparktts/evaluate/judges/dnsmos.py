"""DNSMOS P.835 (MIT), the overall score, from the ONNX file of the package speechmos."""

from __future__ import annotations

import numpy as np

from ...audio.samples import Samples
from .base import SAMPLE_RATE, at_least
from .packages import JudgeMissing, PackageFiles, needed

PIP = "speechmos"
SECONDS = 9.01  # what the network hears at once
OVERALL = np.array((-0.06766283, 1.11546468, 0.04602535))  # from the network's scale to that of listeners


class DNSMOS:
    """Mean over windows that start every second. The network was made for noisy speech, and is kinder to synthesis."""

    def __init__(self, packages: PackageFiles) -> None:
        """Raises JudgeMissing."""
        path = packages.file("speechmos", "dnsmos_models/sig_bak_ovr.onnx", PIP)
        try:
            import onnxruntime
        except ImportError:
            raise needed("eval", "onnxruntime") from None
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own classes
            raise JudgeMissing(f"it cannot be loaded ({error}): pip install --no-deps {PIP}.") from None
        self.name = f"DNSMOS P.835 overall (speechmos {packages.version('speechmos')})"

    def score(self, samples: Samples) -> float:
        """Short clips are repeated, as the published program does."""
        size = int(SECONDS * SAMPLE_RATE)
        heard = np.clip(samples, -1, 1).astype(np.float32)
        while len(heard) < size:
            heard = at_least(heard, 2 * len(heard))
        starts = range(0, len(heard) - size + 1, SAMPLE_RATE)
        raw = [self._session.run(None, {"input_1": heard[start : start + size][None]})[0][0][2] for start in starts]
        return float(np.mean(np.polyval(OVERALL, np.array(raw, dtype=np.float64))))
