"""The page: four tabs around one model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from ..documents import MAX_BYTES
from . import clone, create, read, voices
from .listening import Listening
from .words import translations

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..pipeline import SparkTTS

FONTS = ["system-ui", "sans-serif"]  # those of the machine: nothing is fetched
IDLE = 0.05  # seconds
CSS = """
footer {display: none !important}
.gradio-container {max-width: 60rem !important; margin: auto !important}
.dark {--color-accent: var(--primary-300) !important}
"""


def create_page(tts: SparkTTS, words: Any, listening: Listening) -> gr.Blocks:
    """The page of a model. words: `translations()`; listening: what it plays while it is made."""
    page: gr.Blocks
    with gr.Blocks(title="sparktts", analytics_enabled=False) as page:
        gr.Markdown(words("title"), elem_id="title", container=False)
        gr.Markdown(words("synthetic"), container=False)
        with gr.Tabs():
            with gr.Tab(words("clone"), id="clone"):
                clone.build(tts, words)
            with gr.Tab(words("create"), id="create"):
                create.build(tts, words)
            with gr.Tab(words("read"), id="read") as tab:
                read.build(tts, words, listening, tab)
            with gr.Tab(words("voices"), id="voices") as tab:
                voices.build(tts, words, tab)
    return page


def mount(app: FastAPI, tts: SparkTTS, allowed: Callable[[str], bool] | None = None) -> None:
    """Puts the page at `/` of a server. allowed: whether a password is right; None: nobody is asked."""
    words, listening = translations(), Listening()
    app.include_router(listening.router())
    page = create_page(tts, words, listening)
    # Elsewhere than on Windows, Gradio looks for work a thousand times a second: 6 % of a core, and never a quiet lock.
    page._queue.sleep_when_free = page._queue.progress_update_sleep_when_free = IDLE
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        i18n=words,
        css=CSS,
        theme=_theme(),
        show_error=True,
        auth=None if allowed is None else lambda _, password: allowed(password),
        max_file_size=MAX_BYTES,
    )


def _theme() -> gr.themes.Base:
    """Gradio's, with letters that stand out enough from what they are on (WCAG 2: 4.5 to 1)."""
    theme = gr.themes.Soft(font=FONTS, font_mono=["monospace"])
    dark, light = "*primary_700", "*primary_100"
    return theme.set(
        color_accent="*primary_600",
        checkbox_label_background_fill_selected="*primary_600",
        block_label_text_color=dark,
        block_label_text_color_dark=light,
        block_title_text_color=dark,
        block_title_text_color_dark=light,
        link_text_color=dark,
        link_text_color_dark=light,
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        input_placeholder_color="*neutral_600",
        input_placeholder_color_dark="*neutral_300",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
    )
