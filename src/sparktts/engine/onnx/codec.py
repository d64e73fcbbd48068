"""The codec on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping

from ...checkpoint.config import BiCodecConfig, DecoderConfig
from ...errors import CheckpointError
from ..codec import Array, FrontEnd, NetworkCodec
from .graphs import GraphFiles, Graphs, run
from .wave import WaveDecoder


class OnnxCodec(NetworkCodec):
    """Exported graphs, each opened on first need and kept."""

    def __init__(
        self,
        config: BiCodecConfig,
        files: GraphFiles,
        fingerprint: str,
        provider: str = "cpu",
        threads: int | None = None,
    ) -> None:
        super().__init__(config, fingerprint)
        self.graphs = Graphs(files, provider, threads)

    def run(self, name: str, inputs: Mapping[str, Array]) -> Array:
        return run(self.graphs.open(name), inputs)

    def front_end(self) -> FrontEnd:
        if not self.graphs.has("features"):
            raise CheckpointError(
                "The model was exported without its semantic encoder, which cloning with a transcript and encoding "
                "need: export a complete checkpoint, or clone without a transcript."
            )
        part = self.graphs.files.section("semantic_encoder")
        return FrontEnd(part.integer("stride"), part.integer("width"), part.flag("chunkable"))

    def wave_decoder(self, config: DecoderConfig) -> WaveDecoder:
        return WaveDecoder(config, self.graphs)
