"""Recordings through a codec's tokens and back: sound files for `sparktts eval --wavs`, and how alike they are.

    python -m benchmarks.roundtrip MODEL FOLDER OUT [--features FILE --layers 3,5] [--limit 12]

Prints STOI and PESQ (with pystoi, pesq) and the speed of both ways. --features: hear through another encoder than the
model's own.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from sparktts.audio.audio import SYNTHETIC_NOTICE
from sparktts.audio.loudness import normalize_volume
from sparktts.audio.read import read_audio
from sparktts.audio.reference import reference_window
from sparktts.audio.samples import Samples
from sparktts.audio.silence import trim_silence
from sparktts.audio.write import write_audio
from sparktts.checkpoint.layout import Checkpoint
from sparktts.engine import load_engine
from sparktts.engine.base import Codec, Tokens
from sparktts.train.codec.quality import measures
from sparktts.windows import decode_in_windows

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")


def listener(model: Path, codec: Codec, features: Path | None, layers: tuple[int, ...]):  # type: ignore[no-untyped-def]
    """What turns samples into semantic tokens."""
    if features is None:
        return codec.semantic_tokens
    from sparktts.engine.torch.codec import TorchCodec
    from sparktts.train.features.extractors import EncoderOptions, encode_clip, open_encoder

    own = TorchCodec(Checkpoint.open_codec(model))
    encoder = open_encoder(EncoderOptions(features, "whisper" if features.is_file() else "wav2vec2", layers))

    def hear(samples: Samples) -> Tokens:
        return own.quantize(encode_clip(encoder, samples))

    return hear


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--features", type=Path)
    parser.add_argument("--layers", default="", help="of --features, such as 3,5")
    parser.add_argument("--limit", type=int, default=0, help="recordings at most, spread over the folder; 0: all")
    parser.add_argument("--match", default="*", help="names of recordings, such as 'eval_en_*'")
    args = parser.parse_args()
    codec = load_engine(Checkpoint.open_codec(args.model)).codec
    layers = tuple(int(layer) for layer in args.layers.split(",") if layer)
    hear = listener(args.model, codec, args.features, layers)
    paths = sorted(path for path in args.folder.glob(args.match) if path.suffix in SUFFIXES)
    if args.limit:
        paths = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, args.limit).round().astype(int))]
    print(describe())
    print(json.dumps(there_and_back(codec, hear, paths, args.out)))


def there_and_back(
    codec: Codec, hear: Callable[[Samples], Tokens], paths: Sequence[Path], out: Path
) -> dict[str, float]:
    """Writes what the codec makes of recordings as OUT/NAME.wav; how alike they are, and the speed of both ways."""
    out.mkdir(parents=True, exist_ok=True)
    seconds = encoding = decoding = 0.0
    scores: dict[str, list[float]] = {}
    used: set[int] = set()
    for path in paths:
        samples = normalize_volume(read_audio(path, codec.sample_rate))
        began = time.perf_counter()
        semantic = hear(samples)
        speaker = codec.speaker_tokens(reference_window(trim_silence(samples, codec.sample_rate), "whole"))
        between = time.perf_counter()
        made = decode_in_windows(codec, semantic, speaker)
        decoding += time.perf_counter() - between
        encoding += between - began
        seconds += len(samples) / codec.sample_rate
        used.update(semantic.tolist())
        write_audio(out / f"{path.stem}.wav", made, codec.sample_rate, metadata={"comment": SYNTHETIC_NOTICE})
        for name, value in measures(samples[: len(made)], made[: len(samples)], codec.sample_rate).items():
            scores.setdefault(name, []).append(value)
    return {
        "recordings": len(paths),
        "seconds": round(seconds, 1),
        **{name: round(float(np.mean(values)), 3) for name, values in scores.items()},
        "tokens_used": len(used),
        "encode_rtf": round(encoding / seconds, 3),
        "decode_rtf": round(decoding / seconds, 3),
    }


if __name__ == "__main__":
    main()
