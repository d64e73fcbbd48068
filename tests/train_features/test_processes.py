"""Trainings of the features and of the aligner by two processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
pytest.importorskip("pyarrow")

from sparktts.train import aligner  # noqa: E402
from sparktts.train.aligner import AlignerOptions  # noqa: E402
from sparktts.train.features import training as features  # noqa: E402
from sparktts.train.features.student import Student, StudentOptions  # noqa: E402
from sparktts.train.features.training import FeaturesOptions  # noqa: E402
from sparktts.train.options import parse_options  # noqa: E402
from sparktts.train.run import Run, launch  # noqa: E402

from .corpus import write_corpus  # noqa: E402

STEPS = 3
SIZES = {"layers": 1, "heads": 4, "intermediate_size": 32, "conv_dim": [16] * 5, "positions": 8}
Train = Callable[[Run, Any], int]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), 16)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    torch.manual_seed(0)
    directory = tmp_path_factory.mktemp("encoder")
    Student(parse_options({"hidden_size": 32, **SIZES}, StudentOptions), 32).export(directory)
    return {"path": str(directory), "layers": [1]}


def watched(run: Run, train: Train, options: Any) -> None:
    """Trains; keeps each step's gradients before and after they were averaged, and the weights at the end."""
    average, seen = run.average_gradients, []
    parameters: list[Any] = []

    def averaging(found: Iterable[Any]) -> None:
        parameters[:] = [p for p in found if p.grad is not None]
        own = [p.grad.clone() for p in parameters]
        average(parameters)
        seen.append((own, [p.grad.clone() for p in parameters]))

    run.average_gradients = averaging  # type: ignore[method-assign]
    train(run, options)
    torch.save((seen, [p.detach() for p in parameters]), run.out / f"rank-{run.rank}.pt")


def seen_by(out: Path, ranks: int) -> list[Any]:
    return [torch.load(out / f"rank-{rank}.pt", weights_only=True) for rank in range(ranks)]


def section(out: Path, devices: int) -> dict[str, Any]:
    return {"out": str(out), "steps": STEPS, "devices": devices, "accelerator": "cpu", "threads": 1}


def close(one: list[Any], other: list[Any]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(one, other, strict=True))


def assert_one_training(out: Path) -> None:
    """Two processes heard different clips, and took the same steps, along the mean of their gradients."""
    (one, weights), (two, other_weights) = seen_by(out, 2)
    assert all(torch.equal(a, b) for a, b in zip(weights, other_weights, strict=True))
    assert len(one) == len(two) == STEPS
    for (a, averaged), (b, same) in zip(one, two, strict=True):
        assert not close(a, b)
        assert close(averaged, same)
        assert close(averaged, [(x + y) / 2 for x, y in zip(a, b, strict=True)])


@pytest.mark.slow
def test_two_processes_train_one_feature_encoder(corpus: Path, encoder: dict[str, Any], tmp_path: Path) -> None:
    values = {"shards": str(corpus), "teacher": encoder, "student": {"hidden_size": 16, **SIZES}}
    values |= {"run": section(tmp_path, 2), "batch": 2, "seconds": 0.5, "held_out": 2}
    options = parse_options(values, FeaturesOptions)
    launch(options.run, watched, features.train, options)
    assert_one_training(tmp_path)
    assert (tmp_path / "features" / "model.safetensors").is_file()


@pytest.mark.slow
def test_two_processes_train_an_aligner_as_one_with_the_joint_batch(
    corpus: Path, encoder: dict[str, Any], tmp_path: Path
) -> None:
    for devices in (1, 2):
        values = {"shards": str(corpus), "features": encoder, "network": {"width": 16}, "held_out": 2, "dropout": 0}
        values |= {"run": section(tmp_path / str(devices), devices), "batch": 6 // devices, "warmup": 0}
        options = parse_options(values, AlignerOptions)
        launch(options.run, watched, aligner.train, options)
    assert_one_training(tmp_path / "2")
    ((alone, _),), ((two, _), _) = seen_by(tmp_path / "1", 1), seen_by(tmp_path / "2", 2)
    assert close(alone[0][0], two[0][1])
