"""Tab: a voice from a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from ..audio.reference import load_reference
from ..errors import OptionError
from .pictures import picture
from .speaking import speak, told

if TYPE_CHECKING:
    from ..pipeline import SparkTTS


def build(tts: SparkTTS, words: Any) -> None:
    """Fields and what they do."""
    with gr.Row():
        with gr.Column():
            clip = gr.Audio(sources=["microphone", "upload"], type="filepath", label=words("clip"), elem_id="clip")
            transcript = gr.Textbox(label=words("transcript"), lines=2, elem_id="clone-transcript")
            advice = gr.Markdown(elem_id="advice")
            looks = gr.Plot(label=words("clip_check"), elem_id="clip-picture")
        with gr.Column():
            text = gr.Textbox(label=words("text"), placeholder=words("text_hint"), lines=4, elem_id="clone-text")
            seed = gr.Textbox(label=words("seed"), max_lines=1, elem_id="clone-seed")
            with gr.Row():
                go = gr.Button(words("speak"), variant="primary", elem_id="clone-speak")
                stop = gr.Button(words("stop"), elem_id="clone-stop")
            sound = gr.Audio(label=words("result"), type="filepath", interactive=False, elem_id="clone-sound")
            report = gr.Markdown(elem_id="clone-report")
            with gr.Accordion(words("keep"), open=False):
                name = gr.Textbox(label=words("name"), elem_id="clone-name")
                consent = gr.Textbox(label=words("consent"), placeholder=words("consent_hint"), elem_id="clone-consent")
                keep = gr.Button(words("keep"), elem_id="clone-keep")

    @told
    def check(path: str | None) -> tuple[str, Any]:
        """Advice on the recording, and what it looks like."""
        if path is None:
            return "", None
        loaded = load_reference(path)
        lines = loaded.warnings or (f"{loaded.duration:.1f} s ✓",)
        return "\n\n".join(lines), picture(loaded.samples, 16000)

    @told
    def say(path: str | None, words_of_it: str, said: str, number: str) -> tuple[str, str]:
        if path is None:
            raise OptionError("Record or upload a clip of the voice first.")
        spoken = speak(tts, said, tts.clone(path, words_of_it.strip() or None), None, number)
        return spoken.file, spoken.summary

    @told
    def save(path: str | None, words_of_it: str, called: str, permission: str) -> str:
        if path is None:
            raise OptionError("Record or upload a clip of the voice first.")
        if not permission.strip():
            raise OptionError("Say that the speaker agrees: for instance `my own voice`.")
        tts.voices.path(called.strip())
        made = tts.clone(path, words_of_it.strip() or None, consent=permission.strip())
        tts.voices.save(called.strip(), made)
        return f"✓ {called.strip()}"

    clip.change(check, clip, [advice, looks], show_progress="hidden")
    running = go.click(say, [clip, transcript, text, seed], [sound, report])
    stop.click(None, cancels=[running])
    keep.click(save, [clip, transcript, name, consent], report)
