"""The small feature encoder: teachers, distillation, export, and a checkpoint that listens through it."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("lightning_fabric")
pytest.importorskip("pyarrow")

from safetensors.torch import load_file, save_file  # noqa: E402

from sparktts.checkpoint.convert import convert_checkpoint  # noqa: E402
from sparktts.checkpoint.layout import Checkpoint, check  # noqa: E402
from sparktts.cli.train_features import train_features  # noqa: E402
from sparktts.engine.torch.codec import TorchCodec  # noqa: E402
from sparktts.engine.torch.wav2vec2 import Wav2Vec2Features  # noqa: E402
from sparktts.errors import CheckpointError, OptionError  # noqa: E402
from sparktts.train.features.extractors import EncoderOptions, encode_clip, open_encoder  # noqa: E402
from sparktts.train.features.student import Student, StudentOptions  # noqa: E402
from sparktts.train.features.training import FeaturesOptions, distance  # noqa: E402
from sparktts.train.features.whisper import WhisperFeatures  # noqa: E402
from sparktts.train.options import parse_options  # noqa: E402

from .corpus import write_corpus  # noqa: E402

TINY = {"layers": 1, "heads": 4, "intermediate_size": 64, "conv_dim": [32] * 5, "positions": 8}
STEPS = 40
CONFIG = {
    "run": {"steps": STEPS, "log_every": 10, "validate_every": 20, "save_every": 20, "threads": 1},
    "student": {"hidden_size": 64, **TINY},
    "batch": 2,
    "seconds": 0.5,
    "learning_rate": 0.003,
    "warmup": 5,
    "held_out": 3,
    "dtype": "fp32",
}


def tone(seconds: float = 1.0) -> np.ndarray:
    time = np.arange(int(16000 * seconds)) / 16000
    noise = np.random.default_rng(0).normal(size=len(time))
    return (0.3 * np.sin(2 * np.pi * 300 * time) * np.sin(5 * time) + 0.01 * noise).astype(np.float32)


# --- teachers


@pytest.fixture(scope="module")
def whisper() -> transformers.WhisperModel:
    """A tiny Whisper that hears one second."""
    torch.manual_seed(0)
    sizes = {"d_model": 128, "encoder_attention_heads": 2, "encoder_ffn_dim": 96, "encoder_layers": 3}
    config = transformers.WhisperConfig(
        **sizes, max_source_positions=50, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=8, vocab_size=64
    )
    config.pad_token_id = config.bos_token_id = config.eos_token_id = config.decoder_start_token_id = 1
    return transformers.WhisperModel(config).eval()


@pytest.fixture(scope="module")
def hugging_face(whisper: transformers.WhisperModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whisper")
    save_file({k: v.contiguous() for k, v in whisper.state_dict().items()}, directory / "model.safetensors")
    return directory


def test_whisper_features_equal_transformers(whisper: transformers.WhisperModel, hugging_face: Path) -> None:
    listener = transformers.WhisperFeatureExtractor(chunk_length=1)
    mel = listener(tone(), sampling_rate=16000, return_tensors="pt").input_features
    audio = torch.from_numpy(tone()).unsqueeze(0)
    features = WhisperFeatures.open(hugging_face, (1, 3))
    torch.testing.assert_close(features.mel(audio), mel, atol=2e-3, rtol=1e-3)
    outputs: dict[int, torch.Tensor] = {}
    for number, layer in enumerate(whisper.encoder.layers, start=1):
        layer.register_forward_hook(lambda _, __, y, n=number: outputs.update({n: y[0] if isinstance(y, tuple) else y}))
    with torch.no_grad():
        whisper.encoder(features.mel(audio))
        expected = sum(torch.nn.functional.layer_norm(outputs[n], (128,)) for n in (1, 3)) / 2
        torch.testing.assert_close(features(audio), expected, atol=1e-4, rtol=1e-4)


def test_whisper_is_read_from_openai_files_and_from_ctranslate2(hugging_face: Path, tmp_path: Path) -> None:
    named = {k.removeprefix("model."): v for k, v in load_file(hugging_face / "model.safetensors").items()}
    named = {k: v for k, v in named.items() if k.startswith("encoder.")}
    openai = {
        "self_attn_layer_norm": "attn_ln",
        "self_attn.q_proj": "attn.query",
        "self_attn.k_proj": "attn.key",
        "self_attn.v_proj": "attn.value",
        "self_attn.out_proj": "attn.out",
        "final_layer_norm": "mlp_ln",
        "fc1": "mlp.0",
        "fc2": "mlp.2",
        "embed_positions.weight": "positional_embedding",
    }
    renamed = {}
    for name, value in named.items():
        name = name.replace("encoder.layers.", "encoder.blocks.")
        for old, new in openai.items():
            name = name.replace(old, new)
        renamed[name] = value
    torch.save({"dims": {"n_mels": 80}, "model_state_dict": renamed}, tmp_path / "tiny.pt")
    write_ctranslate2(tmp_path / "model.bin", named)
    audio = torch.from_numpy(tone()).unsqueeze(0)
    expected = WhisperFeatures.open(hugging_face, (2,))(audio)
    for path in (tmp_path / "tiny.pt", tmp_path / "model.bin", tmp_path):
        torch.testing.assert_close(WhisperFeatures.open(path, (2,))(audio), expected, atol=1e-6, rtol=1e-6)


def write_ctranslate2(path: Path, named: dict[str, torch.Tensor]) -> None:
    """What CTranslate2's converter makes of an encoder, in float32."""
    variables: dict[str, torch.Tensor] = {"encoder/num_heads": torch.tensor(2.0)}
    variables["encoder/position_encodings/encodings"] = named["encoder.embed_positions.weight"]
    for part in ("conv1", "conv2"):
        for leaf in ("weight", "bias"):
            variables[f"encoder/{part}/{leaf}"] = named[f"encoder.{part}.{leaf}"]
    for i in range(3):
        hf, ct2 = f"encoder.layers.{i}", f"encoder/layer_{i}"
        for leaf in ("weight", "bias"):
            parts = [named.get(f"{hf}.self_attn.{p}_proj.{leaf}", torch.zeros(128)) for p in "qkv"]
            variables[f"{ct2}/self_attention/linear_0/{leaf}"] = torch.cat(parts)
            variables[f"{ct2}/self_attention/linear_1/{leaf}"] = named[f"{hf}.self_attn.out_proj.{leaf}"]
            variables[f"{ct2}/ffn/linear_0/{leaf}"] = named[f"{hf}.fc1.{leaf}"]
            variables[f"{ct2}/ffn/linear_1/{leaf}"] = named[f"{hf}.fc2.{leaf}"]
            norm = {"weight": "gamma", "bias": "beta"}[leaf]
            variables[f"{ct2}/self_attention/layer_norm/{norm}"] = named[f"{hf}.self_attn_layer_norm.{leaf}"]
            variables[f"{ct2}/ffn/layer_norm/{norm}"] = named[f"{hf}.final_layer_norm.{leaf}"]

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    data = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(variables))
    for name, value in variables.items():
        content = value.numpy().astype("<f4").tobytes()
        data += text(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        data += struct.pack("<BI", 0, len(content)) + content
    path.write_bytes(data)


def test_long_clips_are_heard_in_windows(hugging_face: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sparktts.train.features import whisper as module

    monkeypatch.setattr(module, "WINDOW", 20)
    monkeypatch.setattr(module, "CONTEXT", 10)
    features = encode_clip(WhisperFeatures.open(hugging_face, (1,)), tone(2.5))
    assert features.shape == (125, 128)
    assert np.isfinite(features).all()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "do not exist"),
        (lambda path: path.write_bytes(b"rubbish"), "cannot be read"),
        (lambda path: torch.save({"a": torch.zeros(2)}, path), "no Whisper encoder"),
    ],
)
def test_a_bad_whisper_file_is_one_sentence(make: object, says: str, tmp_path: Path) -> None:
    make(tmp_path / "w.pt")  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=says):
        WhisperFeatures.open(tmp_path / "w.pt", (1,))


def test_a_layer_that_whisper_lacks_is_one_sentence(hugging_face: Path) -> None:
    with pytest.raises(CheckpointError, match="3 layers"):
        WhisperFeatures.open(hugging_face, (4,))


def test_a_checkpoint_is_a_teacher_with_its_own_layers(mini: Path, golden: dict[str, np.ndarray]) -> None:
    encoder = open_encoder(EncoderOptions(mini))
    features = encode_clip(encoder, golden["short.wav"])
    np.testing.assert_allclose(features[None], golden["short.feat"], atol=1e-4 * np.abs(golden["short.feat"]).max())


# --- training


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), 12)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wav2vec2 directory with random weights, as wide as the student."""
    torch.manual_seed(1)
    directory = tmp_path_factory.mktemp("teacher")
    Student(parse_options({"hidden_size": 64, **TINY, "layers": 2}, StudentOptions), 64).export(directory)
    return directory


def run(folder: Path, corpus: Path, teacher: dict[str, object], **changes: object) -> Path:
    config = {**CONFIG, "shards": str(corpus), "teacher": teacher, **changes}
    config["run"] = {**CONFIG["run"], "out": str(folder / "run")}  # type: ignore[dict-item]
    (folder / "features.yaml").write_text(yaml.safe_dump(config))
    train_features(folder / "features.yaml")
    return folder / "run"


@pytest.fixture(scope="module")
def trained(corpus: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("trained"), corpus, {"path": str(teacher), "layers": [1, 2]})


def logged(folder: Path, split: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["split"] == split]


def test_the_distance_to_the_teacher_falls(trained: Path) -> None:
    steps, validation = logged(trained, "train"), logged(trained, "validation")
    assert steps[-1]["loss"] < 0.8 * steps[0]["loss"]
    assert validation[-1]["l1"] < validation[0]["l1"]
    assert validation[-1]["cosine"] < validation[0]["cosine"]
    assert validation[-1]["explained"] > max(0.0, validation[0]["explained"])


def test_a_run_that_goes_on_ends_as_one_that_was_never_stopped(
    trained: Path, corpus: Path, teacher: Path, tmp_path: Path
) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    shutil.copy(trained / "checkpoints" / f"step-{STEPS // 2}.pt", tmp_path / "run" / "checkpoints")
    again = run(tmp_path, corpus, {"path": str(teacher), "layers": [1, 2]})
    exported = Path("features") / "model.safetensors"
    assert (again / exported).read_bytes() == (trained / exported).read_bytes()
    assert [line["loss"] for line in logged(again, "train")] == [line["loss"] for line in logged(trained, "train")][-2:]


def test_a_student_of_another_width_learns_from_whisper(corpus: Path, hugging_face: Path, tmp_path: Path) -> None:
    student = {"hidden_size": 32, **TINY}
    trained = run(tmp_path, corpus, {"kind": "whisper", "path": str(hugging_face), "layers": [1, 2]}, student=student)
    steps = logged(trained, "train")
    assert steps[-1]["loss"] < 0.8 * steps[0]["loss"]
    encoder = open_encoder(EncoderOptions(trained / "features", layers=(1,)))
    assert encode_clip(encoder, tone()).shape == (49, 32)


def test_a_student_as_wide_as_its_teacher_stands_for_it(trained: Path, teacher: Path, tmp_path: Path) -> None:
    theirs = open_encoder(EncoderOptions(teacher, layers=(1, 2))).fingerprints
    own = open_encoder(EncoderOptions(trained / "features", layers=(1,))).fingerprints
    assert (len(theirs), own[1:]) == (1, theirs)
    assert own[0] != theirs[0]
    assert open_encoder(EncoderOptions(teacher, layers=(2,))).fingerprints != theirs
    shutil.copytree(teacher, tmp_path / "short")
    weights = tmp_path / "short" / "model.safetensors"
    save_file({name: value.bfloat16() for name, value in load_file(teacher / weights.name).items()}, weights)
    assert open_encoder(EncoderOptions(tmp_path / "short", layers=(1, 2))).fingerprints == theirs


def test_the_export_is_a_model_of_transformers_too(trained: Path) -> None:
    model = transformers.Wav2Vec2Model.from_pretrained(trained / "features").eval()
    ours = Wav2Vec2Features.open(trained / "features", (1,), torch.device("cpu"))
    audio = torch.from_numpy(tone()).unsqueeze(0)
    with torch.no_grad():
        normed = model.encoder.layer_norm(ours(audio))
        torch.testing.assert_close(normed, model(audio).last_hidden_state, atol=1e-4, rtol=1e-3)


def test_distance_is_none_between_equals_and_ignores_the_longer_one_s_rest() -> None:
    target = torch.randn(2, 9, 5)
    found = distance(torch.cat([target, torch.randn(2, 3, 5)], dim=1), target)
    assert float(found["l1"]) == 0
    assert float(found["cosine"]) == pytest.approx(0, abs=1e-6)
    assert float(found["explained"]) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"student": {"conv_stride": [5, 4, 4, 2, 1]}}, "320"),
        ({"student": {"hidden_size": 100, "heads": 3}}, "heads"),
        ({"student": {"conv_kernel": [4, 7, 7, 2, 2]}}, "conv_kernel"),
        ({"student": {"hiden_size": 100}}, "hidden_size"),
        ({"teacher": {"path": "nowhere"}}, "layers"),
        ({"teacher": {"path": "nowhere", "kind": "hubert", "layers": [1]}}, "wav2vec2 or whisper"),
    ],
)
def test_options_that_make_no_sense_are_one_sentence(change: dict[str, object], says: str) -> None:
    good = {"run": {"out": "x", "steps": 1}, "shards": "s", "teacher": {"path": "p", "layers": [1]}}
    assert parse_options(good, FeaturesOptions).teacher.layers == (1,)
    with pytest.raises(OptionError, match=says):
        parse_options({**good, **change}, FeaturesOptions)


# --- a checkpoint that listens through it


@pytest.fixture
def small(trained: Path, mini: Path, tmp_path: Path) -> Path:
    """The mini checkpoint with the student in place of its wav2vec2."""
    copy = tmp_path / "small"
    shutil.copytree(mini, copy, ignore=shutil.ignore_patterns("wav2vec2*"))
    shutil.copytree(trained / "features", copy / "features")
    configure(copy, directory="features", layers=[1])
    return copy


def configure(checkpoint: Path, **features: object) -> None:
    path = checkpoint / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "features": features}))


def test_a_checkpoint_hears_through_its_own_features(small: Path, golden: dict[str, np.ndarray]) -> None:
    audio = golden["short.wav"]
    codec = TorchCodec(Checkpoint.open(small))
    tokens = codec.semantic_tokens(audio)
    features = encode_clip(open_encoder(EncoderOptions(small)), audio)
    assert tokens.shape == (len(features),)
    assert len(features) == (len(audio) - codec.parts.wav2vec2.shortest) // 320 + 1
    with torch.no_grad():
        encoded = codec.parts.encoder(torch.from_numpy(features).T.unsqueeze(0))
        np.testing.assert_array_equal(codec.parts.quantizer.quantize(encoded)[0].numpy(), tokens)


def test_such_a_checkpoint_is_checked_described_and_converted_with_it(small: Path, tmp_path: Path) -> None:
    report = check(small)
    assert report.ok
    assert [part.name for part in report.parts] == ["codec", "language model", "wav2vec2"]
    assert Checkpoint.open(small).describe()["transcripts"] is True
    converted = Checkpoint.open(convert_checkpoint(small, tmp_path / "converted"))
    before, after = Checkpoint.open(small).wav2vec2_tensors(), converted.wav2vec2_tensors()
    assert converted.wav2vec2_dir.name == "features"
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("features", "says"),
    [
        ({"directory": "features", "layers": [2]}, "describes 1 layers"),
        ({"directory": "../features", "layers": [1]}, "plain name"),
        ({"directory": "features", "layers": [2, 1]}, "rising"),
        ({"directory": "features", "layers": []}, "list of 1"),
        ({"directory": "features", "layers": [1], "layer": 1}, "unknown"),
        ({"directory": "elsewhere", "layers": [1]}, "missing"),
        ({"layers": [1]}, "`features.directory` is missing"),
    ],
)
def test_a_bad_features_section_is_one_sentence(small: Path, features: dict[str, object], says: str) -> None:
    configure(small, **features)
    with pytest.raises(CheckpointError, match=says):
        TorchCodec(Checkpoint.open(small)).semantic_tokens(tone())


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"hidden_size": 32}, "the codec's encoder reads 64"),
        ({"hidden_size": 64, "conv_stride": [5, 4, 4, 2, 2], "conv_kernel": [5, 4, 4, 3, 2]}, None),
    ],
)
def test_features_must_fit_the_codec(small: Path, sizes: dict[str, object], says: str | None) -> None:
    shutil.rmtree(small / "features")
    Student(parse_options({**TINY, **sizes}, StudentOptions), 64).export(small / "features")
    if says is None:  # other kernels that see as many samples give as many frames
        assert TorchCodec(Checkpoint.open(small)).semantic_tokens(tone()).shape == (49,)
        return
    with pytest.raises(CheckpointError, match=says):
        TorchCodec(Checkpoint.open(small)).semantic_tokens(tone())


def test_features_at_another_rate_than_the_tokens_are_refused(small: Path) -> None:
    path = small / "features" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "conv_stride": [5, 4, 4, 2, 1]}))
    with pytest.raises(CheckpointError, match="160 samples"):
        TorchCodec(Checkpoint.open(small)).semantic_tokens(tone())
