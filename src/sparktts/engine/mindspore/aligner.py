"""The word recogniser on MindSpore."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from mindspore import ops

from ...checkpoint.aligner import read_aligner
from ..aligner import Features, WordAligner
from .layers import Weights, constant, conv, gelu, linear
from .runtime import LOCK

_log_softmax = ops.LogSoftmax(-1)


class MindSporeAligner(WordAligner):
    """A trained recogniser. features: (T, input_dim) of a clip; words: phoneme groups, punctuation and all."""

    def __init__(self, directory: Path) -> None:
        """directory: an aligner's. Raises CheckpointError."""
        config, tensors = read_aligner(directory)
        super().__init__(config)
        self._weights = Weights(tensors)

    def log_probs(self, features: Sequence[Features]) -> Sequence[npt.NDArray[np.float32]]:
        with LOCK:
            return [self._heard(clip) for clip in features]

    def _heard(self, clip: Features) -> npt.NDArray[np.float32]:
        w, padding = self._weights, self.config.kernel // 2
        x = (constant(clip) - w("mean")) * w("scale")
        x = gelu(conv(w, gelu(conv(w, x, "first", padding)), "second", padding))
        log_probs: npt.NDArray[np.float32] = _log_softmax(linear(w, x, "head")).asnumpy()
        return log_probs
