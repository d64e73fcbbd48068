"""What a clip becomes: tasks, references, corruption, batches, schedule, vocabulary."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparktts.prompt import PromptBuilder
from sparktts.tokenizer import SparkTokenizer
from sparktts.train.lm.sequences import Document, Examples, corrupted
from sparktts.train.lm.stream import BatchStream, cut
from sparktts.train.lm.vocabulary import small_tokenizer, spark_tokens
from sparktts.train.schedule import rate_at
from tests.seeded_checkpoint import special_tokens

from .corpus import clips, settings


@pytest.fixture(scope="module")
def builder(mini: Path) -> PromptBuilder:
    return PromptBuilder(SparkTokenizer.from_file(mini / "LLM/tokenizer.json"))


def only(task: str) -> dict[str, float]:
    return {name: float(name == task) for name in ("clone", "clone_transcript", "create")}


def examples(builder: PromptBuilder, mini: Path, task: str, **changes: object) -> Examples:
    options = settings(Path("run"), Path("shards"), mini, tasks=only(task), **changes)
    return Examples(options, builder, clips("x", 9))


def test_a_voice_comes_from_another_clip_of_the_speaker(builder: PromptBuilder, mini: Path) -> None:
    made = Examples(
        settings(Path("run"), Path("shards"), mini, tasks=only("clone")),
        builder,
        [replace(clip, global_tokens=(number,) * 32) for number, clip in enumerate(clips("x", 9))],
    )
    first = builder.tokenizer.speaker.first
    seen = Counter()
    for seed in range(60):
        ids = made.document(0, np.random.default_rng(seed)).ids.tolist()
        mark = ids.index(builder.tokenizer.start["global_token"])
        seen[ids[mark + 1] - first] += 1
    assert seen.keys() == {3, 6}  # speaker 0 has the clips 0, 3, 6
    assert min(seen.values()) > 15


def test_sequences_are_those_of_prompts(builder: PromptBuilder, mini: Path) -> None:
    """What is fed before the first loss is the prompt that the pipeline makes, with what the grammar forces."""
    for task in ("clone", "clone_transcript"):
        made = examples(builder, mini, task)
        document = made.document(1, np.random.default_rng(3))
        begin = int(np.argmax(document.targets >= 0))
        item = made.items[1]
        found = []
        for before in (made.items[4], made.items[7]):
            past = (before.spoken.text + " ", tuple(before.spoken.semantic)) if task == "clone_transcript" else ("", ())
            prompt = builder.clone(item.spoken.text, item.voice, *past)
            found.append([*prompt.ids, *prompt.grammar.forced()])
        assert document.ids[: begin + 1].tolist() in found
        said = [*(builder.tokenizer.semantic.first + code for code in item.spoken.semantic), builder.tokenizer.stop]
        assert document.targets[begin:].tolist() == said


def test_created_voices_say_their_values(builder: PromptBuilder, mini: Path) -> None:
    made = examples(builder, mini, "create")
    document = made.document(2, np.random.default_rng(0))
    learnt = document.targets[document.targets >= 0].tolist()
    t = builder.tokenizer
    assert learnt[:2] == [t.pitch_value.id(252), t.speed_value.id(4)]
    assert learnt[2:34] == [t.speaker.first + code for code in made.items[2].voice]
    assert learnt[-1] == t.stop


def test_clips_that_cannot_be_used_are_counted(builder: PromptBuilder, mini: Path) -> None:
    options = settings(
        Path("run"), Path("shards"), mini, text_frontend="phonemes", text_order="on_demand", data={"max_tokens": 130}
    )
    good = clips("x", 6)
    bad = [
        replace(good[0], semantic=None),
        replace(good[1], words=None),
        replace(good[2], word_times=None),
        replace(good[3], semantic=(1,) * 400),
    ]
    made = Examples(options, builder, [*good, *bad])
    assert len(made) == 6
    assert made.left_out == {"no tokens": 1, "no words": 1, "no word times": 1, "too long": 1}


def test_corruption_changes_a_share_of_the_semantics_and_nothing_else() -> None:
    ids = np.arange(20_000, dtype=np.int32)
    changed = corrupted(ids, (5_000, 15_000), 0.1, np.random.default_rng(0))
    assert np.array_equal(changed[:5_000], ids[:5_000])
    assert np.array_equal(changed[15_000:], ids[15_000:])
    assert 0.09 < (changed != ids)[5_000:15_000].mean() < 0.11
    assert changed[5_000:15_000].min() >= 5_000
    assert changed[5_000:15_000].max() < 15_000


def test_batches_keep_the_budget_and_a_pass_holds_every_clip_once() -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(20, 90, 150)]
    made: list[int] = []

    def make(index: int, random: np.random.Generator) -> Document:
        made.append(index)
        return Document(np.full(lengths[index], index, np.int32), np.full(lengths[index], -1, np.int32))

    stream = BatchStream(make, lengths, 300, seed=1)
    seen: Counter[int] = Counter()
    while stream.epoch == 0:
        batch = stream.next()
        if stream.epoch == 0:
            assert sum(len(document.ids) for document in batch) <= 300
            seen.update(int(document.ids[0]) for document in batch)
    assert seen == Counter(range(150))
    again = BatchStream(make, lengths, 300, seed=1)
    again.load_state_dict(stream.state_dict())
    assert [d.ids[0] for d in again.next()] == [d.ids[0] for d in stream.next()]


def test_a_long_document_goes_alone() -> None:
    documents = [Document(np.zeros(n, np.int32), np.zeros(n, np.int32)) for n in (50, 500, 40)]
    assert [[len(d.ids) for d in batch] for batch in cut(documents, 100)] == [[40, 50], [500]]


def test_the_rate_rises_and_decays() -> None:
    rates = [rate_at(step, 110, rate=1.0, warmup=10, final=0.1) for step in range(1, 111)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert rates[59] == pytest.approx(0.55)
    assert rates[-1] == pytest.approx(0.1)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rate_at(60, 110, rate=1.0, warmup=10, final=0.5, decay="linear") == 0.75
    assert rate_at(1, 10, rate=1.0, warmup=0, final=0.1, decay="constant") == 1.0


def test_the_tokens_are_the_published_ones() -> None:
    assert spark_tokens(8192, 4096) == special_tokens()


def test_a_small_tokenizer_reads_any_text(tmp_path: Path) -> None:
    small_tokenizer(["aab", "bb"], 100, 64, always="z").save(str(tmp_path / "tokenizer.json"))
    tokenizer = SparkTokenizer.from_file(tmp_path / "tokenizer.json")
    assert (tokenizer.semantic.count, tokenizer.speaker.count) == (100, 64)
    assert len(tokenizer.encode("ab az")) == 5
    assert len(tokenizer.encode("火")) == 3  # bytes
    assert tokenizer.encode("ab") + tokenizer.encode("ba") == tokenizer.encode("abba")
