"""Streaming: how near short look-aheads come to one decode of everything, what they cost, and when sound begins.

    python -m benchmarks.streaming DIR CLIP [--engine auto] [--look-ahead 5 10 16 20 40] [--tokens 400] [--rounds 3]

DIR: a checkpoint; `python -m tests.seeded_checkpoint DIR --size full` writes one with the official shapes. Its weights
are random: distances to exact then say how far the convolutions reach, not how it sounds. CLIP is encoded by the codec
(--tokens of it, repeated) for the first table, and its voice is cloned for the second one. Medians of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import machine

if TYPE_CHECKING:
    from sparktts import SparkTTS, Voice
    from sparktts.engine.base import Codec, Samples, Tokens

TEXT = "The quick brown fox jumps over the lazy dog."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--look-ahead", type=int, nargs="+", default=[5, 10, 16, 20, 40])
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=200, help="tokens of a stream: random weights never stop")
    parser.add_argument("--random", action="store_true", help="random tokens: the codec has no encoders")
    parser.add_argument("--decode-only", action="store_true", help="the first table alone")
    args = parser.parse_args()
    from sparktts import SparkTTS, guards

    tts = SparkTTS.from_pretrained(args.model, engine=args.engine, device=args.device, dtype=args.dtype)
    codec = tts.engine.codec
    print(machine.describe(), f"engine: {tts.engine.name}, device: {tts.engine.device}", sep="\n")
    print(f"context: {codec.context} tokens on each side")
    speaker, semantic = np.arange(32), np.random.default_rng(0).integers(0, 4096, args.tokens)
    if not args.random:
        speaker, heard = tts.encode(args.clip)
        semantic = np.resize(heard, args.tokens)
    decoding(codec, semantic, speaker, args.look_ahead)
    if not args.decode_only:
        guards.MAX_TOKENS = args.most
        streams(tts, tts.clone(args.clip), args.look_ahead, args.rounds)


# Decoding


def decoding(codec: Codec, semantic: Tokens, speaker: Tokens, look_aheads: list[int]) -> None:
    """The first table: windows that grow, decoded when just their look-ahead is known."""
    from sparktts.windows import decode_in_windows

    decode_in_windows(codec, semantic[:50], speaker)  # reads the weights
    started = time.perf_counter()
    whole = decode_in_windows(codec, semantic, speaker, len(semantic))
    once = time.perf_counter() - started
    print(f"\n{len(semantic)} tokens, decoded at once in {once:.2f} s\n")
    print(
        "| look-ahead | SNR, dB | worst 20 ms, dB | spectral distance, dB | tokens decoded / needed | time / at once |"
    )
    print("|---|---|---|---|---|---|")
    for look_ahead in [*look_aheads, codec.context]:
        exact = look_ahead == codec.context
        started = time.perf_counter()
        samples, decoded = in_windows(codec, semantic, speaker, look_ahead, exact)
        took = time.perf_counter() - started
        name = f"exact ({look_ahead})" if exact else str(look_ahead)
        frames = codec.hop
        worst = min(snr(a, b) for a, b in zip(whole.reshape(-1, frames), samples.reshape(-1, frames), strict=True))
        print(
            f"| {name} | {snr(whole, samples):.1f} | {worst:.1f} | {spectral_distance(whole, samples):.2f} | "
            f"{decoded / len(semantic):.2f} | {took / once:.2f} |",
            flush=True,
        )


def in_windows(codec: Codec, semantic: Tokens, speaker: Tokens, look_ahead: int, exact: bool) -> tuple[Samples, int]:
    """Samples, and the number of tokens that went through the codec."""
    from sparktts.streaming import left_context
    from sparktts.windows import GrowingDecode

    decode, pieces, decoded = GrowingDecode(codec, speaker, left_context(look_ahead, exact)), [], 0
    for stop in stops(len(semantic), look_ahead, exact):
        known = min(stop + look_ahead, len(semantic))
        piece = decode.window(semantic[:known], stop, known == len(semantic))
        decode.accept(piece)
        pieces.append(piece.samples)
        decoded += piece.decoded
    return np.concatenate(pieces), decoded


def stops(length: int, look_ahead: int, exact: bool) -> Iterator[int]:
    """Where windows end when the listener is never in a hurry."""
    from sparktts.streaming import GROWTH, LARGEST_WINDOW, first_window

    at, size = 0, first_window(look_ahead, exact)
    while length - at > size + look_ahead:
        at += size
        yield at
        size = min(GROWTH * size, LARGEST_WINDOW)
    yield length


def snr(expected: Samples, samples: Samples) -> float:
    """dB."""
    error = np.square(expected - samples, dtype=np.float64).sum()
    return float(10 * np.log10(np.square(expected, dtype=np.float64).sum() / max(error, 1e-20)))


def spectral_distance(expected: Samples, samples: Samples) -> float:
    """Mean difference in dB of short-time power spectra in 40 bands: small where only phases differ."""

    def bands(signal: Samples) -> np.ndarray:
        frames = np.lib.stride_tricks.sliding_window_view(signal, 1024)[::320] * np.hanning(1024)
        power = np.square(np.abs(np.fft.rfft(frames)))[:, :512]
        edges = np.unique(np.geomspace(1, 512, 41).astype(int)) - 1
        return np.asarray(10 * np.log10(np.add.reduceat(power, edges[:-1], axis=1) + 1e-6))

    return float(np.abs(bands(expected) - bands(samples)).mean())


# Streams


@dataclass(frozen=True)
class Parts:
    """Seconds of what comes before the first sound."""

    prefill: float
    token: float

    def before(self, tokens: int, window: float) -> float:
        """Until so many tokens are written and a window is decoded. The prompt's pass gives the first token."""
        return self.prefill + (tokens - 1) * self.token + window


def streams(tts: SparkTTS, voice: Voice, look_aheads: list[int], rounds: int) -> None:
    """The second table: a whole stream of one sentence in a voice that is known already."""
    from sparktts import ReadingOptions

    unchecked = ReadingOptions(checks=False)
    list(tts.stream("Hi.", voice=voice, reading=unchecked))  # reads the weights
    parts = model_parts(tts, voice)
    started = time.perf_counter()
    audio = tts.say(TEXT, voice=voice, seed=1, reading=unchecked)
    whole = time.perf_counter() - started
    print(f"\nprompt: {parts.prefill * 1000:.0f} ms, then {1 / parts.token:.1f} tokens/s alone")
    print(f"say: {audio.duration:.1f} s of speech in {whole:.1f} s, which is when its first sound comes\n")
    columns = ("look-ahead", "parts alone, s", "first sound, s", "all, s", "late, s", "windows", "decoded / needed")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for look_ahead in [*look_aheads, None]:
        rows = []
        for _ in range(rounds):
            started = time.perf_counter()
            stream = tts.stream(
                TEXT,
                voice=voice,
                seed=1,
                reading=unchecked,
                mode="exact" if look_ahead is None else "low-latency",
                look_ahead=look_ahead,
            )
            list(stream)
            figures = stream.figures
            rows.append(
                (figures.first_sound, time.perf_counter() - started, figures.late, figures.windows, figures.overhead)
            )
        first, took, late, windows, overhead = (statistics.median(column) for column in zip(*rows, strict=True))
        from sparktts.streaming import first_window

        ahead = tts.engine.codec.context if look_ahead is None else look_ahead
        new = first_window(ahead, look_ahead is None)
        alone = parts.before(new + ahead, window_seconds(tts, voice, new, ahead))
        name = f"exact ({ahead})" if look_ahead is None else str(ahead)
        print(
            f"| {name} | {alone:.2f} | {first:.2f} | {took:.1f} | {late:.1f} | {windows:.0f} | {overhead:.2f} |",
            flush=True,
        )


def model_parts(tts: SparkTTS, voice: Voice) -> Parts:
    """The language model alone."""
    from sparktts.grammar import Choose, SpeechGrammar
    from sparktts.prompt import PromptBuilder
    from sparktts.sampling import SamplingOptions

    model, tokenizer = tts.engine.language_model, tts.tokenizer
    prompt = PromptBuilder(tokenizer).clone(TEXT, voice.speaker)
    prefills, tokens = [], []
    for seed in range(3):
        grammar = SpeechGrammar((*prompt.grammar.steps[:-1], Choose(tokenizer.semantic, count=20)))
        started = time.perf_counter()
        model.add(prompt.ids, SamplingOptions(seed=seed), grammar)
        model.step()
        prefills.append(time.perf_counter() - started)
        started = time.perf_counter()
        while not grammar.done:
            model.step()
        tokens.append((time.perf_counter() - started) / 19)
    return Parts(statistics.median(prefills), statistics.median(tokens))


def window_seconds(tts: SparkTTS, voice: Voice, tokens: int, look_ahead: int) -> float:
    """The first window's decode, alone."""
    semantic = np.random.default_rng(0).integers(0, 4096, tokens + look_ahead)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        tts.engine.codec.decode(semantic, np.array(voice.speaker))
        times.append(time.perf_counter() - started)
    return statistics.median(times)


if __name__ == "__main__":
    main()
