"""The MindSpore engine: the published numbers, and the other engines' speech. Runs by `make test-mindspore`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparktts import SparkTTS, bundled
from sparktts.checkpoint.layout import Checkpoint
from sparktts.engine import load_engine
from sparktts.engine.base import Engine
from sparktts.errors import GenerationError, OptionError
from sparktts.longform import ReadingOptions
from sparktts.windows import decode_in_windows

from ..seeded_checkpoint import write_checkpoint
from .sequences import GREEDY, Anything, Golden, check_forced_ids, check_joining_and_leaving, names, run

pytestmark = pytest.mark.mindspore

CLIPS = ("short", "long")


@pytest.fixture(scope="module")
def plain_mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seeded mini checkpoint, its feature model as safetensors: nothing here may need PyTorch."""
    directory = tmp_path_factory.mktemp("mindspore") / "mini"
    write_checkpoint(directory, "mini", plain=True)
    return directory


@pytest.fixture(scope="module")
def engine(plain_mini: Path) -> Engine:
    return load_engine(Checkpoint.open(plain_mini), "mindspore")


@pytest.fixture(scope="module")
def model(engine: Engine) -> Any:
    return engine.language_model


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    assert actual.shape == expected.shape
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def tokens_of(golden: Golden, clip: str) -> tuple[np.ndarray, np.ndarray]:
    return golden[f"{clip}.semantic"][0], golden[f"{clip}.global"][0, 0].astype(np.int64)


def test_next_token_logits_equal_the_golden_ones(model: Any, golden: Golden) -> None:
    assert len(names(golden)) == 3
    for name in names(golden):
        logits = model.logits(golden[f"prompt.{name}.ids"][0].tolist())[-1:]
        assert relative_error(logits, golden[f"prompt.{name}.logits"]) <= 1e-4


def test_greedy_continuations_equal_the_golden_ones(model: Any, golden: Golden) -> None:
    """Those of the torch engine, whose own test is the same."""
    for name in names(golden):
        expected = golden[f"prompt.{name}.greedy"][0].tolist()
        assert run(model, golden[f"prompt.{name}.ids"][0].tolist(), len(expected)) == expected


@pytest.mark.parametrize("count", [1, 3, 20, 180, 600])
def test_forced_ids_between_choices_count_as_prompt(model: Any, golden: Golden, count: int) -> None:
    prompt = golden["prompt.clone.ids"][0].tolist()
    check_forced_ids(model, prompt, tuple((prompt[5:25] * 30)[:count]))


def test_sequences_join_and_leave_without_changing_each_other(model: Any, golden: Golden) -> None:
    check_joining_and_leaving(model, golden)


def test_a_sequence_that_outgrows_the_cache_goes_on(model: Any, golden: Golden) -> None:
    prompt = (golden["prompt.clone.ids"][0].tolist() * 40)[:1400]
    long, short = Anything(model.config.vocab_size, 6), Anything(model.config.vocab_size, 8)
    model.add(prompt[:50], GREEDY, short)
    model.step()
    model.add(prompt, GREEDY, long)
    while not (long.done and short.done):
        model.step()
    assert long.taken == run(model, prompt, 6)
    assert short.taken == run(model, prompt[:50], 8)


def test_a_sequence_longer_than_the_model_is_refused(model: Any) -> None:
    handle = model.add([1] * 40_000, GREEDY, Anything(model.config.vocab_size, 1))
    with pytest.raises(GenerationError, match="shorter"):
        model.step()
    model.cancel(handle)


@pytest.mark.parametrize("clip", CLIPS)
def test_the_codec_is_the_published_one(engine: Engine, golden: Golden, clip: str) -> None:
    codec = engine.codec
    assert np.mean(codec.speaker_tokens(golden[f"{clip}.ref_wav"][0]) == golden[f"{clip}.global"][0, 0]) >= 0.99
    assert relative_error(codec.features(golden[f"{clip}.wav"]), golden[f"{clip}.feat"][0]) <= 1e-4  # type: ignore[attr-defined]
    assert np.mean(codec.semantic_tokens(golden[f"{clip}.wav"]) == golden[f"{clip}.semantic"][0]) >= 0.99
    samples, state = codec.decode(*tokens_of(golden, clip))
    assert relative_error(samples, golden[f"{clip}.recon"]) <= 1e-4
    assert state is None


@pytest.mark.parametrize("window", [40, 120])
def test_windows_give_the_samples_of_one_decode(engine: Engine, golden: Golden, window: int) -> None:
    samples = decode_in_windows(engine.codec, *tokens_of(golden, "short"), window)
    assert relative_error(samples, golden["short.recon"]) <= 1e-4


@pytest.fixture(scope="module")
def ember(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's own model as plain weights."""
    from sparktts.export.restore import restore

    return restore(bundled.DIRECTORY, tmp_path_factory.mktemp("ember") / "plain")


def test_ember_s_codec_is_that_of_the_onnx_engine(ember: Path, golden: Golden) -> None:
    """The small feature model, a decoder that carries a phase on, its refiner, and the aligner."""
    ours = load_engine(Checkpoint.open(ember), "mindspore")
    theirs = load_engine(Checkpoint.open(bundled.DIRECTORY), "onnx")
    clip = golden["long.wav"]
    semantic, speaker = theirs.codec.semantic_tokens(clip), theirs.codec.speaker_tokens(clip)
    assert np.mean(ours.codec.semantic_tokens(clip) == semantic) >= 0.97  # theirs are of 8 bits, widened
    assert np.mean(ours.codec.speaker_tokens(clip) == speaker) >= 0.97
    whole, _ = ours.codec.decode(semantic, speaker)
    # The first second: a pitch that is rounded otherwise, as converted weights are, drifts away in the sum of phases.
    assert np.corrcoef(whole[:16000], theirs.codec.decode(semantic, speaker)[0][:16000])[0, 1] >= 0.98
    assert relative_error(decode_in_windows(ours.codec, semantic, speaker, 50), whole) <= 1e-4
    words = ["hˈɛloʊ", "wˈɝld"]
    assert ours.aligner is not None
    assert theirs.aligner is not None
    assert abs(ours.aligner.error_rate(clip, words) - theirs.aligner.error_rate(clip, words)) <= 0.2


def test_a_stream_is_what_say_gives(ember: Path) -> None:
    tts = SparkTTS.from_pretrained(ember, engine="mindspore")
    with tts.stream("Good evening.", mode="exact", seed=2) as stream:
        pieces = [chunk.samples for chunk in stream]
    said = tts.say("Good evening.", seed=2, reading=ReadingOptions(takes=1)).samples
    streamed = np.concatenate(pieces)
    assert len(said) > 8000
    assert abs(len(streamed) - len(said)) <= 320  # the silence at the end is cut in another way
    kept = min(len(streamed), len(said)) - 640
    assert np.abs(streamed[:kept] - said[:kept]).max() <= 2e-4


def test_every_tensor_is_used_but_those_of_training(
    plain_mini: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is misspelt here would otherwise be a weight that is left out, such as an optional bias."""
    from sparktts.engine.mindspore.layers import Weights

    read: dict[int, set[str]] = {}
    asked: set[str] = set()

    class Watched(Weights):
        def array(self, name: str) -> np.ndarray:
            read[id(self._arrays)] = set(self._arrays)
            asked.add(self._prefix + name)
            return super().array(name)

        def under(self, name: str) -> Weights:
            return Watched(self._arrays, f"{self._prefix}{name}.", self._kept)

    monkeypatch.setattr("sparktts.engine.mindspore.codec.Weights", Watched)
    codec = load_engine(Checkpoint.open(plain_mini), "mindspore").codec
    codec.speaker_tokens(golden["short.ref_wav"][0])
    codec.semantic_tokens(golden["short.wav"])
    codec.decode(*tokens_of(golden, "short"))
    training = ("speaker_encoder.speaker_encoder.pool.", "speaker_encoder.speaker_encoder.bn.")
    training += ("speaker_encoder.speaker_encoder.linear.", "masked_spec_embed", "encoder.layer_norm.")
    assert len(read) == 5  # speaker encoder, semantic encoder, prenet, decoder, feature model
    assert {name for name in set().union(*read.values()) - asked if not name.startswith(training)} == set()


@pytest.mark.parametrize(
    ("device", "dtype", "words"),
    [
        ("cuda", "auto", "not a device of MindSpore"),
        ("ascend:x", "auto", "not a device of MindSpore"),
        ("ascend", "auto", "finds no Ascend device"),
        ("cpu", "bf16", "no bf16 products on a CPU"),
        ("cpu", "fp16", "not a precision"),
    ],
)
def test_what_is_not_there_is_refused_in_one_sentence(plain_mini: Path, device: str, dtype: str, words: str) -> None:
    if device == "ascend" and Path("/dev/davinci_manager").exists():
        pytest.skip("There is an Ascend device.")
    with pytest.raises(OptionError, match=words):
        load_engine(Checkpoint.open(plain_mini), "mindspore", device, dtype)


def test_every_operator_has_kernels_for_cpu_and_ascend_by_its_documentation() -> None:
    from mindspore import ops

    import sparktts.engine.mindspore as package

    source = "".join(path.read_text() for path in Path(package.__path__[0]).glob("*.py"))
    used = set(re.findall(r"\bops\.([A-Z]\w+)", source)) | {
        "Neg",
        "RealDiv",
        "Reshape",
        "Sub",
        "Tile",
    }  # by methods
    page = (Path(__file__).parents[2] / "docs" / "ascend.md").read_text()
    listed = page.split("Operators, each with")[1].split(":", 1)[1].split(". None")[0]
    assert used == set(re.findall(r"\b[A-Z]\w+", listed))
    for name in used:
        text = getattr(ops, name).__doc__ or ""
        if "Supported Platforms" not in text and (other := re.search(r"mindspore\.ops\.(\w+)", text)):
            text = getattr(ops, other[1]).__doc__ or ""  # "refer to"
        platforms = re.search(r"Supported Platforms:\s+(.+)", text)
        assert platforms is not None, name
        assert {"``Ascend``", "``CPU``"} <= set(platforms[1].split()), name
