"""Lists of clips in every form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sparktts.data.audio_source import open_audio
from sparktts.data.manifest import read_manifest
from sparktts.errors import OptionError

from .conftest import SENTENCES, write_list, write_tar


def test_jsonl_is_read_with_all_its_names_for_columns(tmp_path: Path) -> None:
    path = write_list(
        tmp_path / "list.jsonl",
        [
            {"path": "a.wav", "sentence": "Hello  there.", "lang": "en-US", "speaker_id": 7, "gender": "male"},
            {"file": "b.wav", "transcript": "你好。", "voice": "x", "gender": "F", "id": "second"},
            {"audio": "c.wav", "text": "技术部说这个 feature 不错。", "language": "mix", "phonemes": "a b , k."},
        ],
    )
    first, second, third = read_manifest(path).entries
    assert (first.id, first.audio, first.text) == ("a", "a.wav", "Hello there.")
    assert (first.language, first.speaker, first.gender, first.words) == ("en", "7", "male", None)
    assert (second.id, second.language, second.gender) == ("second", "zh", "female")
    assert (third.language, third.speaker, third.words) == ("zh", "c", ("a", "b,", "k."))


def test_words_may_be_a_list_and_other_notations_are_split_at_spaces(tmp_path: Path) -> None:
    lines = [
        {"audio": "a.wav", "text": "a", "words": ["h@", "l@U."]},
        {"audio": "b.wav", "text": "b", "phonemes": "h@ l@U"},
    ]
    first, second = read_manifest(write_list(tmp_path / "list.jsonl", lines)).entries
    assert first.words == ("h@", "l@U.")
    assert second.words == ("h@", "l@U")


def test_constants_hold_for_every_clip(manifest: Path) -> None:
    found = read_manifest(manifest, language="de", speaker="me").entries
    assert {(entry.language, entry.speaker) for entry in found} == {("de", "me")}


def test_ljspeech_lists_are_read(recordings: Path) -> None:
    lines = [f"{name}|RAW 5|{text}" for name, text in zip("abc", SENTENCES, strict=True)]
    (recordings / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = read_manifest(recordings)
    assert [(entry.id, entry.audio, entry.text) for entry in found.entries] == [
        (name, f"wavs/{name}.wav", text) for name, text in zip("abc", SENTENCES, strict=True)
    ]
    assert [entry.language for entry in found.entries] == ["en", "en", "zh"]


@pytest.mark.parametrize("mark", [",", "\t", "|", ";"])
def test_tables_with_a_header_are_read(tmp_path: Path, mark: str) -> None:
    lines = [mark.join(cells) for cells in (("file_name", "text", "speaker"), ("x/1.flac", "Hello.", "bob"))]
    path = tmp_path / "list.csv"
    path.write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    (entry,) = read_manifest(path).entries
    assert (entry.id, entry.audio, entry.text, entry.speaker) == ("x/1", "x/1.flac", "Hello.", "bob")


def test_quoted_cells_keep_their_commas(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text('audio,text\na.wav,"Well, yes."\n', encoding="utf-8")
    assert read_manifest(path).entries[0].text == "Well, yes."


def test_a_tar_and_a_folder_of_tars_carry_their_own_lists(opus_tar: Path, tmp_path: Path) -> None:
    entries = read_manifest(opus_tar).entries
    assert [entry.audio for entry in entries] == [f"en_00.tar::{name}.opus" for name in "abc"]
    assert entries[0].words == ("hə", "lˈO,", "wˈɜɹld.")
    assert read_manifest(tmp_path).entries == entries
    assert len(open_audio(tmp_path, entries[0].audio)) == pytest.approx(40000, abs=700)


def test_a_data_set_of_parquet_files_gives_its_sound(recordings: Path, tmp_path: Path) -> None:
    sounds = [(recordings / "wavs" / f"{name}.wav").read_bytes() for name in "abc"]
    table = pa.table(
        {"audio": [{"bytes": sound, "path": f"{i}.wav"} for i, sound in enumerate(sounds)], "sentence": list(SENTENCES)}
    )
    (tmp_path / "set" / "data").mkdir(parents=True)
    pq.write_table(table, tmp_path / "set/data/train-00000.parquet", row_group_size=2)
    found = read_manifest(tmp_path / "set")
    assert [entry.id for entry in found.entries] == ["0", "1", "2"]
    for entry, name in zip(found.entries, "abc", strict=True):
        assert (open_audio(found.root, entry.audio) == open_audio(recordings, f"wavs/{name}.wav")).all()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"audio": "x.wav", "text": "  "}, "empty_text"),
        ({"audio": "x.wav"}, "empty_text"),
        ({"text": "Hello."}, "no_audio"),
        ({"id": "a", "audio": "y.wav", "text": "Hello."}, "duplicate_id"),
        ({"audio": "x.wav", "text": "Hello.", "lang": "Klingon!"}, "unknown_language"),
        ([1, 2], "bad_line"),
    ],
)
def test_a_line_that_cannot_be_used_is_counted_and_the_others_are_read(
    recordings: Path, rows: list[dict[str, Any]], line: Any, reason: str
) -> None:
    found = read_manifest(write_list(recordings / "m.jsonl", [*rows, line]))
    assert len(found.entries) == 3
    (rejected,) = found.rejected
    assert rejected.reason == reason
    assert rejected.detail.endswith(".")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("list.jsonl", b"", "no clip that can be used"),
        ("list.jsonl", b"{broken\n", "line 1 is not a JSON object"),
        ("list.jsonl", b"\xff\xfe\x00", "not UTF-8"),
        ("list.csv", b"hello world\n", "id|text|normalised"),
        ("list.csv", b'audio,text\na.wav,"open\n', "no CSV"),
        ("list.xyz", b"", "no manifest"),
        ("list.tar", b"not a tar" * 200, "no uncompressed tar"),
        ("list.parquet", b"PAR1 no", "no Parquet file"),
    ],
)
def test_a_list_that_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OptionError, match=said.replace("|", r"\|")):
        read_manifest(tmp_path / name)


def test_a_missing_list_and_an_empty_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="There is no manifest"):
        read_manifest(tmp_path / "list.jsonl")
    with pytest.raises(OptionError, match="holds no manifest"):
        read_manifest(tmp_path)


def test_tars_that_are_broken_are_errors(opus_tar: Path, tmp_path: Path) -> None:
    whole = opus_tar.read_bytes()
    for size in (len(whole) // 2, 700, 100, 0):
        opus_tar.write_bytes(whole[:size])
        with pytest.raises(OptionError, match=r"en_00\.tar"):
            read_manifest(opus_tar)
    write_tar(opus_tar, {"a.opus": b"x"})
    with pytest.raises(OptionError, match=r"no manifest\.jsonl in"):
        read_manifest(opus_tar)
