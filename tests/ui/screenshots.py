"""Makes the pictures of the page in docs: `python -m tests.ui.screenshots`, with Ember and a clip of the recipe."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from ..server.process import Server

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "recipes/ember/eval/prompts/af_nova_0.ogg"
TEXT = "A lighthouse keeper writes letters to every ship. Nobody has ever answered. One day, a bottle came back."


def clone(page: Any) -> None:
    page.get_by_role("button", name="Upload file").first.click()
    page.set_input_files("#clip input[type=file]", str(CLIP))
    page.wait_for_selector("#clip-picture img")
    page.fill("#clone-text textarea", "Hello! I learned this voice from five seconds of sound.")
    page.click("#clone-speak")
    page.wait_for_selector("#clone-sound a[download]")


def create(page: Any) -> None:
    page.get_by_role("tab", name="Create").click()
    page.fill("#create-text textarea", "This voice belongs to nobody.")
    page.click("#create-speak")
    page.wait_for_selector("#create-picture img")


def read(page: Any) -> None:
    page.get_by_role("tab", name="Read").click()
    page.fill("#read-text textarea", TEXT)
    page.click("#read-speak")
    page.wait_for_selector("#read-files a[download]")


def voices(page: Any) -> None:
    page.get_by_role("tab", name="Voices").click()
    page.click("#voices-voice input")
    page.get_by_role("option", name="grace").click()
    page.click("#voices-listen")
    page.wait_for_selector("#voices-sound a[download]")


def main() -> None:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as kept, sync_playwright() as playwright:
        server = Server.start("ember", Path(kept), command="ui")
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for show in (clone, create, read, voices):
            page = chromium.new_page(viewport={"width": 1000, "height": 780}, locale="en-US")
            page.set_default_timeout(60_000)
            page.goto(server.url)
            page.wait_for_selector("#clone-text textarea")
            show(page)
            page.wait_for_timeout(1500)
            page.screenshot(path=ROOT / f"docs/page/{show.__name__}.png")
            page.close()
        chromium.close()
        server.stop()


if __name__ == "__main__":
    main()
