"""Each network of the codec against arrays of an independent implementation, and that it can be trained."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sparktts.audio.mel import MelSpectrogram  # noqa: E402
from sparktts.checkpoint.layout import Checkpoint  # noqa: E402
from sparktts.engine.codec import normalize  # noqa: E402
from sparktts.engine.torch import wav2vec2  # noqa: E402
from sparktts.engine.torch.fsq import FiniteScalarQuantizer  # noqa: E402
from sparktts.engine.torch.parts import BiCodecParts  # noqa: E402
from sparktts.engine.torch.wave_generator import Snake, WaveGenerator  # noqa: E402
from sparktts.engine.torch.weights import build  # noqa: E402
from sparktts.errors import CheckpointError  # noqa: E402

CLIPS = ("short", "long")
Golden = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def parts(mini: Path) -> BiCodecParts:
    return BiCodecParts(Checkpoint.open(mini), torch.device("cpu"))


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.int64) if array.dtype.kind == "i" else array)


def assert_close(actual: torch.Tensor, expected: np.ndarray) -> None:
    values = actual.detach().numpy()
    assert values.shape == expected.shape
    assert np.abs(values - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("clip", CLIPS)
def test_wav2vec2_features(parts: BiCodecParts, golden: Golden, clip: str) -> None:
    audio = tensor(normalize(golden[f"{clip}.wav"]))
    with torch.no_grad():
        assert_close(parts.wav2vec2(audio.unsqueeze(0)), golden[f"{clip}.feat"])


def test_wav2vec2_front_end_in_pieces_is_the_whole(
    parts: BiCodecParts, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wav2vec2, "CHUNK_FRAMES", 37)
    test_wav2vec2_features(parts, golden, "long")


def test_wav2vec2_with_too_few_layers_is_refused(mini: Path, tmp_path: Path) -> None:
    config = json.loads((mini / "wav2vec2-large-xlsr-53" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 12}))
    with pytest.raises(CheckpointError, match="12 layers"):
        wav2vec2.Wav2Vec2Features.load(tmp_path, {}, torch.device("cpu"))


@pytest.mark.parametrize("clip", CLIPS)
def test_semantic_encoder_and_tokens(parts: BiCodecParts, golden: Golden, clip: str) -> None:
    encoded = parts.encoder(tensor(golden[f"{clip}.feat"]).transpose(1, 2))
    assert_close(encoded, golden[f"{clip}.encoder"])
    tokens = parts.quantizer.quantize(tensor(golden[f"{clip}.encoder"]))
    assert np.mean(tokens.numpy() == golden[f"{clip}.semantic"]) >= 0.99


@pytest.mark.parametrize("clip", CLIPS)
def test_speaker_encoder(parts: BiCodecParts, golden: Golden, clip: str) -> None:
    encoding = parts.speaker_encoder.encode(tensor(golden[f"{clip}.mel"]))
    assert_close(encoding.x_vector, golden[f"{clip}.x_vector"])
    assert_close(encoding.d_vector, golden[f"{clip}.d_vector"])
    assert np.mean(encoding.tokens.numpy() == golden[f"{clip}.global"][0]) >= 0.99


@pytest.mark.parametrize("clip", CLIPS)
def test_voice_vector_from_tokens(parts: BiCodecParts, golden: Golden, clip: str) -> None:
    assert_close(parts.speaker_decoder(tensor(golden[f"{clip}.global"][0])), golden[f"{clip}.d_vector"])


@pytest.mark.parametrize("clip", CLIPS)
def test_prenet_and_postnet(parts: BiCodecParts, golden: Golden, clip: str) -> None:
    vectors = parts.quantizer.embed(tensor(golden[f"{clip}.semantic"]))
    assert_close(parts.prenet(vectors, tensor(golden[f"{clip}.d_vector"])), golden[f"{clip}.prenet"])
    assert_close(parts.postnet(tensor(golden[f"{clip}.prenet"])), golden[f"{clip}.pred_feat"])


@pytest.mark.parametrize("clip", CLIPS)
def test_wave_generator(parts: BiCodecParts, golden: Golden, clip: str) -> None:
    features = tensor(golden[f"{clip}.prenet"]) + tensor(golden[f"{clip}.d_vector"]).unsqueeze(-1)
    trained, inferred = parts.wave_generator(features), None
    with torch.inference_mode():
        inferred = parts.wave_generator(features)
    assert_close(trained[0], golden[f"{clip}.recon"])
    assert_close(inferred[0], golden[f"{clip}.recon"])


def test_mel_of_the_config_is_the_speaker_encoder_s(parts: BiCodecParts, golden: Golden) -> None:
    mel = MelSpectrogram(**vars(parts.config.mel))(golden["short.ref_wav"][0])
    assert_close(torch.from_numpy(mel)[None], golden["short.mel"])


def test_a_batch_is_its_members(parts: BiCodecParts, golden: Golden) -> None:
    mel = torch.cat([tensor(golden[f"{clip}.mel"]) for clip in CLIPS])
    tokens = parts.speaker_encoder.tokens(mel)
    voices = parts.speaker_decoder(tokens)
    semantic = tensor(np.stack([golden["short.semantic"][0, :25], golden["long.semantic"][0, :25]]))
    features = parts.prenet(parts.quantizer.embed(semantic), voices) + voices.unsqueeze(-1)
    waves = parts.wave_generator(features)
    alone = parts.wave_generator(features[1:])
    assert waves.shape == (2, 25 * 320)
    assert torch.allclose(waves[1:], alone, atol=1e-5)


def test_every_parameter_of_the_codec_gets_a_gradient(mini: Path, golden: Golden) -> None:
    parts = BiCodecParts(Checkpoint.open(mini), torch.device("cpu"))
    features = tensor(golden["short.feat"])[:, :20].transpose(1, 2)
    vectors, _ = parts.quantizer(parts.encoder(features))
    voice = parts.speaker_encoder.encode(tensor(golden["short.mel"]))
    latent = parts.prenet(vectors, voice.d_vector)
    wave = parts.wave_generator(latent + voice.d_vector.unsqueeze(-1))
    loss = wave.square().mean() + parts.postnet(latent).square().mean() + voice.x_vector.square().mean()
    loss.backward()
    networks = (
        parts.encoder,
        parts.quantizer,
        parts.speaker_encoder,
        parts.prenet,
        parts.postnet,
        parts.wave_generator,
    )
    dead = {
        name
        for network in networks
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not torch.isfinite(parameter.grad).all()
    }
    assert dead == {"codebook.weight"}  # trained by the codebook loss, not through the straight-through step


def test_snake_without_gradients_is_snake_with_them() -> None:
    snake = Snake(3)
    with torch.no_grad():
        snake.alpha.copy_(torch.tensor([0.5, 1.0, 2.0]).view(1, 3, 1))
        x = torch.randn(2, 3, 1, 50)
        kept = x.clone()
        quick = snake(x)
    alpha = torch.tensor([0.5, 1.0, 2.0]).view(1, 3, 1, 1)
    assert torch.equal(x, kept)
    assert torch.allclose(quick, x + torch.sin(alpha * x) ** 2 / alpha, atol=1e-6)
    assert torch.allclose(snake(x), quick, atol=1e-6)


@pytest.mark.parametrize("levels", [(4, 4, 4), (8, 5, 3), (2, 7)])
def test_finite_scalar_codes_count_every_combination_of_levels(levels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    quantizer = FiniteScalarQuantizer(len(levels), levels)
    with torch.no_grad():  # the projections are made to pass values through
        quantizer.project_in.weight.copy_(torch.eye(len(levels)))
        quantizer.project_in.bias.zero_()
        quantizer.project_out.weight.copy_(torch.eye(len(levels)))
        quantizer.project_out.bias.zero_()
    codes = torch.arange(quantizer.codebook_size)
    vectors = quantizer.embed(codes)
    expected = set(itertools.product(*([(i - n // 2) / (n // 2) for i in range(n)] for n in levels)))
    assert np.allclose(sorted(map(tuple, vectors.tolist())), sorted(expected))
    reached = quantizer.quantize(torch.randn(20000, len(levels)) * 2)
    assert set(reached.tolist()) == set(codes.tolist())
    inputs = torch.randn(50, len(levels))
    straight, same = quantizer(inputs)
    assert torch.equal(same, quantizer.quantize(inputs))
    assert torch.allclose(straight, quantizer.embed(same), atol=1e-6)


def test_missing_and_misshapen_weights_are_refused(parts: BiCodecParts, mini: Path) -> None:
    tensors = Checkpoint.open(mini).bicodec_tensors("decoder")
    make = lambda: WaveGenerator(parts.config.decoder)  # noqa: E731
    missing = {name: array for name, array in tensors.items() if name != "decoder.model.5.alpha"}
    with pytest.raises(CheckpointError, match=r"model\.5\.alpha"):
        build(make, missing, "decoder", torch.device("cpu"))
    misshapen = {**tensors, "decoder.model.0.bias": np.zeros(3, np.float32)}
    with pytest.raises(CheckpointError, match=r"model\.0\.bias"):
        build(make, misshapen, "decoder", torch.device("cpu"))
