"""The command as a process: quick help, ways to end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sparktts import __version__
from sparktts.cli.run import guarded, one_sentence
from sparktts.library import VoiceLibrary

from .runner import run, run_process
from .test_voices import a_voice

HEAVY = ("torch", "transformers", "av", "wetext", "soxr", "tokenizers", "huggingface_hub", "scipy")
COMMANDS = (
    (),
    *(("say",), ("clone",), ("encode",), ("decode",), ("eval",)),
    *(("voices", name) for name in ("list", "show", "remove", "import", "export")),
    *(("model", name) for name in ("info", "check", "download", "convert")),
)


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from sparktts.cli import main; code = main(['say', '--help']); "
        f"print(sorted(set({HEAVY}) & set(sys.modules)), code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[] 0"


def test_a_wrong_option_is_told_without_loading_anything_heavy() -> None:
    program = (
        "import sys; from sparktts.cli import main; code = main(['say', 'Hi.', '--gender', 'robot']); "
        f"print(sorted(set({HEAVY}) & set(sys.modules)), code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] 2"
    assert done.stderr.startswith("Error: ")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert (result.code, result.stderr) == (0, "")
    assert "Usage: sparktts" in result.text


@pytest.mark.parametrize("command", COMMANDS[1:], ids=" ".join)
def test_every_option_tells_its_default(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    lines = [line for line in run(*command, "--help").text.splitlines() if re.search(r"[│|].* --\w", line)]
    untold = [line for line in lines if not re.search(r"--help|[Dd]efault|Needed", line)]
    assert len(lines) > 0
    assert untold == []


def test_no_arguments_mean_help() -> None:
    assert run().text == run("--help").text


def test_version() -> None:
    result = run_process("--version")
    assert (result.code, result.text) == (0, f"sparktts {__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [("say", "--loud"), ("sing",), ("voices",), ("clone",), ("say", "a", "b"), ("say", "--seed", "x")],
)
def test_wrong_usage_is_one_sentence_and_names_the_help(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.code == 2
    assert re.fullmatch(r"Error: .+; see `sparktts.* --help`\.\n", result.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_bar_is_on_the_terminal_and_results_are_not(mini: Path, out: Path) -> None:
    import pty

    terminal, stderr = pty.openpty()
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "sparktts",
            "say",
            "--batch",
            "-",
            "-o",
            out,
            "--model",
            mini,
            "--no-checks",
            "--json",
        ],
        input=b'{"text": "Hi."}\n',
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "100"},
        check=True,
    )
    os.close(stderr)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert "Speaking" in shown
    assert "0/1" in shown
    assert json.loads(process.stdout)["output"] == str(out / "0001.wav")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_stops_at_once_and_leaves_only_whole_files(mini: Path, out: Path) -> None:
    long = " ".join(["This is a sentence that takes its time."] * 40)
    lines = "".join(json.dumps({"text": text}) + "\n" for text in ("Hi.", long))
    with subprocess.Popen(
        [sys.executable, "-m", "sparktts", "say", "--batch", "-", "-o", out, "--model", mini, "--no-checks"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(lines.encode())
        process.stdin.close()
        process.stdin = None
        assert b"0001.wav" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (130, b"Stopped.\n")
    assert [path.name for path in out.iterdir()] == ["0001.wav"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
def test_a_reader_that_leaves_is_no_error(library: Path) -> None:
    VoiceLibrary(library).save("anna", a_voice())
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-m", "sparktts", "voices", "list"],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (process.returncode, process.stderr) == (141, b"")


def test_a_bug_is_one_sentence_and_a_traceback_when_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def buggy() -> None:
        raise ZeroDivisionError("secret")

    assert guarded(buggy) == 1
    plain = capsys.readouterr().err
    assert len(plain.splitlines()) == 1
    assert "ZeroDivisionError" in plain
    assert "report" in plain
    monkeypatch.setenv("SPARKTTS_DEBUG", "1")
    assert guarded(buggy) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), 2, "memory is not enough"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 2, "memory is not enough"),
        (PermissionError(13, "Permission denied", "/x"), 2, "Permission denied (/x)."),
        (KeyboardInterrupt(), 130, "Stopped."),
    ],
)
def test_what_the_system_does_is_one_sentence(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, words: str
) -> None:
    def failing() -> None:
        raise error

    assert guarded(failing) == code
    stderr = capsys.readouterr().err
    assert len(stderr.splitlines()) == 1
    assert words in stderr


def test_a_message_becomes_one_short_clean_line() -> None:
    assert one_sentence("a\nb\x1b[31m c") == "a b [31m c."
    long = one_sentence(f"There is no {'x' * 1000}: try another.")
    assert len(long) <= 300
    assert long.startswith("There is no xxx")
    assert long.endswith("xxx: try another.")
