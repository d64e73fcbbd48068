"""One training run: processes, precision, checkpoints, resume, metrics, progress and clean stops.

How a training uses it:

    def body(run: Run, options: ToyOptions) -> int:                 # in every process; a function of a module
        model, optimizer = ..., ...                                  # on run.device
        state = {"model": model, "optimizer": optimizer}             # whatever must resume

        def train_step(step: int) -> dict[str, Tensor | float]:      # step counts from 1
            rows = run.generator(step).integers(0, len(data), 8)     # data order: a function of (seed, step, rank)
            with run.autocast():
                loss = model(data[rows])
            loss.backward()
            run.average_gradients(model.parameters())                # nothing with one process
            optimizer.step(); optimizer.zero_grad()
            return {"loss": loss.detach()}

        return run.fit(state, train_step, validate, best="loss")     # resumes, logs, saves, stops; the last step

    launch(options.run, body, options, config=options)               # starts the processes

The directory: config.yaml, checkpoints/step-N.pt (written whole or not at all; the newest `keep` and best.pt),
metrics.jsonl ({"step", "split", ...}), tensorboard/.
Modules are used as they are (no DDP wrapper): with several processes, call `average_gradients` before clipping, and
start from equal weights (`broadcast`). All that a step draws at random must come from `generator(step)` or
from the global generators (python, numpy, torch), which are saved too.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import multiprocessing
import os
import pickle
import random
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
import yaml
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessRaisedException

from .. import errors
from ..errors import CheckpointError, OptionError
from ..files import replacing, write_atomically
from .options import RunOptions, parse_options, plain

Result = TypeVar("Result")
Metrics = Mapping[str, "Tensor | float"]
State = MutableMapping[str, Any]

logging.getLogger("lightning_fabric").setLevel(logging.ERROR)  # here, so that started processes are quiet too

FORMAT = "sparktts.run/1"
TIMED_STEPS = 5  # after so many steps the expected time is told; the first is not counted


@runtime_checkable
class Stateful(Protocol):
    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Any, /) -> Any: ...


def launch(options: RunOptions, body: Callable[..., Result], *args: Any, config: Any = None) -> Result:
    """body(run, *args) in `options.devices` processes, or in those that torchrun started; the first one's result.

    body: a function of a module, so that other processes find it. config: what config.yaml records.
    Raises what body raises, OptionError for devices that are not there.
    """
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "result"
        try:
            with _stopped_together():
                result = _fabric(options).launch(_Entry(options, config, body, args, kept))
        except ProcessRaisedException as error:
            raise _original(error) from None
        # Not through the launcher's pipe, which blocks when a result is large.
        return cast(Result, pickle.loads(kept.read_bytes()) if kept.exists() else result)


@contextmanager
def _stopped_together() -> Iterator[None]:
    """A signal that asks this process alone to stop is passed on to those that it has started; they end cleanly.

    A training in this process has handlers of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def handle(number: int, frame: Any) -> None:
        nonlocal asked
        children = multiprocessing.active_children()
        if asked or not children:
            raise KeyboardInterrupt
        asked = True
        for child in children:
            child.terminate()  # which they take for a wish to stop, however often it comes

    with _handled(handle, signal.SIGINT, signal.SIGTERM):
        yield


@contextmanager
def _handled(handle: Callable[[int, Any], None], *kinds: signal.Signals) -> Iterator[None]:
    """Signals go to `handle` in this block."""
    before = [signal.signal(kind, handle) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


class _Entry:
    """What every process starts with; picklable when body is a function of a module."""

    def __init__(
        self, options: RunOptions, config: Any, body: Callable[..., Any], args: tuple[Any, ...], kept: Path
    ) -> None:
        self.options, self.config, self.body, self.args, self.kept = options, config, body, args, kept
        self.starter = os.getpid()

    def __call__(self, fabric: Fabric) -> Any:
        run = Run(fabric, self.options, self.config)
        try:
            result = self.body(run, *self.args)
        finally:
            run.close()
        if os.getpid() == self.starter:
            return result
        if run.is_main:
            self.kept.write_bytes(pickle.dumps(result))
        return None


def _fabric(options: RunOptions) -> Fabric:
    warnings.filterwarnings("ignore", module="lightning_fabric")
    if options.threads:
        torch.set_num_threads(options.threads)
    started = "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ  # torchrun
    several = started or options.devices != 1
    try:
        return Fabric(
            accelerator=options.accelerator,
            devices=options.devices,
            strategy=("ddp" if started else "ddp_spawn") if several else "auto",
            precision="bf16-mixed" if options.precision == "bf16" else "32-true",
        )
    except Exception as error:  # of several kinds, and none of its own
        reason = " ".join(str(error).split())[:200]
        raise OptionError(
            f"`run.accelerator: {options.accelerator}` with `devices: {options.devices}` cannot be had here: {reason}"
        ) from None


def _original(error: Exception) -> Exception:
    """The one-sentence error of a process, if it was one; else what carries its traceback."""
    last = str(error).strip().splitlines()[-1]
    name, _, message = last.partition(": ")
    kind = getattr(errors, name.rpartition(".")[2], None)
    return kind(message) if isinstance(kind, type) and issubclass(kind, errors.SparkTTSError) else error


class Run:
    """A process's view of the run. Use `launch`, or Run.alone(options) in notebooks and tests."""

    def __init__(self, fabric: Fabric, options: RunOptions, config: Any = None) -> None:
        """config: options dataclass or mapping that config.yaml keeps; a run that goes on must have the same."""
        self.fabric, self.options = fabric, options
        self.device: torch.device = fabric.device
        self.rank, self.world_size = fabric.global_rank, fabric.world_size
        self.out = options.out
        self.started = time.monotonic()
        self._stop = False
        self._writer: Any = None
        self._sums: dict[str, list[float]] = {}
        self._pending: list[Metrics] = []
        if options.threads:
            torch.set_num_threads(options.threads)
        self.seed_all(options.seed + self.rank)
        if self.is_main:
            self._prepare(config)
        self.barrier()

    @classmethod
    def alone(cls, options: RunOptions, config: Any = None) -> Run:
        """A run of one process, in this one."""
        return cls(_fabric(options), options, config)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    # --- randomness and precision

    def seed_all(self, seed: int) -> None:
        """Seeds python, numpy and torch."""
        random.seed(seed)
        np.random.seed(seed % (1 << 32))
        torch.manual_seed(seed)

    def generator(self, step: int, purpose: int = 0, shared: bool = False) -> np.random.Generator:
        """Random numbers of a step: a pure function of (seed, step, purpose), and of the rank unless shared."""
        return np.random.default_rng([self.options.seed, step, purpose, 0 if shared else self.rank])

    @contextmanager
    def kept_randomness(self) -> Iterator[None]:
        """For what may draw numbers and must not change those that the training draws later."""
        before = _random_state()
        try:
            yield
        finally:
            _set_random_state(before)

    def autocast(self) -> AbstractContextManager[Any]:
        """The run's precision, for forward passes."""
        return self.fabric.autocast()

    # --- processes

    def barrier(self) -> None:
        if self.world_size > 1:
            dist.barrier()

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes, in place; no gradient flows through it."""
        if self.world_size > 1:
            dist.all_reduce(value)
        return value

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes, in place; no gradient flows through it."""
        return self.sum(value).div_(self.world_size)

    def gather(self, value: Tensor) -> Tensor:
        """Equally shaped tensors of all processes, joined along the first dimension; no gradient."""
        if self.world_size == 1:
            return value
        parts = [torch.empty_like(value) for _ in range(self.world_size)]
        dist.all_gather(parts, value.contiguous())
        return torch.cat(parts)

    def broadcast(self, *modules: nn.Module) -> None:
        """Gives every process the first one's parameters and buffers."""
        if self.world_size > 1:
            for module in modules:
                for tensor in module.state_dict().values():
                    dist.broadcast(tensor, 0)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """The mean gradient over all processes. A parameter without gradient here must have none anywhere."""
        if self.world_size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self.mean(flat)
        for gradient, values in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(values.view_as(gradient))

    # --- the loop

    def fit(
        self,
        state: State,
        train_step: Callable[[int], Metrics],
        validate: Callable[[int], Metrics] | None = None,
        best: str | None = None,
        quiet: bool = False,
    ) -> int:
        """Goes on from the newest checkpoint to the last step, or to a stop. Returns the last step done.

        state: what must resume: objects with state_dict/load_state_dict, or plain values (replaced in the mapping).
        train_step: one optimiser step; its metrics are averaged between log lines.
        validate: called in every process every `validate_every` steps and after the last; metrics of the first count.
        best: name of the validation metric whose lowest value keeps best.pt.
        """
        state.setdefault("lowest", float("inf"))
        first = self.resume(state)
        step, total = first, self.options.steps
        lowest: float = state["lowest"]
        with self._signals(), _quiet_threads(), self._progress(first, quiet) as progress:
            while step < total:
                step += 1
                self._count(train_step(step))
                if step % self.options.log_every == 0 or step == total:
                    self.log(step, {**self._averages(), "seconds_per_step": progress.seconds_per_step()})
                progress.advance(step)
                if validate and (step % self.options.validate_every == 0 or step == total):
                    measured = {name: float(value) for name, value in validate(step).items()}
                    self.log(step, measured, "validation")
                    progress.restart()
                    if best and measured.get(best, float("inf")) < lowest:
                        lowest = state["lowest"] = measured[best]
                        self.save(state, step, best=True)
                stopping = self.should_stop
                if step % self.options.save_every == 0 or step == total or stopping:
                    self.save(state, step)
                if stopping and step < total:
                    self.say(f"Stopped after step {step} of {total}; the same command goes on from there.")
                    break
        return step

    @property
    def should_stop(self) -> bool:
        """Whether Ctrl-C, a termination signal or max_minutes ask for an end: finish the step, save, return.

        All processes must ask alike, as they agree here.
        """
        limit = self.options.max_minutes
        wanted = self._stop or (limit is not None and time.monotonic() - self.started > 60 * limit)
        if self.world_size == 1:
            return wanted
        return bool(self.sum(torch.tensor(float(wanted), device=self.device)))

    def stop(self) -> None:
        """Asks for a clean end after this step."""
        self._stop = True

    # --- checkpoints

    @property
    def checkpoints(self) -> Path:
        return self.out / "checkpoints"

    def newest(self) -> Path | None:
        """The newest step-N.pt."""
        found = self._saved()
        return found[-1] if found else None

    def save(self, state: State, step: int, best: bool = False) -> Path:
        """Writes step-N.pt, or best.pt, whole or not at all, and removes old ones. Raises CheckpointError."""
        path = self.checkpoints / ("best.pt" if best else f"step-{step}.pt")
        self._collect()
        generators = self._gather_objects(_random_state())
        if self.is_main:
            content = {
                "format": FORMAT,
                "step": step,
                "state": {name: v.state_dict() if isinstance(v, Stateful) else v for name, v in state.items()},
                "random": generators,
                "sums": self._sums,
            }
            try:
                with replacing(path) as temporary:
                    torch.save(content, temporary)
            except (OSError, RuntimeError) as error:
                reason = getattr(error, "strerror", None) or "the disk seems to be full"
                raise CheckpointError(
                    f"{path} cannot be written ({reason}); the checkpoints before it are kept: make room and run again."
                ) from None
            for old in self._saved()[: -self.options.keep]:
                old.unlink(missing_ok=True)
        self.barrier()
        return path

    def resume(self, state: State) -> int:
        """Fills the state from the newest checkpoint. Returns its step, 0 without one. Raises CheckpointError."""
        path = self.newest()
        if path is None:
            return 0
        content = load_checkpoint(path, self.device)
        for name in state:
            if name not in content["state"]:
                if name == "lowest":
                    continue
                raise CheckpointError(f"{path} holds no `{name}`: it is of another training, choose another `run.out`.")
        restore(state, content["state"], path)
        self._sums = content["sums"]
        if len(content["random"]) == self.world_size:
            _set_random_state(content["random"][self.rank])
        step: int = content["step"]
        if self.is_main:
            _cut_metrics(self.out / "metrics.jsonl", step)
        return step

    def _saved(self) -> list[Path]:
        numbered = [(int(p.stem[5:]), p) for p in self.checkpoints.glob("step-*.pt") if p.stem[5:].isdigit()]
        return [path for _, path in sorted(numbered)]

    # --- what people see

    def say(self, message: str) -> None:
        """A line on stderr, by the first process."""
        if self.is_main:
            print(message, file=sys.stderr, flush=True)

    def log(self, step: int, metrics: Metrics, split: str = "train") -> None:
        """One line of metrics.jsonl and its curves in TensorBoard."""
        if not self.is_main:
            return
        values = {name: float(value) for name, value in metrics.items()}
        line = {"step": step, "split": split, **{k: v if np.isfinite(v) else None for k, v in values.items()}}
        try:
            with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise CheckpointError(f"{self.out / 'metrics.jsonl'} cannot be written: {error.strerror}.") from None
        with self._drawing() as writer:
            for name, value in values.items():
                writer.add_scalar(f"{split}/{name}", value, step)

    def log_audio(self, step: int, name: str, samples: npt.NDArray[np.float32], sample_rate: int) -> None:
        """(N,) samples to listen to in TensorBoard."""
        if self.is_main:
            with self._drawing() as writer:
                writer.add_audio(name, np.clip(samples, -1, 1)[None], step, sample_rate)

    def log_image(self, step: int, name: str, values: npt.NDArray[np.float32]) -> None:
        """(rows, columns) values as a picture, lowest row at the bottom, scaled to their range."""
        if self.is_main:
            low, high = float(values.min()), float(values.max())
            scaled = (values[::-1] - low) / max(high - low, 1e-9)
            with self._drawing() as writer:
                writer.add_image(name, scaled[None].astype(np.float32), step)

    @contextmanager
    def _drawing(self) -> Iterator[Any]:
        """TensorBoard's SummaryWriter, of the first process. Raises CheckpointError for what could not be written."""
        folder = self.out / "tensorboard"
        try:
            if self._writer is None:
                from torch.utils.tensorboard import SummaryWriter

                self._writer = SummaryWriter(str(folder))
            yield self._writer
        except OSError as error:
            self._writer = None  # its thread is gone, and what it still holds with it
            raise CheckpointError(
                f"{folder} cannot be written ({error.strerror or error}); the checkpoints are kept: make room and run "
                "again."
            ) from None

    def close(self) -> None:
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()
            self._writer = None

    def _count(self, metrics: Metrics) -> None:
        # Read later: a GPU would have to be waited for.
        self._pending.append(metrics)
        if self.device.type == "cpu":
            self._collect()

    def _collect(self) -> None:
        """Adds up as numbers, so that a run that goes on logs what an uninterrupted one logs."""
        for metrics in self._pending:
            for name, value in metrics.items():
                entry = self._sums.setdefault(name, [0.0, 0.0])
                entry[0] += float(value)
                entry[1] += 1
        self._pending.clear()

    def _averages(self) -> dict[str, float]:
        self._collect()
        names = list(self._sums)
        sums = torch.tensor([self._sums[name] for name in names], dtype=torch.float64, device="cpu")
        if self.world_size > 1:
            gathered = self._gather_objects(sums)
            sums = torch.stack(gathered).sum(dim=0)
        self._sums = {}
        return {name: float(total / count) for name, (total, count) in zip(names, sums, strict=True)}

    def _gather_objects(self, value: Any) -> list[Any]:
        if self.world_size == 1:
            return [value]
        gathered: list[Any] = [None] * self.world_size
        dist.all_gather_object(gathered, value)
        return gathered

    def _prepare(self, config: Any) -> None:
        path = self.out / "config.yaml"
        recorded = plain(config if config is not None else {"run": self.options})
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            if self.newest() is not None and path.is_file():
                _check_same(_completed(yaml.safe_load(path.read_text(encoding="utf-8")), config), recorded, self.out)
            text = yaml.safe_dump(recorded, sort_keys=False, allow_unicode=True)
            write_atomically(path, text.encode())
        except OSError as error:
            raise OptionError(f"The run directory {self.out} cannot be written: {error.strerror or error}.") from None

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first Ctrl-C or termination signal asks for a clean stop; the second Ctrl-C ends at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: Any) -> None:
            if self._stop and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.stop()
            self.say("Finishing this step, then saving (again to leave at once).")

        with _handled(handle, signal.SIGINT, signal.SIGTERM):
            yield

    @contextmanager
    def _progress(self, first: int, quiet: bool) -> Iterator[_Progress]:
        quiet = quiet or not self.is_main
        if quiet or not sys.stderr.isatty():
            yield _Progress(self, first, None, quiet)
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("Training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            bar.add_task("Training", total=self.options.steps, completed=first)
            yield _Progress(self, first, bar, quiet)


class _Progress:
    """Counts steps and tells how long they take."""

    def __init__(self, run: Run, first: int, bar: Any, quiet: bool) -> None:
        self.run, self.first, self.bar, self.quiet = run, first, bar, quiet
        self.since, self.done = time.monotonic(), 0
        self.warm = self.since
        self.last = 0.0

    def advance(self, step: int) -> None:
        self.done += 1
        count = step - self.first
        if count == 1:
            self.warm = time.monotonic()
        if count == TIMED_STEPS and not self.quiet:
            each = (time.monotonic() - self.warm) / (TIMED_STEPS - 1)
            left = each * (self.run.options.steps - step)
            self.run.say(
                f"A step takes {each:.2f} s; the other {self.run.options.steps - step:,} take {_spoken(left)}."
            )
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=step)

    def restart(self) -> None:
        """What has just passed was no training."""
        self.since, self.done = time.monotonic(), 0

    def seconds_per_step(self) -> float:
        """Since it was last asked."""
        seconds = (time.monotonic() - self.since) / (self.done + 1)
        self.since, self.done = time.monotonic(), -1
        return seconds


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """What TensorBoard's thread cannot write is raised here at the next call, and needs no traceback of its own."""
    before = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if not isinstance(failed.exc_value, OSError):
            before(failed)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Content of a step-N.pt: "step", "state", ... Only data is read, nothing runs. Raises CheckpointError."""
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"The checkpoint {path} does not exist.") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(
            f"{path} is damaged ({reason}): delete it, and the run goes on from the one before."
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of a training run.")
    return content


def restore(state: State, saved: Mapping[str, Any], path: Path) -> None:
    """Fills objects and plain values from what was saved, if anything is known of them. Raises CheckpointError."""
    for name in state.keys() & saved.keys():
        target, value = state[name], saved[name]
        if not isinstance(target, Stateful):
            state[name] = value
            continue
        try:
            target.load_state_dict(value)
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{path} does not fit this configuration: `{name}`: {reason}") from None


def _random_state() -> dict[str, Any]:
    name, keys, *rest = cast(tuple[Any, ...], np.random.get_state())
    return {
        "python": random.getstate(),
        "numpy": (name, [int(key) for key in keys], *(float(value) for value in rest)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def _set_random_state(state: Mapping[str, Any]) -> None:
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), int(position), int(has_gauss), cached))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def _cut_metrics(path: Path, step: int) -> None:
    """Drops lines of steps that will be done again, and a line that a kill cut short."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    write_atomically(path, "".join(kept).encode())


def _completed(before: Any, config: Any) -> Any:
    """What a run was started with, and the defaults of settings that it did not have yet."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return before
    try:
        return plain(parse_options(before, type(config)))
    except OptionError:  # a setting is gone: told by comparison
        return before


def _check_same(before: Any, now: Any, out: Path, key: str = "") -> None:
    """Raises OptionError where a run that goes on has another configuration; `run` may change, but not its seed."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted({*before, *now}):
            if key == "run." and name not in ("seed", "precision"):
                continue
            _check_same(before.get(name), now.get(name), out, f"{key}{name}.")
    elif before != now:
        raise OptionError(
            f"The run in {out} was started with `{key[:-1]}: {before}`, not {now}: set it back, "
            "or choose another `run.out`."
        )


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
