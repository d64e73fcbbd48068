"""The seeded codec with another decoder, untrained, so that every type of decoder can be tested on small networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from sparktts.checkpoint.config import BiCodecConfig
from sparktts.checkpoint.layout import Checkpoint
from sparktts.engine.torch.parts import make_decoder

SIZE = {"input_channel": 64, "vocos_dim": 32, "vocos_intermediate_dim": 48, "vocos_num_layers": 2}
REFINER = {"vocos_dim": 24, "vocos_intermediate_dim": 32, "vocos_num_layers": 1}
DECODERS: dict[str, dict[str, Any]] = {
    "vocos": {"type": "vocos", **SIZE},
    "source_filter": {"type": "source_filter", **SIZE},
    "refined": {"type": "source_filter", **SIZE, "refiner": REFINER},
}


def write_codec(mini: Path, directory: Path, gain: float = 2, **decoder: Any) -> Path:
    """Writes the codec of `mini` with this decoder section into a new directory; no language model beside it.

    gain: how much of the decoder's network is heard. At 8 most samples are cut off at full scale, at 2 none.
    """
    (directory / "BiCodec").mkdir(parents=True)
    (directory / "config.yaml").write_bytes((mini / "config.yaml").read_bytes())
    config = yaml.safe_load((mini / "BiCodec" / "config.yaml").read_text())
    config["audio_tokenizer"]["decoder"] = decoder
    path = directory / "BiCodec" / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    torch.manual_seed(1)
    parts = BiCodecConfig.read(path)
    values = {n: v for n, v in Checkpoint.open(mini).bicodec_tensors().items() if not n.startswith("decoder.")}
    state = {name: torch.from_numpy(array) for name, array in values.items()}
    state.update({f"decoder.{name}": value for name, value in make_decoder(parts.decoder).state_dict().items()})
    state["decoder.head.weight"] *= gain
    for name, value in state.items():
        if name.startswith("decoder.refiner") and not value.any():  # untrained, a refiner changes nothing
            state[name] = 0.05 * torch.randn_like(value)
    save_file({name: value.contiguous() for name, value in state.items()}, directory / "BiCodec" / "model.safetensors")
    return directory
