"""Codec training on a tiny corpus: it learns, it resumes bit for bit, what is frozen stays, the export is the model."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional
pytest.importorskip("lightning_fabric")
pytest.importorskip("tensorboard")
pytest.importorskip("pyarrow")

from sparktts.audio.mel import MelSpectrogram  # noqa: E402
from sparktts.audio.samples import Samples  # noqa: E402
from sparktts.checkpoint.aligner import AlignerConfig  # noqa: E402
from sparktts.checkpoint.layout import Checkpoint, check  # noqa: E402
from sparktts.engine.torch.aligner import Aligner, AlignerNetwork  # noqa: E402
from sparktts.engine.torch.codec import TorchCodec  # noqa: E402
from sparktts.errors import CheckpointError, OptionError  # noqa: E402
from sparktts.evaluate.judges.ge2e_network import GE2ENetwork  # noqa: E402
from sparktts.train.aligner import export as export_aligner  # noqa: E402
from sparktts.train.codec.discriminators import Discriminators  # noqa: E402
from sparktts.train.codec.export import export  # noqa: E402
from sparktts.train.codec.losses import (  # noqa: E402
    adversarial_loss,
    discriminator_loss,
    mel_spectrogram,
    phoneme_loss,
)
from sparktts.train.codec.model import SyncedBatchNorm  # noqa: E402
from sparktts.train.codec.options import CodecTraining, DiscriminatorOptions  # noqa: E402
from sparktts.train.codec.quantizing import unevenness  # noqa: E402
from sparktts.train.codec.segments import Segments  # noqa: E402
from sparktts.train.codec.trainer import CodecTrainer, train, voice_encoder  # noqa: E402
from sparktts.train.features.extractors import encode_clip  # noqa: E402
from sparktts.train.options import parse_options  # noqa: E402
from sparktts.train.run import Run, launch, load_checkpoint  # noqa: E402

from ..cli.runner import run as run_cli  # noqa: E402
from .corpus import DECODERS, REFINER, MelFeatures, codec_model, codec_values, write_corpus  # noqa: E402

Make = Callable[..., CodecTrainer]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, clip_24k: Path, clip_16k: Path) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), [clip_24k, clip_16k])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums over threads differ in their order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make(tmp_path: Path, shards: Path, mini: Path) -> Iterator[Make]:
    """Makes trainers of the tiny codec; changes are those of `codec_values`."""
    made: list[CodecTrainer] = []

    def maker(decoder: str = "vocos", out: str = "run", **changes: Any) -> CodecTrainer:
        if decoder == "source_filter":
            pytest.importorskip("swift_f0")
        options = parse_options(codec_values(tmp_path / out, shards, mini, decoder, **changes), CodecTraining)
        made.append(CodecTrainer.start(Run.alone(options.run, options), options))
        return made[-1]

    yield maker
    for trainer in made:
        trainer.segments.close()
        trainer.run.close()


def metrics(out: Path, split: str = "train") -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds_per_step"} for line in lines if line["split"] == split]


@pytest.mark.parametrize(("decoder", "steps"), [("vocos", 60), ("source_filter", 20)])
def test_the_losses_fall(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoder: str, steps: int) -> None:
    monkeypatch.setattr("sparktts.train.codec.trainer.open_encoder", lambda *_: MelFeatures())
    run = {"steps": steps, "validate_every": steps, "save_every": steps}
    losses = {"spread": 0.0}  # with it frames are harder to quantise at first
    trainer = make(decoder, run=run, optimizer={"rate": 1e-3}, data={"batch": 5}, losses=losses, speaker_warmup=8)
    assert trainer.fit() == steps
    lines = metrics(tmp_path / "run")
    names = ["mel", "postnet", "speaker"] if decoder == "vocos" else ["mel", "postnet", "f0"]
    for name in names:
        first, last = (np.mean([line[name] for line in part]) for part in (lines[:6], lines[-6:]))
        assert last < 0.9 * first, name
    assert np.mean([line["quantizer"] for line in lines[-5:]]) < 0.5 * lines[0]["quantizer"]
    checked = metrics(tmp_path / "run", "validation")[-1]
    assert checked["tokens_used"] >= 2
    assert checked["voices_used"] >= 4
    assert 0 < checked["mel"] < 2
    assert -1 <= checked["speaker_cosine"] <= 1
    assert any((tmp_path / "run" / "tensorboard").iterdir())


def write_aligner(folder: Path, features: str | None = None) -> Path:
    """A recogniser with random weights, which listens to as many values as `MelFeatures` gives."""
    torch.manual_seed(0)
    config = AlignerConfig(MelFeatures.dim, ("a", "b", "c"), width=16, kernel=3, features=features)
    network = AlignerNetwork(config)
    torch.nn.init.normal_(network.head.weight)
    export_aligner(folder, config, network)
    return folder


def test_tokens_come_to_keep_what_a_recogniser_hears(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparktts.train.codec.trainer.open_encoder", lambda *_: MelFeatures())
    aligner = write_aligner(tmp_path / "aligner")
    others = dict.fromkeys(("mel", "quantizer", "spread", "speaker", "postnet"), 0.0)
    run, losses = {"steps": 24, "validate_every": 100, "save_every": 100}, {**others, "phonemes": 10.0}
    trainer = make(run=run, aligner=str(aligner), losses=losses, optimizer={"rate": 2e-3}, data={"batch": 5})
    before = {name: value.clone() for name, value in trainer.aligner.state_dict().items()}  # type: ignore[union-attr]
    trainer.fit()
    heard = [line["phonemes"] for line in metrics(tmp_path / "run")]
    assert np.mean(heard[-5:]) < 0.8 * np.mean(heard[:5])
    after = trainer.aligner.state_dict()  # type: ignore[union-attr]
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not [name for name in trainer.model.state_dict() if "aligner" in name]


def test_the_sound_comes_to_be_the_voice_that_a_speaker_encoder_hears(make: Make, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = GE2ENetwork()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(4)  # as drawn, everybody sounds the same to it
    torch.save({"model_state": network.state_dict()}, tmp_path / "pretrained.pt")
    others = dict.fromkeys(("mel", "quantizer", "spread", "speaker", "postnet", "f0", "voicing"), 0.0)
    trainer = make(
        "source_filter",
        run={"steps": 16, "validate_every": 100, "save_every": 100},
        voice_encoder=str(tmp_path / "pretrained.pt"),
        losses={**others, "identity": 10.0},
        optimizer={"rate": 3e-3},
    )
    before = {name: value.clone() for name, value in trainer.voices.state_dict().items()}  # type: ignore[union-attr]
    trainer.fit()
    heard = [line["identity"] for line in metrics(tmp_path / "run")]
    assert np.mean(heard[-4:]) < 0.8 * np.mean(heard[:4]), heard
    assert all(torch.equal(value, before[name]) for name, value in trainer.voices.state_dict().items())  # type: ignore[union-attr]
    (tmp_path / "other.pt").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="GE2E"):
        voice_encoder(replace(trainer.options, voice_encoder=tmp_path / "other.pt"), torch.device("cpu"))


def test_features_that_are_the_same_sound_the_same_to_a_recogniser(tmp_path: Path) -> None:
    network = Aligner.load(write_aligner(tmp_path / "aligner")).network
    features = torch.randn(2, MelFeatures.dim, 20)
    network.requires_grad_(False)
    assert float(phoneme_loss(network, features, features)) == pytest.approx(0, abs=1e-6)
    assert float(phoneme_loss(network, features, features + 1)) > 1e-3


def test_a_recogniser_of_other_features_is_refused(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparktts.train.codec.trainer.open_encoder", lambda *_: MelFeatures())
    with pytest.raises(CheckpointError, match="features of another encoder"):
        make(aligner=str(write_aligner(tmp_path / "aligner", features="others")))


def test_the_discriminators_learn_while_the_generator_stands_still(make: Make) -> None:
    trainer = make("vocos", optimizer={"rate": 2e-3}, discriminators={"start": 0})
    batch = trainer.segments.batch(1)
    with torch.no_grad():
        fake = trainer.model(batch).wave
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    losses = [float(trainer.discriminator_step(batch.audio, fake, 1)) for _ in range(24)]
    assert losses[-1] < 0.8 * losses[0], losses
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())


def test_the_generator_deceives_discriminators_that_stand_still(make: Make) -> None:
    others = dict.fromkeys(("mel", "features", "quantizer", "spread", "speaker", "postnet"), 0.0)
    losses = {**others, "adversarial": 1.0}
    trainer = make("vocos", losses=losses, optimizer={"rate": 5e-3}, discriminators={"start": 0})
    assert trainer.discriminators is not None
    batch = trainer.segments.batch(1)
    with torch.no_grad():
        fake = trainer.model(batch).wave
    for _ in range(5):
        trainer.discriminator_step(batch.audio, fake, 1)
    before = {name: value.clone() for name, value in trainer.discriminators.state_dict().items()}
    found = []
    for _ in range(12):
        made = trainer.model(batch)
        found.append(float(trainer.generator_step(batch, made, 1, judged=True)["adversarial"]))
    assert found[-1] < 0.9 * found[0]
    assert all(torch.equal(value, before[name]) for name, value in trainer.discriminators.state_dict().items())


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_run_that_broke_off_goes_on_bit_for_bit(make: Make, tmp_path: Path, decoder: str) -> None:
    changes: dict[str, Any] = {"discriminators": {"start": 2}}
    whole = make(decoder, "whole", **changes)
    whole.fit()
    broken = make(decoder, "broken", **changes)
    original = broken.train_step

    def step(number: int) -> Any:
        if number == 6:
            raise MemoryError
        return original(number)

    broken.train_step = step  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        broken.fit()
    again = make(decoder, "broken", **changes)
    assert again.run.newest() == tmp_path / "broken" / "checkpoints" / "step-4.pt"
    assert again.fit() == 6
    for name in ("model", "averaged", "discriminators"):
        expected, found = whole.state[name].state_dict(), again.state[name].state_dict()
        assert all(torch.equal(expected[key], found[key]) for key in expected), name
    for split in ("train", "validation"):
        assert metrics(tmp_path / "broken", split) == metrics(tmp_path / "whole", split)


def test_stages_of_resampling_may_be_left_out(make: Make, tmp_path: Path, mini: Path) -> None:
    model = codec_model()
    for part in ("encoder", "prenet", "postnet"):
        model[part] = {**model[part], "sample_ratios": []}
    trainer = make(run={"steps": 1}, model=model)
    assert not [name for name, _ in trainer.model.named_parameters() if "downsample" in name]
    trainer.fit()
    codec = TorchCodec(Checkpoint.open_codec(export(tmp_path / "run", tmp_path / "model")))
    assert codec.context < TorchCodec(Checkpoint.open_codec(mini)).context
    assert codec.decode(np.zeros(3, np.int64), np.zeros(8, np.int64))[0].shape == (960,)


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_export_speaks_as_the_model_does(make: Make, tmp_path: Path, decoder: str) -> None:
    trainer = make(decoder, run={"steps": 3}, data={"reference_seconds": 1.6})
    trainer.fit()
    target = export(tmp_path / "run", tmp_path / "model")
    codec = TorchCodec(Checkpoint.open_codec(target))
    audio = trainer.segments.recordings.samples(0)
    assert trainer.segments.heard is not None
    features = torch.from_numpy(encode_clip(trainer.segments.heard.encoder, audio)).T[None]
    with trainer.averaged.applied() as model:
        semantic, speaker = model.tokens(features, torch.from_numpy(audio)[None])
        wave = model.decode(semantic, speaker)[0].numpy()
    assert np.array_equal(codec.semantic_tokens(audio), semantic[0].numpy())
    assert np.array_equal(codec.speaker_tokens(audio), speaker[0].numpy())
    samples, _ = codec.decode(semantic[0].numpy(), speaker[0].numpy())
    assert np.abs(samples - np.clip(wave, -1, 1)).max() <= 1e-4 * np.abs(wave).max()
    assert {path.name for path in target.iterdir()} == {"BiCodec", "config.yaml", "wav2vec2-large-xlsr-53"}


def test_an_export_in_half_precision_is_half_as_large_and_says_the_same(make: Make, tmp_path: Path) -> None:
    trainer = make("vocos", run={"steps": 2})
    trainer.fit()
    audio = trainer.segments.recordings.samples(0)
    sizes, spoken = [], []
    for dtype in ("fp32", "fp16"):
        target = export(tmp_path / "run", tmp_path / dtype, dtype=dtype)  # type: ignore[arg-type]
        sizes.append((target / "BiCodec" / "model.safetensors").stat().st_size)
        codec = TorchCodec(Checkpoint.open_codec(target))
        spoken.append(codec.decode(np.arange(20), codec.speaker_tokens(audio))[0])
    assert sizes[1] < 0.65 * sizes[0]
    assert np.abs(spoken[0] - spoken[1]).max() < 0.02 * np.abs(spoken[0]).max()


@pytest.mark.parametrize("decoder", ["vocos", "source_filter"])
def test_the_decoder_stage_leaves_tokens_and_their_networks_untouched(make: Make, tmp_path: Path, decoder: str) -> None:
    make("vocos", "base", run={"steps": 2}).fit()
    base = export(tmp_path / "base", tmp_path / "base-model")
    model = {"decoder": DECODERS[decoder]}
    trainer = make(decoder, "tuned", stage="decoder", init_from=str(base), model=model, run={"steps": 4}, features=None)
    trainer.options = replace(trainer.options)
    assert trainer.segments.batch(1).features is None
    trainer.fit()
    target = export(tmp_path / "tuned", tmp_path / "tuned-model")
    before, after = Checkpoint.open_codec(base), Checkpoint.open_codec(target)
    assert after.codec_fingerprint == before.codec_fingerprint
    for part in ("encoder", "quantizer", "speaker_encoder", "postnet"):
        expected, found = before.bicodec_tensors(part), after.bicodec_tensors(part)
        assert all(np.array_equal(expected[name], found[name]) for name in expected), part
    changed = after.bicodec_tensors("prenet")
    assert any(not np.array_equal(values, changed[name]) for name, values in before.bicodec_tensors("prenet").items())


@pytest.mark.parametrize("stage", ["decoder", "all"])
def test_a_language_model_comes_along_where_its_tokens_stay(make: Make, mini: Path, tmp_path: Path, stage: str) -> None:
    make("vocos", "base", run={"steps": 1}).fit()
    base = export(tmp_path / "base", tmp_path / "base-model")
    shutil.copytree(mini / "LLM", base / "LLM")
    make("vocos", "tuned", stage=stage, init_from=str(base), model={}, run={"steps": 1}).fit()
    target = export(tmp_path / "tuned", tmp_path / "tuned-model")
    assert check(target).ok is (stage == "decoder")
    if stage == "decoder":
        weights = "LLM/model.safetensors"
        assert (target / weights).read_bytes() == (mini / weights).read_bytes()
    else:
        assert not (target / "LLM").exists()


def test_fine_tuning_starts_from_the_checkpoint(make: Make, mini: Path) -> None:
    trainer = make("vocos", model={}, init_from=str(mini), features=None, data={"segment_seconds": 0.2, "batch": 2})
    expected = Checkpoint.open(mini).bicodec_tensors()
    found = trainer.model.folded()
    for name, values in expected.items():
        assert np.allclose(found[name].numpy(), values, atol=1e-6), name
    result = trainer.train_step(1)
    assert np.isfinite(float(result["loss"]))


def test_bf16_steps_are_finite_and_near_those_in_fp32(make: Make) -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        for decoder in DECODERS:
            trainer = make(decoder, f"{precision}-{decoder}", run={"precision": precision}, discriminators={"start": 0})
            losses[precision, decoder] = {k: float(v) for k, v in trainer.train_step(1).items()}
    for decoder in DECODERS:
        exact, short = losses["fp32", decoder], losses["bf16", decoder]
        assert all(np.isfinite(value) for value in short.values())
        assert short["mel"] == pytest.approx(exact["mel"], rel=0.1)


def test_the_target_is_silent_in_the_reference(make: Make) -> None:
    segments = make().segments
    audio = np.full(32000, 0.5, np.float32)
    reference = segments._reference(0, audio, 8000, 14400, np.random.default_rng(0))
    assert len(reference) == 16000
    for seed in range(20):
        reference = segments._reference(0, audio[:16000], 8000, 14400, np.random.default_rng(seed))
        assert not reference[8000:14400].any()
        assert reference[:8000].all()
        assert reference[14400:].all()


def test_the_reference_may_be_another_clip_of_the_speaker(make: Make) -> None:
    segments = make(data={"reference": "speaker"}).segments
    segments.recordings.samples = lambda index: np.full(32000, index, np.float32)  # type: ignore[method-assign]
    own = segments.usable[0]
    draws = [segments._reference(own, np.zeros(1), 0, 1, np.random.default_rng(seed)) for seed in range(99)]
    assert {float(draw[0]) for draw in draws} == set(segments.usable) - {own}
    assert all(len(set(draw.tolist())) == 1 and len(draw) == 16000 for draw in draws)
    segments._of_speaker["speaker"] = [own]
    assert not segments._reference(own, np.ones(16000, np.float32), 0, 16000, np.random.default_rng(0)).any()


def test_references_are_made_worse_where_that_is_asked_for(make: Make) -> None:
    plain, worse = make().segments, make(data={"reference_augment": 1.0}).segments
    clip = plain.recordings.samples(plain.usable[0])[:16000]

    def draws(segments: Segments) -> list[Samples]:
        return [segments._reference(0, clip, 8000, 14400, np.random.default_rng(seed)) for seed in range(8)]

    assert all(np.array_equal(reference, draws(plain)[0]) for reference in draws(plain))
    assert len({reference.tobytes() for reference in draws(worse)}) > 4
    assert np.array_equal(draws(worse), draws(worse))


def test_discriminators_that_never_begin_are_not_there(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = make(run={"steps": 1})
    assert "no discriminators" in capsys.readouterr().err
    assert (trainer.discriminators, trainer.discriminator_optimizer) == (None, None)
    trainer.fit()
    newest = trainer.run.newest()
    assert newest is not None
    assert set(load_checkpoint(newest)["state"]) == {"model", "averaged", "optimizer", "lowest"}
    make(out="judged", discriminators={"start": 5})
    assert re.search(r"\(0\.\d M in discriminators\)", capsys.readouterr().err)


def test_batches_are_a_function_of_seed_and_step_and_cover_the_clips(make: Make) -> None:
    one, two = make(out="one").segments, make(out="two", run={"seed": 0}).segments
    first = one.read(3)
    for ahead in (1, 2, 3):
        batch = two.batch(ahead)
    assert torch.equal(first.audio, batch.audio)
    assert first.features is not None
    assert batch.features is not None
    assert torch.equal(first.features, batch.features)
    seen = [index for step in range(1, 1 + len(one.usable)) for index in one._indices(step)]
    assert all(seen.count(index) == 3 for index in one.usable)
    assert not torch.equal(make(out="three", run={"seed": 1}).segments.read(3).audio, first.audio)


def test_cached_features_are_those_computed(make: Make, tmp_path: Path) -> None:
    fresh = make(out="a", features={"cache": None}).segments
    cached = make(out="b", features={"cache": str(tmp_path / "kept")}).segments
    a, b = fresh.read(1).features, cached.read(1).features
    assert a is not None
    assert b is not None
    assert torch.equal(a, b)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*.npy")}
    assert files
    make(out="c", features={"cache": str(tmp_path / "kept")})
    assert files == {path: path.stat().st_mtime_ns for path in files}


def test_pitch_is_kept_for_later_runs(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = make("source_filter", "a").segments.read(1)
    kept = make("source_filter", "b", data={"pitch_cache": str(tmp_path / "kept")}).segments.read(1)
    monkeypatch.setattr("sparktts.train.codec.segments.pitch_track", lambda *_: pytest.fail("computed again"))
    later = make("source_filter", "c", data={"pitch_cache": str(tmp_path / "kept")}).segments.read(1)
    for batch in (kept, later):
        assert torch.equal(fresh.log_f0, batch.log_f0)  # type: ignore[arg-type]
        assert torch.equal(fresh.voiced, batch.voiced)  # type: ignore[arg-type]


def test_a_refiner_is_added_to_a_trained_decoder_and_learns(make: Make, tmp_path: Path) -> None:
    make("source_filter", "base", run={"steps": 2}).fit()
    base = export(tmp_path / "base", tmp_path / "base-model")
    model = {"decoder": {**DECODERS["source_filter"], "refiner": REFINER}}
    changes: dict[str, Any] = {"stage": "decoder", "init_from": str(base), "features": None, "model": model}
    trainer = make("source_filter", "refined", **changes, run={"steps": 4}, discriminators={"start": 1})
    before = Checkpoint.open_codec(base).bicodec_tensors("decoder")
    state = trainer.model.decoder.state_dict()
    assert all(np.array_equal(value, state[name.removeprefix("decoder.")]) for name, value in before.items())
    assert not state["refiner.head.weight"].any()
    trainer.fit()
    assert trainer.model.decoder.state_dict()["refiner.head.weight"].any()
    assert {"mel", "f0", "adversarial", "features"} <= set(metrics(tmp_path / "refined")[-1])
    after = Checkpoint.open_codec(export(tmp_path / "refined", tmp_path / "refined-model"))
    samples, _ = TorchCodec(after).decode(np.arange(40) % 64, np.arange(8))
    assert np.isfinite(samples).all()
    assert samples.std() > 1e-4


def test_frames_that_use_few_dimensions_cost_and_come_to_use_all(make: Make) -> None:
    torch.manual_seed(0)
    even, flat = torch.randn(2, 8, 500), torch.randn(2, 8, 500) * torch.tensor([1.0] * 3 + [1e-3] * 5)[:, None]
    assert 0 <= float(unevenness(even)) < 0.1
    assert float(unevenness(flat)) > 3
    quantizer = make().model.quantizer
    weight = quantizer.in_project.parametrizations.weight.original1
    with torch.no_grad():
        weight[1:] = weight[:1] + 0.01 * torch.randn_like(weight[1:])  # four outputs that say the same
    frames, optimizer = torch.randn(2, 32, 200), torch.optim.Adam(quantizer.parameters(), 1e-2)
    before = float(quantizer.learn(frames).spread.detach())
    for _ in range(60):
        optimizer.zero_grad()
        quantizer.learn(frames).spread.backward()
        optimizer.step()
    assert float(quantizer.learn(frames).spread.detach()) < 0.3 * before


def test_before_they_are_quantised_vectors_are_those_of_the_frames(make: Make) -> None:
    trainer = make(quantizer_warmup=2)
    quantizer, frames = trainer.model.quantizer, torch.randn(1, 32, 20)
    free, bound = quantizer.learn(frames, continuous=True), quantizer.learn(frames)
    directions = F.normalize(quantizer.in_project(frames), dim=1)
    assert torch.allclose(F.normalize(free.latent, dim=1), directions, atol=1e-6)
    assert torch.equal(free.vectors, quantizer.out_project(free.latent))
    assert not torch.allclose(free.vectors, bound.vectors)
    assert torch.equal(free.tokens, bound.tokens)
    losses = [float(trainer.train_step(step)["quantizer"]) for step in (1, 2, 3)]
    assert losses[:2] == [0, 0]
    assert losses[2] > 0


def test_entries_that_are_found_by_direction_keep_their_length_and_frames_take_it(make: Make) -> None:
    quantizer = make().model.quantizer
    assert quantizer.by_direction
    before = quantizer.codebook.weight.detach().norm(dim=1)
    frames = 1000 * torch.randn(1, 32, 20)
    found = quantizer.learn(frames)
    assert torch.allclose(found.latent.norm(dim=1)[0], before[found.tokens[0]], rtol=1e-4)
    assert float(found.loss.detach()) < 4 * (0.25 + 2.0)  # however long the frames are
    found.loss.backward()
    along = (quantizer.codebook.weight.grad * quantizer.codebook.weight).sum(dim=1)
    assert float(quantizer.codebook.weight.grad.abs().max()) > 1e-4
    assert float(along.detach().abs().max()) < 1e-5


def test_dead_entries_move_to_where_frames_are(make: Make) -> None:
    trainer = make()
    quantizer = trainer.model.quantizer
    latent = torch.randn(2, 4, 40) + 5
    with torch.no_grad():
        quantizer.codebook.weight.fill_(-1.0)
        quantizer.cluster_size.fill_(1.0)
        quantizer.cluster_size[:10] = 0.0
    tokens = torch.full((2, 40), 20)
    moved = quantizer.revive(trainer.run, tokens, latent, np.random.default_rng(0))
    assert moved.tolist() == list(range(10))
    assert (quantizer.codebook.weight[:10] > 0).all()
    assert (quantizer.codebook.weight[10:] == -1.0).all()
    assert len(quantizer.codebook.weight[:10].unique(dim=0)) == 10


def test_the_mel_spectrogram_is_that_of_the_engine() -> None:
    mel = MelSpectrogram()
    samples = np.random.default_rng(0).standard_normal(9000).astype(np.float32)
    ours = mel_spectrogram(mel, torch.from_numpy(samples)[None])[0].numpy()
    assert np.allclose(ours, mel(samples), atol=1e-4)


def test_discriminators_hear_every_period_and_band() -> None:
    options = DiscriminatorOptions(period_channels=(2, 4), windows=(128, 64), window_channels=2)
    layers = Discriminators(options)(torch.randn(2, 3000))
    assert len(layers) == 5 + 2
    assert [len(member) for member in layers] == [3] * 5 + [5 * 5 + 1] * 2
    perfect = [[torch.ones(1)]]
    assert float(discriminator_loss(perfect, [[torch.zeros(1)]])) == 0.0
    assert float(adversarial_loss(perfect)) == 0.0


def test_synced_batch_norm_of_one_process_is_batch_norm() -> None:
    plain, x = torch.nn.BatchNorm1d(5), torch.randn(4, 5, 30) * 3 + 1
    holder = torch.nn.Sequential(torch.nn.BatchNorm1d(5))
    SyncedBatchNorm.everywhere(holder)
    assert isinstance(holder[0], SyncedBatchNorm)
    assert torch.allclose(holder(x), plain(x), atol=1e-5)
    for name, value in plain.state_dict().items():
        if name != "num_batches_tracked":
            assert torch.allclose(value, holder[0].state_dict()[name], atol=1e-5)


def gradients(run: Run, options: CodecTraining, stop: bool = True) -> dict[str, list[float]]:
    """Gradients of the first step, before clipping, summed by parameter; equal in all processes."""
    trainer = CodecTrainer.start(run, options)
    batch = trainer.segments.batch(1)
    made = trainer.model(batch)
    losses = trainer.generator_losses(batch, made, 1, judged=False)
    (losses["mel"] + sum(made.losses.values())).backward()
    run.average_gradients(trainer.parameters)
    moved = trainer.model.quantizer.revive(run, made.quantized.tokens, made.quantized.latent, run.generator(1, 0, True))
    trainer.segments.close()
    found = {name: p.grad.flatten()[:50].tolist() for name, p in trainer.model.named_parameters() if p.grad is not None}
    return {**found, "codebook": trainer.model.quantizer.codebook.weight[moved[:5]].flatten().tolist()}


@pytest.mark.slow
def test_two_processes_give_the_gradient_of_one_with_the_joint_batch(tmp_path: Path, shards: Path, mini: Path) -> None:
    # Places in clips are drawn by each process for itself, so each clip is as long as a segment.
    changes = {"data": {"segment_seconds": 1.58, "validation_clips": 0, "reference_seconds": 1.6}}
    values = codec_values(tmp_path / "two", shards, mini, **changes)
    values["run"]["devices"] = 2
    two = parse_options(values, CodecTraining)
    values = codec_values(tmp_path / "one", shards, mini, **changes)
    values["data"]["batch"] = 6
    one = parse_options(values, CodecTraining)
    expected, found = launch(one.run, gradients, one), launch(two.run, gradients, two)
    assert expected.keys() == found.keys()
    for name in expected:
        scale = max(np.abs(expected[name]).max(), 1e-6)
        assert np.abs(np.subtract(expected[name], found[name])).max() < 2e-3 * scale + 1e-7, name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage": "decoder"}, "`stage: decoder` needs `init_from`"),
        ({"model": {}}, "give `model`"),
        ({"features": None}, "give `features`"),
        ({"data": {"bach": 3}}, "`data.bach` is not a setting; did you mean `batch`?"),
        ({"optimizer": {"betas": [0.8]}}, "(in `optimizer`): `betas` must be two numbers"),
        ({"losses": {"mel": "much"}}, "`losses.mel` must be a number"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(
    tmp_path: Path, shards: Path, mini: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError) as error:
        parse_options(codec_values(tmp_path, shards, mini, **changes), CodecTraining, "codec.yaml")
    assert message in str(error.value)


def test_what_does_not_fit_is_said_before_training(make: Make, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="longer than"):
        make(data={"segment_seconds": 5.0})
    model = codec_values(tmp_path, tmp_path, tmp_path)["model"]
    with pytest.raises(OptionError, match=r"64 values, but `model\.encoder\.input_channels` is 63"):
        make(out="b", model={"encoder": {**model["encoder"], "input_channels": 63}})
    with pytest.raises(CheckpointError, match=r"`quantizer\.codebook_size` must be a whole number"):
        make(out="c", model={"quantizer": {**model["quantizer"], "codebook_size": "big"}})
    with pytest.raises(OptionError, match="no prepared clips"):
        make(out="d", data={"shards": str(tmp_path)})


def test_the_command_trains_and_exports(tmp_path: Path, shards: Path, mini: Path) -> None:
    import yaml

    config = tmp_path / "codec.yaml"
    config.write_text(yaml.safe_dump(codec_values(tmp_path / "run", shards, mini)))
    done = run_cli("train", "codec", str(config), "--set", "run.steps=2", "--export", str(tmp_path / "model"))
    assert done.code == 0, done.stderr
    assert "hours of speech" in done.stderr
    assert Checkpoint.open_codec(tmp_path / "model").bicodec.decoder.hop == 320
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "step-2.pt")["step"] == 2
    again = run_cli("train", "codec", str(config), "--export-only", "--export", str(tmp_path / "model2"))
    assert again.code == 0, again.stderr
    wrong = run_cli("train", "codec", str(config), "--set", "run.stepz=2")
    assert wrong.code != 0
    assert "`run.stepz` is not a setting; did you mean `steps`?" in wrong.stderr


def test_train_runs_a_configuration(tmp_path: Path, shards: Path, mini: Path) -> None:
    assert train(parse_options(codec_values(tmp_path, shards, mini, run={"steps": 1}), CodecTraining)) == 1
