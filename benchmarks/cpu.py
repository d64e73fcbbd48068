"""What the ONNX engine is worth on a processor: a table of its figures beside the published way, all from one run.

    python -m benchmarks.cpu DIR --exported DIR.int4 DIR.int8 [--llama PYTHON] [--rows language_model decoder ...]
                             [--tokens 60] [--rounds 5] [--busy]

DIR: a checkpoint of the official shapes (`python -m tests.seeded_checkpoint DIR --size full` writes one with random
values); --exported: what `sparktts model export DIR -o DIR.int4 --weights int4 --full-head` made of it, the default
first. --llama: the python of an environment with llama-cpp-python and gguf (see benchmarks.llama); without it that row
says so. Everything that is compared runs in turn, round by round; medians are reported.

--busy: one thread for each engine, and processor time in place of the clock's. On a machine that does other things
too, ratios of the clock's times mean little; these hold to a few percent.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from . import machine
from .footprint import TEXT, peak_megabytes
from .lm import our_decoder, rate, their_decoder

ROOT = Path(__file__).parent.parent
TEXTS = (
    TEXT,
    "Numbers, names and long words such as internationalisation are read.",
    "今天天气很好，我们去公园吧。",
    "How far is what is computed from what the checkpoint says?",
)
SECONDS = 10  # of speech, in the rows that name no text
SAMPLED = 150  # semantic tokens after each of them, sampled by the torch engine in fp32
TOGETHER = 8


@dataclass(frozen=True)
class Row:
    """One line of the table. least, goal: what the figure is to reach."""

    figure: str
    value: str
    least: str = ""
    goal: str = ""


@dataclass(frozen=True)
class Run:
    """What all rows need to know. exported: of different weights, the default first."""

    model: Path
    exported: tuple[Path, ...]
    llama: Path | None
    tokens: int
    rounds: int
    busy: bool

    @property
    def clock(self) -> Callable[[], float]:
        return time.process_time if self.busy else time.perf_counter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--exported", type=Path, nargs="+", required=True)
    parser.add_argument("--llama", type=Path)
    parser.add_argument("--rows", choices=sorted(ROWS), nargs="+", default=list(ROWS))
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--one", choices=sorted(ALONE), help=argparse.SUPPRESS)
    args = parser.parse_args()
    run = Run(args.model, tuple(args.exported), args.llama, args.tokens, args.rounds, args.busy)
    if args.one:
        print(json.dumps(ALONE[args.one](run)))
        return
    if run.busy:
        use_one_thread()
    print(machine.describe())
    print(f"load: {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores{', processor time of one thread' * run.busy}\n")
    print("| figure | measured | at least | goal |\n|---|---|---|---|")
    for name in args.rows:
        for row in ROWS[name](run):
            print(f"| {row.figure} | {row.value} | {row.least} | {row.goal} |", flush=True)
        gc.collect()


def language_model(run: Run) -> Iterator[Row]:
    """Decoding: against transformers in fp32, against llama.cpp, and several sequences together."""
    options: Any = SimpleNamespace(model=run.model, device="cpu", dtype="fp32")
    theirs = their_decoder(options, run.clock)
    ours = [
        (path, our_decoder(SimpleNamespace(model=path, device="auto", dtype="auto"), "onnx", run.clock))  # type: ignore[arg-type]
        for path in run.exported
    ]
    rates: dict[tuple[str, int], list[float]] = {}
    for number in range(run.rounds + 1):
        # transformers is so slow that a third of the tokens measure it as well
        found = {("transformers", 1): rate(theirs, 1, max(8, run.tokens // 3))}
        for path, decoder in ours:
            found |= {(path.name, batch): rate(decoder, batch, run.tokens) for batch in (1, TOGETHER)}
        if number:  # the first round warms up
            for key, value in found.items():
                rates.setdefault(key, []).append(value)
    published = rates["transformers", 1]
    yield Row("language model, transformers fp32, one sequence", per_second(published))
    for number, (path, _) in enumerate(ours):
        alone, together = rates[path.name, 1], rates[path.name, TOGETHER]
        weights, targets = weights_of(path), number == 0
        yield Row(f"language model, {weights}, one sequence", per_second(alone))
        against = f"{ratio(alone, published):.1f} x"
        yield Row(f"- against transformers fp32, {weights}", against, *("7 x", "9 x") * targets)
        yield Row(f"language model, {weights}, {TOGETHER} sequences together", per_second(together))
        yield Row(f"- against one, {weights}", f"{ratio(together, alone):.2f} x", *("2 x", "3 x") * targets)
    fastest = rates[ours[0][0].name, 1]
    yield from llama_rows(run, statistics.median(fastest), weights_of(ours[0][0]))


def llama_rows(run: Run, ours: float, weights: str) -> Iterator[Row]:
    """llama.cpp in q4_0 with its full head, in a process of its own after the others. ours: tokens a second."""
    if run.llama is None:
        yield Row("language model, llama.cpp q4_0, full head", "not measured: give --llama", "1.0 x", "1.2 x")
        return
    command = [str(run.llama), "-m", "benchmarks.llama", str(run.model), "--gguf", f"{run.model}.q4_0.gguf"]
    command += ["--tokens", str(run.tokens), "--rounds", str(run.rounds)]
    command += ["--threads", "1", "--busy"] if run.busy else ["--threads", str(threads())]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        yield Row("language model, llama.cpp q4_0, full head", f"failed: {done.stderr.strip()[-100:]}")
        return
    found = json.loads(done.stdout.splitlines()[-1])
    theirs = [run.tokens / seconds for seconds in found["seconds"]]
    yield Row(f"language model, llama.cpp (llama-cpp-python {found['version']}) q4_0, full head", per_second(theirs))
    yield Row(f"- {weights} against it", f"{ours / statistics.median(theirs):.2f} x", "1.0 x", "1.2 x")


def decoder(run: Run) -> Iterator[Row]:
    """Tokens to waveform: 10 s at once in windows, against the torch engine."""
    codecs = {
        "PyTorch": engine_of(run.model, "torch").codec,
        **{weights_of(p): engine_of(p).codec for p in run.exported},
    }
    times: dict[str, list[float]] = {name: [] for name in codecs}
    for number in range(run.rounds + 1):
        for name, codec in codecs.items():
            took = decode_seconds(codec, SECONDS * 50, run.clock)
            if number:  # the first round reads the weights
                times[name].append(took)
    for name, taken in times.items():
        yield Row(f"waveform decoder, {name}", f"RTF {statistics.median(taken) / SECONDS:.3f}")
        if name != "PyTorch":
            against = f"{ratio(taken, times['PyTorch']):.2f} x its time"
            yield Row("- against PyTorch", against, "0.75 x", "below fp32's arithmetic floor")


def whole(run: Run) -> Iterator[Row]:
    """Text to waveform, one utterance of about 10 s: against generate() in fp32 and one decode by PyTorch."""
    from sparktts import ReadingOptions

    tts = speaker_of(run.exported[0])
    voice, unchecked = cached_voice(tts), ReadingOptions(checks=False)
    tts.say("Hi.", voice=voice, reading=unchecked)  # reads the weights
    options: Any = SimpleNamespace(model=run.model, device="cpu", dtype="fp32")
    theirs, codec = their_decoder(options, run.clock), engine_of(run.model, "torch").codec
    decode_seconds(codec, 50, run.clock)
    ours, published = [], []
    for number in range(max(1, run.rounds // 2)):
        started = run.clock()
        audio = tts.say(TEXT, voice=voice, seed=number, reading=unchecked)
        ours.append((run.clock() - started) / audio.duration)
        tokens = round(audio.duration * 50)
        # Without the prompt's pass, which the published way needs too.
        published.append((theirs(1, tokens) + decode_seconds(codec, tokens, run.clock)) / audio.duration)
    weights = weights_of(run.exported[0])
    yield Row("whole path, transformers fp32 and PyTorch", f"RTF {statistics.median(published):.2f}")
    yield Row(f"whole path, {weights}", f"RTF {statistics.median(ours):.2f}")
    yield Row("- against the published way", f"{ratio(published, ours):.1f} x", "5 x", "7 x")


def first_audio(run: Run) -> Iterator[Row]:
    """Streaming in a voice that is known already: what comes before the first sound, part by part, and that sound."""
    from sparktts import ReadingOptions, streaming

    from .streaming import model_parts, window_seconds

    tts = speaker_of(run.exported[0])
    voice, unchecked = cached_voice(tts), ReadingOptions(checks=False)
    tts.say("Hi.", voice=voice, reading=unchecked)
    parts, ahead, new = model_parts(tts, voice), streaming.LOOK_AHEAD, streaming.FIRST_WINDOW
    window = window_seconds(tts, voice, new, ahead)
    firsts = []
    for number in range(run.rounds):
        with tts.stream("The quick brown fox.", voice=voice, seed=number, reading=unchecked) as stream:
            next(iter(stream))
        firsts.append(stream.figures.first_sound or 0.0)
    yield Row("prefill of the prompt", milliseconds(parts.prefill))
    yield Row(
        f"time of {ahead} + {new} tokens, at {1 / parts.token:.1f} tokens/s", milliseconds((ahead + new) * parts.token)
    )
    yield Row(f"the first window, {ahead + new} tokens", milliseconds(window))
    allowed = parts.prefill + (ahead + new) * parts.token + window
    yield Row("first audio, streaming, low-latency", milliseconds(statistics.median(firsts)), milliseconds(allowed))


def memory(run: Run) -> Iterator[Row]:
    """Peak memory of processes of their own: the language model alone, and the whole in a cached voice."""
    for number, path in enumerate(run.exported):
        found = alone("language_model_memory", run, path)
        value = f"{found['alone']:.0f} MB, {found['together']:.0f} MB with {TOGETHER} sequences"
        yield Row(f"peak memory of the language model, {weights_of(path)}", value)
        found = alone("whole_memory", run, path)
        targets = ("1.2 GB", "0.8 GB") if number == 0 else ()
        yield Row(
            f"peak memory, {weights_of(path)}, cached voice, {found['seconds']:.0f} s",
            f"{found['peak']:.0f} MB",
            *targets,
        )


def alone(part: str, run: Run, path: Path) -> dict[str, float]:
    """What a part measures in a new process."""
    command = [sys.executable, "-m", "benchmarks.cpu", str(run.model), "--exported", str(path), "--one", part]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def language_model_memory(run: Run) -> dict[str, float]:
    """Megabytes after 10 s of speech, one sequence, and then of several together; in this process alone."""
    options: Any = SimpleNamespace(model=run.exported[0], device="auto", dtype="auto")
    decoder = our_decoder(options, "onnx")
    decoder(1, 500)
    alone = peak_megabytes()
    decoder(TOGETHER, 500)
    return {"alone": alone, "together": peak_megabytes()}


def whole_memory(run: Run) -> dict[str, float]:
    """Megabytes after one utterance in a voice that is known already."""
    from sparktts import ReadingOptions

    tts = speaker_of(run.exported[0])
    audio = tts.say(TEXT, voice=cached_voice(tts), seed=1, reading=ReadingOptions(checks=False))
    return {"peak": peak_megabytes(), "seconds": audio.duration}


def rounding(run: Run) -> Iterator[Row]:
    """How far rounded weights are from the checkpoint, given the same prefix."""
    import numpy as np
    import torch

    from sparktts.checkpoint.layout import Checkpoint
    from sparktts.engine.torch.language_model import TorchLanguageModel
    from sparktts.export.language_model import SPEAKING, divergences, sample_sequence, spoken_ids
    from sparktts.prompt import PromptBuilder
    from sparktts.tokenizer import SparkTokenizer

    checkpoint = Checkpoint.open(run.model)
    builder = PromptBuilder(SparkTokenizer.from_file(checkpoint.tokenizer_path))
    speaking = spoken_ids(builder.tokenizer)[SPEAKING]
    model = TorchLanguageModel(checkpoint, torch.device("cpu"), torch.float32)
    sequences = [sample_sequence(model, builder, text, SAMPLED, seed) for seed, text in enumerate(TEXTS)]
    wanted = slice(-SAMPLED - 1, -1)
    expected = np.concatenate([model.logits(ids)[wanted, speaking.ids] for ids in sequences])
    del model
    for path in run.exported:
        rounded = engine_of(path).language_model
        found = np.concatenate([rounded.scores(ids, speaking)[wanted] for ids in sequences])
        agreement = np.mean(found.argmax(axis=-1) == expected.argmax(axis=-1))
        divergence = divergences(expected, found).mean()
        value = f"{agreement:.1%} of {len(found)} greedy tokens, {divergence:.2g} nats"
        least = "99 %, or reported" if weights_of(path) == "int8" else "reported"
        yield Row(f"agreement with fp32 and divergence from it, {weights_of(path)}", value, least)


def engine_of(path: Path, name: str = "onnx") -> Any:
    from sparktts.checkpoint.layout import Checkpoint
    from sparktts.engine import load_engine

    return load_engine(Checkpoint.open(path), name)


def decode_seconds(codec: Any, tokens: int, clock: Callable[[], float]) -> float:
    """Of one utterance of random tokens, in the windows that `say` decodes."""
    import numpy as np

    from sparktts.windows import decode_in_windows

    semantic = np.random.default_rng(0).integers(0, 4096, tokens)
    started = clock()
    decode_in_windows(codec, semantic, np.arange(32))
    return clock() - started


def speaker_of(path: Path) -> Any:
    from sparktts import SparkTTS

    return SparkTTS.from_pretrained(path, engine="onnx")


def cached_voice(tts: Any) -> Any:
    """A voice whose tokens are known, as one from a file."""
    from sparktts.voice import Provenance, Voice

    provenance = Provenance(kind="created", created=Provenance.now())
    return Voice(tuple(range(32)), tts.engine.codec.fingerprint, provenance)


def weights_of(path: Path) -> str:
    """int4, int8 or fp32, as the export's manifest says."""
    weights: str = json.loads((path / "onnx" / "manifest.json").read_text())["weights"]
    return weights


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def per_second(rates: list[float]) -> str:
    return f"{statistics.median(rates):.1f} tokens/s"


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def threads() -> int:
    """As many as the ONNX engine takes."""
    from sparktts.engine.onnx.sessions import thread_count

    return thread_count() or os.cpu_count() or 1


def use_one_thread() -> None:
    """For every engine of this process and those that it starts."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "SPARKTTS_THREADS"):
        os.environ[name] = "1"
    import torch

    torch.set_num_threads(1)


# Groups of rows, in the order of the table; each loads what it needs and lets go of it afterwards.
ROWS: dict[str, Callable[[Run], Iterator[Row]]] = {
    "language_model": language_model,
    "decoder": decoder,
    "whole": whole,
    "first_audio": first_audio,
    "memory": memory,
    "rounding": rounding,
}
# What must run in a process of its own.
ALONE: dict[str, Callable[[Run], dict[str, float]]] = {
    "language_model_memory": language_model_memory,
    "whole_memory": whole_memory,
}

if __name__ == "__main__":
    main()
