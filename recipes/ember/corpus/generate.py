"""Speech to train on, spoken by the teacher.

    python recipes/ember/corpus/generate.py --language en --hours 2 --seed 10 -o DIR --jobs 2

writes DIR/en10_0000.tar and so on, about five minutes each, for `sparktts prepare DIR`. The same command goes on where
it was stopped, and with more hours it adds to what is there. Other languages and seeds may share the folder. Needs
pip install "sparktts[train,eval]", and on first use npm.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing.synchronize import Event
from pathlib import Path

from plan import Shard, plan
from speech import resumable, shard_seconds, write_shard
from teacher import Teacher, install
from texts import FOLDER, LANGUAGES, fingerprint, read_texts

from sparktts.errors import OptionError
from sparktts.files import write_atomically

FORMAT = "sparktts.ember-corpus/1"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    return resumable(lambda: generate(options))


def generate(options: argparse.Namespace) -> None:
    """Writes every shard of the plan that is not there. Raises SparkTTSError."""
    if options.hours <= 0 or options.jobs < 1:
        raise OptionError("--hours must be more than 0, and --jobs at least 1.")
    out: Path = options.output
    out.mkdir(parents=True, exist_ok=True)
    texts = read_texts(options.language, options.texts)
    shards = plan(texts, options.language, options.seed, options.hours)
    _check_settings(out / f"{options.language}{options.seed}.json", fingerprint(texts), options.format)
    missing = [shard for shard in shards if not _path(out, shard).is_file()]
    there = sum(shard_seconds(_path(out, shard)) for shard in shards if shard not in missing)
    name = f"{options.language}, seed {options.seed}"
    print(f"{name}: {len(shards)} shards, {len(missing)} to do, {there / 3600:.2f} h there.", flush=True)
    if not missing:
        return
    folder: Path = options.teacher or out / "teacher"
    install(folder)
    started, spoken = time.monotonic(), 0.0
    for count, seconds in enumerate(_speak_all(missing, out, folder, options.format, options.jobs), start=1):
        spoken += seconds
        pace = (time.monotonic() - started) / spoken
        print(
            f"{name}: {count} of {len(missing)} shards, {(there + spoken) / 3600:.2f} h, "
            f"{pace:.2f} s for a second of speech.",
            flush=True,
        )


def _speak_all(shards: Sequence[Shard], out: Path, teacher: Path, format: str, jobs: int) -> Iterator[float]:
    """Seconds of speech of each shard, as it is written."""
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
    stop = context.Event()
    pool = ProcessPoolExecutor(min(jobs, len(shards)), context, _start, (stop,))
    try:
        waiting: set[Future[float]] = {
            pool.submit(_speak, shard, _path(out, shard), teacher, format) for shard in shards
        }
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool:
        raise OptionError("A process was killed, perhaps for want of memory: run again with fewer --jobs.") from None
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _speak(shard: Shard, path: Path, folder: Path, format: str) -> float:
    return write_shard(shard, path, _teacher(folder), format, _check)


@cache
def _teacher(folder: Path) -> Teacher:
    """Opened once in each process."""
    return Teacher(folder)


def _start(stop: Event) -> None:
    """Begins a process. Ctrl-C goes to every one of them; the first tells the others."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)


_stop: Event | None = None  # of this process


def _check() -> None:
    if _stop is not None and _stop.is_set():
        raise KeyboardInterrupt


def _check_settings(path: Path, texts: str, format: str) -> None:
    """Shards of one seed come from one list of texts. Raises OptionError."""
    settings = {"format": FORMAT, "texts": texts, "audio": format}
    if not path.is_file():
        write_atomically(path, json.dumps(settings).encode())
    elif json.loads(path.read_text()) != settings:
        raise OptionError(
            f"The shards of '{path.stem}' in '{path.parent}' were made from other texts or in another format: "
            "choose another --seed."
        )


def _path(out: Path, shard: Shard) -> Path:
    return out / f"{shard.name}.tar"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--language", choices=LANGUAGES, required=True, help="mix: Mandarin with English words")
    add("--hours", type=float, required=True, help="of speech, in all")
    add("--seed", type=int, default=1, help="other voices, other order (default: %(default)s)")
    add("-o", "--output", type=Path, required=True, metavar="DIR")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="processes of one core (default: %(default)s)")
    add("--texts", type=Path, default=FOLDER, metavar="DIR", help="with LANGUAGE_*.txt (default: the recipe's)")
    add("--teacher", type=Path, metavar="DIR", help="where it is, or will be installed (default: OUTPUT/teacher)")
    add("--format", choices=("ogg", "flac"), default="ogg", help="of the recordings (default: %(default)s)")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
