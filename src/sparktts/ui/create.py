"""Tab: a new voice from gender, pitch and pace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from ..errors import OptionError
from ..style import LEVELS, Style
from .pictures import picture
from .speaking import speak, told

if TYPE_CHECKING:
    from ..pipeline import SparkTTS
    from ..voice import Voice


def build(tts: SparkTTS, words: Any) -> None:
    """Fields and what they do."""
    voice = gr.State(None)
    with gr.Row():
        with gr.Column():
            choices = [(words("female"), "female"), (words("male"), "male")]
            gender = gr.Radio(choices, value="female", label=words("gender"), elem_id="create-gender")
            pitch = gr.Slider(1, 5, 3, step=1, label=words("pitch"), elem_id="create-pitch")
            speed = gr.Slider(1, 5, 3, step=1, label=words("speed"), elem_id="create-speed")
            seed = gr.Textbox(label=words("seed"), max_lines=1, elem_id="create-seed")
        with gr.Column():
            text = gr.Textbox(label=words("text"), placeholder=words("text_hint"), lines=4, elem_id="create-text")
            with gr.Row():
                go = gr.Button(words("speak"), variant="primary", elem_id="create-speak")
                stop = gr.Button(words("stop"), elem_id="create-stop")
            sound = gr.Audio(label=words("result"), type="filepath", interactive=False, elem_id="create-sound")
            looks = gr.Plot(label=words("waveform"), elem_id="create-picture")
            report = gr.Markdown(elem_id="create-report")
            with gr.Row():
                name = gr.Textbox(label=words("name"), elem_id="create-name")
                keep = gr.Button(words("keep"), elem_id="create-keep")

    @told
    def say(who: str, height: int, pace: int, said: str, number: str) -> tuple[str, Any, str, Any]:
        style = Style(who, LEVELS[height - 1], LEVELS[pace - 1])  # type: ignore[arg-type]
        spoken = speak(tts, said, None, style, number)
        audio = spoken.audio
        return spoken.file, picture(audio.samples, audio.sample_rate), spoken.summary, audio.voice

    @told
    def save(made: Voice | None, called: str) -> str:
        if made is None:
            raise OptionError("Let the voice say something first.")
        tts.voices.save(called.strip(), made)
        return f"✓ {called.strip()}"

    fields = [gender, pitch, speed, text, seed]
    running = go.click(say, fields, [sound, looks, report, voice])
    stop.click(None, cancels=[running])
    keep.click(save, [voice, name], report)
