"""Voices: a small file that keeps everything, a library that cannot be left, styles that say what tokens can say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparktts.errors import OptionError, VoiceError
from sparktts.library import VoiceLibrary
from sparktts.prompt import Controls
from sparktts.style import LEVELS, Style, describe, hertz, mel, parse_amount
from sparktts.voice import Provenance, Voice, Word

PROVENANCE = Provenance(
    kind="cloned", created=Provenance.now(), source_name="我.m4a", consent="She said yes.", seed=None
)
VOICE = Voice(
    speaker=tuple(range(32)),
    codec="abc",
    provenance=PROVENANCE,
    transcript="你好, world",
    semantic=(5, 6, 7),
    words=(Word("你好", 0.0, 0.4), Word("world", 0.5, 0.9)),
    gender="female",
    clip=b"OggS\x00\xff",
    warnings=("The clip is noisy.",),
)


def test_empty_values_of_the_provenance_are_absent_ones() -> None:
    voice = Voice.from_json(broken(provenance={"kind": "cloned", "created": None, "model": None}))
    assert voice.provenance == Provenance("cloned", "")


def test_a_pitch_at_a_threshold_has_the_level_of_its_token() -> None:
    controls = Style("female", 180).controls("en")
    assert (controls.pitch_value, controls.pitch_label) == (257, 1)


def test_a_saved_voice_loads_equal(tmp_path: Path) -> None:
    VOICE.save(tmp_path / "me.json")
    assert Voice.load(tmp_path / "me.json") == VOICE
    assert [path.name for path in tmp_path.iterdir()] == ["me.json"]


@given(
    st.lists(st.integers(0, 4095), min_size=32, max_size=32).map(tuple),
    st.text(min_size=1).filter(str.strip),
    st.lists(st.integers(0, 8191), min_size=1).map(tuple),
    st.none() | st.binary(),
)
def test_any_voice_survives_its_text_form(
    speaker: tuple[int, ...], transcript: str, semantic: tuple[int, ...], clip: bytes | None
) -> None:
    voice = Voice(speaker, "c", PROVENANCE, transcript, semantic, clip=clip)
    assert Voice.from_json(voice.to_json()) == voice


def test_the_id_depends_on_the_tokens_alone() -> None:
    other = Voice(VOICE.speaker, "abc", Provenance("created", ""), "other", VOICE.semantic)
    assert other.id == VOICE.id
    assert VOICE.without_transcript().id != VOICE.id


def broken(**changes: object) -> str:
    content = json.loads(VOICE.to_json())
    for key, value in changes.items():
        content[key] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a sparktts voice"),
        ('{"a": 1}', "not a sparktts voice"),
        (broken(schema="sparktts.voice/9"), "update"),
        (broken(global_tokens=list(range(31))), "32 global tokens"),
        (broken(global_tokens=["a"] * 32), "global_tokens"),
        (broken(global_tokens=[-1] * 32), "global_tokens"),
        (broken(global_tokens=[True] * 32), "global_tokens"),
        (broken(semantic_tokens="abc"), "semantic_tokens"),
        (broken(semantic_tokens=[]), "both a transcript"),
        (broken(transcript=7), "transcript"),
        (broken(provenance=None), "provenance"),
        (broken(provenance={"kind": "cloned", "seed": "x"}), "provenance"),
        (broken(words=[["a"]]), "words"),
        (broken(gender="robot"), "gender"),
        (broken(clip_opus="!!!"), "base64"),
        (broken(warnings=3), "warnings"),
    ],
)
def test_a_damaged_voice_says_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(VoiceError, match=words):
        Voice.load(tmp_path / "bad.json")


def test_saving_into_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VoiceError, match="No such file"):
        VOICE.save(tmp_path / "no" / "me.json")


def test_the_library_keeps_lists_and_removes(tmp_path: Path) -> None:
    library = VoiceLibrary(tmp_path / "voices")
    assert library.names() == []
    library.save("Anna 2", VOICE)
    library.save("小明", VOICE)
    assert library.names() == ["Anna 2", "小明"]
    assert library.get("小明") == VOICE
    assert "Anna 2" in library
    library.remove("Anna 2")
    assert library.names() == ["小明"]
    with pytest.raises(VoiceError, match="小明"):
        library.get("Anna 2")


def test_presets_of_a_model_are_listed_and_used_but_never_changed(tmp_path: Path) -> None:
    presets = VoiceLibrary(tmp_path / "presets")
    presets.save("ada", VOICE)
    library = VoiceLibrary(tmp_path / "own", presets=presets.directory)
    library.save("me", VOICE)
    assert library.names() == ["ada", "me"]
    assert library.is_preset("ada")
    assert not library.is_preset("me")
    assert library.get("ada") == VOICE
    with pytest.raises(VoiceError, match="came with the model"):
        library.remove("ada")
    library.save("ada", VOICE.without_transcript())
    assert library.get("ada").transcript is None
    library.remove("ada")
    assert library.get("ada") == VOICE
    assert "../own/me" not in library


def test_a_taken_name_is_kept_unless_replaced(tmp_path: Path) -> None:
    library = VoiceLibrary(tmp_path)
    library.save("a", VOICE)
    with pytest.raises(VoiceError, match="exists"):
        library.save("a", VOICE)
    library.save("a", VOICE.without_transcript(), replace=True)
    assert library.get("a").transcript is None


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", "/etc/passwd", "a\0", ".hidden", "x" * 65, "a..b", "a\n"]
)
def test_names_that_could_leave_the_library_are_refused(tmp_path: Path, name: str) -> None:
    library = VoiceLibrary(tmp_path)
    assert name not in library
    for call in (library.get, library.remove, lambda bad: library.save(bad, VOICE)):
        with pytest.raises(VoiceError):
            call(name)
    assert list(tmp_path.iterdir()) == []


@given(st.floats(50, 1000))
def test_pitch_survives_its_token(frequency: float) -> None:
    token = Style(gender="male", pitch=frequency).controls("en").pitch_value
    assert token is not None
    assert hertz(token) <= frequency < hertz(token + 1) + 1e-6
    assert hertz(mel(frequency)) == pytest.approx(frequency)


@pytest.mark.parametrize(
    ("style", "language", "expected"),
    [
        (Style("female", "high", 5.2), "en", Controls(0, 3, 3, None, 5)),
        (Style("female", "high", 5.2), "zh", Controls(0, 3, 3, None, 5)),
        (Style("female", None, 5.0), "zh", Controls(0, None, 2, None, 5)),
        (Style("male", 170, "very_low"), "en", Controls(1, 3, 0, 245, None)),
        (Style("female", 170), "en", Controls(0, 1, None, 245, None)),
        (Style("male", 90.0), "en", Controls(1, 0, None, 136, None)),
        (Style(), "zh", Controls()),
    ],
)
def test_styles_become_labels_and_values(style: Style, language: str, expected: Controls) -> None:
    assert style.controls(language) == expected  # type: ignore[arg-type]


def test_levels_rise_with_pitch_and_speed() -> None:
    pitches = [Style("female", float(hz)).controls("en").pitch_label for hz in range(60, 900, 20)]
    speeds = [Style("female", None, rate / 2).controls("zh").speed_label for rate in range(1, 20)]
    assert pitches == sorted(pitches)  # type: ignore[type-var]
    assert speeds == sorted(speeds)  # type: ignore[type-var]
    assert set(pitches) == set(speeds) == set(range(5))


def test_a_level_of_speed_expects_a_rate_in_its_bounds() -> None:
    rates = [Style("female", None, level).rate("en") for level in LEVELS]
    assert rates == sorted(rates)  # type: ignore[type-var]
    assert 3.306 < rates[2] < 4.72  # type: ignore[operator]
    assert [Style("female", None, rate).controls("en").speed_label for rate in rates] == [0, 1, 2, 3, 4]


def test_what_the_tokens_say_is_described() -> None:
    controls = Style("male", 170, 5.2).controls("en")
    assert describe(controls, exact=True) == "pitch 170 Hz, high; speed 5 syllables/s, high"
    assert describe(controls, exact=False) == "pitch high; speed high"
    assert describe(Controls(), exact=True) == ""


@pytest.mark.parametrize(
    "bad",
    [
        {"gender": "robot"},
        {"pitch": "loud"},
        {"pitch": 5},
        {"pitch": float("nan")},
        {"speed": 40},
        {"speed": "fast"},
    ],
)
def test_senseless_styles_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        Style(**bad)  # type: ignore[arg-type]


def test_amounts_from_the_command_line() -> None:
    assert parse_amount("5.5") == 5.5
    assert parse_amount("Very-High") == "very_high"
    assert parse_amount(None) is None
    with pytest.raises(OptionError, match="moderate"):
        parse_amount("medium")
