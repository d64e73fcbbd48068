"""Broken inputs of preparation, training and evaluation: each is one sentence, and loses nothing that was done before.

Each case plays in a copy of a folder where everything has been prepared, trained for a step and evaluated once.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
pytest.importorskip("tensorboard")
pytest.importorskip("pyarrow")
pytest.importorskip("rapidfuzz")

from sparktts.audio.read import read_audio  # noqa: E402
from sparktts.audio.write import encode_audio, write_audio  # noqa: E402
from sparktts.checkpoint.aligner import AlignerConfig  # noqa: E402
from sparktts.data.shards import read_shards, shard_metadata, shard_name  # noqa: E402
from sparktts.engine.torch.aligner import AlignerNetwork  # noqa: E402
from sparktts.train.aligner import export as export_aligner  # noqa: E402
from sparktts.train.options import plain  # noqa: E402

from ..checkpoint.copies import copy_checkpoint, edit_tensors  # noqa: E402
from ..cli.runner import Result, run  # noqa: E402
from ..data_preparation.conftest import SENTENCES, write_list, write_tar  # noqa: E402
from ..train_lm.corpus import settings, write_shards  # noqa: E402
from .corpus import codec_values  # noqa: E402
from .disks import little_room  # noqa: E402

TEXT = SENTENCES[0]
SHARD = shard_name(0)
JUDGES = ("--asr", "python:tests.evaluate.judges:ByLength", "--speaker", "none", "--mos", "none")
Words = list[object]


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory, mini: Path, clip_16k: Path) -> Path:
    """Recordings, prepared clips with tokens, one step of two trainings, and an evaluation."""
    home = tmp_path_factory.mktemp("ready")
    before = Path.cwd()
    os.chdir(home)
    try:
        build(home, mini, read_audio(clip_16k))
    finally:
        os.chdir(before)
    return home


def build(home: Path, mini: Path, speech: np.ndarray) -> None:
    (home / "wavs").mkdir()
    rows = []
    for number, name in enumerate("abc"):
        write_audio(home / "wavs" / f"{name}.wav", speech[40000 * number : 40000 * (number + 1)], 16000)
        rows.append({"id": name, "audio": f"wavs/{name}.wav", "text": TEXT, "voice": "ann", "phonemes": "hə lˈO"})
    write_list(home / "list.jsonl", rows)
    opus = encode_audio(speech[:40000], 16000, "opus")
    lines = json.dumps({"id": "t", "audio": "t.opus", "text": TEXT}) + "\n"
    write_tar(home / "speech.tar", {"t.opus": opus, "manifest.jsonl": lines.encode()})
    ok("prepare", "list.jsonl", "-o", "prepared", "--workers", 1, "--codec", mini, "--quiet")
    once = {"steps": 1, "validate_every": 1, "save_every": 1, "threads": 1}
    codec = codec_values(Path("codec-run"), Path("prepared"), mini, run=once, data={"validation_clips": 1})
    write_yaml(home / "codec.yaml", codec)
    ok("train", "codec", "codec.yaml")
    write_shards(home / "tokens", mini)
    write_yaml(home / "lm.yaml", plain(settings(Path("lm-run"), Path("tokens"), mini, run=once)))
    ok("train", "lm", "lm.yaml")
    heard = {"path": str(mini / "wav2vec2-large-xlsr-53"), "layers": [1]}
    trained = {"shards": "prepared", "held_out": 1, "batch": 1}
    write_yaml(home / "aligner.yaml", {"run": {"out": "aligner-run", **once}, **trained, "features": heard})
    write_yaml(home / "features.yaml", {"run": {"out": "features-run", **once}, **trained, "teacher": heard})
    (home / "texts.lst").write_text("a|The quick fox\nb|The slow fox\n")
    ok("eval", "texts.lst", "-o", "results", "--wavs", "wavs", *JUDGES)


def ok(*words: object) -> None:
    done = run(*words)
    assert done.code == 0, done.stderr


def write_yaml(path: Path, values: Any) -> None:
    path.write_text(yaml.safe_dump(values))


@dataclass(frozen=True)
class Stage:
    """The folder of one case, which is the working directory, and the seeded checkpoint."""

    home: Path
    mini: Path

    def cut(self, name: str, size: int = 3000) -> None:
        """A file that a copy was broken off of."""
        path = self.home / name
        path.write_bytes(path.read_bytes()[:size])

    def file(self, name: str, content: bytes | str) -> str:
        (self.home / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    def other_codec(self) -> Path:
        copy = copy_checkpoint(self.mini, self.home)
        edit_tensors(copy / "BiCodec/model.safetensors", lambda found: found["quantizer.codebook.weight"].fill(1))
        return copy

    def aligner(self, dim: int) -> Path:
        config = AlignerConfig(dim, ("h", "ə", "l", "O"), width=8, kernel=3)
        export_aligner(self.home / "aligner", config, AlignerNetwork(config))
        return self.home / "aligner"

    def without(self, **columns: None) -> str:
        """A prepared folder whose clips lack these columns."""
        from dataclasses import replace

        from sparktts.data.shards import write_shard

        clips = [replace(clip, **columns) for clip in read_shards(self.home / "prepared")]  # type: ignore[arg-type]
        (self.home / "lacking").mkdir()
        write_shard(self.home / "lacking" / SHARD, clips, {"root": ".."})
        return "lacking"


@pytest.fixture
def stage(ready: Path, mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    home = tmp_path / "home"
    shutil.copytree(ready, home)
    monkeypatch.chdir(home)
    monkeypatch.delenv("SPARKTTS_MODEL", raising=False)
    threads = torch.get_num_threads()
    yield Stage(home, mini)
    torch.set_num_threads(threads)


def files(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}


def assert_one_sentence(done: Result, said: str) -> None:
    assert done.code == 2, done.stderr
    assert "Traceback" not in done.stderr
    (error,) = (line for line in done.stderr.splitlines() if line.startswith("Error: "))
    assert said in error
    assert error.endswith(".")


def assert_nothing_lost(home: Path, before: dict[str, bytes]) -> None:
    """Logs may have grown, and the configuration of a run is that of its last start."""
    after = files(home)
    kept = {name: content for name, content in before.items() if not name.endswith("-run/config.yaml")}
    logs = {name: after.get(name, b"")[: len(content)] for name, content in kept.items() if name.endswith(".jsonl")}
    assert {name for name, content in kept.items() if {**after, **logs}.get(name) != content} == set()
    assert not [name for name in after if name.endswith((".part", ".tmp"))]


PREPARE: dict[str, tuple[Callable[[Stage], Words], str]] = {
    "no list": (lambda s: ["nowhere.jsonl", "-o", "new"], "There is no manifest"),
    "empty list": (lambda s: [s.file("m.jsonl", ""), "-o", "new"], "no clip that can be used"),
    "bad line": (lambda s: [s.file("m.jsonl", "{broken\n"), "-o", "new"], "line 1 is not a JSON object"),
    "list of bytes": (lambda s: [s.file("m.csv", b"\xff\xfe\0"), "-o", "new"], "not UTF-8"),
    "unreadable tar": (lambda s: [s.cut("speech.tar", 700) or "speech.tar", "-o", "new"], "speech.tar"),
    "no tar at all": (lambda s: [s.file("t.tar", b"no tar" * 99), "-o", "new"], "no uncompressed tar"),
    "unknown option": (lambda s: ["list.jsonl", "-o", "new", "--min-secs", 1], "--min-secs"),
    "impossible option": (lambda s: ["list.jsonl", "-o", "new", "--min-seconds", -1], "--min-seconds"),
    "other settings": (lambda s: ["list.jsonl", "-o", "prepared", "--max-seconds", 9], "--force"),
    "corrupt shard": (lambda s: [s.cut(f"prepared/{SHARD}") or "prepared", "--codec", s.mini], "is damaged"),
    "missing codec": (lambda s: ["prepared", "--codec", "nowhere"], "nowhere"),
    "codec mismatch": (lambda s: ["prepared", "--codec", s.other_codec()], "two cannot be mixed"),
    "missing aligner": (lambda s: ["prepared", "--aligner", "nowhere", "--features", s.mini], "nowhere"),
    "aligner of other features": (
        lambda s: ["prepared", "--aligner", s.aligner(7), "--features", s.mini],
        "reads features of 7 values",
    ),
    "clips without phonemes": (
        lambda s: [s.without(words=None), "--aligner", s.aligner(64), "--features", s.mini],
        "has phonemes",
    ),
}
TRAIN: dict[str, tuple[Callable[[Stage], Words], str]] = {
    "no configuration": (lambda s: ["codec", "nowhere.yaml"], "nowhere.yaml does not exist"),
    "no yaml": (lambda s: ["codec", s.file("c.yaml", "run: [")], "not valid yaml"),
    "empty configuration": (lambda s: ["lm", s.file("c.yaml", "")], "`run` is missing"),
    "misspelt key": (lambda s: ["codec", "codec.yaml", "--set", "data.bach=3"], "did you mean `batch`?"),
    "unknown section": (lambda s: ["lm", "lm.yaml", "--set", "speed.x=3"], "`speed` is not a setting"),
    "wrong type": (lambda s: ["lm", "lm.yaml", "--set", "model.layers=many"], "`model.layers` must be a whole number"),
    "impossible value": (lambda s: ["aligner", "aligner.yaml", "--set", "network.kernel=4"], "`kernel` must be odd"),
    "another configuration": (
        lambda s: ["codec", "codec.yaml", "--set", "data.batch=2"],
        "was started with `data.batch: 3`, not 2",
    ),
    "no shards": (lambda s: ["features", "features.yaml", "--set", "shards=wavs"], "no prepared clips"),
    "corrupt shard": (lambda s: [s.cut("tokens/clips-00001.parquet") or "lm", "lm.yaml"], "is damaged"),
    "too few for validation": (
        lambda s: ["lm", "lm.yaml", "--set", "data.validation=0.0001", "--set", "run.out=new"],
        "takes none of 60, make it larger",
    ),
    "clips without tokens": (
        lambda s: ["lm", "lm.yaml", "--set", f"data.shards=[{s.without(semantic=None)}]", "--set", "run.out=new"],
        "with no tokens",
    ),
    "clips without phonemes": (
        lambda s: ["aligner", "aligner.yaml", "--set", f"shards={s.without(words=None)}"],
        "with phonemes",
    ),
    "codec mismatch": (
        lambda s: ["lm", "lm.yaml", "--set", f"codec={s.other_codec()}", "--set", "run.out=new"],
        "are of the codec",
    ),
    "missing codec": (lambda s: ["lm", "lm.yaml", "--set", "codec=nowhere", "--set", "run.out=new"], "nowhere"),
    "features of another width": (
        lambda s: ["codec", "codec.yaml", "--set", "model.encoder.input_channels=63", "--set", "run.out=new"],
        "have 64 values, but",
    ),
    "teacher that is none": (
        lambda s: [
            *("features", "features.yaml", "--set", "teacher.kind=whisper"),
            *("--set", f"teacher.path={s.file('w.pt', b'rubbish')}"),
        ],
        "cannot be read as weights",
    ),
    "truncated checkpoint": (
        lambda s: [s.cut("codec-run/checkpoints/step-1.pt") or "codec", "codec.yaml", "--set", "run.steps=2"],
        "step-1.pt is damaged",
    ),
    "checkpoint of another training": (
        lambda s: [
            shutil.copy("lm-run/checkpoints/step-1.pt", "codec-run/checkpoints/step-1.pt") and "codec",
            *("codec.yaml", "--set", "run.steps=2"),
        ],
        "is of another training",
    ),
    "truncated weights": (
        lambda s: [
            s.cut(str(copy_checkpoint(s.mini, s.home).relative_to(s.home) / "BiCodec/model.safetensors")) or "codec",
            *("codec.yaml", "--set", "init_from=copy", "--set", "run.out=new"),
        ],
        "copy/BiCodec/model.safetensors",
    ),
    "export without a run": (
        lambda s: ["lm", "lm.yaml", "--set", "run.out=new", "--export-only", "--export", "model"],
        "There is no run in new",
    ),
}
EVAL: dict[str, tuple[Callable[[Stage], Words], str]] = {
    "no list": (lambda s: ["nowhere.lst", "--wavs", "wavs"], "nowhere.lst cannot be read"),
    "empty list": (lambda s: [s.file("e.lst", "\n"), "--wavs", "wavs"], "e.lst is empty"),
    "bad line": (lambda s: [s.file("e.lst", "a|Fine.\nb\n"), "--wavs", "wavs"], "Line 2 of e.lst has 1 field"),
    "duplicate id": (lambda s: [s.file("e.lst", "a|Fine.\na|Twice.\n"), "--wavs", "wavs"], "has the id a of line 1"),
    "no prompt": (lambda s: [s.file("e.lst", "a|Hm.|no.wav|Fine.\n"), "--wavs", "wavs"], "no.wav"),
    "no recordings": (lambda s: ["texts.lst", "--wavs", "prepared"], "has no recording for any id"),
    "unknown judge": (lambda s: ["texts.lst", "--wavs", "wavs", "--asr", "parrot"], "'parrot' is not a recogniser"),
    "judge without a model": (
        lambda s: ["texts.lst", "--wavs", "wavs", "--phonemes", "aligner:nowhere"],
        "nowhere",
    ),
    "model without an aligner": (
        lambda s: ["texts.lst", "--wavs", "wavs", "--phonemes", f"aligner:{s.mini}"],
        "has no word recogniser",
    ),
}
CASES = [
    pytest.param(command, words, said, id=f"{command}: {name}")
    for command, table in (("prepare", PREPARE), ("train", TRAIN), ("eval", EVAL))
    for name, (words, said) in table.items()
]


@pytest.mark.parametrize(("command", "words", "said"), CASES)
def test_it_is_one_sentence_and_nothing_is_lost(
    command: str, words: Callable[[Stage], Words], said: str, stage: Stage
) -> None:
    more = ("-o", "results", *JUDGES) if command == "eval" else ()
    given = words(stage)
    before = files(stage.home)
    assert_one_sentence(run(command, *given[:1], *more, *given[1:]), said)
    assert_nothing_lost(stage.home, before)


def test_bad_clips_leave_with_their_reason_and_the_others_are_prepared(stage: Stage) -> None:
    speech, wavs = read_audio("wavs/a.wav"), stage.home / "wavs"
    write_audio(wavs / "silent.wav", np.zeros(32000, np.float32), 16000)
    write_audio(wavs / "short.wav", speech[8000:12000], 16000)
    write_audio(wavs / "long.wav", np.tile(speech, 13), 16000)
    write_audio(wavs / "clipped.wav", np.clip(30 * speech, -1, 1), 16000)
    (wavs / "words.wav").write_text("no sound")
    (wavs / "cut.wav").write_bytes((wavs / "a.wav").read_bytes()[:3000])
    (wavs / "nan.wav").write_bytes(float_wav(np.full(32000, np.nan, "<f4")))
    (wavs / "low.wav").write_bytes(pcm_wav(np.stack([speech[::2], 0 * speech[::2]], 1), 8000))
    reasons = {
        "silent": "silent", "short": "too_short", "long": "too_long", "clipped": "clipped", "words": "unreadable",
        "cut": "unreadable", "nan": "non_finite", "nowhere": "missing_file",
    }  # fmt: skip
    rows: list[Any] = [{"id": name, "audio": f"wavs/{name}.wav", "text": TEXT} for name in ("a", "low", *reasons)]
    rows += [{"id": "a", "audio": "wavs/b.wav", "text": TEXT}, {"id": "mute", "audio": "wavs/b.wav", "text": " "}]
    rows += [{"id": "lost", "text": TEXT}, {"id": "x", "audio": "wavs/b.wav", "text": TEXT, "lang": "Klingon!"}]
    rows += [{"id": "gone", "audio": "speech.tar::z.opus", "text": TEXT}]
    ok("prepare", write_list(stage.home / "m.jsonl", rows), "-o", "new", "--workers", 1, "--quiet")
    assert [clip.id for clip in read_shards("new")] == ["a", "low"]
    assert shard_metadata(Path("new", SHARD))["flags"] == {"low_rate": 1}
    found = [json.loads(line) for line in Path("new/rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = {"a": "duplicate_id", "mute": "empty_text", "lost": "no_audio", "x": "unknown_language"}
    assert {row["id"]: row["reason"] for row in found} == {**reasons, **lines, "gone": "missing_file"}
    assert all(row["detail"].endswith(".") for row in found)


def float_wav(samples: np.ndarray) -> bytes:
    return riff(samples.tobytes(), 3, 1, 16000, 4)


def pcm_wav(samples: np.ndarray, rate: int) -> bytes:
    return riff((samples * 32767).astype("<i2").tobytes(), 1, samples.shape[1], rate, 2)


def riff(data: bytes, kind: int, channels: int, rate: int, width: int) -> bytes:
    fields = ((kind, 2), (channels, 2), (rate, 4), (rate * channels * width, 4), (channels * width, 2), (8 * width, 2))
    head = b"".join(value.to_bytes(size, "little") for value, size in fields)
    chunks = b"WAVEfmt " + len(head).to_bytes(4, "little") + head + b"data" + len(data).to_bytes(4, "little") + data
    return b"RIFF" + len(chunks).to_bytes(4, "little") + chunks


FULL: dict[str, tuple[Words, int]] = {
    "prepare": (["prepare", "list.jsonl", "-o", "new", "--workers", 1], 2000),
    "features that a pass keeps": (
        ["prepare", "prepared", "--aligner", "aligner", "--features", "MINI", "--features-cache", "kept"],
        5000,
    ),
    "codec": (["train", "codec", "codec.yaml", "--set", "run.steps=2"], 300_000),
    "codec export": (["train", "codec", "codec.yaml", "--export-only", "--export", "model"], 100_000),
    "lm": (["train", "lm", "lm.yaml", "--set", "run.steps=2"], 300_000),
    "lm export": (["train", "lm", "lm.yaml", "--export-only", "--export", "model"], 300_000),
    "features": (["train", "features", "features.yaml"], 300_000),
    "eval": (["eval", "texts.lst", "-o", "results", "--wavs", "again=wavs", *JUDGES], 1500),
}


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on_later(name: str, stage: Stage) -> None:
    command, size = FULL[name]
    words = [stage.mini if word == "MINI" else word for word in command]
    stage.aligner(64)
    before = files(stage.home)
    with little_room(size):
        done = run(*words)
    assert_one_sentence(done, "")
    assert_nothing_lost(stage.home, before)
    ok(*words)
