"""The documentation is true: its examples run, its links lead somewhere, and it names every command and option.

The examples run on the seeded checkpoint, whose random weights never stop by themselves. So the checks are off here, by
their default in Python and by --no-checks in shells, and utterances are cut early; the examples themselves are what
readers see.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import tomllib
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

import sparktts
from sparktts import convert, errors, inference
from sparktts.audio.read import read_audio
from sparktts.audio.write import write_audio
from sparktts.cli.app import app
from sparktts.longform import ReadingOptions
from sparktts.report import Report, UtteranceReport
from sparktts.voice import Provenance

from .audio.files import encoded
from .cli.runner import run

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
PUBLISHED = {"sparktts.inference": inference.main, "sparktts.convert": convert.main}
TOKENS = 40  # of an utterance, 0.8 s: enough to be joined and written


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of one language in a page."""
    return [code for found, code in FENCE.findall((ROOT / page).read_text(encoding="utf-8")) if found == language]


def shell_lines(page: str) -> list[str]:
    return [line for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]


@pytest.fixture
def home(tmp_path: Path, mini: Path, clip_16k: Path, clip_24k: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the examples name: clips, texts, lists, a downloaded model; it is the working directory."""
    for model in ("path-or-repo", "models/Spark-TTS-0.5B", "pretrained_models/Spark-TTS-0.5B"):
        shutil.copytree(mini, tmp_path / model, copy_function=os.link)
    shutil.copy(clip_24k, tmp_path / "clip.wav")
    with wave.open(str(clip_16k)) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.float32) / 32768
    (tmp_path / "me.m4a").write_bytes(encoded(samples, 16000, "mp4", "aac"))
    (tmp_path / "book.txt").write_text("A short book.\n\nThe end.\n", encoding="utf-8")
    lines = next(block for block in blocks("docs/cli.md", "json") if block.startswith('{"text"'))
    (tmp_path / "list.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "lexicon.txt").write_text(blocks("docs/text.md", "text")[0], encoding="utf-8")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARKTTS_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("SPARKTTS_VOICES", str(tmp_path / "voices"))
    monkeypatch.setenv("SPARKTTS_MODEL", str(mini))
    checks, *others = ReadingOptions.__init__.__defaults__ or ()
    assert checks is True
    monkeypatch.setattr(ReadingOptions.__init__, "__defaults__", (False, *others))
    monkeypatch.setattr("sparktts.guards.MAX_TOKENS", TOKENS)
    return tmp_path


@pytest.mark.parametrize("page", ["README.md", "docs/python.md", "docs/text.md"])
def test_the_python_examples_run(page: str, home: Path, exported: Path) -> None:
    """As one program, from top to bottom; what they save is there."""
    shutil.copytree(exported, home / "spark-int4", copy_function=os.link)
    program = "\n".join(blocks(page, "python"))
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, block in enumerate(blocks(page, "python"), start=1):
        exec(compile(block, f"{page}, Python block {number}", "exec"), names)
    assert program
    for name in re.findall(r'\.save\("([^"]+\.\w+)"', program):
        assert (home / name).stat().st_size > 100, name


def test_the_surface_that_was_promised_runs(home: Path) -> None:
    from sparktts import SparkTTS, Style

    tts = SparkTTS.from_pretrained("path-or-repo")
    voice = tts.clone("me.m4a")
    voice.save("me.json")
    audio = tts.say("Long text ...", voice=voice, seed=7)
    assert audio.samples.ndim == 1
    assert audio.samples.dtype == np.float32
    assert audio.sample_rate == 16000
    assert [utterance.seed for utterance in audio.report.utterances] == [7]
    assert "<audio" in audio._repr_html_()
    audio.save("a.mp3")
    assert (home / "a.mp3").stat().st_size > 1000
    audio = tts.say("Hello.", style=Style(gender="female", pitch="high", speed=5.2))
    assert audio.report.style == "pitch high; speed 5 syllables/s, high"
    speaker, semantic = tts.encode("clip.wav")
    audio = tts.decode(semantic, speaker)
    assert (speaker.shape, len(audio.samples)) == ((32,), 320 * len(semantic))


def test_the_promised_lines_are_in_the_documentation() -> None:
    shown = " ".join("\n".join(blocks("docs/python.md", "python")).split())
    for line in (
        'tts = SparkTTS.from_pretrained("path-or-repo")',
        'voice = tts.clone("me.m4a"); voice.save("me.json")',
        'audio = tts.say("Long text ...", voice=voice, seed=7)',
        'audio.save("a.mp3")',
        'audio = tts.say("Hello.", style=Style(gender="female", pitch="high", speed=5.2))',
        'speaker, semantic = tts.encode("clip.wav"); audio = tts.decode(semantic, speaker)',
    ):
        assert line in shown


@pytest.mark.parametrize("page", ["README.md", "docs/cli.md", "docs/checkpoints.md"])
def test_the_shell_examples_run(page: str, home: Path, mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line that calls sparktts, in this process; only the download is replaced, as tests need no network."""
    downloads: list[tuple[object, ...]] = []

    def download(*arguments: object) -> Path:
        downloads.append(arguments)
        return mini

    monkeypatch.setattr("sparktts.checkpoint.download.download", download)
    lines = shell_lines(page)
    ours = [line for line in lines if "sparktts" in line and not line.startswith(("pip", "git", "cd"))]
    for line in lines:
        if line.startswith("export "):
            monkeypatch.setenv(*line.removeprefix("export ").split("=", 1))
        elif line in ours:
            run_pipeline(line, home)
    assert len(ours) >= 3
    assert len(downloads) == sum("model download" in line for line in ours)
    assert all(True in arguments for arguments in downloads)  # the licence was accepted


def run_pipeline(line: str, home: Path) -> None:
    """Runs the parts of a shell line that are ours, echo or cat; a player at its end is left out."""
    data = b""
    for stage in line.split(" | "):
        words = shlex.split(stage)
        if words[0] == "echo":
            data = (words[1] + "\n").encode()
        elif words[0] == "cat":
            data = (home / words[1]).read_bytes()
        elif words[0] == "ffplay":
            assert data
        else:
            data = run_ours(words, data)
            if "-o" in words and (target := words[words.index("-o") + 1]) != "-" and "download" not in words:
                kept = home / "voices" / f"{target}.json"
                assert (home / target).exists() or kept.exists(), line


def run_ours(words: list[str], data: bytes) -> bytes:
    if words[0] == "sparktts":
        extra = ["--no-checks"] if words[1] == "say" else []
        result = run(*words[1:], *extra, stdin=data)
    else:
        assert words[:2] == ["python", "-m"]
        extra = ["--no_checks"] if words[2] == "sparktts.inference" else []
        result = run(*words[3:], *extra, command=PUBLISHED[words[2]])
    assert result.code == 0, (words, result.stderr)
    return result.stdout


def write_recordings(home: Path, clip: Path) -> None:
    """What docs/finetune.md begins with: pieces of one recording."""
    (home / "recordings").mkdir()
    listed = blocks("docs/finetune.md", "text")[0].splitlines()
    speech = read_audio(clip)
    for number in range(1, 25):
        write_audio(home / "recordings" / f"{number:04}.wav", speech[2000 * number : 2000 * number + 48000], 16000)
    lines = [listed[0], *(f'{number:04}.wav,"The text of this one recording."' for number in range(1, 25))]
    assert {line.split(",")[0] for line in listed} <= {line.split(",")[0] for line in lines}
    (home / "recordings" / "metadata.csv").write_text("\n".join(lines))


def test_the_five_commands_of_fine_tuning_make_a_model_that_speaks(home: Path, mini: Path, clip_16k: Path) -> None:
    """As the guide has them, with two steps."""
    for module in ("lightning_fabric", "peft", "pyarrow", "tensorboard"):
        pytest.importorskip(module)
    shutil.copytree(mini, home / "Spark-TTS-0.5B", copy_function=os.link)
    write_recordings(home, clip_16k)
    (home / "finetune.yaml").write_text(blocks("docs/finetune.md", "yaml")[0])
    commands = blocks("docs/finetune.md", "sh")[0].splitlines()
    assert len(commands) == 5
    short = ["--set", "run.steps=2", "--set", "data.validation=0.2"]
    for line in commands:
        words = shlex.split(line)
        run_ours([*words, *short] if words[1] == "train" else words, b"")
    assert read_audio(home / "hello.wav").any()
    assert "sound" in run("model", "check", "models/me").text


def test_ember_is_taught_a_voice_as_the_guide_says(home: Path, clip_16k: Path) -> None:
    for module in ("lightning_fabric", "pyarrow", "swift_f0", "tensorboard"):
        pytest.importorskip(module)
    write_recordings(home, clip_16k)
    (home / "voice.yaml").write_text(blocks("docs/finetune.md", "yaml")[1])
    for line in blocks("docs/finetune.md", "sh")[1].splitlines():
        words = shlex.split(line)
        run_ours([*words, "--set", "run.steps=2"] if words[1] == "train" else words, b"")
    assert read_audio(home / "hello.wav").any()
    assert "sound" in run("model", "check", "models/small-me").text
    assert (home / "models/small-me/voices/ben.json").is_file()


@pytest.mark.parametrize("page", ["docs/cli.md"])
def test_the_json_examples_are_json(page: str) -> None:
    for block in blocks(page, "json"):
        try:
            json.loads(block)
        except json.JSONDecodeError:
            assert [json.loads(line) for line in block.splitlines()]


def test_the_json_of_the_documentation_has_the_keys_that_commands_print(home: Path) -> None:
    shown = [block for block in blocks("docs/cli.md", "json") if block.startswith("{\n")]
    report, voice = (json.loads(block) for block in shown)
    said = run("say", "Hi.", "-o", "hi.wav", "--no-checks", "--json").json
    assert said.keys() == report.keys()
    assert said["utterances"][0].keys() == report["utterances"][0].keys()
    assert run("clone", "clip.wav", "-o", "me", "--quiet").code == 0
    assert run("voices", "show", "me", "--json").json.keys() == voice.keys()
    tokens = json.loads(next(block for block in blocks("docs/cli.md", "json") if block.startswith('{"global')))
    assert run("encode", "clip.wav").json.keys() == tokens.keys()
    section = sections()["sparktts model info"]
    assert all(f"`{key}`" in section for key in run("model", "info", "--json").json)
    section = (ROOT / "docs/voices.md").read_text(encoding="utf-8").split("## Voice files")[1]
    assert all(f"`{key}`" in section for key in json.loads((home / "voices/me.json").read_text()))


def sections() -> dict[str, str]:
    """Text of docs/cli.md by heading."""
    parts = re.split(r"^#+ (.+)$", FENCE.sub("", (ROOT / "docs/cli.md").read_text(encoding="utf-8")), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    for child_name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{name} {child_name}")
    yield name, command


COMMANDS = dict(commands(typer.main.get_command(app), "sparktts"))


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "sparktts"])
def test_every_command_and_option_has_its_place(name: str) -> None:
    section = sections()[name]
    for parameter in COMMANDS[name].params:
        for option in [*parameter.opts, *parameter.secondary_opts]:
            if option.startswith("-"):
                assert f"`{option}`" in section, f"{name} {option}"


def test_no_option_is_documented_that_does_not_exist() -> None:
    parameters = [parameter for command in COMMANDS.values() for parameter in command.params]
    known = {option for p in parameters for option in (*p.opts, *p.secondary_opts)} | {"--help"}
    text = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    assert "--version" in text
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known


@pytest.mark.parametrize("module", PUBLISHED)
def test_every_published_flag_is_documented(module: str) -> None:
    flags = re.findall(r"--[a-z_]+", run("--help", command=PUBLISHED[module]).text)
    text = (ROOT / "docs/checkpoints.md").read_text(encoding="utf-8")
    assert flags
    assert all(f"`{flag}`" in text for flag in flags if flag != "--help")


def test_every_public_name_and_field_is_documented() -> None:
    text = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    kinds = [getattr(sparktts, name) for name in sparktts.__all__]
    for kind in [*kinds, Report, UtteranceReport, Provenance]:
        assert kind.__name__ in text
        for field in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
            assert re.search(rf"[`(\s]{field.name}[`=]", text), f"{kind.__name__}.{field.name}"
    for method in (name for name in vars(sparktts.SparkTTS) if not name.startswith("_")):
        assert f"tts.{method}" in text or f"`{method}`" in text or f"SparkTTS.{method}" in text, method
    for error in errors.SparkTTSError.__subclasses__():
        assert f"`{error.__name__}`" in text


def test_every_dependency_has_its_licence_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    needed = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    text = (ROOT / "docs/licences.md").read_text(encoding="utf-8").lower()
    for requirement in needed:
        name = re.split(r"[<>=\[ ]", requirement)[0].lower()
        assert re.search(rf"[| ,]{name}[ ,|]", text), name


def test_the_changelog_names_this_version() -> None:
    assert f"## [{sparktts.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as they are made from their words."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))  # code may look like a link
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), target
        assert other.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(other), target


def test_the_benchmarks_of_the_documentation_exist() -> None:
    lines = shell_lines("docs/benchmarks.md")
    assert len(lines) >= 3
    for line in lines:
        words = shlex.split(line)
        source = (ROOT / words[2].replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
        assert all(f'"{word}"' in source for word in words if word.startswith("--")), line
