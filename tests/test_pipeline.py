"""From text to audio on the seeded mini checkpoint: one path, one voice, every sentence accounted for."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparktts import Audio, ReadingOptions, SparkTTS, Style, TextOptions, Voice
from sparktts.audio.read import read_audio
from sparktts.checkpoint.convert import convert_checkpoint
from sparktts.errors import GenerationError, InvalidTokens, OptionError, TextError, VoiceError
from sparktts.guards import Guard
from sparktts.reading import DEFAULT_STYLE

from .engine.misbehaving import ScriptedModel, babble, never_stop, say_nothing, speak_for, stall

MIXED = (Path(__file__).parent / "data" / "mixed.txt").read_text(encoding="utf-8")
UNCHECKED = ReadingOptions(checks=False)
SHORT = "Hi there."


@pytest.fixture(scope="module")
def tts(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> SparkTTS:
    return SparkTTS.from_pretrained(mini, device="cpu", voices=tmp_path_factory.mktemp("voices"))


@pytest.fixture
def scripted(mini: Path) -> tuple[SparkTTS, ScriptedModel]:
    """The real pipeline and codec with a language model that a test scripts."""
    tts = SparkTTS.from_pretrained(mini, device="cpu")
    model = ScriptedModel(tts.tokenizer.semantic.first, tts.tokenizer.stop, speak_for(100))
    tts.engine.__dict__["language_model"] = model
    return tts, model


@pytest.fixture(scope="module")
def voice(tts: SparkTTS, clip_24k: Path) -> Voice:
    return tts.clone(clip_24k)


def test_the_python_surface_stays_true(
    mini: Path, tmp_path: Path, clip_24k: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Audio(read_audio(clip_24k), 16000).save("clip.wav")
    shutil.copy(clip_24k, "me.m4a")  # the content decides, not the name
    monkeypatch.setattr(ReadingOptions.__init__, "__defaults__", (False, 2, 1, None))  # random weights never stop

    tts = SparkTTS.from_pretrained(str(mini))
    voice = tts.clone("me.m4a")
    voice.save("me.json")
    audio = tts.say("Long text ...", voice=voice, seed=7)
    audio.save("a.mp3")
    assert audio.samples.dtype == np.float32
    assert audio.report is not None
    audio = tts.say("Hello.", style=Style(gender="female", pitch="high", speed=5.2))
    speaker, semantic = tts.encode("clip.wav")
    audio = tts.decode(semantic, speaker)
    assert (speaker.shape, len(audio.samples)) == ((32,), 320 * len(semantic))
    assert Voice.load("me.json") == voice


def test_without_a_model_ember_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARKTTS_MODEL", raising=False)
    tts = SparkTTS.from_pretrained()
    assert (tts.checkpoint.name, tts.engine.name) == ("ember", "onnx")
    assert tts.say("Good morning.", seed=1).duration > 0.5


def test_published_tokens_come_from_the_published_reference_rule(
    tts: SparkTTS, clip_24k: Path, clip_16k: Path, golden: Mapping[str, np.ndarray]
) -> None:
    for name, clip in (("short", clip_24k), ("long", clip_16k)):
        speaker, semantic = tts.encode(clip, reference="first-6s")
        assert (speaker == golden[f"{name}.global"].ravel()).mean() >= 0.99
        assert (semantic == golden[f"{name}.semantic"].ravel()).mean() >= 0.99
        recon = golden[f"{name}.recon"].ravel()
        samples = tts.decode(golden[f"{name}.semantic"].ravel(), golden[f"{name}.global"].ravel()).samples
        assert np.abs(samples - recon).max() <= 1e-4 * np.abs(recon).max()


def test_the_same_seed_repeats_the_speech_and_another_does_not(tts: SparkTTS, voice: Voice) -> None:
    first, again, other = (tts.say(SHORT, voice=voice, seed=seed, reading=UNCHECKED).samples for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_utterance_can_be_repeated_alone_with_its_reported_seed(tts: SparkTTS, voice: Voice) -> None:
    text = "First sentence here.\n\nSecond one here."
    whole = tts.say(text, voice=voice, seed=3, reading=UNCHECKED)
    second = whole.report.utterances[1]  # type: ignore[union-attr]
    alone = tts.say(second.source, voice=voice, seed=second.seed, reading=UNCHECKED)
    assert alone.report.utterances[0].seed == second.seed  # type: ignore[union-attr]
    assert alone.report.utterances[0].seconds == second.seconds  # type: ignore[union-attr]


def test_a_long_mixed_text_with_injected_failures_is_accounted_for(
    scripted: tuple[SparkTTS, ScriptedModel], voice: Voice
) -> None:
    tts, model = scripted
    failures = (stall, say_nothing, never_stop)

    def script(number: int, position: int) -> int | None:
        if number % 4 == 1:
            return failures[number // 4 % 3](number, position)
        return babble(number, position) if position < 120 else None

    model.script = script
    seen: list[tuple[int, int]] = []
    audio = tts.say(MIXED, voice=voice, seed=1, progress=lambda done, total: seen.append((done, total)))
    report = audio.report
    assert report is not None
    assert len(MIXED) >= 2000
    said = "".join(utterance.source for utterance in report.utterances)
    spoken = {c for c in MIXED if c.isalnum()}
    assert spoken <= set(said) | set("A")
    for sentence in ("山城的一天", "a teacher from Bristol", "38.5元", "400-820-1234", "80%", "回来的方向"):
        assert sentence in said
    assert sum(len(utterance.problems) for utterance in report.utterances) >= 5
    speech = sum(utterance.seconds for utterance in report.utterances)
    assert audio.duration <= speech + sum(utterance.pause for utterance in report.utterances) + 1
    assert seen[-1] == (len(report.utterances), len(report.utterances))
    assert np.isfinite(audio.samples).all()


def test_a_sentence_that_cannot_be_said_is_named(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    tts, model = scripted
    model.script = never_stop
    with pytest.raises(GenerationError, match="Hi there"):
        tts.say(SHORT, voice=voice)
    assert not model.running
    model.script = speak_for(60)
    assert tts.say(SHORT, voice=voice).duration > 0


def test_a_created_voice_speaks_the_whole_text_and_can_be_kept(scripted: tuple[SparkTTS, ScriptedModel]) -> None:
    tts, model = scripted
    text = "One sentence here.\n\nAnother sentence here.\n\nA third sentence."
    audio = tts.say(text, style=Style("male", 120, "low"), seed=5, reading=ReadingOptions(batch_size=4))
    assert audio.voice is not None
    assert audio.voice.gender == "male"
    assert audio.voice.provenance.kind == "created"
    create, *clones = model.prompts
    assert tts.tokenizer.task_create in create
    for prompt in clones:
        at = prompt.index(tts.tokenizer.start["global_token"]) + 1
        assert prompt[0] == tts.tokenizer.task_tts
        assert tuple(token - tts.tokenizer.speaker.first for token in prompt[at : at + 32]) == audio.voice.speaker
        assert tts.tokenizer.speed_label.id(1) in prompt  # the style holds for the whole text
    assert model.most_at_once == 2  # the first utterance alone, because the voice comes out of it
    assert audio.report is not None
    assert audio.report.style == "pitch 120 Hz, moderate; speed low"


def test_a_created_voice_survives_a_split_first_sentence(scripted: tuple[SparkTTS, ScriptedModel]) -> None:
    tts, model = scripted
    model.script = lambda number, position: (never_stop if number < 3 else speak_for(90))(number, position)
    audio = tts.say("One sentence, which is long enough, can be split in two.", style=DEFAULT_STYLE)
    assert audio.report is not None
    assert len(audio.report.utterances) >= 2
    tasks = [prompt[0] for prompt in model.prompts]
    assert tasks == [tts.tokenizer.task_create] * 4 + [tts.tokenizer.task_tts] * (len(tasks) - 4)


def test_create_returns_the_voice(tts: SparkTTS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReadingOptions.__init__, "__defaults__", (False, 2, 1, None))
    voice = tts.create(Style(gender="female"), "Hi.", seed=2)
    assert len(voice.speaker) == 32
    assert voice == replace(tts.create(Style(gender="female"), "Hi.", seed=2), provenance=voice.provenance)


def test_pitch_and_speed_apply_while_cloning(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    tts, model = scripted
    audio = tts.say(SHORT, voice=voice, style=Style(pitch="very_high", speed=3.0))
    labels = (tts.tokenizer.pitch_label.id(4), tts.tokenizer.speed_label.id(1))
    at = model.prompts[0].index(tts.tokenizer.start["style_label"])
    assert model.prompts[0][at + 1 : at + 3] == labels
    assert audio.report is not None
    assert audio.report.style == "pitch very_high; speed low"


def test_a_transcript_makes_the_model_continue_the_clip(
    scripted: tuple[SparkTTS, ScriptedModel], clip_24k: Path
) -> None:
    tts, model = scripted
    voice = tts.clone(clip_24k, transcript=" ab 你 ")
    assert voice.transcript == "ab 你"
    assert abs(len(voice.semantic) - 160) < 10
    tts.say("世界。", voice=voice)
    assert model.prompts[0][-len(voice.semantic) :] == tuple(
        tts.tokenizer.semantic.first + code for code in voice.semantic
    )


def test_a_long_clip_with_a_transcript_is_refused(tts: SparkTTS) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 16 * 16000).astype(np.float32)
    with pytest.raises(OptionError, match="15 s"):
        tts.clone((noise, 16000), transcript="many words")


def test_cloning_without_a_transcript_needs_no_wav2vec2_and_no_language_model(
    mini: Path, tmp_path: Path, clip_24k: Path
) -> None:
    shutil.copytree(mini, tmp_path / "m", ignore=shutil.ignore_patterns("wav2vec2*"))
    tts = SparkTTS.from_pretrained(tmp_path / "m", device="cpu")
    assert len(tts.clone(clip_24k).speaker) == 32
    assert "language_model" not in tts.engine.__dict__
    assert "wav2vec2" not in tts.engine.codec.parts.loaded  # type: ignore[attr-defined]


def test_a_saved_voice_of_another_codec_is_encoded_again_from_its_clip(tts: SparkTTS, clip_24k: Path) -> None:
    kept = tts.clone(clip_24k, keep_clip=True, consent="yes")
    foreign = replace(kept, codec="0" * 16, speaker=tuple(range(32)))
    adopted = tts.voice(foreign)
    assert adopted.codec == tts.engine.codec.fingerprint
    assert adopted.provenance.consent == "yes"
    assert np.mean(np.array(adopted.speaker) == np.array(kept.speaker)) > 0.5  # Opus changes the clip a little
    with pytest.raises(VoiceError, match="another codec"):
        tts.voice(replace(foreign, clip=None))


def test_voices_are_found_by_name_file_and_clip(tts: SparkTTS, voice: Voice, clip_24k: Path, tmp_path: Path) -> None:
    tts.voices.save("anna", voice, replace=True)
    voice.save(tmp_path / "anna.json")
    assert tts.voice("anna") == tts.voice(tmp_path / "anna.json") == voice
    assert tts.voice(str(clip_24k)).speaker == voice.speaker
    with pytest.raises(VoiceError, match="anna"):
        tts.voice("bob")
    with pytest.raises(VoiceError, match="check the path"):
        tts.voice("bob.wav")


def test_the_default_voice_of_a_model_speaks_where_no_voice_is_asked_for(
    mini: Path, voice: Voice, tmp_path: Path
) -> None:
    shutil.copytree(mini, tmp_path / "m", ignore=shutil.ignore_patterns("wav2vec2*"))
    (tmp_path / "m" / "voices").mkdir()
    voice.save(tmp_path / "m" / "voices" / "ada.json")
    with (tmp_path / "m" / "config.yaml").open("a") as file:
        file.write("default_voice: ada\n")
    tts = SparkTTS.from_pretrained(tmp_path / "m", device="cpu", voices=tmp_path / "own")
    assert tts.say("Hello.", seed=1, reading=UNCHECKED).voice == voice
    assert tts.say("Hello.", seed=1, reading=UNCHECKED, style=Style(speed="high")).voice == voice
    assert tts.say("Hello.", seed=1, reading=UNCHECKED, style=Style(gender="male")).voice != voice
    copied = convert_checkpoint(tmp_path / "m", tmp_path / "copy")
    assert Voice.load(copied / "voices" / "ada.json") == voice


def test_clips_come_as_bytes_files_and_arrays(tts: SparkTTS, voice: Voice, clip_24k: Path) -> None:
    data = clip_24k.read_bytes()
    assert tts.clone(data).speaker == tts.clone(io.BytesIO(data)).speaker == voice.speaker
    assert tts.clone((read_audio(clip_24k, 24000), 24000)).speaker == voice.speaker


def test_an_unchecked_utterance_is_cut_at_its_budget_with_a_note(
    scripted: tuple[SparkTTS, ScriptedModel], voice: Voice
) -> None:
    tts, model = scripted
    model.script = never_stop
    report = tts.say(SHORT, voice=voice, reading=UNCHECKED).report
    assert report is not None
    assert any("did not stop" in note for note in report.notes)
    assert report.utterances[0].problems == ("did not stop",)
    model.script = say_nothing
    silent = tts.say(SHORT, voice=voice, reading=UNCHECKED)
    assert silent.report is not None
    assert any("no speech" in note for note in silent.report.notes)


def test_a_slow_speaker_gets_a_larger_budget(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    tts, model = scripted
    model.script = never_stop
    text = "This sentence is spoken slowly, word by word, by somebody who has a lot of time."
    plain = tts.say(text, voice=voice, reading=UNCHECKED).report
    slow = tts.say(text, voice=voice, style=Style(speed=2.0), reading=UNCHECKED).report
    assert plain is not None
    assert slow is not None
    assert slow.utterances[0].seconds > 1.5 * plain.utterances[0].seconds
    assert Guard(2.0).budget > Guard(1.0).budget


def test_the_report_says_what_was_dropped(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    report = scripted[0].say("Hello 🎉 there.", voice=voice).report
    assert report is not None
    assert any("🎉" in note or "emoji" in note.lower() for note in report.notes)
    assert report.to_dict()["utterances"][0]["text"]


def test_saved_files_say_that_they_are_synthetic(
    scripted: tuple[SparkTTS, ScriptedModel], voice: Voice, tmp_path: Path
) -> None:
    import av

    audio = scripted[0].say(SHORT, voice=voice, seed=9)
    for suffix in ("wav", "flac", "mp3", "opus", "ogg"):
        audio.save(tmp_path / f"a.{suffix}")
        with av.open(str(tmp_path / f"a.{suffix}")) as container:
            tags = {**container.metadata, **container.streams[0].metadata}
        comment = next(value for key, value in tags.items() if key.lower() == "comment")
        assert "synthetic" in comment.lower()
        assert all(word in comment for word in ("mini", voice.id, "seed 9"))


@pytest.mark.parametrize("text", ["", "   \n", "🎉🎉", "\x00\x01", "**  **"])
def test_a_text_without_words_is_an_error(tts: SparkTTS, voice: Voice, text: str) -> None:
    with pytest.raises(TextError):
        tts.say(text, voice=voice)


@pytest.mark.parametrize(
    ("semantic", "speaker"),
    [
        ([], range(32)),
        ([1], range(31)),
        ([9000], range(32)),
        ([1.5], range(32)),
        ([[1]], range(32)),
        (["x"], range(32)),
    ],
)
def test_senseless_tokens_are_refused(tts: SparkTTS, semantic: list[object], speaker: range) -> None:
    with pytest.raises(InvalidTokens):
        tts.decode(semantic, list(speaker))  # type: ignore[arg-type]


def test_creating_needs_a_gender(tts: SparkTTS) -> None:
    with pytest.raises(OptionError, match="gender"):
        tts.say(SHORT, style=Style(pitch="high"))


def test_calls_from_several_threads_wait_for_each_other(tts: SparkTTS, voice: Voice) -> None:
    alone = tts.say(SHORT, voice=voice, seed=1, reading=UNCHECKED).samples
    results: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: results.append(tts.say(SHORT, voice=voice, seed=1, reading=UNCHECKED).samples))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert all(np.array_equal(samples, alone) for samples in results)


def test_utterances_of_one_text_run_as_one_batch(scripted: tuple[SparkTTS, ScriptedModel], voice: Voice) -> None:
    tts, model = scripted
    text = "\n\n".join(f"Sentence number {word} is here." for word in ("one", "two", "three", "four", "five"))
    together = tts.say(text, voice=voice, seed=1, reading=ReadingOptions(batch_size=3), text_options=TextOptions())
    assert model.most_at_once == 3
    assert [u.source for u in together.report.utterances] == text.split("\n\n")  # type: ignore[union-attr]


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, time; started = time.perf_counter(); import sparktts; took = time.perf_counter() - started; "
        "sparktts.SparkTTS, sparktts.Style, sparktts.Voice, sparktts.Audio; "
        "print(took, sorted({'torch', 'transformers', 'av', 'wetext', 'gradio', 'mindspore'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    took, modules = done.stdout.split(maxsplit=1)
    assert modules.strip() == "[]"
    assert float(took) < 0.15
