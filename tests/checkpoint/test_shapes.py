"""Names and shapes derived from the configurations equal the published checkpoints' own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparktts.checkpoint import config, shapes
from sparktts.errors import CheckpointError

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
SIZES = pytest.mark.parametrize("size", ["mini", "full"])


def stored(size: str, part: str) -> dict[str, tuple[int, ...]]:
    table = json.loads((GOLDEN / f"{size}.{part}.shapes.json").read_text())
    return {name: tuple(shape) for name, shape in table.items()}


def folded(table: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    renamed = {name.replace(".weight_v", ".weight"): shape for name, shape in table.items()}
    return {
        name: shape
        for name, shape in renamed.items()
        if not name.endswith((".weight_g", ".num_batches_tracked", "quantizer.cluster_size"))
    }


def written(size: str, relative: str, tmp_path: Path, old: str = "", new: str = "") -> Path:
    text = json.loads((GOLDEN / f"{size}.configs.json").read_text())[relative]
    assert old in text
    path = tmp_path / Path(relative).name
    path.write_text(text.replace(old, new))
    return path


@SIZES
def test_codec_shapes_are_those_of_the_checkpoint(size: str, tmp_path: Path) -> None:
    read = config.BiCodecConfig.read(written(size, "BiCodec/config.yaml", tmp_path))
    assert shapes.bicodec_shapes(read) == folded(stored(size, "bicodec"))


@SIZES
def test_language_model_shapes_are_those_of_the_checkpoint(size: str, tmp_path: Path) -> None:
    read = config.LanguageModelConfig.read(written(size, "LLM/config.json", tmp_path))
    assert shapes.qwen2_shapes(read) == stored(size, "llm")


@SIZES
def test_wav2vec2_shapes_are_those_of_the_checkpoint(size: str, tmp_path: Path) -> None:
    path = written(size, "wav2vec2-large-xlsr-53/config.json", tmp_path)
    table = folded(stored(size, "wav2vec2"))
    expected = {name.removeprefix("wav2vec2."): shape for name, shape in table.items() if name.startswith("wav2vec2.")}
    assert shapes.wav2vec2_shapes(config.Wav2Vec2Config.read(path)) == expected


def test_the_official_codec_looks_67_tokens_around(tmp_path: Path) -> None:
    read = config.BiCodecConfig.read(written("full", "BiCodec/config.yaml", tmp_path))
    assert read.receptive_field == 67
    assert read.hop == 320


def test_decoder_reach_equals_what_brute_force_finds() -> None:
    decoder = config.DecoderConfig(4, 8, rates=(4, 3), kernel_sizes=(8, 5))
    frames = {0}
    samples = set(range(decoder.hop))

    def spread(points: set[int], kernel: int, dilation: int = 1) -> set[int]:
        half = kernel // 2
        return {p + dilation * j for p in points for j in range(-half, half + 1)}

    samples = spread(samples, 7)
    for rate, kernel in ((3, 5), (4, 8)):
        for dilation in (9, 3, 1):
            samples = spread(samples, 7, dilation)
        padding = (kernel - rate) // 2
        candidates = range(min(samples) // rate - kernel, max(samples) // rate + kernel)
        samples = {i for i in candidates if any(i * rate - padding + j in samples for j in range(kernel))}
    frames = spread(samples, 7)
    assert decoder.reach() == max(-min(frames), max(frames))


def test_a_file_may_override_what_the_published_code_fixes(tmp_path: Path) -> None:
    path = written(
        "mini",
        "BiCodec/config.yaml",
        tmp_path,
        "token_num: 32,",
        "token_num: 32, ecapa_features: 96, ecapa_dilations: [2],",
    )
    table = shapes.bicodec_shapes(config.BiCodecConfig.read(path))
    assert table["speaker_encoder.speaker_encoder.conv.weight"] == (96, 512, 1)
    assert not any(".layer3." in name for name in table)


def test_another_codebook_size_is_read(tmp_path: Path) -> None:
    path = written("mini", "BiCodec/config.yaml", tmp_path, "codebook_size: 8192", "codebook_size: 4096")
    assert shapes.bicodec_shapes(config.BiCodecConfig.read(path))["quantizer.codebook.weight"] == (4096, 8)


def test_an_untied_head_is_expected(tmp_path: Path) -> None:
    path = written("mini", "LLM/config.json", tmp_path, '"tie_word_embeddings": true', '"tie_word_embeddings": false')
    table = shapes.qwen2_shapes(config.LanguageModelConfig.read(path))
    assert table["lm_head.weight"] == (13760, 64)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("sample_ratios: [1, 1]", "sample_ratios: [2, 1]", "encoder.sample_ratios"),
        ("codebook_size: 8192", "codebook_size: many", "quantizer.codebook_size"),
        ("codebook_size: 8192", "codebook_size: true", "quantizer.codebook_size"),
        ("codebook_size: 8192", "codebook_size: 0x" + "f" * 9000, "a huge number"),
        ("codebook_size: 8192", "codebook_size: -1", "quantizer.codebook_size"),
        ("codebook_dim: 8, ", "", "quantizer.codebook_dim"),
        ("vocos_num_layers: 2", "vocos_num_layers: 1000000000", "vocos_num_layers"),
        ("kernel_sizes: [16, 11, 8, 4]", "kernel_sizes: [16, 10, 8, 4]", "kernel_sizes"),
        ("kernel_sizes: [16, 11, 8, 4]", "kernel_sizes: [16, 11, 8]", "kernel_sizes"),
        ("kernel_sizes: [16, 11, 8, 4]", "kernel_sizes: 16", "kernel_sizes"),
        ("fsq_num_quantizers: 1", "fsq_num_quantizers: 2", "fsq_num_quantizers"),
        ("mel_fmin: 10", "mel_fmin: .nan", "mel_fmin"),
        ("num_mels: 128", "num_mels: 80", "speaker_encoder.input_dim"),
        ("quantizer:", "quantiser:", "quantizer"),
        ("use_tanh_at_final: false", "use_tanh_at_final: 0", "use_tanh_at_final"),
    ],
)
def test_a_bad_codec_value_is_refused_by_its_key(old: str, new: str, named: str, tmp_path: Path) -> None:
    path = written("mini", "BiCodec/config.yaml", tmp_path, old, new)
    with pytest.raises(CheckpointError) as caught:
        config.BiCodecConfig.read(path)
    assert named in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"model_type": "qwen2"', '"model_type": "llama"', "model_type"),
        ('"hidden_act": "silu"', '"hidden_act": "relu"', "hidden_act"),
        ('"rope_scaling": null', '"rope_scaling": {"type": "yarn", "factor": 4}', "rope_scaling"),
        ('"use_sliding_window": false', '"use_sliding_window": true', "use_sliding_window"),
        ('"num_key_value_heads": 2', '"num_key_value_heads": 3', "num_key_value_heads"),
        ('"vocab_size": 13760', '"vocab_size": "13760"', "vocab_size"),
        ('"hidden_size": 64', '"hidden_size": null', "hidden_size"),
    ],
)
def test_a_bad_language_model_value_is_refused_by_its_key(old: str, new: str, named: str, tmp_path: Path) -> None:
    path = written("mini", "LLM/config.json", tmp_path, old, new)
    with pytest.raises(CheckpointError, match=named):
        config.LanguageModelConfig.read(path)


def test_rope_theta_is_found_where_newer_exports_keep_it(tmp_path: Path) -> None:
    path = written(
        "mini",
        "LLM/config.json",
        tmp_path,
        '"rope_theta": 1000000.0',
        '"rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}',
    )
    assert config.LanguageModelConfig.read(path).rope_theta == 500000.0


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "3", "a: [", "a: !!bool x", "a: !!int ''", "{{}: 1}", "\x00", "[" * 1200, "a: &a [*a]"],
)
def test_malformed_yaml_is_one_clear_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.yaml"):
        config.CodecOptions.read(path)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"1" * 5000])
def test_malformed_json_is_one_clear_error(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        config.LanguageModelConfig.read(path)
