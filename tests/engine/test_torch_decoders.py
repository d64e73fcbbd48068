"""The decoders at the token rate: shapes, receptive field, windows, the source, bad configurations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")


from sparktts.audio import spectra  # noqa: E402
from sparktts.checkpoint.config import RefinerConfig, SourceFilterConfig, VocosConfig  # noqa: E402
from sparktts.checkpoint.layout import Checkpoint  # noqa: E402
from sparktts.checkpoint.shapes import bicodec_shapes  # noqa: E402
from sparktts.engine.torch.codec import TorchCodec  # noqa: E402
from sparktts.engine.torch.parts import make_decoder  # noqa: E402
from sparktts.engine.torch.refiner import Refiner  # noqa: E402
from sparktts.engine.torch.source_filter import SourceFilterDecoder, impulses, position_noise  # noqa: E402
from sparktts.errors import CheckpointError  # noqa: E402
from sparktts.windows import decode_in_windows  # noqa: E402

from ..codecs import DECODERS, REFINER, SIZE, write_codec  # noqa: E402

Writer = Callable[..., Path]


@pytest.fixture(scope="module")
def write(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Writer:
    """Writes the mini checkpoint's codec with another decoder, untrained; no language model beside it."""

    def writer(**decoder: Any) -> Path:
        return write_codec(mini, tmp_path_factory.mktemp("codec") / "small", **decoder)

    return writer


@pytest.fixture(scope="module", params=DECODERS)
def codec(request: pytest.FixtureRequest, write: Writer) -> TorchCodec:
    return TorchCodec(Checkpoint.open_codec(write(**DECODERS[request.param])))


def tokens(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.integers(0, 8192, count), rng.integers(0, 4096, 32)


def test_decoding_gives_hop_samples_a_token_and_the_same_again(codec: TorchCodec) -> None:
    semantic, speaker = tokens(30)
    samples, _ = codec.decode(semantic, speaker)
    assert samples.shape == (30 * 320,)
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert 1e-3 < samples.std() < 1
    assert np.array_equal(codec.decode(semantic, speaker)[0], samples)


@pytest.mark.parametrize("window", [1, 17, 64])
def test_windows_give_the_samples_of_one_decode(codec: TorchCodec, window: int) -> None:
    semantic, speaker = tokens(230)
    whole, _ = codec.decode(semantic, speaker)
    parts = decode_in_windows(codec, semantic, speaker, window)
    assert np.abs(parts - whole).max() <= 1e-4 * np.abs(whole).max()


@pytest.mark.parametrize(
    "config",
    [
        VocosConfig(**SIZE),
        SourceFilterConfig(**SIZE),
        SourceFilterConfig(**SIZE, refiner=RefinerConfig(**REFINER)),
        SourceFilterConfig(**SIZE, refiner=RefinerConfig(**{**REFINER, "vocos_num_layers": 4}, hop=80, n_fft=320)),
    ],
)
def test_the_reach_of_a_decoder_is_that_of_its_configuration(config: VocosConfig | SourceFilterConfig) -> None:
    torch.manual_seed(0)
    decoder = make_decoder(config).eval()
    if isinstance(decoder, SourceFilterDecoder) and config.refiner is not None:
        torch.nn.init.normal_(decoder.refiner.head.weight, std=0.2)
    x = torch.randn(1, 64, 80)
    changed = x.clone()
    changed[..., 40] += 5

    def frames(values: torch.Tensor) -> torch.Tensor:
        if isinstance(decoder, SourceFilterDecoder):  # pitch aside: the phase runs on for ever
            controls = decoder.controls(values)
            flat = torch.full((1, 80), 5.0)
            samples = decoder.refine(decoder.synthesize(controls, flat, torch.sigmoid(controls.voicing)), values)
        else:
            samples = decoder(values)
        return samples.view(80, 320)

    with torch.no_grad():
        moved = (frames(x) - frames(changed)).abs().amax(1).gt(1e-7).nonzero().flatten()
    assert 40 - int(moved[0]) <= config.reach()
    assert int(moved[-1]) - 40 <= config.reach()
    if not isinstance(config, SourceFilterConfig) or config.refiner is None:
        assert int(moved[-1]) - 40 >= config.reach() - 1  # no wider than needed


@pytest.mark.parametrize(("layers", "hop", "n_fft"), [(1, 160, 640), (4, 80, 320), (2, 160, 320)])
def test_the_reach_of_a_refiner_is_that_of_its_configuration(layers: int, hop: int, n_fft: int) -> None:
    config = RefinerConfig(24, 32, layers, hop=hop, n_fft=n_fft)
    torch.manual_seed(0)
    refiner = Refiner(config, 8, 320).double().eval()
    torch.nn.init.normal_(refiner.head.weight, std=0.2)
    samples, x = torch.randn(1, 40 * 320, dtype=torch.float64), torch.randn(1, 8, 40, dtype=torch.float64)
    refined = []
    with torch.no_grad():
        for place in (6400, 6400 + hop - 1):  # a window's first and last sample
            changed = samples.clone()
            changed[0, place] += 5
            moved = (refiner(samples, x) - refiner(changed, x)).abs().gt(1e-12).nonzero()[:, 1]
            refined += [place - int(moved[0]), int(moved[-1]) - place]
    assert max(refined) <= config.reach()
    assert max(refined) >= config.reach() - hop


def test_the_tensors_are_those_that_the_configuration_names(write: Writer) -> None:
    for decoder in DECODERS.values():
        config = Checkpoint.open_codec(write(**decoder)).bicodec
        expected = {
            n.removeprefix("decoder."): s for n, s in bicodec_shapes(config).items() if n.startswith("decoder.")
        }
        assert {n: tuple(v.shape) for n, v in make_decoder(config.decoder).state_dict().items()} == expected
        assert asdict(config.decoder)["input_channel"] == 64


@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        ({"type": "wavenet"}, "`audio_tokenizer.decoder.type` is 'wavenet', but there are wave_generator, vocos"),
        ({"type": "vocos", **SIZE, "n_fft": 1000}, "`audio_tokenizer.decoder.n_fft` must be an even multiple"),
        ({"type": "vocos", **SIZE, "kernel_size": 4}, "must be odd"),
        ({"type": "source_filter", **SIZE, "n_fft": 512}, "`audio_tokenizer.decoder.n_fft` must be even and 2 to 4"),
        ({"type": "source_filter", **SIZE, "f0_min": 700}, "`audio_tokenizer.decoder.f0_min` must be below"),
        ({"type": "vocos", **{**SIZE, "input_channel": 63}}, "must equal `prenet.out_channels`, 64"),
        ({**DECODERS["refined"], "refiner": {**REFINER, "hop": 100}}, "`audio_tokenizer.decoder.refiner.hop` must be"),
        ({**DECODERS["refined"], "refiner": {"n_fft": 640}}, "`audio_tokenizer.decoder.refiner.vocos_dim` is missing"),
        ({"type": "vocos", **SIZE, "hop": 160}, "160 samples per token, but the top config.yaml says 320"),
    ],
)
def test_bad_decoders_are_refused(decoder: dict[str, Any], message: str, mini: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((mini / "BiCodec" / "config.yaml").read_text())
    config["audio_tokenizer"]["decoder"] = decoder
    (tmp_path / "BiCodec").mkdir()
    (tmp_path / "config.yaml").write_bytes((mini / "config.yaml").read_bytes())
    (tmp_path / "BiCodec" / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(CheckpointError) as error:
        Checkpoint.open_codec(tmp_path)
    assert message in str(error.value)


def test_noise_is_white_and_a_function_of_position() -> None:
    noise = position_noise(torch.arange(200_000))
    assert torch.equal(noise[1000:2000], position_noise(torch.arange(1000, 2000)))
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    for lag in (1, 2, 320):
        assert abs((noise[lag:] * noise[:-lag]).mean()) < 0.01


@pytest.mark.parametrize("f0", [61.0, 133.7, 400.0])
def test_the_impulse_train_has_the_pitch_unit_power_and_no_aliases(f0: float) -> None:
    cycles = torch.arange(16000, dtype=torch.float64) * f0 / 16000
    train = impulses((cycles - cycles.round()).float()[None], torch.full((1, 16000), f0), 16000)[0]
    assert abs(train.square().mean() - 1) < 0.02
    spectrum = torch.fft.rfft(train * torch.hann_window(16000)).abs()
    peaks = (spectrum > 0.3 * spectrum.max()).nonzero().flatten().double()
    assert len(peaks) >= int(8000 / f0) - 2
    assert ((peaks / f0) - (peaks / f0).round()).abs().max() < 2 / f0  # within two bins of a harmonic


def test_a_constant_pitch_is_heard_as_that_pitch() -> None:
    decoder = SourceFilterDecoder(SourceFilterConfig(**SIZE)).eval()
    with torch.no_grad():
        controls = decoder.controls(torch.randn(1, 64, 50))._replace(noise=torch.full((1, 50, 80), -12.0))
        samples = decoder.synthesize(controls, torch.full((1, 50), float(np.log(200.0))), torch.ones(1, 50))[0]
    spectrum = torch.fft.rfft(samples * torch.hann_window(len(samples))).abs()
    strongest = spectrum.argsort(descending=True)[:5] * 16000 / len(samples)
    assert all(abs(f / 200 - round(f / 200)) < 0.02 for f in strongest.tolist())


def test_an_untrained_refiner_changes_nothing() -> None:
    config = SourceFilterConfig(**SIZE, refiner=RefinerConfig(**REFINER))
    decoder = SourceFilterDecoder(config).eval()
    x = torch.randn(1, 64, 50)
    with torch.no_grad():
        plain = decoder.synthesize(decoder.controls(x), torch.full((1, 50), 5.0), torch.ones(1, 50))
        refined = decoder.refine(plain, x)
    assert refined.shape == plain.shape
    assert (refined - plain).abs().max() < 1e-5 * plain.abs().max()


@pytest.mark.parametrize("loudness", [1e-5, 1e-3, 0.3])
def test_the_refiner_in_numpy_is_that_of_training_however_quiet(loudness: float) -> None:
    torch.manual_seed(0)
    config = RefinerConfig(24, 32, 2)
    refiner = Refiner(config, 8, 320).eval()
    torch.nn.init.normal_(refiner.head.weight, std=0.2)
    samples, x = loudness * torch.randn(1, 40 * 320), torch.randn(1, 8, 40)

    def network(level: np.ndarray) -> np.ndarray:
        heard = torch.cat([torch.from_numpy(level.T[None]), x.repeat_interleave(320 // config.hop, dim=2)], dim=1)
        return refiner.head(refiner.backbone(heard))[0].numpy()

    with torch.no_grad():
        expected = refiner(samples, x)[0].numpy()
        refined = spectra.refine(samples[0].numpy(), network, config.hop, config.n_fft)
    assert np.abs(refined - expected).max() <= 1e-4 * np.abs(expected).max()
