"""The tensors of a language model back from an exported directory, under their official names."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..checkpoint.blocks import dequantize
from ..checkpoint.config import LanguageModelConfig
from ..checkpoint.exported import Exported
from ..checkpoint.layout import LM_DIR
from ..checkpoint.tensors import TensorFile
from ..engine.onnx.tables import DATA, PART, form_of

Floats = npt.NDArray[np.float32]


def language_model_tensors(exported: Exported) -> Iterator[tuple[str, Floats]]:
    """Name and float32 values of each tensor, one stored matrix in memory at a time. Raises CheckpointError."""
    config = LanguageModelConfig.read(exported.path / LM_DIR / "config.json")
    stored = _Stored(exported)
    heads, keys = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    yield "model.embed_tokens.weight", stored.matrix("embedding", "embedding", config.hidden_size)
    for layer in range(config.num_hidden_layers):
        source, target = f"layers.{layer}.", f"model.layers.{layer}."
        qkv = stored.matrix(f"{source}qkv", "qkv", config.hidden_size)
        for kind, whole in (("weight", qkv), ("bias", stored.plain(f"{source}qkv.bias"))):
            for part, values in zip("qkv", np.split(whole, [heads, heads + keys]), strict=True):
                yield f"{target}self_attn.{part}_proj.{kind}", values
        yield f"{target}self_attn.o_proj.weight", stored.matrix(f"{source}output", "output", heads)
        both = stored.matrix(f"{source}gate_up", "gate_up", config.hidden_size)
        for part, values in zip(("gate", "up"), np.split(both, 2), strict=True):
            yield f"{target}mlp.{part}_proj.weight", values
        yield f"{target}mlp.down_proj.weight", stored.matrix(f"{source}down", "down", config.intermediate_size)
        yield f"{target}input_layernorm.weight", stored.plain(f"{source}attention_norm")
        yield f"{target}post_attention_layernorm.weight", stored.plain(f"{source}feed_forward_norm")
    yield "model.norm.weight", stored.plain("norm")
    if not config.tie_word_embeddings:
        yield "lm_head.weight", stored.matrix("head", "embedding", config.hidden_size)


class _Stored:
    """What the export's file of tensors holds."""

    def __init__(self, exported: Exported) -> None:
        self._file = TensorFile.open(exported.file(DATA))
        self._settings = exported.section(PART)

    def plain(self, name: str) -> Floats:
        """A float32 tensor."""
        return self._file.read(name)

    def matrix(self, name: str, kind: str, columns: int) -> Floats:
        """The values of a matrix. kind: its form's name."""
        form = form_of(self._settings, kind)
        if form is None:
            return self.plain(name)
        return dequantize(self._file.read(f"{name}.codes"), self._file.read(f"{name}.scales"), columns, form)
