"""Bad inputs through the command line: one clear sentence, exit code 2, nothing half-written."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparktts.engine.torch.language_model import TorchLanguageModel
from sparktts.voice import Provenance, Voice

from .cli.runner import Result, run, run_process

RATE = 16000
CODEC, LM, WAV2VEC2 = (
    "BiCodec/model.safetensors",
    "LLM/model.safetensors",
    "wav2vec2-large-xlsr-53/pytorch_model.bin",
)


@dataclass(frozen=True)
class Stage:
    """Where a case plays. inputs: made by it; out: where results would go; mini and clip: sound ones."""

    inputs: Path
    out: Path
    mini: Path
    clip: Path
    marker: Path  # what malicious code would make

    def file(self, name: str, data: bytes | str) -> Path:
        path = self.inputs / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def folder(self, name: str) -> Path:
        path = self.inputs / name
        path.mkdir()
        return path

    def changed_model(self, replaced: dict[str, Any]) -> Path:
        """A copy of the model by links; replaced: new content of a file, its change, or None: no file."""
        directory = self.inputs / "model"
        for source in sorted(path for path in self.mini.rglob("*") if path.is_file()):
            name = source.relative_to(self.mini).as_posix()
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if name not in replaced:
                target.symlink_to(source)
            elif replaced[name] is not None:
                data = replaced[name]
                target.write_bytes(data(source.read_bytes()) if callable(data) else data)
        return directory

    def say(self, *options: object, text: str = "Hi.", model: object = None) -> list[object]:
        """A command line that would speak, but for the options."""
        given = () if "-o" in options else ("-o", self.out / "speech.wav")
        return ["say", text, "--model", model or self.mini, "--no-checks", *given, *options]

    def clone(self, clip: object, *options: object, model: object = None) -> list[object]:
        given = () if "-o" in options else ("-o", self.out / "voice.json")
        return ["clone", clip, "--model", model or self.mini, *given, *options]

    def decode(self, content: Any, *options: object) -> list[object]:
        data = content if isinstance(content, (bytes, str)) else json.dumps(content)
        return [
            "decode",
            self.file("tokens.json", data),
            "--model",
            self.mini,
            "-o",
            self.out / "a.wav",
            *options,
        ]

    def speak_as(self, voice: Any) -> list[object]:
        data = voice if isinstance(voice, (bytes, str)) else json.dumps(voice)
        return self.say("--voice", self.file("voice.json", data))


def _spoke(model: object) -> None:
    raise AssertionError("the model began to speak before the input was found bad")


@pytest.fixture
def stage(tmp_path: Path, mini: Path, clip_24k: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.delenv("SPARKTTS_MODEL", raising=False)
    monkeypatch.delenv("SPARKTTS_DEBUG", raising=False)
    monkeypatch.setenv("SPARKTTS_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("SPARKTTS_VOICES", str(tmp_path / "out" / "voices"))
    monkeypatch.chdir(tmp_path)
    for name in ("inputs", "out", "out/voices"):
        (tmp_path / name).mkdir()
    (tmp_path / "out" / "older.wav").write_bytes(b"older")
    monkeypatch.setattr(TorchLanguageModel, "step", _spoke)
    return Stage(tmp_path / "inputs", tmp_path / "out", mini, clip_24k, tmp_path / "out" / "owned")


# --- material ---


def wav(samples: np.ndarray, rate: int = RATE, channels: int = 1) -> bytes:
    """A WAV file of float32 or int16 samples, interleaved."""
    kind, width = (3, 4) if samples.dtype == np.float32 else (1, 2)
    head = struct.pack("<HHIIHH", kind, channels, rate, rate * channels * width, channels * width, 8 * width)
    data = samples.tobytes()
    chunks = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def tone(seconds: float) -> np.ndarray:
    """A sound that swells and falls, as int16."""
    time = np.arange(round(seconds * RATE)) / RATE
    return (12000 * np.sin(2 * np.pi * 220 * time) * np.sin(2 * np.pi * 3 * time)).astype(np.int16)


def a_voice(**changed: Any) -> dict[str, Any]:
    voice = Voice((1,) * 32, "0123456789abcdef", Provenance("created", "2026-01-02T03:04:05+00:00"))
    return {**json.loads(voice.to_json()), **changed}


def own_voice(stage: Stage, **changed: Any) -> dict[str, Any]:
    """A voice of the model's own codec."""
    from sparktts.checkpoint.layout import Checkpoint

    return a_voice(codec=Checkpoint.open(stage.mini).codec_fingerprint, **changed)


def tensors(data: bytes, change: Callable[[dict[str, np.ndarray]], object]) -> bytes:
    """A safetensors file with its tensors changed."""
    from safetensors.numpy import load, save

    loaded = load(data)
    change(loaded)
    return save(loaded)


class Malicious:
    """What a pickle may hold: a call of any function."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def malicious_pickle(marker: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"weight": Malicious(marker)}, protocol=2))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return file.getvalue()


# --- cases: a name, words that the sentence must hold, and the command line ---

Case = Callable[[Stage], list[object]]
CASES: list[Any] = []


def bad(identifier: str, words: str, arguments: Case, stdin: bytes = b"") -> None:
    CASES.append(pytest.param(arguments, words, stdin, id=identifier))


def saying(*options: object) -> Case:
    return lambda s: s.say(*options)


def cloning(*options: object) -> Case:
    return lambda s: s.clone(s.clip, *options)


# Clips
bad("clip-missing", "missing.wav", lambda s: s.clone("missing.wav"))
bad("clip-is-a-folder", "folder", lambda s: s.clone(s.inputs))
bad("clip-empty-file", "empty", lambda s: s.clone(s.file("a.wav", b"")))
bad("clip-truncated-header", "a.wav", lambda s: s.clone(s.file("a.wav", s.clip.read_bytes()[:20])))
bad("clip-truncated-wav", "cut off", lambda s: s.clone(s.file("a.wav", wav(tone(4))[:60_000])))
bad("clip-text-as-wav", "a.wav", lambda s: s.clone(s.file("a.wav", "These are words, not sound.\n" * 50)))
bad("clip-random-bytes-as-mp3", "a.mp3", lambda s: s.clone(s.file("a.mp3", bytes(range(1, 256)) * 40)))
bad("clip-0-samples", "a.wav", lambda s: s.clone(s.file("a.wav", wav(tone(0)))))
bad("clip-nan", "a.wav", lambda s: s.clone(s.file("a.wav", wav(np.full(RATE * 2, np.nan, np.float32)))))
bad("clip-infinite", "a.wav", lambda s: s.clone(s.file("a.wav", wav(np.full(RATE * 2, np.inf, np.float32)))))
bad("clip-8-Hz", "8 Hz", lambda s: s.clone(s.file("a.wav", wav(tone(2), rate=8))))
bad(
    "clip-100-channels-silent-first",
    "silent",
    lambda s: s.clone(s.file("a.wav", wav(np.tile(np.array([0] + [9000] * 99, np.int16), RATE * 2), channels=100))),
)
bad("clip-silent", "silent", lambda s: s.clone(s.file("a.wav", wav(np.zeros(RATE * 2, np.int16)))))
bad("clip-half-a-second", "1 s", lambda s: s.clone(s.file("a.wav", wav(tone(0.5)))))
bad("clip-reference-rule", "first-6s", lambda s: s.clone(s.clip, "--reference", "best"))
bad("clip-is-the-model", "model.safetensors", lambda s: s.clone(s.mini / CODEC))
bad("clip-name-too-long", "xxx", lambda s: s.clone("x" * 5000 + ".wav"))
bad(
    "clip-transcript-over-15-s",
    "15 s",
    lambda s: s.clone(s.file("a.wav", wav(tone(17))), "--transcript", "La."),
)
bad("clip-transcript-empty", "transcript", lambda s: s.clone(s.clip, "--transcript", " "))
bad("clip-consent-empty", "consent", lambda s: s.clone(s.clip, "--consent", ""))
bad(
    "encode-text-as-clip",
    "a.wav",
    lambda s: ["encode", s.file("a.wav", "no"), "--model", s.mini, "-o", s.out / "t.json"],
)
bad(
    "encode-missing-folder",
    "folder",
    lambda s: ["encode", s.clip, "--model", s.mini, "-o", s.out / "no" / "t.json"],
)

# Voices
for label, name, words in (
    ("up", "../x", "no voice file"),
    ("absolute", "/etc/passwd", "passwd"),
    ("nul", "a\0b", "voice name"),
    ("dots", "..", "voice name"),
    ("device", "CON?", "voice name"),
    ("hidden", ".x", "voice name"),
    ("backslash", "..\\x", "no voice file"),
    ("newline", "a\nb", "voice name"),
    ("too-long", "x" * 65, "voice name"),
    ("empty", "", "voice name"),
):
    bad(f"clone-name-{label}", "voice name", cloning("-o", name))
    bad(f"say-voice-{label}", words, saying("--voice", name))
bad("voice-unknown", "'nobody'", lambda s: s.say("--voice", "nobody"))
bad("voice-file-missing", "missing.json", lambda s: s.say("--voice", "missing.json"))
bad("voice-clip-missing", "missing.wav", lambda s: s.say("--voice", "missing.wav"))
bad("voice-not-json", "not JSON", lambda s: s.speak_as("{"))
bad("voice-binary", "not text", lambda s: s.speak_as(b"\xff\xfe\x00"))
bad("voice-other-json", "not a sparktts voice", lambda s: s.speak_as({"speaker": [1]}))
bad("voice-list", "not a sparktts voice", lambda s: s.speak_as([1, 2, 3]))
bad("voice-deeply-nested", "not JSON", lambda s: s.speak_as("[" * 100_000))
bad("voice-newer-format", "update", lambda s: s.speak_as(a_voice(schema="sparktts.voice/9")))
bad("voice-31-tokens", "32 global tokens", lambda s: s.speak_as(own_voice(s, global_tokens=[1] * 31)))
bad("voice-token-texts", "global_tokens", lambda s: s.speak_as(own_voice(s, global_tokens=["1"] * 32)))
bad("voice-token-out-of-range", "4095", lambda s: s.speak_as(own_voice(s, global_tokens=[4096] * 32)))
bad("voice-negative-token", "global_tokens", lambda s: s.speak_as(own_voice(s, global_tokens=[-1] * 32)))
bad(
    "voice-semantic-token-out-of-range",
    "8191",
    lambda s: s.speak_as(own_voice(s, semantic_tokens=[8192], transcript="La.")),
)
bad("voice-transcript-alone", "transcript", lambda s: s.speak_as(own_voice(s, transcript="La.")))
bad("voice-gender", "gender", lambda s: s.speak_as(own_voice(s, gender="robot")))
bad("voice-clip-not-base64", "base64", lambda s: s.speak_as(own_voice(s, clip_opus="%%%")))
bad("voice-without-provenance", "provenance", lambda s: s.speak_as(own_voice(s, provenance=None)))
bad("voice-of-another-codec", "another codec", lambda s: s.speak_as(a_voice()))
bad("voice-10-MB", "8 MB", lambda s: s.speak_as(b" " * (10 << 20)))
bad("voice-file-is-a-folder", "v.json", lambda s: s.say("--voice", s.folder("v.json")))
bad("voice-transcript-for-a-file", "clip", lambda s: [*s.speak_as(a_voice()), "--transcript", "La."])
bad("voice-transcript-without-clip", "clip", lambda s: s.say("--transcript", "La."))
bad("voices-show-unknown", "known voices", lambda s: ["voices", "show", "nobody"])
bad("voices-remove-unknown", "known voices", lambda s: ["voices", "remove", "nobody", "--yes"])
bad("voices-remove-traversal", "voice name", lambda s: ["voices", "remove", "../older", "--yes"])
bad("voices-import-broken", "not JSON", lambda s: ["voices", "import", s.file("v.json", "{"), "v"])
bad(
    "voices-import-bad-name",
    "voice name",
    lambda s: ["voices", "import", s.file("v.json", json.dumps(a_voice())), "../v"],
)
bad("voices-export-unknown", "known voices", lambda s: ["voices", "export", "nobody", s.out / "v.json"])

# Texts
bad("text-empty", "empty", lambda s: s.say(text=""))
bad("text-whitespace", "empty", lambda s: s.say(text=" \n\t\u3000 "))
bad("text-emoji-only", "spoken", lambda s: s.say(text="😀🎉👍🏽"))
bad("text-marks-only", "spoken", lambda s: s.say(text="... !!! --- ***"))
bad("text-control-characters-only", "spoken", lambda s: s.say(text="\x00\x01\x07\x1b\x7f"))
bad("text-1-MB", "characters", lambda s: s.say(text="word " * 210_000))
bad("text-missing", "nothing to say", lambda s: ["say", "--model", s.mini, "-o", s.out / "a.wav"])
bad("text-twice", "one of them", lambda s: s.say("--file", s.file("t.txt", "Ho.")))
bad("text-lone-surrogate", "UTF-8", lambda s: s.say(text="a\udcff"))
bad("stdin-invalid-utf-8", "UTF-8", lambda s: s.say(text="-"), b"\xff\xfe\xfd")
bad("stdin-empty", "empty", lambda s: s.say(text="-"))
bad("stdin-10-MB", "Standard input is larger than 8 MB", lambda s: s.say(text="-"), b"word " * (2 << 20))
bad(
    "file-missing",
    "missing.txt",
    lambda s: ["say", "--file", "missing.txt", "--model", s.mini, "-o", s.out / "a.wav"],
)
bad(
    "file-is-a-folder",
    "inputs",
    lambda s: ["say", "--file", s.inputs, "--model", s.mini, "-o", s.out / "a.wav"],
)
bad(
    "file-latin-1",
    "UTF-8",
    lambda s: ["say", "--file", s.file("t.txt", b"caf\xe9"), "--model", s.mini, "-o", s.out / "a.wav"],
)
bad("lexicon-missing", "missing.txt", lambda s: s.say("--lexicon", "missing.txt"))
bad("lexicon-malformed", "Line 2", lambda s: s.say("--lexicon", s.file("l.txt", "a = b\nno separator\n")))
bad("lexicon-invalid-utf-8", "line 2", lambda s: s.say("--lexicon", s.file("l.txt", b"a = b\n\xff = c\n")))
bad("lexicon-is-a-folder", "lexicon", lambda s: s.say("--lexicon", s.inputs))

# Options
for option, value, words in (
    ("--gender", "robot", "gender"),
    ("--pitch", "squeaky", "squeaky"),
    ("--pitch", "5", "50 to 1000"),
    ("--pitch", "nan", "pitch"),
    ("--speed", "warp", "warp"),
    ("--speed", "99", "0.5 to 10"),
    ("--speed", "inf", "speed"),
    ("--seed", "-1", "seed"),
    ("--seed", "abc", "--seed"),
    ("--seed", "9223372036854775808", "seed"),
    ("--temperature", "-0.1", "temperature"),
    ("--temperature", "nan", "temperature"),
    ("--temperature", "hot", "--temperature"),
    ("--top-k", "-1", "top-k"),
    ("--top-p", "0", "top-p"),
    ("--top-p", "1.5", "top-p"),
    ("--repetition-penalty", "0", "repetition penalty"),
    ("--retries", "-1", "retries"),
    ("--retries", "1000", "retries"),
    ("--batch-size", "0", "batch size"),
    ("--batch-size", "100000", "batch size"),
    ("--max-seconds", "0", "max_seconds"),
    ("--max-seconds", "nan", "max_seconds"),
    ("--target-seconds", "99", "target_seconds"),
    ("--language", "fr", "language"),
    ("--engine", "steam", "engine"),
    ("--device", "toaster", "device"),
    ("--device", "cuda:99", "99"),
    ("--dtype", "fp16", "overflow"),
    ("--dtype", "int3", "precision"),
    ("--format", "aiff", "aiff"),
    ("--keep-voice", "../x", "voice name"),
    ("--keep-voice", "no/folder.json", "folder"),
    ("--voice", "", "voice"),
    ("--loud", "yes", "--loud"),
):
    more = ("--gender", "male") if option in ("--pitch", "--speed") else ()
    bad(f"option{option}={value[:20]}", words, saying(option, value, *more))
bad("option-pitch-without-speaker", "gender", lambda s: s.say("--pitch", "high"))

# Outputs
bad("output-unknown-suffix", ".xyz", lambda s: s.say("-o", s.out / "a.xyz"))
bad("output-no-suffix", "suffix", lambda s: s.say("-o", s.out / "a"))
bad("output-missing-folder", "folder", lambda s: s.say("-o", s.out / "no" / "a.wav"))
bad("output-is-a-folder", "folder", lambda s: s.say("-o", s.out))
bad("output-below-a-file", "folder", lambda s: s.say("-o", s.out / "older.wav" / "a.wav"))
bad("output-empty", "folder", lambda s: s.say("-o", ""))
bad("output-nul", "file", lambda s: s.say("-o", f"{s.out}/a\0.wav"))
bad("output-name-too-long", "too long", lambda s: s.say("-o", s.out / ("x" * 300 + ".wav")))
bad("clone-output-missing-folder", "folder", lambda s: s.clone(s.clip, "-o", s.out / "no" / "v.json"))


# Batches
def batch(stage: Stage, data: bytes | str, *options: object) -> list[object]:
    given = () if "-o" in options else ("-o", stage.out)
    return [
        "say",
        "--batch",
        stage.file("list.jsonl", data),
        "--model",
        stage.mini,
        "--no-checks",
        *given,
        *options,
    ]


bad(
    "batch-missing",
    "missing.jsonl",
    lambda s: ["say", "--batch", "missing.jsonl", "-o", s.out, "--model", s.mini],
)
bad("batch-empty", "holds no lines", lambda s: batch(s, "\n\n"))
bad("batch-without-folder", "-o", lambda s: batch(s, "{}")[:-2])
bad("batch-missing-folder", "folder", lambda s: batch(s, "{}", "-o", s.out / "no"))
bad("batch-unknown-format", "aiff", lambda s: batch(s, "{}", "--format", "aiff"))
bad("batch-with-text", "--batch", lambda s: [*batch(s, "{}"), "Hi."])

# Tokens
TOKENS = {"global_tokens": [1] * 32, "semantic_tokens": [1, 2, 3]}
bad(
    "tokens-missing",
    "missing.json",
    lambda s: ["decode", "missing.json", "--model", s.mini, "-o", s.out / "a.wav"],
)
bad("tokens-not-json", "not JSON", lambda s: s.decode("{"))
bad("tokens-binary", "UTF-8", lambda s: s.decode(b"\xff\xff"))
bad("tokens-a-list", "no tokens", lambda s: s.decode([1, 2]))
bad("tokens-wrong-keys", "global_tokens", lambda s: s.decode({"globals": [1] * 32, "semantic": [1]}))
bad("tokens-without-semantic", "semantic_tokens", lambda s: s.decode({"global_tokens": [1] * 32}))
bad("tokens-fractions", "whole numbers", lambda s: s.decode({**TOKENS, "semantic_tokens": [1.5]}))
bad("tokens-true", "whole numbers", lambda s: s.decode({**TOKENS, "semantic_tokens": [True]}))
bad("tokens-huge", "whole numbers", lambda s: s.decode({**TOKENS, "semantic_tokens": [10**30]}))
bad("tokens-no-speech", "semantic", lambda s: s.decode({**TOKENS, "semantic_tokens": []}))
bad("tokens-semantic-out-of-range", "8191", lambda s: s.decode({**TOKENS, "semantic_tokens": [8192]}))
bad("tokens-semantic-negative", "8191", lambda s: s.decode({**TOKENS, "semantic_tokens": [-1]}))
bad("tokens-global-out-of-range", "4095", lambda s: s.decode({**TOKENS, "global_tokens": [4096] * 32}))
bad("tokens-31-globals", "32", lambda s: s.decode({**TOKENS, "global_tokens": [1] * 31}))
bad("tokens-of-another-codec", "another codec", lambda s: s.decode({**TOKENS, "codec": "0123456789abcdef"}))

# Models
bad("model-missing", "nowhere", lambda s: s.say(model=s.inputs / "nowhere"))
bad("model-is-a-file", "file", lambda s: s.say(model=s.clip))
bad("model-empty-folder", "config.yaml", lambda s: s.say(model=s.inputs))
bad("model-not-downloaded", "download", lambda s: s.say(model="SparkAudio/Spark-TTS-0.5B"))
bad("model-name-with-nul", "does not exist", lambda s: s.say(model="a\0b"))
bad("model-name-too-long", "does not exist", lambda s: s.say(model="x" * 5000))
bad("model-traversal", "does not exist", lambda s: s.say(model="../../nowhere"))


def broken(identifier: str, words: str, file: str, data: Any, arguments: Callable[..., list[object]]) -> None:
    def case(stage: Stage) -> list[object]:
        content = data(stage) if isinstance(data, _Late) else data
        return arguments(stage, stage.changed_model({file: content}))

    bad(identifier, words, case)


class _Late:
    """Content that is known only on stage."""

    def __init__(self, make: Callable[[Stage], Any]) -> None:
        self.make = make

    def __call__(self, stage: Stage) -> Any:
        return self.make(stage)


def speak(stage: Stage, model: Path) -> list[object]:
    return stage.say(model=model)


def listen(stage: Stage, model: Path) -> list[object]:
    return stage.clone(stage.clip, "--transcript", "La la.", model=model)


def without(name: str) -> Callable[[bytes], bytes]:
    return lambda data: tensors(data, lambda loaded: loaded.pop(name))


def header_of(length: int) -> Callable[[bytes], bytes]:
    return lambda data: struct.pack("<Q", length) + data[8:]


QUANTIZER = "quantizer.codebook.weight"
broken("model-no-tokenizer", "tokenizer.json", "LLM/tokenizer.json", None, speak)
broken("model-tokenizer-not-json", "tokenizer.json", "LLM/tokenizer.json", b"{", speak)
broken("model-tokenizer-of-another-model", "tokenizer.json", "LLM/tokenizer.json", b"{}", speak)
broken("model-no-config", "config.yaml", "config.yaml", None, speak)
broken("model-bad-yaml", "config.yaml", "config.yaml", b"a: [1, 2\nb: }", speak)
broken(
    "model-yaml-runs-no-code",
    "config.yaml",
    "config.yaml",
    b"!!python/object/apply:os.mkdir [out/owned]",
    speak,
)
broken("model-yaml-a-list", "config.yaml", "config.yaml", b"- 1\n- 2\n", speak)
broken("model-codec-config-missing-key", "BiCodec", "BiCodec/config.yaml", b"audio_tokenizer: {}", speak)
broken("model-lm-config-not-json", "config.json", "LLM/config.json", b"{", speak)
broken("model-lm-config-wrong-type", "hidden_size", "LLM/config.json", b'{"hidden_size": "big"}', speak)
broken("model-no-codec-weights", "BiCodec", CODEC, None, speak)
broken("model-no-lm-weights", "LLM", LM, None, speak)
broken("model-missing-tensor", QUANTIZER, CODEC, without(QUANTIZER), speak)
broken("model-missing-lm-tensor", "model.norm.weight", LM, without("model.norm.weight"), speak)
broken(
    "model-wrong-shape",
    QUANTIZER,
    CODEC,
    lambda data: tensors(data, lambda t: t.update({QUANTIZER: t[QUANTIZER][:-1].copy()})),
    speak,
)
broken(
    "model-unexpected-tensor",
    "backdoor.weight",
    CODEC,
    lambda data: tensors(data, lambda t: t.update({"backdoor.weight": np.zeros(3, np.float32)})),
    speak,
)
broken("model-truncated-safetensors", "model.safetensors", CODEC, lambda data: data[: len(data) // 2], speak)
broken("model-truncated-lm", "model.safetensors", LM, lambda data: data[:-1], speak)
broken("model-empty-safetensors", "model.safetensors", LM, b"", speak)
broken(
    "model-text-as-safetensors",
    "model.safetensors",
    LM,
    b"version https://git-lfs.example/spec/v1\n" * 3,
    speak,
)
broken("model-lying-header", "model.safetensors", LM, header_of(1 << 60), speak)
broken("model-wav2vec2-truncated", "pytorch_model.bin", WAV2VEC2, lambda data: data[: len(data) // 2], listen)
broken("model-wav2vec2-missing", "wav2vec2", WAV2VEC2, None, listen)
broken("model-malicious-pickle", "mkdir", WAV2VEC2, _Late(lambda s: malicious_pickle(s.marker)), listen)
bad("convert-to-existing-folder", "exists", lambda s: ["model", "convert", s.mini, "-o", s.out])
bad("convert-to-fp16", "fp16", lambda s: ["model", "convert", s.mini, "-o", s.out / "m", "--dtype", "fp16"])
bad(
    "convert-into-missing-folder",
    "cannot be written",
    lambda s: ["model", "convert", s.mini, "-o", s.out / "no" / "m"],
)
bad("check-missing-model", "nowhere", lambda s: ["model", "check", "nowhere"])
bad("info-of-a-file", "file", lambda s: ["model", "info", s.clip])
bad("download-without-licence", "--accept-license", lambda s: ["model", "download", "-o", s.out / "m"])
bad(
    "download-from-nowhere",
    "huggingface",
    lambda s: ["model", "download", "--source", "moon", "-o", s.out / "m"],
)
bad(
    "download-bad-name",
    "owner/name",
    lambda s: ["model", "download", "../x", "--accept-license", "-o", s.out / "m"],
)


# --- the test ---


def content(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def assert_one_sentence(result: Result, words: str) -> None:
    assert result.code == 2, result
    assert result.stdout == b""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert words in line
    assert "Traceback" not in line
    assert line.isprintable()
    assert len(line) <= 308
    assert line.endswith((".", ".”", '."', "!", "?"))


def test_there_are_enough_of_them_and_their_names_differ() -> None:
    names = [case.id for case in CASES]
    assert len(set(names)) == len(names) >= 60


@pytest.mark.parametrize(("arguments", "words", "stdin"), CASES)
def test_bad_input(stage: Stage, arguments: Case, words: str, stdin: bytes) -> None:
    command = arguments(stage)
    before = content(stage.out)
    result = run(*command, stdin=stdin)
    assert content(stage.out) == before
    assert_one_sentence(result, words)


PROCESSES = ("clip-text-as-wav", "clip-random-bytes-as-mp3", "model-malicious-pickle", "stdin-invalid-utf-8")


@pytest.mark.parametrize(("arguments", "words", "stdin"), [case for case in CASES if case.id in PROCESSES])
def test_bad_input_to_a_process(stage: Stage, arguments: Case, words: str, stdin: bytes) -> None:
    """Libraries in C write to stderr behind Python's back; a user sees that too."""
    command = arguments(stage)
    before = content(stage.out)
    result = run_process(*command, stdin=stdin)
    assert content(stage.out) == before
    assert_one_sentence(result, words)


@pytest.mark.parametrize("name", ["../x.wav", "/etc/x.wav", "voices/../../x.wav"])
def test_a_batch_cannot_write_elsewhere(stage: Stage, name: str) -> None:
    before = content(stage.out.parent)
    source = json.dumps({"text": "Hi.", "output": name})
    result = run("say", "--batch", "-", "-o", stage.out, "--model", stage.mini, stdin=source.encode())
    assert content(stage.out.parent) == before
    assert result.code == 2
    assert result.stderr.splitlines()[0].startswith("Error: Line 1: ")


def test_100_channels_are_read_by_their_first(stage: Stage) -> None:
    sound = np.zeros((RATE * 2, 100), np.int16)
    sound[:, 0] = tone(2)
    result = run(*stage.clone(stage.file("a.wav", wav(sound.ravel(), channels=100))))
    assert result.code == 0, result.stderr


def test_a_model_file_swapped_while_in_use_is_no_crash(stage: Stage) -> None:
    model = stage.changed_model({})
    assert run("model", "check", model).code == 0
    shutil.rmtree(model / "LLM")
    assert_one_sentence(run(*stage.say(model=model)), "LLM")
