"""sparktts say --stream and --play: sound goes out while it is made."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import wave
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import numpy.typing as npt
import pytest

from sparktts.audio.read import read_audio

from .runner import Result, run

SPEAK = ("--no-checks", "--seed", 7)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights never stop: utterances are cut early."""
    monkeypatch.setattr("sparktts.guards.MAX_TOKENS", 60)


def say(mini: Path, *arguments: object, stdin: bytes = b"") -> Result:
    return run("say", *arguments, "--model", mini, *SPEAK, stdin=stdin)


def test_a_piped_wav_is_played_by_others(mini: Path, tmp_path: Path) -> None:
    result = say(mini, "Hi.", "--stream", "-o", "-", "--quiet")
    assert result.code == 0
    assert result.stdout[4:8] == b"\xff\xff\xff\xff"  # nobody knows its length

    class Pipe(io.RawIOBase):
        """Only to be read on, as a pipe."""

        def __init__(self, data: bytes) -> None:
            self.data = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            return self.data.read(min(size, 1000) if size > 0 else size)

    with av.open(Pipe(result.stdout)) as sound:  # type: ignore[arg-type]
        assert sound.streams.audio[0].rate == 16000
        assert "Synthetic speech" in sound.metadata["comment"]
        samples = sum(frame.samples for frame in sound.decode(audio=0))
    with wave.open(io.BytesIO(result.stdout)) as file:
        read = np.frombuffer(file.readframes(10**9), "<i2")
    assert samples == len(read) > 16000 * 0.8
    assert len(read_audio(result.stdout)) == samples


def as_samples(pcm: bytes) -> npt.NDArray[np.int32]:
    return np.frombuffer(pcm, "<i2").astype(np.int32)


def test_pcm_is_the_sound_alone(mini: Path) -> None:
    pcm = say(mini, "Hi.", "--stream", "-o", "-", "--format", "pcm", "--exact", "--quiet").stdout
    wav = say(mini, "Hi.", "--stream", "-o", "-", "--exact", "--quiet").stdout
    assert len(wav) > len(pcm) > 0
    # Where windows meet depends on the time they took, and the last bits on where they meet.
    assert np.abs(as_samples(wav[-len(pcm) :]) - as_samples(pcm)).max() <= 2e-4 * 2**15
    assert len(wav) - len(pcm) < 400


def test_exact_streams_are_what_say_writes(mini: Path, out: Path) -> None:
    assert say(mini, "Hi.", "--stream", "--exact", "-o", out / "a.wav").code == 0
    assert say(mini, "Hi.", "-o", out / "b.wav").code == 0
    streamed, whole = (read_audio(out / name) for name in ("a.wav", "b.wav"))
    assert len(streamed) == len(whole)
    assert np.abs(streamed - whole).max() <= 2e-4


def test_a_file_has_the_right_length_at_the_end(mini: Path, out: Path) -> None:
    result = say(mini, "Hi.", "--stream", "-o", out / "hi.wav", "--json", "--look-ahead", 3)
    report = result.json
    with wave.open(str(out / "hi.wav")) as sound:
        assert sound.getnframes() == round(report["seconds"] * 16000)
    assert (out / "hi.wav").stat().st_size == int.from_bytes((out / "hi.wav").read_bytes()[4:8], "little") + 8
    assert report["output"] == str(out / "hi.wav")
    assert report["stream"]["look_ahead"] == 3
    assert report["stream"]["mode"] == "low-latency"
    assert report["stream"]["overhead"] >= 1
    assert report["stream"]["first_sound"] > 0


def test_people_are_told_what_was_made(mini: Path, out: Path) -> None:
    result = say(mini, "Hi.", "--stream", "-o", out / "hi.wav", "--keep-voice", "anna")
    assert result.stdout == b""
    assert result.stderr.startswith(f"{out / 'hi.wav'}: ")
    assert "First sound after" in result.stderr
    assert "--voice anna" in result.stderr
    assert say(mini, "Ho.", "--voice", "anna", "--stream", "-o", out / "ho.wav", "--quiet").stderr == ""


def test_json_goes_to_stderr_when_the_sound_takes_stdout(mini: Path) -> None:
    result = say(mini, "-", "--stream", "-o", "-", "--json", stdin="你好。再见。".encode())
    # One utterance or two: a sentence whose end has come is not kept waiting for what the pipe may still bring.
    assert "".join(utterance["source"] for utterance in json.loads(result.stderr)["utterances"]) == "你好。再见。"
    assert result.stdout.startswith(b"RIFF")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--stream", "-o", "x.mp4"), "no audio format"),
        (("--exact", "-o", "x.wav"), "add --stream or --play"),
        (("--look-ahead", "3", "-o", "x.wav"), "add --stream or --play"),
        (("--stream", "--exact", "--look-ahead", "3", "-o", "x.wav"), "leave the look-ahead out"),
        (("--stream", "--look-ahead", "-3", "-o", "x.wav"), "from 0 to 1000"),
    ],
)
def test_what_does_not_go_together_is_refused(
    mini: Path, out: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.chdir(out)
    result = say(mini, "Hi.", *arguments)
    assert result.code == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(out.iterdir())


def test_a_batch_is_not_streamed(mini: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text('{"text": "Hi."}\n')
    result = run("say", "--batch", tmp_path / "list.jsonl", "--stream", "-o", out, "--model", mini)
    assert result.code == 2
    assert "whole files" in result.stderr


def test_a_sentence_that_fails_at_once_leaves_no_file(mini: Path, out: Path) -> None:
    result = run("say", "Oh no.", "--model", mini, "--retries", "0", "--seed", "1", "--stream", "-o", out / "a.wav")
    assert result.code == 2 or (out / "a.wav").exists()
    bad = say(mini, "-", "--stream", "-o", out / "b.wav", stdin=b"Caf\xe9.")
    assert bad.code == 2
    assert "not UTF-8" in bad.stderr
    assert not (out / "b.wav").exists()


def process(mini: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sparktts", "say", *arguments, "--model", str(mini), "--no-checks", "--seed", "7"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)


def test_text_is_spoken_while_it_is_typed(mini: Path) -> None:
    running = process(mini, "-", "--stream", "-o", "-", "--format", "pcm")
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.write(b"Hello there.\nNow")
    running.stdin.flush()
    assert len(running.stdout.read(640)) == 640  # the text has not ended
    rest, errors = running.communicate(b" the end.", timeout=120)
    assert running.returncode == 0, errors
    assert len(rest) > 16000


def test_ctrl_c_stops_at_once_and_a_file_keeps_what_was_said(mini: Path, out: Path) -> None:
    running = process(mini, "-", "--stream", "-o", str(out / "a.wav"), "--max-seconds", "2")
    assert running.stdin is not None
    running.stdin.write(b"Hello there, this is some text.\nAnd more.\n")
    running.stdin.flush()  # the text does not end: it would wait for ever
    end = time.monotonic() + 120
    while not (out / "a.wav").exists() and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    watchdog = threading.Timer(60, running.kill)
    watchdog.start()
    errors = running.stderr.read() if running.stderr else b""
    code = running.wait()
    watchdog.cancel()
    running.stdin.close()
    assert (code, errors.decode().strip()) == (130, "Stopped.")
    with wave.open(str(out / "a.wav")) as sound:
        assert 0 < sound.getnframes() <= (out / "a.wav").stat().st_size // 2


def test_a_reader_who_leaves_ends_it_quietly(mini: Path) -> None:
    running = process(mini, "Hello there. " * 40, "--stream", "-o", "-")
    assert running.stdout is not None
    assert running.stdin is not None
    assert running.stdout.read(1000).startswith(b"RIFF")
    running.stdout.close()
    errors = running.stderr.read() if running.stderr else b""
    running.stdin.close()
    assert running.wait(timeout=120) == 141
    assert errors == b""


# Playing


class Device:
    """Stands for PortAudio, which test machines lack: keeps what it is given."""

    def __init__(self, fails: bool = False) -> None:
        self.module = ModuleType("sounddevice")
        self.error = type("PortAudioError", (Exception,), {})
        self.played: list[np.ndarray] = []
        self.calls: list[str] = []
        self.fails = fails
        self.module.PortAudioError = self.error  # type: ignore[attr-defined]
        self.module.query_devices = self.query  # type: ignore[attr-defined]
        self.module.OutputStream = self.open  # type: ignore[attr-defined]

    def query(self, kind: str) -> dict[str, object]:
        if self.fails:
            raise self.error("No Default Output Device Available")
        return {"name": "speaker", "kind": kind}

    def open(self, samplerate: int, channels: int, dtype: str) -> Device:
        assert (samplerate, channels, dtype) == (16000, 1, "float32")
        return self

    def write(self, samples: np.ndarray) -> None:
        assert samples.shape[1] == 1
        self.played.append(samples[:, 0])

    def __getattr__(self, name: str) -> object:
        return lambda: self.calls.append(name)


def test_playing_takes_all_samples_and_waits_for_their_end(
    mini: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device()
    monkeypatch.setitem(sys.modules, "sounddevice", device.module)
    result = say(mini, "Hi.", "--play", "-o", out / "a.wav", "--quiet", "--exact")
    assert result.code == 0, result.stderr
    assert device.calls == ["start", "stop", "close"]
    written = read_audio(out / "a.wav")
    assert np.abs(np.concatenate(device.played) - written).max() < 1e-4
    report = say(mini, "Hi.", "--play", "--json").json
    assert report["output"] == "Played"


def test_without_a_sound_device_one_sentence_says_so(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", Device(fails=True).module)
    result = say(mini, "Hi.", "--play")
    assert result.code == 2
    assert "no sound device" in result.stderr
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    result = say(mini, "Hi.", "--play")
    assert result.code == 2
    assert "sparktts[play]" in result.stderr
    assert result.stderr.count("\n") == 1
