"""Tab: the kept voices and the model's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from ..errors import OptionError
from ..pipeline import SAMPLE_TEXT
from .speaking import kept_file, list_on_opening, speak, told

if TYPE_CHECKING:
    from ..pipeline import SparkTTS


def build(tts: SparkTTS, words: Any, tab: gr.Tab) -> None:
    """Fields and what they do."""
    with gr.Row():
        with gr.Column():
            voice = gr.Dropdown(choices=tts.voices.names(), value=None, label=words("voice"), elem_id="voices-voice")
            text = gr.Textbox(label=words("text"), value=SAMPLE_TEXT["en"], lines=2, elem_id="voices-text")
            listen = gr.Button(words("listen"), variant="primary", elem_id="voices-listen")
            sound = gr.Audio(label=words("result"), type="filepath", interactive=False, elem_id="voices-sound")
        with gr.Column():
            name = gr.Textbox(label=words("new_name"), elem_id="voices-name")
            with gr.Row():
                rename = gr.Button(words("rename"), elem_id="voices-rename")
                delete = gr.Button(words("delete"), variant="stop", elem_id="voices-delete")
                export = gr.Button(words("export"), elem_id="voices-export")
            file = gr.File(label=words("voice_file"), interactive=False, elem_id="voices-file")
            report = gr.Markdown(elem_id="voices-report")

    def chosen(called: str | None) -> str:
        if not called:
            raise OptionError("Choose a voice first.")
        return called

    @told
    def hear(called: str | None, said: str) -> tuple[str, str]:
        who = tts.voice(tts.voices.get(chosen(called)))
        spoken = speak(tts, said, who, None, "")
        return spoken.file, spoken.summary

    @told
    def change(called: str | None, new: str) -> tuple[Any, str]:
        tts.voices.save(new.strip(), tts.voices.get(chosen(called)))
        if not tts.voices.is_preset(chosen(called)):
            tts.voices.remove(chosen(called))
        return gr.Dropdown(choices=tts.voices.names(), value=new.strip()), f"✓ {new.strip()}"

    @told
    def remove(called: str | None) -> tuple[Any, str]:
        tts.voices.remove(chosen(called))
        return gr.Dropdown(choices=tts.voices.names(), value=None), f"✓ {called}"

    @told
    def write(called: str | None) -> str:
        return kept_file(tts.voices.get(chosen(called)).to_json() + "\n", f"{called}.json")

    list_on_opening(tab, voice, tts)
    listen.click(hear, [voice, text], [sound, report])
    rename.click(change, [voice, name], [voice, report], show_progress="hidden")
    delete.click(remove, voice, [voice, report], show_progress="hidden")
    export.click(write, voice, file, show_progress="hidden")
