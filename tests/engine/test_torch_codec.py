"""What only the codec of the torch engine does: its own windows, and reading each network when it is needed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from sparktts.checkpoint.layout import Checkpoint  # noqa: E402
from sparktts.engine.torch import codec as codec_module  # noqa: E402
from sparktts.engine.torch.codec import TorchCodec  # noqa: E402
from sparktts.errors import CheckpointError  # noqa: E402

from .test_codec import Golden, random_tokens, relative_error, tokens_of  # noqa: E402


@pytest.fixture(scope="module")
def codec(mini: Path) -> TorchCodec:
    return TorchCodec(Checkpoint.open(mini))


def test_the_waveform_generator_s_own_windows_leave_no_seams(
    codec: TorchCodec, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    semantic, speaker = tokens_of(golden, "short")
    monkeypatch.setattr(codec_module, "WAVE_WINDOW", {"cpu": 20})
    assert relative_error(codec.decode(semantic, speaker)[0], golden["short.recon"]) < 1e-4


def test_decoding_reads_no_encoder(mini: Path) -> None:
    codec = TorchCodec(Checkpoint.open(mini))
    codec.decode(*random_tokens(3))
    assert codec.parts.loaded == {"quantizer", "prenet", "decoder", "speaker_decoder"}


def test_a_voice_is_read_without_wav2vec2_on_the_disk(mini: Path, golden: Golden, tmp_path: Path) -> None:
    for name in ("BiCodec", "LLM"):
        shutil.copytree(mini / name, tmp_path / name)
    shutil.copy(mini / "config.yaml", tmp_path)
    codec = TorchCodec(Checkpoint.open(tmp_path))
    speaker = codec.speaker_tokens(golden["short.ref_wav"][0])
    assert codec.parts.loaded == {"speaker_encoder"}
    codec.decode(random_tokens(3)[0], speaker)
    assert "speaker_decoder" not in codec.parts.loaded  # the encoder holds it already
    with pytest.raises(CheckpointError, match="wav2vec2"):
        codec.semantic_tokens(golden["short.wav"])
