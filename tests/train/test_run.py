"""What every training shares: configurations, checkpoints, resuming, stopping."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
pytest.importorskip("tensorboard")

from sparktts.errors import CheckpointError, OptionError  # noqa: E402
from sparktts.train.options import RunOptions, bounded, parse_options, plain, read_options  # noqa: E402
from sparktts.train.run import Run, launch, load_checkpoint  # noqa: E402

from .disks import little_room  # noqa: E402


@dataclass(frozen=True)
class Inner:
    rates: tuple[int, ...] = bounded((8, 5), low=1, high=10)
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Toy:
    run: RunOptions
    inner: Inner = Inner()
    rate: float = bounded(0.1, low=0)
    folder: Path | None = None


RUN = {"out": "runs/toy", "steps": 5}


def test_a_configuration_is_read_with_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text("run: {out: runs/toy, steps: 5, max_minutes: 3}\ninner: {rates: [2, 3]}\nrate: 1e-4\n")
    options = read_options(path, Toy, ["run.seed=7", "inner.kind=b", "folder=here"])
    assert options.run == RunOptions(out=Path("runs/toy"), steps=5, max_minutes=3.0, seed=7)
    assert options.inner == Inner((2, 3), "b")
    assert (options.rate, options.folder) == (1e-4, Path("here"))
    assert parse_options(plain(options), Toy) == options


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"run": RUN, "inner": {"rate": [1]}}, "`inner.rate` is not a setting; did you mean `rates`?"),
        ({"run": {**RUN, "steps": "many"}}, "`run.steps` must be a whole number, not 'many'"),
        ({"run": {**RUN, "steps": True}}, "`run.steps` must be a whole number"),
        ({"run": {**RUN, "steps": 0}}, "`steps` must be at least 1"),
        ({"run": {"out": "x"}}, "`run.steps` is missing"),
        ({"run": {**RUN, "precision": "fp16"}}, "`run.precision` must be fp32 or bf16, not 'fp16'"),
        ({"run": {**RUN, "devices": "all"}}, "`run.devices` must be a whole number or auto"),
        ({"run": RUN, "inner": {"rates": [11]}}, "`inner.rates` must be between 1 and 10, not 11"),
        ({"run": RUN, "inner": {"rates": 3}}, "`inner.rates` must be a list, not 3"),
        ({"run": RUN, "inner": []}, "`inner` must be a mapping"),
        ({"run": RUN, "rate": -1}, "`rate` must be at least 0"),
        ({"run": RUN, "rate": float("nan")}, "`rate` must be a number"),
        ([], "must be a mapping of settings"),
    ],
)
def test_a_mistake_in_a_configuration_is_one_sentence(values: object, message: str) -> None:
    with pytest.raises(OptionError) as error:
        parse_options(values, Toy, "toy.yaml")
    assert message in str(error.value)
    assert "toy.yaml" in str(error.value)
    assert str(error.value).count("\n") == 0


def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="does not exist"):
        read_options(tmp_path / "none.yaml", Toy)
    (tmp_path / "bad.yaml").write_text("run: [")
    with pytest.raises(OptionError, match="not valid yaml"):
        read_options(tmp_path / "bad.yaml", Toy)
    (tmp_path / "good.yaml").write_text("run: {out: x, steps: 1}")
    with pytest.raises(OptionError, match="KEY=VALUE"):
        read_options(tmp_path / "good.yaml", Toy, ["run.steps"])


class Interrupted(Exception):
    pass


class Line:
    """The smallest training that uses every kind of state: weights, optimiser, dropout, numpy, a plain value."""

    def __init__(self, run: Run, break_at: int | None = None) -> None:
        torch.manual_seed(3)
        self.run, self.break_at = run, break_at
        self.model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.05)
        self.state: dict[str, Any] = {"model": self.model, "optimizer": self.optimizer, "seen": 0}

    def step(self, step: int) -> dict[str, Any]:
        if step == self.break_at:
            raise Interrupted
        x = torch.from_numpy(self.run.generator(step).standard_normal((8, 4)).astype(np.float32))
        loss = (self.model(x) - x.sum(1, keepdim=True) + float(np.random.rand())).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.state["seen"] += len(x)
        return {"loss": loss.detach()}

    def check(self, step: int) -> dict[str, float]:
        return {"error": 1.0 / step if step < 6 else 1.0}


def options(out: Path, **changes: Any) -> RunOptions:
    values = {"steps": 9, "log_every": 2, "validate_every": 3, "save_every": 2, "accelerator": "cpu", **changes}
    return RunOptions(out=out, **values)


def lines(out: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds_per_step"} for line in found]


def test_a_run_that_broke_off_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = Line(Run.alone(options(tmp_path / "whole")))
    assert whole.run.fit(whole.state, whole.step, whole.check, best="error", quiet=True) == 9
    broken = Line(Run.alone(options(tmp_path / "broken")), break_at=8)
    with pytest.raises(Interrupted):
        broken.run.fit(broken.state, broken.step, broken.check, best="error", quiet=True)
    (tmp_path / "broken" / "metrics.jsonl").open("a").write('{"step": 7, "sp')  # as a kill leaves it
    again = Line(Run.alone(options(tmp_path / "broken")))
    assert again.run.fit(again.state, again.step, again.check, best="error", quiet=True) == 9
    assert again.state["seen"] == whole.state["seen"] == 72
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])
    assert lines(tmp_path / "broken") == lines(tmp_path / "whole")


def test_the_newest_and_the_best_checkpoints_are_kept(tmp_path: Path) -> None:
    line = Line(Run.alone(options(tmp_path)))
    line.run.fit(line.state, line.step, line.check, best="error", quiet=True)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"step-8.pt", "step-9.pt", "best.pt"}
    assert load_checkpoint(tmp_path / "checkpoints" / "best.pt")["step"] == 3
    assert (tmp_path / "config.yaml").is_file()
    assert any((tmp_path / "tensorboard").iterdir())


def test_ctrl_c_finishes_the_step_and_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = Line(Run.alone(options(tmp_path, save_every=100)))

    def step(number: int) -> dict[str, Any]:
        if number == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return line.step(number)

    assert line.run.fit(line.state, step) == 4
    assert load_checkpoint(tmp_path / "checkpoints" / "step-4.pt")["step"] == 4
    assert "Stopped after step 4 of 9" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_max_minutes_end_a_run_that_can_go_on(tmp_path: Path) -> None:
    line = Line(Run.alone(options(tmp_path, max_minutes=0.0)))
    assert line.run.fit(line.state, line.step, quiet=True) == 1
    line = Line(Run.alone(options(tmp_path)))
    assert line.run.fit(line.state, line.step, quiet=True) == 9


def test_the_expected_time_is_told_after_the_first_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = Line(Run.alone(options(tmp_path)))
    line.run.fit(line.state, line.step)
    assert "A step takes" in capsys.readouterr().err


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(Run.alone(options(tmp_path, steps=2)))
    line.run.fit(line.state, line.step, quiet=True)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    line = Line(Run.alone(options(tmp_path)))
    with pytest.raises(CheckpointError, match="No space left"):
        line.run.fit(line.state, line.step, quiet=True)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-2.pt"]


def test_curves_that_cannot_be_written_stop_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = Line(Run.alone(options(tmp_path, steps=300, save_every=1000, validate_every=1000)))

    def step(number: int) -> dict[str, Any]:
        line.run.log_audio(number, "tone", np.sin(np.arange(8000, dtype=np.float32)), 16000)
        return line.step(number)

    with little_room(100_000), pytest.raises(CheckpointError, match="tensorboard cannot be written"):
        line.run.fit(line.state, step, quiet=True)
    line.run.close()
    assert "Traceback" not in capsys.readouterr().err


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-3.pt").write_bytes(b"nothing")
    line = Line(Run.alone(options(tmp_path)))
    with pytest.raises(CheckpointError, match=r"step-3\.pt is damaged"):
        line.run.fit(line.state, line.step, quiet=True)


def test_a_run_does_not_go_on_with_another_configuration(tmp_path: Path) -> None:
    toy = Toy(options(tmp_path))
    line = Line(Run.alone(toy.run, toy))
    line.run.fit(line.state, line.step, quiet=True)
    Run.alone(options(tmp_path, steps=20), Toy(options(tmp_path, steps=20)))
    with pytest.raises(OptionError, match=r"`rate: 0\.1`, not 0\.2"):
        Run.alone(toy.run, Toy(toy.run, rate=0.2))


def test_a_run_that_began_without_a_newer_setting_goes_on_with_its_default(tmp_path: Path) -> None:
    toy = Toy(options(tmp_path))
    line = Line(Run.alone(toy.run, toy))
    line.run.fit(line.state, line.step, quiet=True)
    kept = yaml.safe_load((tmp_path / "config.yaml").read_text())
    del kept["rate"], kept["inner"]["kind"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(kept))
    Run.alone(toy.run, toy)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**kept, "gone": 1}))
    with pytest.raises(OptionError, match="`gone: 1`, not None"):
        Run.alone(toy.run, toy)


def test_what_a_checkpoint_holds_of_an_earlier_training_is_dropped(tmp_path: Path) -> None:
    line = Line(Run.alone(options(tmp_path, steps=2)))
    line.state["old"] = torch.nn.Linear(2, 2)
    line.run.fit(line.state, line.step, quiet=True)
    line = Line(Run.alone(options(tmp_path, steps=3)))
    line.run.fit(line.state, line.step, quiet=True)
    assert "old" not in load_checkpoint(tmp_path / "checkpoints" / "step-3.pt")["state"]


def test_random_numbers_are_a_function_of_seed_step_and_purpose(tmp_path: Path) -> None:
    run = Run.alone(options(tmp_path))
    draws = [tuple(run.generator(step, purpose).integers(0, 1 << 30, 4)) for step in (1, 2) for purpose in (0, 1)]
    assert len(set(draws)) == 4
    assert tuple(run.generator(1, 1).integers(0, 1 << 30, 4)) == draws[1]


def told(run: Run, word: str) -> str:
    if word == "wrong":
        raise OptionError("A sentence of a process.")
    values = run.gather(torch.tensor([float(run.rank)]))
    mean = run.mean(torch.tensor([float(run.rank)]))
    return f"{word} {run.world_size} {values.tolist()} {mean.item()}"


def test_launch_with_one_process_runs_here(tmp_path: Path) -> None:
    assert launch(options(tmp_path), told, "one") == "one 1 [0.0] 0.0"


@pytest.mark.slow
def test_launch_with_two_processes_gives_the_first_ones_result_and_errors_as_they_are(tmp_path: Path) -> None:
    assert launch(options(tmp_path, devices=2), told, "two") == "two 2 [0.0, 1.0] 0.5"
    with pytest.raises(OptionError, match=r"^A sentence of a process\.$"):
        launch(options(tmp_path, devices=2), told, "wrong")


STOPPABLE = """
import sys, time
from pathlib import Path
import torch
from sparktts.train.options import RunOptions
from sparktts.train.run import Run, launch

def body(run):
    def step(number):
        time.sleep(0.05)
        Path(sys.argv[1], f"began-{run.rank}").touch()
        return {"loss": 1.0}
    return run.fit({"layer": torch.nn.Linear(1, 1)}, step, quiet=True)

if __name__ == "__main__":
    print(launch(RunOptions(Path(sys.argv[1]), 100000, accelerator="cpu", devices=2), body))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of other systems")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_first_process_alone_stops_all_cleanly(tmp_path: Path, kind: signal.Signals) -> None:
    program = tmp_path / "stoppable.py"
    program.write_text(STOPPABLE)
    out = tmp_path / "out"
    running = subprocess.Popen([sys.executable, str(program), str(out)], stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not all((out / f"began-{rank}").exists() for rank in (0, 1)) and time.monotonic() < end:
        time.sleep(0.1)
    running.send_signal(kind)
    printed, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    last = int(printed.split()[-1])
    assert 0 < last < 100000
    assert (out / "checkpoints" / f"step-{last}.pt").exists()


def test_missing_devices_are_one_sentence(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(OptionError, match="cannot be had here"):
        launch(options(tmp_path, accelerator="cuda"), told, "x")
