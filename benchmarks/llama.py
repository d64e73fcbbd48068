"""Tokens a second of llama.cpp on the same language model, in q4_0 with its full output head, for `benchmarks.cpu`.

    python -m benchmarks.llama DIR --gguf FILE [--tokens 60] [--rounds 3] [--threads 2] [--busy]

Runs in any environment that has llama-cpp-python, gguf, numpy and pyyaml; a virtual environment of its own does, as
only this project's reader of checkpoints is imported. FILE is written if it is not there: first in fp32 beside it, then
quantised by llama.cpp itself. Prints one line of JSON: the seconds of each round, and what llama.cpp says of the
processor.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from sparktts.checkpoint.layout import Checkpoint

PROMPT_TOKENS = 120
CONTEXT = 1024
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--busy", action="store_true", help="count processor time in place of the clock's")
    args = parser.parse_args()
    import llama_cpp

    if not args.gguf.exists():
        quantise(args.model, args.gguf, args.threads)
    clock = time.process_time if args.busy else time.perf_counter
    seconds = decode(args.gguf, args.tokens, args.rounds, args.threads, clock)
    system = llama_cpp.llama_print_system_info().decode()
    print(json.dumps({"version": llama_cpp.__version__, "seconds": seconds, "system": system}))


def decode(gguf: Path, tokens: int, rounds: int, threads: int, clock: Callable[[], float]) -> list[float]:
    """Seconds for `tokens` single-token steps with scores over the whole vocabulary, once a round."""
    import llama_cpp

    model = llama_cpp.Llama(
        str(gguf), n_ctx=CONTEXT, n_threads=threads, n_threads_batch=threads, logits_all=False, verbose=False
    )
    random = np.random.default_rng(0)
    seconds = []
    for _ in range(rounds + 1):
        model.reset()
        model.eval(random.integers(0, model.n_vocab(), PROMPT_TOKENS).tolist())
        started = clock()
        for token in random.integers(0, model.n_vocab(), tokens).tolist():
            model.eval([token])
        seconds.append(clock() - started)
    return seconds[1:]  # the first one warms up


def quantise(source: Path, target: Path, threads: int) -> None:
    """Writes the language model of a checkpoint as GGUF, and from that q4_0 as `llama-quantize` makes it."""
    import llama_cpp

    whole = target.with_suffix(".f32.gguf")
    write_gguf(Checkpoint.open(source), whole)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0
    params.nthread = threads
    failed = llama_cpp.llama_model_quantize(str(whole).encode(), str(target).encode(), params)
    whole.unlink()
    if failed:
        target.unlink(missing_ok=True)
        raise SystemExit("llama.cpp could not quantise the model")


def write_gguf(checkpoint: Checkpoint, target: Path) -> None:
    """The language model in fp32, its names as llama.cpp has them, with a vocabulary that only counts its tokens."""
    import gguf

    config = checkpoint.lm
    writer = gguf.GGUFWriter(target, "qwen2", use_temp_file=True)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([f"<{number}>" for number in range(config.vocab_size)])
    writer.add_token_types([1] * config.vocab_size)
    writer.add_token_merges(["< 0"])
    for name, values in renamed(checkpoint):
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def renamed(checkpoint: Checkpoint) -> Iterator[tuple[str, Any]]:
    """llama.cpp's name and fp32 values of each tensor."""
    top = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    for name, values in checkpoint.lm_tensors():
        if name in top:
            yield top[name], values
            continue
        _, _, layer, part = name.split(".", 3)
        module, _, leaf = part.rpartition(".")
        yield f"blk.{layer}.{NAMES[module]}.{leaf}", values


if __name__ == "__main__":
    main()
