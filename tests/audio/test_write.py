from __future__ import annotations

import io
import os
import threading
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from sparktts.audio.read import decode_audio, read_audio
from sparktts.audio.resample import resample
from sparktts.audio.write import FORMATS, encode_audio, write_audio
from sparktts.errors import AudioError, OptionError

from .signals import speechlike

CONTAINERS = [name for name in FORMATS if name != "pcm"]
LOWEST_CORRELATION = {"wav": 0.999999, "flac": 0.999999, "mp3": 0.999, "opus": 0.997, "ogg": 0.997, "aac": 0.99}
ADTS_DELAY = 1024  # samples before the sound: raw AAC has no place to tell players to leave them out
TAGS = {
    "title": "你好 world",
    "artist": "A voice",
    "comment": "Synthetic speech; made by a machine = true",
    "encoder": "sparktts 0",
    "voice_id": "abc123",
    "seed": "7",
}


def tags(data: bytes) -> dict[str, str]:
    with av.open(io.BytesIO(data)) as container:
        return {**container.metadata, **container.streams.audio[0].metadata}


@pytest.mark.parametrize("format", CONTAINERS)
@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100])
def test_what_is_written_is_read_back(format: str, rate: int, clip_24k: Path) -> None:
    voice = read_audio(clip_24k, rate)
    back = read_audio(encode_audio(voice, rate, format), rate)
    if format == "aac":
        back = back[ADTS_DELAY : ADTS_DELAY + voice.size]
    assert back.size == voice.size
    assert np.corrcoef(back, voice)[0, 1] > LOWEST_CORRELATION[format]


@pytest.mark.parametrize("format", ["wav", "flac", "pcm"])
def test_lossless_formats_keep_every_bit_of_a_16_bit_recording(format: str, clip_24k: Path) -> None:
    voice, rate = decode_audio(clip_24k)
    data = encode_audio(voice, rate, format)
    back = np.frombuffer(data, "<i2") / np.float32(32768) if format == "pcm" else decode_audio(data)[0]
    assert np.array_equal(back, voice)


@pytest.mark.parametrize("format", CONTAINERS)
def test_metadata_is_read_back(format: str) -> None:
    found = tags(encode_audio(speechlike(0.3), 16000, format, TAGS))
    expected = {**TAGS, "encoded_by": TAGS["encoder"]}
    del expected["encoder"]
    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize("format", CONTAINERS)
def test_strange_metadata_is_made_harmless(format: str) -> None:
    strange = {"comment": "two\nlines\0end", "a=b": "c", "": "no key", "empty": "", "long": "x" * 5000}
    found = tags(encode_audio(speechlike(0.3), 16000, format, strange))
    assert found["comment"] == "two lines end"
    assert found["a-b"] == "c"
    assert len(found["long"]) == 5000
    assert not {"", "empty", "a=b"} & set(found)


@pytest.mark.parametrize("format", FORMATS)
def test_equal_input_gives_equal_bytes(format: str) -> None:
    voice = speechlike(0.5)
    assert encode_audio(voice, 16000, format, TAGS) == encode_audio(voice, 16000, format, TAGS)


def test_wav_is_what_the_standard_library_reads(clip_24k: Path) -> None:
    voice, rate = decode_audio(clip_24k)
    with wave.open(io.BytesIO(encode_audio(voice, rate, "wav", TAGS))) as file:
        assert file.getparams()[:4] == (1, 2, 24000, 79200)


@pytest.mark.parametrize("format", FORMATS)
def test_values_beyond_full_scale_are_clipped(format: str) -> None:
    data = encode_audio(np.array([2.0, -2.0] * 50, np.float32), 16000, format)
    if format == "pcm":
        assert set(np.frombuffer(data, "<i2")) == {32767, -32768}
    elif format in ("wav", "flac"):
        assert set(decode_audio(data)[0]) == {np.float32(32767 / 32768), -1.0}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("bad", [np.array([0.1, np.nan]), np.array([np.inf]), np.zeros(0), np.zeros((3, 2))])
def test_what_is_no_sound_is_refused(format: str, bad: np.ndarray) -> None:
    with pytest.raises(AudioError):
        encode_audio(bad, 16000, format)


@pytest.mark.parametrize("format", FORMATS)
def test_a_single_sample_can_be_written(format: str) -> None:
    assert encode_audio(np.array([0.5], np.float32), 16000, format)


@pytest.mark.parametrize("format", FORMATS)
def test_the_suffix_chooses_the_format(format: str, tmp_path: Path) -> None:
    voice = speechlike(0.3)
    path = tmp_path / f"out.{format.upper()}"
    write_audio(str(path), voice, 16000, metadata=TAGS)
    assert path.read_bytes() == encode_audio(voice, 16000, format, TAGS)
    assert list(tmp_path.iterdir()) == [path]


def test_a_stream_that_cannot_seek_gets_the_whole_file() -> None:
    reader, writer = os.pipe()
    received: list[bytes] = []

    def drain() -> None:
        with os.fdopen(reader, "rb") as source:
            received.append(source.read())

    thread = threading.Thread(target=drain)
    thread.start()
    with os.fdopen(writer, "wb") as sink:
        write_audio(sink, speechlike(1), 16000, "flac")
    thread.join()
    assert received == [encode_audio(speechlike(1), 16000, "flac")]


def test_streams_need_a_format_and_bytes() -> None:
    with pytest.raises(OptionError, match="wav, flac, mp3"):
        write_audio(io.BytesIO(), speechlike(0.3), 16000)
    with pytest.raises(AudioError, match="stream"):
        write_audio(io.StringIO(), speechlike(0.3), 16000, "wav")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a.txt", "a", "a.wav.zip", ".wav"])
def test_unknown_suffixes_name_the_formats(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"\.wav, \.flac, \.mp3, \.opus, \.ogg, \.aac, \.pcm"):
        write_audio(tmp_path / name, speechlike(0.3), 16000)
    with pytest.raises(OptionError):
        write_audio(tmp_path / "a.wav", speechlike(0.3), 16000, format="midi")
    assert not list(tmp_path.iterdir())


def test_targets_that_cannot_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "folder.wav"
    folder.mkdir()
    for target, reason in [
        (folder, "is a folder"),
        (tmp_path / "missing" / "a.wav", "There is no folder"),
        (tmp_path / ("x" * 300 + ".wav"), "cannot be written"),
        (tmp_path / "a\0.wav", "cannot be written"),
    ]:
        with pytest.raises(AudioError, match=reason):
            write_audio(target, speechlike(0.3), 16000)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    with pytest.raises(AudioError):
        write_audio(path, np.array([np.nan]), 16000)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_audio(tmp_path / "a.wav", speechlike(0.3), 16000)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_and_devices_stay_what_they_are(tmp_path: Path) -> None:
    real, link = tmp_path / "real.wav", tmp_path / "link.wav"
    link.symlink_to(real)
    write_audio(link, speechlike(0.3), 16000)
    assert link.is_symlink()
    assert real.is_file()
    write_audio("/dev/null", speechlike(0.3), 16000, "wav")
    assert not Path("/dev/null").is_file()


def test_opus_takes_other_rates_by_resampling() -> None:
    voice = speechlike(1, 22050)
    back = read_audio(encode_audio(voice, 22050, "opus"), 22050)
    assert np.corrcoef(back[: voice.size], resample(voice, 22050, 22050))[0, 1] > 0.99
