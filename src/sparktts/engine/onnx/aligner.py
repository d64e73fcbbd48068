"""The word recogniser on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...checkpoint.aligner import AlignerConfig
from ..aligner import Features, WordAligner
from .graphs import Graphs


class OnnxAligner(WordAligner):
    """A trained recogniser. features: (T, input_dim) of a clip; words: phoneme groups, punctuation and all."""

    def __init__(self, config: AlignerConfig, graphs: Graphs) -> None:
        super().__init__(config)
        self._graphs = graphs

    def log_probs(self, features: Sequence[Features]) -> Sequence[npt.NDArray[np.float32]]:
        return [self._graphs.run("aligner", features=np.asarray(clip, np.float32)[None])[0] for clip in features]
