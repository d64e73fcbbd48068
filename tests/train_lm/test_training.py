"""Whole trainings on synthetic shards: they learn, they resume, they export what they learnt."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparktts.audio.read import read_audio
from sparktts.checkpoint.layout import Checkpoint
from sparktts.engine.torch.language_model import TorchLanguageModel
from sparktts.errors import CheckpointError, OptionError, SparkTTSError
from sparktts.tokenizer import SparkTokenizer
from sparktts.train.lm.export import export_run
from sparktts.train.lm.optimizer import make_optimizer
from sparktts.train.lm.options import LanguageModelOptions, OptimizerOptions
from sparktts.train.lm.packing import pack
from sparktts.train.lm.trainer import Trainer, train
from sparktts.train.options import parse_options
from sparktts.train.run import Run, launch

from ..aligned import with_aligner
from ..checkpoint.copies import copy_checkpoint, edit_tensors
from .corpus import settings, write_shards

CPU = torch.device("cpu")
SPARK = {"source": "spark"}


@pytest.fixture(scope="module")
def shards(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("shards"), mini)


def trainer(options: LanguageModelOptions) -> Trainer:
    return Trainer(Run.alone(options.run, options), options)


def lines(out: Path, split: str) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in read if line["split"] == split]


def weights(made: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in made.network.model.state_dict().items()}


@pytest.mark.parametrize(
    ("frontend", "order", "corrupt"),
    [("text", "text_first", 0.0), ("phonemes", "on_demand", 0.1)],
)
def test_the_loss_falls(frontend: str, order: str, corrupt: float, mini: Path, shards: Path, tmp_path: Path) -> None:
    options = settings(
        tmp_path / "run",
        shards,
        mini,
        run={"steps": 40, "validate_every": 10},
        data={"corrupt": corrupt, "corrupt_voice": corrupt},
        text_frontend=frontend,
        text_order=order,
    )
    assert trainer(options).fit() == 40
    losses = [line["loss"] for line in lines(tmp_path / "run", "validation")]
    assert losses[0] > 6
    assert losses[-1] < 4.5
    assert losses == sorted(losses, reverse=True)
    assert (tmp_path / "run/checkpoints/best.pt").is_file()


def test_bf16_learns_too(mini: Path, shards: Path, tmp_path: Path) -> None:
    options = settings(tmp_path / "run", shards, mini, run={"steps": 20, "precision": "bf16"})
    trainer(options).fit()
    assert lines(tmp_path / "run", "validation")[-1]["loss"] < 6


def test_muon_moves_matrices_in_all_directions_alike_and_learns(mini: Path, shards: Path, tmp_path: Path) -> None:
    options = settings(
        tmp_path / "run", shards, mini, run={"steps": 30}, optimizer={"kind": "muon", "weight_decay": 0.0}
    )
    made = trainer(options)
    before = weights(made)
    made.step(1)
    name, table = (next(n for n in before if part in n) for part in ("layers.0.mlp.down", "embed_tokens"))
    values = torch.linalg.svdvals(weights(made)[name] - before[name])
    assert values.min() > 0.4 * values.max()
    assert not torch.equal(weights(made)[table], before[table])
    made.fit()
    losses = [line["loss"] for line in lines(tmp_path / "run", "validation")]
    assert losses[-1] < losses[0] - 2


def test_muon_without_a_matrix_to_train_is_refused() -> None:
    with pytest.raises(OptionError, match="use adamw"):
        make_optimizer(torch.nn.LayerNorm(8), OptimizerOptions(kind="muon"))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_stopped_run_goes_on_bit_for_bit(kind: str, mini: Path, shards: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "data": {"corrupt": 0.2},
        "batch": {"tokens": 400, "accumulate": 2},
        "optimizer": {"kind": kind},
    }
    whole = trainer(settings(tmp_path / "whole", shards, mini, **changes))
    whole.fit()
    options = settings(tmp_path / "halves", shards, mini, **changes)
    first = trainer(options)
    step = first.step

    def stopping(number: int) -> Any:
        if number == 5:
            first.run.stop()
        return step(number)

    first.step = stopping  # type: ignore[method-assign]
    assert first.fit() == 5
    second = trainer(options)
    assert second.fit() == 12
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(second)[name]), name
    for before, after in zip(lines(tmp_path / "whole", "train"), lines(tmp_path / "halves", "train"), strict=True):
        assert before["loss"] == after["loss"]


def test_an_export_gives_the_trained_logits(mini: Path, shards: Path, tmp_path: Path) -> None:
    options = settings(tmp_path / "run", shards, mini, text_frontend="phonemes", text_order="on_demand")
    made = trainer(options)
    made.fit()
    target = export_run(options, tmp_path / "model", "newest")
    checkpoint = Checkpoint.open(target)
    assert "text_order: on_demand" in (target / "config.yaml").read_text()
    same_logits(made, checkpoint)
    with pytest.raises(OptionError, match="exists already"):
        export_run(options, tmp_path / "model")
    half = Checkpoint.open(export_run(options, tmp_path / "half", "12", "bf16"))
    assert half.describe()["dtypes"]["language model"] == ("BF16",)


def same_logits(made: Trainer, checkpoint: Checkpoint) -> None:
    model = TorchLanguageModel(checkpoint, CPU, torch.float32)
    document = made.split.validation.document(0, np.random.default_rng(0))
    made.network.eval()
    with torch.no_grad():
        hidden = made.network.hidden(pack([(document.ids, document.targets)]))
        expected = hidden @ made.network.rows(torch.arange(checkpoint.lm.vocab_size)).T
    logits = torch.from_numpy(model.logits(document.ids.tolist()))
    assert torch.allclose(logits, expected, atol=1e-4 * float(expected.abs().max()))


def test_a_merged_adapter_equals_the_adapter(mini: Path, shards: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    options = settings(
        tmp_path / "run", shards, mini, model=SPARK, lora={"rank": 4, "alpha": 8}, run={"steps": 6, "save_every": 3}
    )
    made = trainer(options)
    before = weights(made)
    made.fit()
    after = weights(made)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("lora" in name or name == "embed_tokens.rows" for name in changed)
    saved = torch.load(made.run.newest(), weights_only=True)["state"]["model"]  # type: ignore[arg-type]
    assert saved.keys() == {name for name in before if "lora" in name or name == "embed_tokens.rows"}
    same_logits(made, Checkpoint.open(export_run(options, tmp_path / "model", "newest")))


def test_a_spark_checkpoint_starts_with_its_own_logits(mini: Path, shards: Path, tmp_path: Path) -> None:
    options = settings(tmp_path / "run", shards, mini, model=SPARK)
    same_logits(trainer(options), Checkpoint.open(mini))


def test_qwen_gets_the_spark_tokens(mini: Path, shards: Path, tmp_path: Path) -> None:
    """The mini language model with its vocabulary cut back to what a Qwen2.5 directory holds."""
    import tokenizers
    from safetensors.numpy import load_file, save_file

    qwen = tmp_path / "qwen"
    qwen.mkdir()
    text = json.loads((mini / "LLM/tokenizer.json").read_text())
    text["added_tokens"] = [token for token in text["added_tokens"] if token["special"]]
    (qwen / "tokenizer.json").write_text(json.dumps(text))
    known = tokenizers.Tokenizer.from_file(str(qwen / "tokenizer.json")).get_vocab_size()
    config = json.loads((mini / "LLM/config.json").read_text())
    (qwen / "config.json").write_text(json.dumps({**config, "vocab_size": known + 5}))
    tensors = load_file(mini / "LLM/model.safetensors")
    embedding = tensors["model.embed_tokens.weight"][: known + 5].copy()
    save_file({**tensors, "model.embed_tokens.weight": embedding}, qwen / "model.safetensors")
    options = settings(
        tmp_path / "run", shards, mini, model={"source": "qwen2.5", "directory": str(qwen)}, run={"steps": 2}
    )
    made = trainer(options)
    rows = made.network.model.embed_tokens.weight.detach().numpy()
    assert np.array_equal(rows[:known], embedding[:known])
    assert made.tokenizer.speaker.first == known
    assert rows[known:].std() == pytest.approx(embedding[:known].std(), rel=0.1)
    same = SparkTokenizer.from_file(mini / "LLM/tokenizer.json")
    assert made.tokenizer.semantic == same.semantic
    made.fit()
    same_logits(made, Checkpoint.open(export_run(options, tmp_path / "model", "newest")))


def _one(run: Run, options: LanguageModelOptions) -> None:
    made = Trainer(run, options)
    made.step(1)
    torch.save([parameter.detach() for parameter in made.parameters], run.out / f"rank-{run.rank}.pt")


@pytest.mark.slow
def test_two_processes_take_the_step_of_one_with_the_joint_batch(mini: Path, shards: Path, tmp_path: Path) -> None:
    """One process accumulates over the batches that two have in turn."""
    plain = {"optimizer": {"warmup": 0, "clip": 0.5}, "tasks": {"clone": 1, "clone_transcript": 0, "create": 0}}
    two = settings(tmp_path / "two", shards, mini, run={"devices": 2, "threads": 1}, **plain)
    launch(two.run, _one, two)
    found, other = (torch.load(two.run.out / f"rank-{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(a, b) for a, b in zip(found, other, strict=True))
    one = settings(tmp_path / "one", shards, mini, **plain)
    alone = Trainer(Run.alone(one.run, one), one)
    peers = [Trainer(Run.alone(one.run, one), one).stream for _ in range(2)]
    for rank, stream in enumerate(peers):
        stream._rank, stream._world = rank, 2
    documents = [document for stream in peers for document in stream.next()]
    alone.stream.next = lambda: documents  # type: ignore[method-assign]
    alone.step(1)
    for expected, parameter in zip(alone.parameters, found, strict=True):
        assert torch.allclose(expected, parameter, atol=2e-5)


class Parrot:
    """A recogniser that hears one thing."""

    name = "parrot 1"

    def transcribe(self, samples: np.ndarray, language: str) -> str:
        return "abc"


def test_samples_are_spoken_and_judged_while_training_which_stays_as_it_is(
    mini: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparktts.guards.MAX_TOKENS", 40)
    mute = trainer(settings(tmp_path / "mute", shards, mini, run={"validate_every": 4, "save_every": 4}))
    mute.fit()
    aligned = with_aligner(mini, tmp_path / "aligned")
    judge = "python:tests.train_lm.test_training:Parrot"
    samples = {"sentences": ["Abc.", "Two words."], "checkpoint": str(aligned), "judge": judge}
    options = settings(tmp_path / "run", shards, mini, run={"validate_every": 4, "save_every": 4}, samples=samples)
    first = trainer(options)
    original = first.step

    def killed(step: int) -> Any:
        if step == 7:
            raise MemoryError
        return original(step)

    first.step = killed  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        first.fit()
    made = trainer(options)
    made.fit()
    expected = weights(mute)
    assert all(torch.equal(value, expected[name]) for name, value in weights(made).items())
    found = lines(tmp_path / "run", "validation")
    assert [line["loss"] for line in found] == [line["loss"] for line in lines(tmp_path / "mute", "validation")]
    assert [line["step"] for line in found] == [4, 8, 12]
    assert all(line["word_error"] == 0.5 for line in found)  # of two sentences one is what the parrot hears
    assert all(line["phoneme_error"] > 0 for line in found)
    assert made.samples is not None
    assert made.samples.measure(made.network.model, 12)["phoneme_error"] == found[-1]["phoneme_error"]
    assert len(read_audio(tmp_path / "run/samples/step-12-1.wav")) > 0


def test_samples_that_cannot_be_spoken_or_judged_are_one_sentence(mini: Path, shards: Path, tmp_path: Path) -> None:
    def refused(**samples: Any) -> str:
        with pytest.raises(SparkTTSError) as caught:
            trainer(settings(tmp_path / "run", shards, mini, samples={"sentences": ["Abc."], **samples}))
        return str(caught.value)

    assert "at least one" in refused(sentences=[])
    assert "'parrot' is not a recogniser" in refused(judge="parrot")
    assert "nowhere is missing" in refused(aligner=str(tmp_path / "nowhere"))
    aligned = with_aligner(mini, tmp_path / "aligned")
    shutil.rmtree(aligned / "wav2vec2-large-xlsr-53")
    assert "wav2vec2-large-xlsr-53 is missing" in refused(checkpoint=str(aligned))
    other = copy_checkpoint(mini, tmp_path)
    edit_tensors(other / "BiCodec/model.safetensors", lambda found: found["quantizer.codebook.weight"].fill(1))
    assert "has another codec than" in refused(checkpoint=str(other))


def test_only_the_stream_decides_what_is_trained(mini: Path, shards: Path, tmp_path: Path) -> None:
    """The whole of what the command does, once more, from a second start of the same finished run."""
    options = settings(tmp_path / "run", shards, mini, run={"steps": 4})
    assert train(Run.alone(options.run, options), options) == 4
    assert train(Run.alone(options.run, options), options) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": {"layer": 2}}, "did you mean `layers`"),
        ({"model": {"source": "gpt"}}, "`model.source` must be scratch, qwen2.5 or spark"),
        ({"model": {"source": "qwen2.5"}}, "`directory` must name the Qwen2.5 model"),
        ({"model": {"width": 30}}, "`width` must be a multiple"),
        ({"model": {"kv_heads": 3}}, "`kv_heads` must divide"),
        ({"data": {"corrupt": 2}}, "`data.corrupt` must be between 0 and 0.9"),
        ({"data": {"validation": 0.9}}, "`validation` must be a share"),
        ({"data": {"shards": []}}, "at least one folder"),
        ({"tasks": {"clone": 0, "clone_transcript": 0, "create": 0}}, "at least one share"),
        ({"lora": {"rank": 4}}, "cannot be scratch"),
        ({"text_order": "on_demand"}, "needs `text_frontend: phonemes`"),
        ({"optimizer": {"decay": "slow"}}, "cosine, linear or constant"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(change: Any, words: str, mini: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        settings(tmp_path, tmp_path, mini, **change)
    assert words in str(caught.value)
    assert str(caught.value).count(". ") == 0


def test_shards_that_do_not_fit_are_one_sentence(mini: Path, shards: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="There are no prepared clips"):
        trainer(settings(tmp_path / "a", tmp_path, mini))
    with pytest.raises(OptionError, match="with too long"):
        trainer(settings(tmp_path / "b", shards, mini, data={"max_tokens": 20}))
    with pytest.raises(CheckpointError, match="does not exist"):
        trainer(settings(tmp_path / "c", shards, tmp_path / "nowhere"))
    with pytest.raises(OptionError, match="no run in"):
        export_run(settings(tmp_path / "d", shards, mini), tmp_path / "e")


def test_tokens_of_another_codec_are_refused(mini: Path, tmp_path: Path) -> None:
    from sparktts.data.shards import write_shard

    from .corpus import clips

    (tmp_path / "shards").mkdir()
    write_shard(tmp_path / "shards/clips-00000.parquet", clips("0123456789abcdef"))
    with pytest.raises(OptionError, match="of the codec 0123456789abcdef"):
        trainer(settings(tmp_path / "run", tmp_path / "shards", mini))


def test_options_come_from_a_file(mini: Path) -> None:
    with pytest.raises(OptionError, match="`codec` is missing"):
        parse_options(
            {"run": {"out": "x", "steps": 1}, "data": {"shards": ["y"]}, "model": {"source": "scratch"}},
            LanguageModelOptions,
        )
