"""Evaluations: of recordings, of the mini model, again after a stop, and their reports."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

pytest.importorskip("rapidfuzz", reason='needs pip install "sparktts[eval]"')
pytest.importorskip("pypinyin", reason='needs pip install "sparktts[eval]"')

from sparktts.audio.loudness import normalize_volume
from sparktts.audio.read import read_audio
from sparktts.audio.samples import Samples
from sparktts.audio.write import write_audio
from sparktts.checkpoint.layout import Checkpoint
from sparktts.cli.eval import _recordings
from sparktts.engine.ctc import edit_distance
from sparktts.engine.torch.aligner import Aligner
from sparktts.engine.torch.codec import TorchCodec
from sparktts.errors import CheckpointError, GenerationError, OptionError
from sparktts.evaluate.judges import Judges
from sparktts.evaluate.lists import Item, read_lists
from sparktts.evaluate.report import write_reports
from sparktts.evaluate.run import evaluate
from sparktts.evaluate.summary import Evaluation
from sparktts.evaluate.systems import Recordings, Synthesis, Take, seed_of
from sparktts.pipeline import SparkTTS
from sparktts.text.phonemes import phonemize

from ..aligned import with_aligner
from ..cli.runner import Result, run
from .judges import Bands, ByLength, Loudness, judges, lines_of

JUDGES = ("--asr", "python:tests.evaluate.judges:ByLength", "--speaker", "python:tests.evaluate.judges:Bands")
JUDGES = (*JUDGES, "--mos", "python:tests.evaluate.judges:Loudness")


def tone(seconds: float, hertz: float = 200.0, level: float = 0.3) -> Samples:
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(16000 * seconds)) / 16000)).astype(np.float32)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPARKTTS_MODEL", "SPARKTTS_JUDGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SPARKTTS_VOICES", str(tmp_path / "voices"))


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    write_audio(tmp_path / "p q.wav", tone(1.2), 16000)
    path = tmp_path / "texts.lst"
    lines = (
        "one|Hm.|p q.wav|The quick fox",
        "two|Hm.|p q.wav|The <b>slow</b> fox & co",
        "three|嗯。|p q.wav|你好，世界。",
    )
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    folder = tmp_path / "wavs"
    folder.mkdir()
    write_audio(folder / "one.wav", tone(1.2), 16000)
    write_audio(folder / "two.flac", tone(0.7, level=0.5), 24000)
    write_audio(folder / "three.wav", tone(1.6, 3000.0), 16000)
    return folder


def test_recordings_by_hand(texts: Path, wavs: Path, tmp_path: Path) -> None:
    evaluation = evaluate(read_lists([texts]), [Recordings("mine", wavs)], judges(), tmp_path / "out")
    one, two, three = evaluation.results
    # 1.2 s: three words; 0.47 s at 16 kHz: one word; 1.6 s: four characters.
    assert [result.scores.heard for result in evaluation.results] == ["the quick fox", "the", "你好世界"]
    assert one.scores.errors is not None
    assert one.scores.errors["wer"].total == 0
    assert one.scores.similarity == pytest.approx(1.0, abs=1e-3)
    assert three.scores.similarity is not None
    assert three.scores.similarity < 0.5
    assert two.scores.mos == pytest.approx(3.0, abs=0.05)
    assert two.take is not None
    assert two.take.audio == "audio/mine/two.flac"
    assert (tmp_path / "out" / two.take.audio).read_bytes() == (wavs / "two.flac").read_bytes()
    english, chinese = evaluation.figures()
    assert (english.language, english.items, english.failures) == ("en", 2, 0)
    assert chinese.errors["cer"].corpus == chinese.errors["pinyin"].corpus == 0.0
    assert english.real_time_factor is None


def test_a_missing_and_a_damaged_recording_are_failures_and_count_in_full(
    texts: Path, wavs: Path, tmp_path: Path
) -> None:
    (wavs / "one.wav").unlink()
    (wavs / "three.wav").write_bytes(b"nonsense")
    evaluation = evaluate(read_lists([texts]), [Recordings("mine", wavs)], judges(), tmp_path / "out")
    one, _, three = evaluation.results
    assert one.error == "There is no recording one in the folder wavs."
    assert three.error is not None
    assert evaluation.failures == 2
    chinese = evaluation.figures()[1]
    assert (chinese.errors["cer"].corpus, chinese.mean_mos, chinese.failures) == (1.0, None, 1)


class Counting(Recordings):
    """Recordings that can stop in the middle, as by Ctrl-C."""

    taken: int = 0
    stop_at: int | None = None

    def take(self, item: Item, out: Path) -> Take:
        if self.taken == self.stop_at:
            raise KeyboardInterrupt
        self.taken += 1
        return super().take(item, out)


def test_a_stopped_run_goes_on_and_ends_as_if_it_had_not_stopped(texts: Path, wavs: Path, tmp_path: Path) -> None:
    lists, out = read_lists([texts]), tmp_path / "out"
    system = Counting("mine", wavs)
    system.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        evaluate(lists, [system], judges(), out)
    assert len(lines_of(out)) == 2
    with (out / "results.jsonl").open("a") as file:
        file.write('{"system": "mine", "id": "thr')  # a crash while writing
    again = Counting("mine", wavs)
    resumed = evaluate(lists, [again], judges(), out)
    assert (again.taken, resumed.reused) == (1, 2)
    evaluate(lists, [Recordings("mine", wavs)], judges(), tmp_path / "whole")
    assert lines_of(out) == lines_of(tmp_path / "whole")


def test_only_what_has_changed_is_done_again(texts: Path, wavs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def again() -> tuple[int, int, int]:
        """Takes, judgements, and reused results of another run."""
        system, ear = Counting("mine", wavs), ByLength()
        done = evaluate(read_lists([texts]), [system], Judges(ear, Bands(), Loudness()), out)
        return system.taken, ear.calls, done.reused

    assert again() == (3, 3, 0)
    assert again() == (0, 0, 3)
    write_audio(wavs / "one.wav", tone(2.0), 16000)
    assert again() == (1, 1, 2)
    texts.write_text(texts.read_text(encoding="utf-8").replace("quick", "slow"), encoding="utf-8")
    assert again() == (1, 1, 2)
    (out / "audio/mine/two.flac").unlink()
    assert again() == (1, 1, 2)
    without = Judges(ByLength(), None, None)
    assert evaluate(read_lists([texts]), [Recordings("mine", wavs)], without, out).reused == 0
    (wavs / "one.wav").unlink()
    assert again() == (1, 2, 0)  # all judged again, but for the one that is gone
    write_audio(wavs / "one.wav", tone(2.0), 16000)
    assert again() == (1, 1, 2)


def test_other_lists_and_systems_stay_in_the_file(texts: Path, wavs: Path, tmp_path: Path) -> None:
    out, lists = tmp_path / "out", read_lists([texts])
    evaluate(lists, [Recordings("a", wavs)], judges(), out)
    evaluate(lists, [Recordings("b", wavs)], judges(), out)
    assert [json.loads(line)["system"] for line in lines_of(out)] == ["b"] * 3 + ["a"] * 3
    assert evaluate(lists, [Recordings("a", wavs), Recordings("b", wavs)], judges(), out).reused == 6


class Page(HTMLParser):
    """Checks that elements close in order, and collects what the page asks for."""

    VOID = frozenset({"meta", "input", "br", "line", "circle", "!doctype"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.sources += [given["src"]] if given.get("src") else []
        self.ids += [given["id"]] if given.get("id") else []
        self.targets += [given["href"]] if given.get("href") else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_reports_of_two_systems(texts: Path, wavs: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    write_audio(other / "one.wav", tone(0.6), 16000)
    systems = [Recordings("mine", wavs), Recordings("their|s <i>", other)]
    with pytest.raises(OptionError, match="cannot be called"):
        evaluate(read_lists([texts]), systems, judges(), out)
    systems[1].name = "their's & co"
    evaluation = evaluate(read_lists([texts]), systems, judges(), out)
    write_reports(evaluation, out)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["schema"] == "sparktts.eval/1"
    named = {"recogniser": "by-length 1", "phonemes": None, "speaker": "bands 1", "mos": "loudness 1"}
    assert report["judges"] == named
    assert [(f["language"], f["system"]) for f in report["figures"]] == [
        (language, name) for language in ("en", "zh") for name in ("mine", "their's & co")
    ]
    assert {failure["id"] for failure in report["failures"]} == {"two", "three"}
    assert report["versions"]["sparktts"]
    markdown = (out / "report.md").read_text(encoding="utf-8")
    assert "| English | mine | 2 | 0 |" in markdown
    assert "the quick \\[...\\]" in markdown or "the \\[...\\]" in markdown
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert len(page.sources) == 3 + 3 + 1  # prompts, mine, theirs
    assert all((out / unquote(source)).is_file() for source in page.sources)
    assert "The <b>slow</b> fox & co" in page.words
    assert len(set(page.ids)) == len(page.ids)
    assert {target.removeprefix("#") for target in page.targets} <= set(page.ids)


def test_the_worst_come_first(texts: Path, wavs: Path, tmp_path: Path) -> None:
    evaluation = evaluate(read_lists([texts]), [Recordings("mine", wavs)], judges(), tmp_path / "out")
    write_reports(evaluation, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'<article id="item-(\w+)"', page)[0] == "two"
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "the \\[...\\]" in markdown


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparktts.guards.MAX_TOKENS", 40)


def evaluated(*options: object) -> Result:
    return run("eval", *options, *JUDGES, "--no-checks")


def test_the_mini_model_speaks_every_text_the_same_again(texts: Path, mini: Path, tmp_path: Path, short: None) -> None:
    first = evaluated(texts, "-o", tmp_path / "a", "--model", mini, "--seed", 3, "--json")
    assert first.code == 0, first.stderr
    assert first.json["systems"]["mini"]["seed"] == 3
    results = [json.loads(line) for line in lines_of(tmp_path / "a")]
    assert [result["take"]["seed"] for result in results] == [seed_of(3, id) for id in ("one", "two", "three")]
    assert all(result["take"]["elapsed"] > 0 and result["prompt"] for result in results)
    assert all(result["scores"]["similarity"] is not None for result in results)
    assert first.json["figures"][0]["real_time_factor"] > 0
    second = evaluated(texts, "-o", tmp_path / "b", "--model", mini, "--seed", 3, "--limit", 1)
    assert second.code == 0
    for result in results[:1]:
        name = result["take"]["audio"]
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    third = evaluated(texts, "-o", tmp_path / "a", "--model", mini, "--seed", 3)
    assert "3 of 3 were there" in third.stderr


def test_transcripts_styles_and_fixed_voices(
    texts: Path, mini: Path, tmp_path: Path, clip_24k: Path, short: None
) -> None:
    for name, options in {
        "transcripts": ("--transcripts",),
        "style": ("--gender", "male", "--pitch", "low"),
        "voice": ("--voice", clip_24k),
    }.items():
        result = evaluated(texts, "-o", tmp_path / name, "--model", mini, "--limit", 1, "--json", *options)
        assert result.code == 0, result.stderr
        (line,) = lines_of(tmp_path / name)
        similar = json.loads(line)["scores"]["similarity"]
        assert (similar is None) == (name == "style")


def test_a_model_beside_recordings(texts: Path, wavs: Path, mini: Path, tmp_path: Path, short: None) -> None:
    options = ("--wavs", f"theirs={wavs}", "--wavs", wavs, "--model", mini, "--name", "ours", "--limit", 1)
    result = evaluated(texts, "-o", tmp_path / "out", *options)
    assert result.code == 0, result.stderr
    assert [line.split("\t")[1] for line in result.text.splitlines()] == ["ours", "theirs", "wavs"]


def test_a_sentence_that_cannot_be_said_is_a_failure_and_a_broken_model_is_not(
    texts: Path, mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(error: Exception) -> Callable[..., Any]:
        def say(*arguments: Any, **options: Any) -> Any:
            raise error

        return say

    monkeypatch.setattr(SparkTTS, "say", refusing(GenerationError("It did not stop.")))
    result = evaluated(texts, "-o", tmp_path / "out", "--model", mini)
    assert result.code == 0
    assert "3 of 3 failed" in result.stderr
    monkeypatch.setattr(SparkTTS, "say", refusing(CheckpointError("There are no weights.")))
    result = evaluated(texts, "-o", tmp_path / "out", "--model", mini)
    assert (result.code, result.stderr) == (2, "Error: There are no weights.\n")


def test_a_run_without_judges_leaves_their_columns_out(texts: Path, wavs: Path, tmp_path: Path) -> None:
    none = ("--asr", "none", "--speaker", "none", "--mos", "none")
    result = run("eval", texts, "-o", tmp_path / "out", "--wavs", wavs, *none)
    assert result.code == 0, result.stderr
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "| Language | System | Texts | Failed | Sound |" in markdown


def test_phonemes_are_counted_by_the_aligner_of_a_model(texts: Path, wavs: Path, mini: Path, tmp_path: Path) -> None:
    model, out = with_aligner(mini, tmp_path / "aligned"), tmp_path / "out"
    (wavs / "two.flac").write_bytes(b"nonsense")
    none = ("--asr", "none", "--speaker", "none", "--mos", "none")
    result = run("eval", texts, "-o", out, "--wavs", wavs, *none, "--phonemes", f"aligner:{model}")
    assert result.code == 0, result.stderr
    one, two, _ = (json.loads(line)["scores"]["errors"]["phonemes"] for line in lines_of(out))
    aligner = Aligner.load(model)
    said = aligner.spelled(phonemize("The quick fox", "en"))
    samples = normalize_volume(read_audio(wavs / "one.wav"))
    heard = aligner.phonemes(TorchCodec(Checkpoint.open(model)).features(samples))
    assert (one["length"], sum(one.values()) - one["length"]) == (len(said), edit_distance(heard, said))
    assert two["deletions"] == two["length"] > 0  # nothing was heard
    markdown = (out / "report.md").read_text(encoding="utf-8")
    assert "| Language | System | Texts | Failed | Phoneme error | Sound |" in markdown
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    assert "English: Phoneme error of each text" in page.words
    result = run("eval", texts, "-o", out, "--wavs", wavs, *none, "--phonemes", f"aligner:{mini}")
    assert (result.code, "has no word recogniser" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("missing.lst", "--wavs", "WAVS"), "The list missing.lst cannot be read"),
        (("TEXTS", "--wavs", "nowhere"), "There is no folder nowhere of recordings"),
        (("TEXTS", "--wavs", "EMPTY"), "has no recording for any id of the list"),
        (("TEXTS", "--wavs", "WAVS", "--wavs", "WAVS"), "Two systems are called wavs"),
        (("TEXTS", "--wavs", "WAVS", "--voice", "x"), "give one with --model"),
        (("TEXTS", "--wavs", "WAVS", "-o", "nowhere/out"), "There is no folder nowhere"),
        (("TEXTS", "--wavs", "WAVS", "-o", "TEXTS"), "is a file"),
        (("TEXTS", "--wavs", "WAVS", "--limit", 0), "The limit must be 1 or more"),
        (("TEXTS", "--wavs", "WAVS", "--asr", "parrot"), "'parrot' is not a recogniser"),
        (("TEXTS", "--wavs", "WAVS", "--asr", "python:nowhere:X"), "cannot be imported"),
        (("TEXTS", "--wavs", "WAVS", "--mos", "python:tests.evaluate.judges:Nothing"), "lacks a method"),
        (("TEXTS", "--wavs", "WAVS", "--asr", "whisper:EMPTY"), "The judge whisper:"),
        (("TEXTS", "--wavs", "WAVS", "--asr", "ctranslate2:EMPTY"), "there is no model.bin"),
        (("TEXTS", "--wavs", "WAVS", "--mos", "dnsmos:x"), "takes nothing after its name"),
        (("TEXTS", "--wavs", "WAVS", "--judges", "nowhere"), "There is no directory nowhere of judges"),
        (("TEXTS", "--model", "nowhere"), "The model directory 'nowhere' does not exist"),
        (("TEXTS", "--model", "MINI", "--voice", "x", "--transcripts"), "leave out --gender and --transcripts"),
        (("TEXTS", "--model", "MINI", "--reference", "half"), "'half' is not a rule"),
        (("TEXTS", "--model", "MINI", "--seed", -1), "seed"),
        (("PLAIN", "--model", "MINI"), "has no prompt audio"),
        (("BAD", "--wavs", "WAVS"), "Line 2 of"),
    ],
)
def test_wrong_options_are_one_sentence_and_write_nothing(
    options: tuple[Any, ...], words: str, texts: Path, wavs: Path, mini: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "plain.lst").write_text("a|Hi.\n")
    (tmp_path / "bad.lst").write_text("a|Hi.\nb\n")
    places = {"TEXTS": texts, "WAVS": wavs, "EMPTY": tmp_path / "empty", "MINI": mini}
    places |= {"PLAIN": tmp_path / "plain.lst", "BAD": tmp_path / "bad.lst"}
    given = [re.sub("[A-Z]{3,}", lambda m: str(places.get(m.group(), m.group())), str(option)) for option in options]
    out = () if "-o" in options else ("-o", tmp_path / "out")
    defaults = [name for name in JUDGES if name.startswith("--") and name not in options]
    judged = [part for name in defaults for part in (name, JUDGES[JUDGES.index(name) + 1])]
    result = run("eval", *given, *out, *judged)
    assert result.code == 2
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_names_of_systems(texts: Path, wavs: Path) -> None:
    lists = read_lists([texts])
    assert _recordings(f"a={wavs}", lists).name == "a"
    assert _recordings(str(wavs), lists) == Recordings("wavs", wavs)


def test_an_evaluation_is_the_same_with_the_same_results(texts: Path, wavs: Path, tmp_path: Path) -> None:
    def made(folder: str) -> Evaluation:
        return evaluate(read_lists([texts]), [Recordings("mine", wavs)], judges(), tmp_path / folder)

    assert made("a").figures() == made("b").figures()


def test_synthesis_takes_nothing_from_an_items_neighbours() -> None:
    assert seed_of(1, "a") == seed_of(1, "a") != seed_of(2, "a") != seed_of(1, "b")
    assert Synthesis.__dataclass_fields__["name"]
