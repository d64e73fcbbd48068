"""sparktts say: one text."""

from __future__ import annotations

import io
import json
import wave
from pathlib import Path

import av
import pytest

from sparktts.voice import Voice

from .runner import Result, run, run_process

SPEAK = ("--no-checks", "--seed", 7)


def say(mini: Path, *arguments: object, stdin: bytes = b"") -> Result:
    return run("say", *arguments, "--model", mini, *SPEAK, stdin=stdin)


def test_it_writes_a_sound_file_and_sums_up_on_stderr(mini: Path, out: Path) -> None:
    result = say(mini, "Hi.", "-o", out / "hi.wav")
    assert result.code == 0
    assert result.stdout == b""
    assert result.stderr.startswith(f"{out / 'hi.wav'}: ")
    assert "seed 7" in result.stderr
    with wave.open(str(out / "hi.wav")) as sound:
        assert sound.getframerate() == 16000
        assert sound.getnframes() > 1600


def test_json_tells_the_report_and_the_file(mini: Path, out: Path) -> None:
    result = say(mini, "Hi.", "-o", out / "hi.mp3", "--json", "--gender", "male", "--speed", "4.7")
    report = result.json
    assert result.code == 0
    assert result.stderr == ""
    assert report["output"] == str(out / "hi.mp3")
    assert report["style"].startswith("speed 4 syllables/s")
    assert [utterance["source"] for utterance in report["utterances"]] == ["Hi."]
    with av.open(str(out / "hi.mp3")) as sound:
        assert "Synthetic speech" in sound.metadata["comment"]
        assert report["voice"] in sound.metadata["comment"]


def test_the_same_seed_writes_the_same_bytes(mini: Path, out: Path) -> None:
    for name in ("a.wav", "b.wav"):
        assert say(mini, "Hi.", "-o", out / name, "--quiet").stderr == ""
    assert (out / "a.wav").read_bytes() == (out / "b.wav").read_bytes()


def test_stdout_takes_the_sound_and_stderr_the_rest(mini: Path) -> None:
    result = say(mini, "-", "-o", "-", "--json", stdin="你好。".encode())
    assert result.code == 0
    with wave.open(io.BytesIO(result.stdout)) as sound:
        assert sound.getnframes() > 1600
    assert json.loads(result.stderr)["utterances"][0]["source"] == "你好。"


def test_format_names_what_stdout_gets(mini: Path) -> None:
    assert say(mini, "Hi.", "-o", "-", "--format", "flac", "--quiet").stdout.startswith(b"fLaC")


def test_a_file_with_a_byte_order_mark_is_read(mini: Path, out: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes(b"\xef\xbb\xbfHi.")
    result = say(mini, "--file", text, "-o", out / "hi.wav", "--json")
    assert result.json["utterances"][0]["source"] == "Hi."


def test_a_clip_speaks_as_its_clone_does(mini: Path, out: Path, clip_24k: Path) -> None:
    assert run("clone", clip_24k, "-o", "me", "--model", mini).code == 0
    by_name = say(mini, "Hi.", "--voice", "me", "-o", out / "a.wav", "--json").json
    by_clip = say(mini, "Hi.", "--voice", clip_24k, "-o", out / "b.wav", "--json").json
    assert by_name["voice"] == by_clip["voice"]
    assert (out / "a.wav").read_bytes() == (out / "b.wav").read_bytes()


def test_a_transcript_is_spoken_on_from(mini: Path, out: Path, clip_24k: Path) -> None:
    said = [
        say(mini, "Hi.", "--voice", clip_24k, *words, "-o", out / "a.wav", "--json").json["voice"]
        for words in ((), ("--transcript", "These are the words."))
    ]
    assert said[0] != said[1]  # the second one carries the clip's semantic tokens


def test_the_voice_that_spoke_can_be_kept_and_speaks_again(mini: Path, out: Path) -> None:
    first = say(mini, "Hi.", "--gender", "female", "--keep-voice", "anna", "-o", out / "a.wav", "--json").json
    again = say(mini, "Ho.", "--voice", "anna", "-o", out / "b.wav", "--json").json
    assert first["voice"] == again["voice"] == Voice.load(first["kept_voice"]).id


def test_a_name_that_is_taken_is_refused_before_speaking(mini: Path, out: Path) -> None:
    assert say(mini, "Hi.", "--keep-voice", out / "v.json", "-o", out / "a.wav").code == 0
    result = say(mini, "Ho.", "--keep-voice", out / "v.json", "-o", out / "b.wav")
    assert result.code == 2
    assert "exists" in result.stderr
    assert not (out / "b.wav").exists()


def test_text_options_reach_the_text(mini: Path, out: Path, tmp_path: Path) -> None:
    lexicon = tmp_path / "words.txt"
    lexicon.write_text("Xz = yes\n")

    def spoken(*arguments: object) -> str:
        report = say(mini, "Xz 5.", "--lexicon", lexicon, "-o", out / "a.wav", "--json", *arguments).json
        return str(report["utterances"][0]["text"]).lower()

    assert spoken() == "yes five."
    assert spoken("--no-normalize") == "yes 5."


def test_the_longest_piece_is_an_option(mini: Path, out: Path) -> None:
    text = "One two three, four five six, seven eight nine."
    result = say(mini, text, "--max-seconds", "2", "--batch-size", "4", "-o", out / "a.wav", "--json")
    assert len(result.json["utterances"]) > 1


def test_sampling_options_reach_the_model(mini: Path, out: Path) -> None:
    greedy = ("--temperature", "0", "--gender", "male", "-o", out / "a.wav", "--json")
    voices = [run("say", "Hi.", *greedy, "--model", mini, "--no-checks", "--seed", n).json for n in (1, 2)]
    assert voices[0]["voice"] == voices[1]["voice"]


def test_a_sentence_the_model_fails_at_is_an_error_that_names_it(mini: Path, out: Path) -> None:
    result = run("say", "Oh no.", "--model", mini, "--retries", "0", "--seed", "1", "-o", out / "a.wav")
    assert result.code == 2
    assert "'Oh no.'" in result.stderr
    assert not list(out.iterdir())


@pytest.mark.parametrize("suffix", ["flac", "opus", "ogg", "pcm"])
def test_every_suffix_is_written(mini: Path, out: Path, suffix: str) -> None:
    assert say(mini, "Hi.", "-o", out / f"hi.{suffix}", "--quiet").code == 0
    assert (out / f"hi.{suffix}").stat().st_size > 1000


def test_it_runs_as_a_process_with_the_model_from_the_environment(mini: Path, out: Path) -> None:
    result = run_process("say", "你好。", "-o", out / "你好.wav", *SPEAK, environment={"SPARKTTS_MODEL": str(mini)})
    assert result.code == 0, result.stderr
    assert [path.name for path in out.iterdir()] == ["你好.wav"]
    assert result.stdout == b""
    assert len(result.stderr.splitlines()) <= 2
