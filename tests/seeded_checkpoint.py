#!/usr/bin/env python3
"""Write a checkpoint in the official Spark-TTS directory layout, filled with seeded random weights.

    python -m tests.seeded_checkpoint OUT_DIR [--size mini|full] [--plain]

The layout, tensor names and shapes are those of SparkAudio/Spark-TTS-0.5B (`full`) or of a narrow copy of it (`mini`).
The values are deterministic (numpy PCG64 seeded by each tensor's name), so every machine writes the same bytes, and the
outputs recorded in `expected_mini.npz` hold everywhere to float32 rounding.

    OUT_DIR/config.yaml
    OUT_DIR/BiCodec/{config.yaml,model.safetensors}                     weight-normed tensors as weight_g / weight_v
    OUT_DIR/wav2vec2-large-xlsr-53/{config.json,preprocessor_config.json,pytorch_model.bin}
    OUT_DIR/LLM/{config.json,generation_config.json,model.safetensors,tokenizer.json,...}
"""

from __future__ import annotations

import argparse
import json
import zlib
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent / "data" / "golden"

# Where unit gain would leave the outputs nearly independent of the input.
GAINS = {
    "speaker_encoder.layer1.conv": 20.0,
    "perceiver_sampler.layers": 3.0,
    "o_proj": 3.0,
    "down_proj": 3.0,
}


def values(name: str, shape: list[int]) -> np.ndarray:
    """Seeded values of one tensor: well scaled, so that signals neither die nor explode through the network."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.array(100, dtype=np.int64)
    normal = rng.standard_normal(shape).astype(np.float32) if shape else np.float32(rng.standard_normal())
    if leaf == "running_var":
        return (0.5 + rng.random(shape)).astype(np.float32)
    if leaf == "running_mean" or leaf == "bias" or name.endswith("q_proj.bias"):
        return 0.05 * normal
    if leaf == "alpha":
        return (0.5 + rng.random(shape)).astype(np.float32)
    if leaf == "cluster_size":
        return np.full(shape, 1.0, dtype=np.float32)
    if leaf == "weight_g":
        return ((0.45 if name.startswith("decoder.") else 0.8) + 0.2 * rng.random(shape)).astype(np.float32)
    if leaf in ("latents", "codevectors", "masked_spec_embed") or "codebook" in name or "embed_tokens" in name:
        return 0.3 * normal
    if len(shape) <= 1:  # norm gains, layer scales
        return (1.0 + 0.1 * normal).astype(np.float32)
    gain = next((g for part, g in GAINS.items() if part in name), 1.0)
    return (gain * normal / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def table(name: str) -> dict[str, np.ndarray]:
    shapes = json.loads((HERE / f"{name}.shapes.json").read_text())
    return {key: values(key, shape) for key, shape in shapes.items()}


def write_checkpoint(out_dir: Path, size: str = "mini", plain: bool = False) -> None:
    """Writes a whole checkpoint. size: `mini` (35 MB, for tests) or `full` (3.7 GB, official shapes).

    plain: the feature model as safetensors too, which needs no PyTorch; as published it is a pickle.
    """
    from safetensors.numpy import save_file

    spec = json.loads((HERE / f"{size}.configs.json").read_text())
    for relative, text in spec.items():
        path = out_dir / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    save_file(table(f"{size}.bicodec"), out_dir / "BiCodec" / "model.safetensors")
    save_file(table(f"{size}.llm"), out_dir / "LLM" / "model.safetensors", metadata={"format": "pt"})
    write_tokenizer(out_dir / "LLM")
    feature_model = out_dir / "wav2vec2-large-xlsr-53"
    if plain:
        save_file(table(f"{size}.wav2vec2"), feature_model / "model.safetensors")
        return
    import torch

    wav2vec = {k: torch.from_numpy(np.asarray(v)) for k, v in table(f"{size}.wav2vec2").items()}
    torch.save(wav2vec, feature_model / "pytorch_model.bin")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--size", choices=["mini", "full"], default="mini")
    parser.add_argument("--plain", action="store_true", help="safetensors only, without PyTorch")
    args = parser.parse_args()
    write_checkpoint(args.out_dir, args.size, args.plain)
    print(f"wrote {args.out_dir}")


def special_tokens() -> list[str]:
    """The 13,493 tokens that Spark-TTS adds to the Qwen2.5 vocabulary, in id order."""
    counted = [
        ("bicodec_global", 4096),
        ("bicodec_semantic", 8192),
        ("pitch_value", 1001),
        ("pitch_var_value", 11),
        ("pitch_label", 5),
        ("pitch_var_label", 5),
        ("speed_value", 11),
        ("speed_label", 5),
        ("loudness_value", 31),
        ("loudness_label", 5),
        ("age", 5),
        ("gender", 3),
        ("emotion", 101),
    ]
    tokens = [f"<|{stem}_{i}|>" for stem, count in counted for i in range(count)]
    tokens += [
        f"<|task_{t}|>"
        for t in (
            "vc",
            "tts",
            "asr",
            "s2s",
            "t2s",
            "cap",
            "understand",
            "controllable_tts",
            "prompt_tts",
            "edit",
        )
    ]
    marks = ("content", "style_label", "style_prompt", "acoustic_token", "global_token", "semantic_token")
    return tokens + [f"<|start_{m}|>" for m in marks] + [f"<|end_{m}|>" for m in marks]


def write_tokenizer(llm_dir: Path) -> None:
    """A byte-level BPE of 256 bytes and no merges, then Qwen's control tokens, then the Spark-TTS tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in special_tokens()])
    tokenizer.save(str(llm_dir / "tokenizer.json"))
    (llm_dir / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "eos_token": "<|im_end|>",
                "pad_token": "<|endoftext|>",
                "clean_up_tokenization_spaces": False,
                "model_max_length": 32768,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
