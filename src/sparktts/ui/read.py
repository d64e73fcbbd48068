"""Tab: long texts and books, sentence by sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from ..audio.audio import Audio
from ..audio.join import exchange
from ..audio.live import LiveEncoder
from ..audio.samples import Samples
from ..documents import read_document
from ..errors import OptionError
from ..report import Report, UtteranceReport
from ..subtitles import to_srt
from .listening import Listening
from .speaking import kept_file, list_on_opening, seed_of, summary, told, told_each

if TYPE_CHECKING:
    from ..pipeline import SparkTTS
    from ..voice import Voice

_HEADS = ("#", "s", "")


@dataclass
class Book:
    """A text that was read. samples: of the whole; utterances: with their places in it."""

    samples: Samples
    rate: int
    utterances: list[UtteranceReport]
    voice: Voice
    report: Report
    seed: int = field(default=0)

    def redone(self, number: int, samples: Samples, again: UtteranceReport) -> Book:
        """The same with another reading of one sentence; all that follows moves."""
        old = self.utterances[number]
        whole, (begin, end) = exchange(self.samples, (old.start, old.end), samples, self.rate)
        shift = (end - begin) - (old.end - old.start)
        new = replace(again, pause=old.pause).placed(begin, end)
        rest = [one.placed(one.start + shift, one.end + shift) for one in self.utterances[number + 1 :]]
        return replace(self, samples=whole, utterances=[*self.utterances[:number], new, *rest])

    def files(self) -> list[str]:
        """Sound and subtitles, for the browser."""
        sound = Audio(self.samples, self.rate, self.report, self.voice).to_bytes("mp3")
        return [kept_file(sound, "speech.mp3"), kept_file(to_srt(self.utterances), "speech.srt")]

    def rows(self) -> list[list[Any]]:
        return [[number, f"{one.start:.1f}", one.source] for number, one in enumerate(self.utterances, start=1)]


def build(tts: SparkTTS, words: Any, listening: Listening, tab: gr.Tab) -> None:
    """Fields and what they do."""
    book = gr.State(None)
    with gr.Row():
        with gr.Column():
            text = gr.Textbox(label=words("text"), placeholder=words("text_hint"), lines=10, elem_id="read-text")
            file = gr.File(
                label=words("text_file"),
                file_types=[".txt", ".md", ".srt", ".epub"],
                type="filepath",
                elem_id="read-file",
                height=150,
            )
            voice = gr.Dropdown(choices=tts.voices.names(), label=words("voice"), elem_id="read-voice")
            seed = gr.Textbox(label=words("seed"), max_lines=1, elem_id="read-seed")
        with gr.Column():
            with gr.Row():
                go = gr.Button(words("speak"), variant="primary", elem_id="read-speak")
                stop = gr.Button(words("stop"), elem_id="read-stop")
            live = gr.HTML(elem_id="read-live")
            report = gr.Markdown(elem_id="read-report")
            sentences = gr.Dataframe(
                headers=list(_HEADS), label=words("sentences"), interactive=False, wrap=True, elem_id="read-sentences"
            )
            with gr.Row():
                number = gr.Number(label=words("sentence_number"), precision=0, value=1, elem_id="read-number")
                again = gr.Button(words("again"), elem_id="read-again")
            sound = gr.Audio(label=words("result"), type="filepath", interactive=False, elem_id="read-sound")
            files = gr.File(label=words("download"), file_count="multiple", interactive=False, elem_id="read-files")

    def spoken_text(typed: str, path: str | None) -> str:
        return read_document(path) if path else typed

    @told_each
    def say(
        typed: str, path: str | None, called: str | None, chosen: str
    ) -> Iterator[tuple[str, str, list[list[Any]], str | None, list[str] | None, Book | None]]:
        who = None if not called else tts.voice(tts.voices.get(called))
        pieces: list[Samples] = []
        channel = listening.begin()
        encoder: LiveEncoder | None = None
        try:
            with tts.stream(spoken_text(typed, path), voice=who, sampling=seed_of(chosen)) as stream:
                for chunk in stream:
                    encoder = encoder or LiveEncoder(tts.sample_rate, "mp3", stream.metadata)
                    channel.write(encoder.add(chunk.samples))
                    pieces.append(chunk.samples)
                    where = f"{chunk.utterance + 1} · {chunk.start + chunk.duration:.1f} s"
                    yield channel.player, where, [], None, None, None
            if encoder is not None:
                channel.write(encoder.end())
        finally:
            channel.end()
        assert stream.report is not None
        assert stream.voice is not None
        made = Book(
            np.concatenate(pieces), tts.sample_rate, list(stream.report.utterances), stream.voice, stream.report
        )
        whole = made.files()
        yield channel.player, summary(stream.report), made.rows(), whole[0], whole, made

    @told
    def redo(made: Book | None, which: float | None) -> tuple[str, list[list[Any]], str, list[str], Book]:
        if made is None or which is None or not 1 <= which <= len(made.utterances):
            raise OptionError("Let a text be read, then name the number of one of its sentences.")
        place = int(which) - 1
        tried = replace(made, seed=made.seed + 1)
        spoken = tts.say(made.utterances[place].source, voice=made.voice, seed=made.report.seed + 1000 * tried.seed)
        assert spoken.report is not None
        first = spoken.report.utterances[0]
        changed = tried.redone(place, spoken.samples, replace(first, source=made.utterances[place].source))
        whole = changed.files()
        return f"✓ {int(which)}", changed.rows(), whole[0], whole, changed

    list_on_opening(tab, voice, tts)
    outputs = [live, report, sentences, sound, files, book]
    running = go.click(say, [text, file, voice, seed], outputs, show_progress="minimal")
    stop.click(None, cancels=[running])
    again.click(redo, [book, number], [report, sentences, sound, files, book])
