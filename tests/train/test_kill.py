"""Trainings that are killed as a machine that loses its power is: they go on, and end bit for bit as if nothing was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
pytest.importorskip("tensorboard")
pytest.importorskip("pyarrow")

from sparktts.train.options import plain  # noqa: E402
from sparktts.train.run import load_checkpoint  # noqa: E402

from ..cli.runner import run  # noqa: E402
from ..train_lm.corpus import settings, write_shards  # noqa: E402
from .corpus import codec_values, write_corpus  # noqa: E402

STEPS = {"codec": 24, "lm": 60}
OFTEN = {"log_every": 1, "validate_every": 12, "save_every": 3, "threads": 1}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, mini: Path, clip_24k: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("corpus")
    return {"codec": write_corpus(folder, [clip_24k]), "lm": write_shards(folder / "lm", mini)}


def configured(folder: Path, kind: str, shards: Path, mini: Path) -> Path:
    """The file of a training in `folder`."""
    often = {**OFTEN, "steps": STEPS[kind]}
    if kind == "codec":
        values = codec_values(folder / "run", shards, mini, "vocos", run=often, discriminators={"start": 2})
    else:
        values = plain(settings(folder / "run", shards, mini, run=often, data={"corrupt": 0.2}))
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return folder / "config.yaml"


def killed(kind: str, config: Path) -> int:
    """Starts the command, and kills it soon after its second checkpoint. Returns the step that it had saved."""
    checkpoints = config.parent / "run" / "checkpoints"
    command = [sys.executable, "-m", "sparktts", "train", kind, str(config)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while not (checkpoints / "step-6.pt").exists():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.002)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode not in (0, 1, 2)
    return max(int(path.stem[5:]) for path in checkpoints.glob("step-*.pt"))


def lines(folder: Path) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds_per_step"} for line in read]


def assert_equal(one: Any, other: Any, where: str = "") -> None:
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert list(one) == list(other), where
        for name in one:
            assert_equal(one[name], other[name], f"{where}.{name}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal(a, b, f"{where}[{number}]")
    else:
        assert one == other, where


@pytest.mark.parametrize("kind", STEPS)
def test_a_killed_run_goes_on_bit_for_bit(kind: str, shards: dict[str, Path], mini: Path, tmp_path: Path) -> None:
    config = configured(tmp_path / "killed", kind, shards[kind], mini)
    reached = killed(kind, config)
    assert 6 <= reached < STEPS[kind]
    whole = configured(tmp_path / "whole", kind, shards[kind], mini)
    for file in (config, whole):
        done = run("train", kind, file)
        assert done.code == 0, done.stderr
    ends = [load_checkpoint(file.parent / "run" / "checkpoints" / f"step-{STEPS[kind]}.pt") for file in (config, whole)]
    assert_equal(*ends)
    assert lines(config.parent) == lines(whole.parent)
