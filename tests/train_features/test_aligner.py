"""The word recogniser: what it learns, what it says about words and speech, how it is kept."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sparktts.checkpoint.aligner import AlignerConfig  # noqa: E402
from sparktts.checkpoint.layout import Checkpoint, check  # noqa: E402
from sparktts.engine import ctc  # noqa: E402
from sparktts.engine.torch import load  # noqa: E402
from sparktts.engine.torch.aligner import (  # noqa: E402
    Aligner,
    AlignerNetwork,
    pad_features,
    split_symbols,
    word_bounds,
)
from sparktts.errors import CheckpointError, TextError  # noqa: E402

pytest.importorskip("lightning_fabric")
pytest.importorskip("pyarrow")

from sparktts.train.aligner import ctc_loss, export, spelling, with_thresholds  # noqa: E402

from .corpus import PHONES, features_of, words_of  # noqa: E402

DIM = 24
CONFIG = AlignerConfig(DIM, tuple(PHONES), width=32, kernel=5)


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    """Trained for a few seconds on features in which every phoneme has a direction of its own."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = AlignerNetwork(CONFIG)
    aligner = Aligner(CONFIG, network)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    for _ in range(200):
        words = [words_of(rng, int(rng.integers(1, 6))) for _ in range(8)]
        batch, lengths = pad_features([features_of(rng, said, DIM)[0] for said in words])
        loss = ctc_loss(network(batch, lengths), lengths, [spelling(aligner, said) for said in words])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    held_out = [words_of(rng, 4) for _ in range(40)]
    told = aligner.align_batch([features_of(rng, said, DIM)[0] for said in held_out], held_out)
    return Aligner(with_thresholds(CONFIG, told), network)


@pytest.fixture
def clips() -> list[tuple[tuple[str, ...], np.ndarray, list[tuple[int, int]]]]:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(30):
        words = words_of(rng, int(rng.integers(1, 7)))
        found.append((words, *features_of(rng, words, DIM)))
    return found


def test_it_learns_to_hear_phonemes(aligner: Aligner, clips: list) -> None:
    rates = aligner.error_rates([features for _, features, _ in clips], [words for words, _, _ in clips])
    assert np.mean(rates) < 0.03
    words, features, _ = clips[0]
    assert aligner.error_rate(features, words) == rates[0]
    assert aligner.error_rate(features, ("aaaa", "kkkkkk")) > 0.5


def test_word_times_rise_cover_the_clip_and_are_where_the_words_are(aligner: Aligner, clips: list) -> None:
    off = []
    for words, features, spans in clips:
        times, score = aligner.word_times(features, words)
        assert -1.0 < score <= 0
        assert len(times) == len(words)
        assert times[0][0] == 0
        assert times[-1][1] == len(features) / 50
        for (_, end), (start, after) in pairwise(times):
            assert end == start < after
        off += [abs(start * 50 - first) for (start, _), (first, _) in zip(times[1:], spans[1:], strict=True)]
    assert np.mean(off) < 2.5  # frames
    assert max(off) <= 6


def test_a_batch_gives_what_each_clip_gives_alone(aligner: Aligner, clips: list) -> None:
    together = aligner.align_batch([features for _, features, _ in clips], [words for words, _, _ in clips])
    for (words, features, _), one in zip(clips, together, strict=True):
        alone = aligner.align(features, words)
        assert alone.times == one.times
        assert alone.score == pytest.approx(one.score, abs=1e-4)


def test_right_words_are_good_and_wrong_words_are_not(aligner: Aligner, clips: list) -> None:
    told = aligner.align_batch([features for _, features, _ in clips], [words for words, _, _ in clips])
    assert sum(alignment.good for alignment in told) >= len(told) - 1
    other = [words_of(np.random.default_rng(5), len(words)) for words, _, _ in clips]
    wrong = aligner.align_batch([features for _, features, _ in clips], other)
    assert not any(alignment.good for alignment in wrong)
    assert "score" in str(wrong[0].reason)


def test_a_word_that_is_not_said_is_found(aligner: Aligner) -> None:
    rng = np.random.default_rng(3)
    words = ("abe", "kid", "dab", "eki", "bad", "keb", "ida", "bek")
    features, _ = features_of(rng, words, DIM)
    alignment = aligner.align(features, (*words[:4], "kak", *words[4:]))
    assert alignment.reason is not None
    assert min(alignment.word_scores) == alignment.word_scores[4]


def test_more_phonemes_than_frames_and_no_phonemes_are_told(aligner: Aligner) -> None:
    few = aligner.align(np.zeros((3, DIM), np.float32), ("abdei",))
    assert few.reason == "it has 3 frames, too few for 5 phonemes"
    none = aligner.align(np.zeros((3, DIM), np.float32), ("?", "..."))
    assert none.reason == "its words hold no phoneme"
    with pytest.raises(TextError, match="too few"):
        aligner.word_times(np.zeros((3, DIM), np.float32), ("abdei",))
    with pytest.raises(TextError, match="no phoneme"):
        aligner.error_rate(np.zeros((3, DIM), np.float32), ("?",))


def test_features_of_another_model_are_refused(aligner: Aligner) -> None:
    with pytest.raises(CheckpointError, match="24 values"):
        aligner.phonemes(np.zeros((9, DIM + 1), np.float32))


def test_symbols_are_letters_tones_and_aspiration() -> None:
    assert split_symbols("ˈkʰa↗ŋ,") == ["k", "ʰ", "a", "↗", "ŋ"]
    assert split_symbols("—") == []


def test_a_pause_belongs_to_the_word_before_it_and_silent_words_have_no_time() -> None:
    def path(*spans: tuple[int, int]) -> ctc.Path:
        starts, ends = np.array(spans).T
        return ctc.Path(starts, ends, np.zeros(60, np.float32))

    said = path((4, 6), (8, 9), (30, 32), (33, 35))
    assert word_bounds(said, [1, 1, 2], 60) == [0, 7, 27, 60]
    assert word_bounds(said, [0, 2, 0, 2, 0], 60) == [0, 0, 27, 27, 60, 60]


def test_saved_and_loaded_it_says_the_same(aligner: Aligner, clips: list, tmp_path: Path) -> None:
    export(tmp_path / "aligner", aligner.config, aligner.network)
    loaded = Aligner.load(tmp_path / "aligner")
    assert loaded.config == aligner.config
    for words, features, _ in clips[:5]:
        assert loaded.align(features, words) == aligner.align(features, words)
        assert loaded.phonemes(features) == aligner.phonemes(features)


def test_an_aligner_that_is_damaged_or_missing_is_one_sentence(aligner: Aligner, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="train aligner"):
        Aligner.load(tmp_path / "none")
    export(tmp_path, replace(aligner.config, width=16), aligner.network)
    with pytest.raises(CheckpointError, match="shape"):
        Aligner.load(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "symbols": ["a", "a"]}))
    with pytest.raises(CheckpointError, match="symbols"):
        Aligner.load(tmp_path)


def test_a_checkpoint_carries_its_aligner(aligner: Aligner, clips: list, mini: Path, tmp_path: Path) -> None:
    copy = tmp_path / "m"
    shutil.copytree(mini, copy)
    with pytest.raises(CheckpointError, match="word recogniser"):
        Aligner.load(Checkpoint.open(copy))
    export(copy / "aligner", aligner.config, aligner.network)
    with (copy / "config.yaml").open("a") as file:
        file.write("\ntext_frontend: phonemes\ntext_order: on_demand\naligner: aligner\n")
    words, features, _ = clips[0]
    for source in (Checkpoint.open(copy), copy):
        assert Aligner.load(source).align(features, words) == aligner.align(features, words)
    report = check(copy)
    assert report.ok
    assert "aligner" in [part.name for part in report.parts]


def test_an_engine_finds_the_words_of_a_clip(mini: Path, golden: dict[str, np.ndarray], tmp_path: Path) -> None:
    copy = tmp_path / "m"
    shutil.copytree(mini, copy)
    torch.manual_seed(0)
    config = AlignerConfig(64, tuple(PHONES), width=8)
    export(copy / "aligner", config, AlignerNetwork(config))
    assert load(Checkpoint.open(copy), "cpu").aligner is None
    with (copy / "config.yaml").open("a") as file:
        file.write("\naligner: aligner\n")
    engine = load(Checkpoint.open(copy), "cpu")
    assert engine.aligner is not None
    audio = golden["short.wav"]
    times = engine.aligner.word_times(audio, ("abe", "kid."))
    tokens = engine.codec.semantic_tokens(audio)
    assert times[0][0] == 0
    assert times[0][1] == times[1][0]
    assert times[1][1] == len(tokens) / 50
    with pytest.raises(TextError, match="cannot be aligned"):
        engine.aligner.word_times(audio, ("abe" * 500,))
