"""Shards: what is written is read back, whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sparktts.data.schema import Clip, schema
from sparktts.data.shards import read_shards, read_table, shard_metadata, shard_name, write_shard
from sparktts.errors import OptionError

PLAIN = Clip("a", "t.tar::a.opus", "Hi.", "en", "ann", 1.5, -20.0, 4.0, 4)
FULL = replace(
    PLAIN,
    id="b",
    gender="female",
    f0_mean=200.5,
    f0_std=20.25,
    pitch_value=281,
    pitch_level=2,
    speed_level=2,
    words=("hˈI.",),
    word_times=((0.25, 1.0),),
    semantic=(1, 8191),
    global_tokens=(4095, 0),
    codec="0123456789abcdef",
)


def test_clips_come_back_as_they_were(tmp_path: Path) -> None:
    write_shard(tmp_path / shard_name(1), [FULL])
    write_shard(tmp_path / shard_name(0), [PLAIN], {"root": "..", "n": 3})
    assert list(read_shards(tmp_path)) == [PLAIN, FULL]
    assert shard_metadata(tmp_path / shard_name(0)) == {"root": "..", "n": 3}


def test_the_columns_are_the_contract() -> None:
    kinds = {field.name: str(field.type) for field in schema()}
    assert schema().metadata == {b"schema": b"sparktts.clips/1"}
    assert kinds["semantic"] == kinds["global_tokens"] == "list<item: uint16>"
    assert kinds["word_times"] == "list<item: struct<start: float not null, end: float not null>>"
    assert (kinds["duration"], kinds["pitch_value"], kinds["speed_level"]) == ("float", "int16", "int8")


def test_an_empty_shard_is_a_shard(tmp_path: Path) -> None:
    write_shard(tmp_path / shard_name(0), [])
    assert list(read_shards(tmp_path)) == []


@pytest.mark.parametrize("cut", [0, 4, 100, -9, -1])
def test_a_damaged_shard_is_one_sentence(tmp_path: Path, cut: int) -> None:
    path = tmp_path / shard_name(0)
    write_shard(path, [PLAIN, FULL])
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(OptionError, match="is damaged"):
        list(read_shards(tmp_path))


def test_damage_in_the_middle_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / shard_name(0)
    write_shard(path, [PLAIN] * 200)
    data = bytearray(path.read_bytes())
    data[20:200] = b"\xff" * 180
    path.write_bytes(data)
    with pytest.raises(OptionError, match="is damaged"):
        list(read_shards(tmp_path))


def test_other_versions_and_other_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / shard_name(0)
    pq.write_table(pa.table({"id": ["a"]}, metadata=None), path)
    with pytest.raises(OptionError, match="holds no clips"):
        read_table(path)
    pq.write_table(pa.table({"id": ["a"]}).replace_schema_metadata({"schema": "sparktts.clips/9"}), path)
    with pytest.raises(OptionError, match=r"sparktts\.clips/9"):
        read_table(path)


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="sparktts prepare"):
        list(read_shards(tmp_path / "none"))


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / shard_name(0)
    write_shard(path, [PLAIN])
    with pytest.raises(pa.ArrowInvalid):
        write_shard(path, [replace(PLAIN, semantic=(1 << 20,))])
    assert list(read_shards(tmp_path)) == [PLAIN]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
