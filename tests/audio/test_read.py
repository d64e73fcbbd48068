from __future__ import annotations

import io
import os
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sparktts.audio.read import decode_audio, read_audio
from sparktts.audio.resample import resample
from sparktts.errors import AudioError

from .files import encoded, wav
from .signals import speechlike


def pcm16(samples: np.ndarray) -> np.ndarray:
    return np.rint(samples * 32767).astype("<i2")


@pytest.fixture
def stereo() -> np.ndarray:
    """(N, 2): another signal in each channel."""
    return np.stack([speechlike(0.5, seed=1), speechlike(0.5, seed=2)], axis=1)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    length = min(len(a), len(b))
    return float(np.corrcoef(a[:length], b[:length])[0, 1])


def test_pcm_values_are_exact(clip_24k: Path) -> None:
    with wave.open(str(clip_24k)) as file:
        expected = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    samples, rate = decode_audio(clip_24k)
    assert rate == 24000
    assert np.array_equal(samples, expected)


@pytest.mark.parametrize(
    ("dtype", "scale", "offset"),
    [("u1", 128, 128), ("<i2", 2**15, 0), ("<i4", 2**31, 0), ("<f4", 1, 0), ("<f8", 1, 0)],
)
def test_every_sample_type_is_scaled_to_full_scale_one(stereo: np.ndarray, dtype: str, scale: int, offset: int) -> None:
    stored = (stereo.astype(np.float64) * (scale if scale == 1 else scale - 1) + offset).astype(dtype)
    samples, _ = decode_audio(wav(stored, 16000))
    expected = ((stored[:, 0].astype(np.float64) - offset) / scale).astype(np.float32)
    assert np.array_equal(samples, expected)


def test_the_first_channel_is_taken_not_the_mean(stereo: np.ndarray) -> None:
    assert np.array_equal(read_audio(wav(stereo.astype("<f4"), 16000)), stereo[:, 0])


@pytest.mark.parametrize("channels", [1, 3, 6, 8, 24, 64, 100])
def test_any_number_of_channels(channels: int, stereo: np.ndarray) -> None:
    many = np.repeat(-stereo[:, 1:], channels, axis=1)
    many[:, 0] = stereo[:, 0]
    assert np.array_equal(read_audio(wav(many.astype("<f4"), 16000)), stereo[:, 0])


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 22050, 44100, 48000, 96000, 192000])
def test_any_rate_is_resampled(rate: int) -> None:
    voice = speechlike(1, rate)
    samples = read_audio(wav(voice[:, None], rate))
    assert abs(samples.size - 16000) <= 1
    assert correlation(samples, resample(voice, rate, 16000)) > 0.9999


@pytest.mark.parametrize(
    ("container", "codec", "rate", "video"),
    [
        ("mp3", "libmp3lame", 44100, False),
        ("ipod", "aac", 44100, False),
        ("adts", "aac", 16000, False),
        ("ogg", "libopus", 48000, False),
        ("webm", "libopus", 48000, False),
        ("matroska", "flac", 22050, False),
        ("flac", "flac", 44100, False),
        ("mp4", "aac", 48000, True),
        ("aiff", "pcm_s16be", 22050, False),
        ("wav", "pcm_mulaw", 8000, False),
    ],
)
def test_formats(container: str, codec: str, rate: int, video: bool, tmp_path: Path) -> None:
    voice = speechlike(1.5, rate)
    path = tmp_path / "clip"  # no suffix: the content decides
    path.write_bytes(encoded(voice, rate, container, codec, video))
    samples, found = decode_audio(path)
    assert found == rate
    assert samples.size == pytest.approx(voice.size, abs=0.1 * rate)
    offset = 1024 if container == "adts" else 0  # a bare stream cannot say that its start is padding
    assert correlation(samples[offset:], voice) > 0.98


def test_every_kind_of_source_gives_the_same(clip_24k: Path) -> None:
    expected = read_audio(clip_24k)
    data = clip_24k.read_bytes()
    with clip_24k.open("rb") as file:
        assert np.array_equal(read_audio(file), expected)
        assert not file.closed
    for source in (str(clip_24k), data, io.BytesIO(data), decode_audio(clip_24k)):
        assert np.array_equal(read_audio(source), expected)


def test_a_pipe_is_read(clip_24k: Path) -> None:
    data = clip_24k.read_bytes()[: 44 + 24000]
    data = data[:40] + (24000).to_bytes(4, "little") + data[44:]
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as sink, os.fdopen(reader, "rb") as source:
        os.set_blocking(sink.fileno(), True)
        sink.write(data)
        sink.close()
        assert read_audio(source, 24000).size == 12000


def test_max_seconds_stops_early(clip_16k: Path) -> None:
    assert np.array_equal(read_audio(clip_16k, max_seconds=1.5), read_audio(clip_16k)[:24000])
    assert read_audio(clip_16k, max_seconds=1e9).size == 128000
    with pytest.raises(AudioError, match="max_seconds"):
        read_audio(clip_16k, max_seconds=0)


def test_a_wav_whose_size_was_never_filled_in_is_read(clip_24k: Path) -> None:
    data = bytearray(clip_24k.read_bytes())
    for size in (b"\xff\xff\xff\xff", b"\0\0\0\0"):
        data[40:44] = size
        assert decode_audio(bytes(data))[0].size == 79200


def broken(change: Callable[[bytes], bytes]) -> Callable[[Path], bytes]:
    return lambda clip: change(clip.read_bytes())


def nan_wav(value: float) -> bytes:
    voice = speechlike(0.5)[:, None].astype("<f8")
    voice[77] = value
    return wav(voice, 16000)


VOICE = speechlike(1)
FLAC = encoded(VOICE, 16000, "flac", "flac")
M4A = encoded(VOICE, 16000, "ipod", "aac")
BAD: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "text": (lambda _: b"These are words and no sound.\n" * 99, "not audio"),
    "empty": (lambda _: b"", "is empty"),
    "no samples": (lambda _: wav(np.zeros((0, 1), "<i2"), 16000), "no samples"),
    "header only": (broken(lambda d: d[:44]), "no samples"),
    "half a header": (broken(lambda d: d[:20]), "not audio"),
    "half a wav": (broken(lambda d: d[: len(d) // 2]), "cut off"),
    "half a flac": (lambda _: FLAC[: len(FLAC) // 2], "cut off"),
    "half an m4a": (lambda _: M4A[: len(M4A) // 2], "not audio"),
    "random": (lambda _: np.random.default_rng(0).bytes(50000), "not audio|damaged|no sound"),
    "nan": (lambda _: nan_wav(float("nan")), "NaN"),
    "infinite": (lambda _: nan_wav(float("inf")), "NaN"),
    "beyond float32": (lambda _: nan_wav(1e300), "NaN"),
    "8 Hz": (lambda _: wav(np.zeros((99, 1), "<i2"), 8), "8 Hz"),
    "3999 Hz": (lambda _: wav(np.zeros((99, 1), "<i2"), 3999), "3999 Hz"),
    "2 MHz": (lambda _: wav(np.zeros((99, 1), "<i2"), 2_000_000), "2000000 Hz"),
    "no channels": (broken(lambda d: d[:22] + b"\0\0" + d[24:]), "damaged|not audio"),
    "65535 channels": (broken(lambda d: d[:22] + b"\xff\xff" + d[24:]), "damaged|not audio"),
    "playlist": (lambda _: b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n", "not audio"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_one_clear_sentence_and_no_noise(
    name: str, clip_24k: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make, reason = BAD[name]
    path = tmp_path / "my clip.wav"
    path.write_bytes(make(clip_24k))
    with pytest.raises(AudioError, match=reason) as caught:
        read_audio(path)
    message = str(caught.value)
    assert "'my clip.wav'" in message
    assert message.endswith(".")
    assert "\n" not in message
    assert str(tmp_path) not in message
    assert capfd.readouterr() == ("", "")


def test_a_picture_holds_no_sound(tmp_path: Path) -> None:
    silent_film = tmp_path / "a.mp4"
    import av

    with av.open(str(silent_film), "w") as output:
        stream = output.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
        output.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        output.mux(stream.encode(None))
    with pytest.raises(AudioError, match="holds no sound"):
        read_audio(silent_film)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    for source, reason in [
        (tmp_path, "is a folder"),
        (tmp_path / "no.wav", "There is no file 'no.wav'"),
        (tmp_path / "no" / "no.wav", "There is no file 'no.wav'"),
        ("a\0b.wav", "cannot be opened"),
        ("x" * 5000, "cannot be opened"),
        ("", "path of the audio file is empty"),
        ("https://example.org/a.wav", "is an address"),
    ]:
        with pytest.raises(AudioError, match=reason) as caught:
            read_audio(source)
        assert str(caught.value).isprintable()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(clip_24k: Path, tmp_path: Path) -> None:
    path = tmp_path / "locked.wav"
    path.write_bytes(clip_24k.read_bytes())
    path.chmod(0)
    with pytest.raises(AudioError, match="may not be read"):
        read_audio(path)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ((np.zeros((100, 2), np.float32), 16000), "one channel"),
        ((np.zeros(0, np.float32), 16000), "no samples"),
        ((np.full(100, np.nan), 16000), "NaN"),
        ((np.zeros(100), 8), "8 Hz"),
        ((np.zeros(100, complex), 16000), "complex128"),
        ((np.zeros(100),), "samples, sample_rate"),
        ((np.zeros(100), "fast"), "samples, sample_rate"),
        (42, "type int"),
        (io.StringIO("text"), "binary mode"),
    ],
)
def test_objects_that_are_no_sound(source: object, reason: str) -> None:
    with pytest.raises(AudioError, match=reason):
        read_audio(source)  # type: ignore[arg-type]


def test_integer_arrays_are_scaled(clip_24k: Path) -> None:
    samples, rate = decode_audio(clip_24k)
    assert np.array_equal(decode_audio((np.rint(samples * 32768).astype(np.int16), rate))[0], samples)


def test_a_few_damaged_packets_are_passed_over() -> None:
    data = bytearray(encoded(speechlike(5), 16000, "mp3", "libmp3lame"))
    data[len(data) // 2 : len(data) // 2 + 40] = b"\x55" * 40
    assert decode_audio(bytes(data))[0].size > 4.5 * 16000
