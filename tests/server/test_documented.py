"""Every example of docs/server.md, run as it is written against a server that speaks with Ember."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import httpx
import numpy as np
import pytest

from sparktts.audio.read import read_audio

from ..test_documentation import FENCE
from .process import Server

PAGE = (Path(__file__).parents[2] / "docs/server.md").read_text(encoding="utf-8")
BLOCKS = FENCE.findall(PAGE)
HERE = re.compile(r"localhost:8000")
NOT_HERE = ("pip install", "docker compose")  # what installs, and what needs an engine for containers
SERVERS = ("sparktts serve", "sparktts ui")

if shutil.which("curl") is None:
    pytest.skip("needs curl", allow_module_level=True)


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server.start("ember", tmp_path_factory.mktemp("kept"))
    yield server
    server.process.kill()


@pytest.fixture
def desk(tmp_path: Path, clip_24k: Path) -> Path:
    """A directory with the recording that the examples speak of."""
    samples = read_audio(clip_24k)
    with av.open(str(tmp_path / "me.m4a"), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.asarray(samples, np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return tmp_path


def commands(language: str) -> list[str]:
    """Blocks of a language; those of the shell without the lines that are not for here."""
    found = []
    for name, text in BLOCKS:
        if name == language == "sh":
            text = "".join(line for line in text.splitlines(True) if not any(word in line for word in NOT_HERE))
        if name == language and text.strip() and not text.startswith(SERVERS):
            found.append(text)
    return found


def test_no_kind_of_example_is_forgotten() -> None:
    assert {name for name, _ in BLOCKS} == {"sh", "python", "ini"}
    assert len(commands("sh")) >= 4
    assert len(commands("python")) == 2


@pytest.mark.parametrize("text", commands("sh"))
def test_commands_of_the_shell(text: str, speaking: Server, desk: Path) -> None:
    text = HERE.sub(speaking.url.removeprefix("http://"), text).replace("--requests 100", "--requests 8")
    text = re.sub(r"^curl", "curl --fail --silent --show-error", text, flags=re.MULTILINE)
    text = re.sub(r"^sparktts", f"{shlex.quote(sys.executable)} -m sparktts", text, flags=re.MULTILINE)
    done = subprocess.run(["bash", "-euc", text], cwd=desk, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for sound in desk.glob("hello.*"):
        assert np.abs(read_audio(sound)).max() > 0.05


@pytest.mark.parametrize("text", commands("python"))
def test_programs(text: str, speaking: Server, desk: Path) -> None:
    program = HERE.sub(speaking.url.removeprefix("http://"), text)
    done = subprocess.run([sys.executable, "-c", program], cwd=desk, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (sound,) = desk.glob("hello.*")
    assert sound.stat().st_size > 24000  # half a second of 24 kHz and 16 bits


@pytest.mark.parametrize("line", [line for _, text in BLOCKS for line in text.splitlines() if line.startswith(SERVERS)])
def test_servers_start_and_stop(line: str, tmp_path: Path) -> None:
    _, command, *options = shlex.split(line)
    if command == "ui":
        pytest.importorskip("gradio")
    server = Server.start("ember", tmp_path, *options, command=command)
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    assert server.stop() == 130  # Ctrl-C


def test_the_unit_of_systemd_starts_what_there_is() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(next(text for name, text in BLOCKS if name == "ini"))
    program, command, *options = unit["Service"]["ExecStart"].split()
    assert program.endswith("/sparktts")
    told = subprocess.run([sys.executable, "-m", "sparktts", command, "--help"], capture_output=True, text=True).stdout
    assert all(option in told for option in options if option.startswith("--"))
