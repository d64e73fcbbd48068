"""What people do on the page: clone a clip, create and keep, read a text, look after their voices."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import TimeoutError

from sparktts.audio.read import read_audio
from sparktts.voice import Voice

from ..server.process import Server

LONG = 30_000  # milliseconds
# A microphone that hears a recording: Chromium without a sound card finds none, not even its own fake device.
MICROPHONE = """
const device = {deviceId: "clip", groupId: "clip", kind: "audioinput", label: "clip"};
navigator.mediaDevices.enumerateDevices = async () => [{...device, toJSON: () => device}];
navigator.mediaDevices.getUserMedia = async () => {
  const context = new AudioContext();
  const bytes = Uint8Array.from(atob("CLIP"), (letter) => letter.charCodeAt(0));
  const source = context.createBufferSource();
  source.buffer = await context.decodeAudioData(bytes.buffer);
  source.loop = true;
  const microphone = context.createMediaStreamDestination();
  source.connect(microphone);
  source.start();
  return microphone.stream;
};
"""


@pytest.fixture
def page(browser: Any, page_server: Server) -> Iterator[Any]:
    context = browser.new_context(locale="en-US", viewport={"width": 1100, "height": 1000}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(LONG)
    page.goto(page_server.url)
    page.wait_for_selector("#clone-text textarea")
    yield page
    context.close()


def sound_of(page: Any, part: str) -> bytes:
    """The file that a player of the page has."""
    page.wait_for_selector(f"{part} a[download]")
    with page.expect_download() as download:
        page.click(f"{part} a[download]")
    return Path(download.value.path()).read_bytes()


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def upload_text(page: Any, path: Path) -> None:
    """Gives the Read tab a file; on a fresh page once more where it came before the field was ready for it."""
    for _ in range(3):
        with contextlib.suppress(TimeoutError):
            page.set_input_files("#read-file input[type=file]", str(path))
            page.locator("#read-file").get_by_text(path.name).first.wait_for(timeout=LONG / 3)
            return
        page.reload()
        tab(page, "Read")
    raise AssertionError("The field takes no file.")


def test_a_clip_is_checked_cloned_and_kept(page: Any, page_server: Server, clip_16k: Path) -> None:
    page.get_by_role("button", name="Upload file").first.click()
    page.set_input_files("#clip input[type=file]", str(clip_16k))
    page.wait_for_selector("#clip-picture img")
    assert page.inner_text("#advice").strip()
    page.fill("#clone-text textarea", "Hello there.")
    page.fill("#clone-seed textarea, #clone-seed input", "7")
    page.click("#clone-speak")
    data = sound_of(page, "#clone-sound")
    assert b"Synthetic speech" in data
    assert len(read_audio(data)) > 8000
    assert "seed 7" in page.inner_text("#clone-report")
    page.get_by_role("button", name="Keep this voice").first.click()
    page.fill("#clone-name input, #clone-name textarea", "recorded")
    page.click("#clone-keep")
    page.get_by_text("Say that the speaker agrees").wait_for(state="attached")
    assert not (page_server.voices / "recorded.json").exists()
    page.fill("#clone-consent input, #clone-consent textarea", "my own voice")
    page.click("#clone-keep")
    page.get_by_text("✓ recorded").wait_for()
    assert Voice.load(page_server.voices / "recorded.json").provenance.consent == "my own voice"


def test_a_voice_is_recorded_by_the_microphone(browser: Any, page_server: Server, clip_24k: Path) -> None:
    context = browser.new_context(locale="en-US", viewport={"width": 1100, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(LONG)
    clip = base64.b64encode(clip_24k.read_bytes()).decode()
    page.add_init_script(MICROPHONE.replace("CLIP", clip))
    page.goto(page_server.url)
    page.locator("#clip .record-button").first.click()
    page.wait_for_timeout(3500)
    page.locator("#clip .stop-button").first.click()
    page.wait_for_selector("#clip-picture img")
    assert re.search(r"\d", page.inner_text("#advice"))  # so many seconds, or what is wrong with them
    page.fill("#clone-text textarea", "Hello there.")
    page.click("#clone-speak")
    assert len(read_audio(sound_of(page, "#clone-sound"))) > 8000
    context.close()


def test_a_voice_is_created_and_kept(page: Any, page_server: Server) -> None:
    tab(page, "Create")
    page.get_by_label("male", exact=True).check()
    page.fill("#create-text textarea", "Hello there.")
    page.click("#create-speak")
    assert len(read_audio(sound_of(page, "#create-sound"))) > 8000
    page.wait_for_selector("#create-picture img")
    page.fill("#create-name input, #create-name textarea", "tom")
    page.locator("#create-keep").click()
    page.get_by_text("✓ tom").wait_for()
    assert Voice.load(page_server.voices / "tom.json").gender == "male"


def test_a_text_is_read_one_sentence_redone_and_downloaded(page: Any, tmp_path: Path) -> None:
    tab(page, "Read")
    (tmp_path / "notes.md").write_text("# First\n\nThe second one.\n\nAnd a third.\n")
    upload_text(page, tmp_path / "notes.md")
    page.click("#read-speak")
    assert page.get_by_text("[object Object]").count() == 0  # a word of the page that is a section of Gradio's
    player = page.locator("#read-live audio")
    player.wait_for()
    while_made = page.request.get(f"{page.url}{player.get_attribute('src')}").body()
    before = sound_of(page, "#read-sound")
    assert len(read_audio(while_made)) == pytest.approx(len(read_audio(before)), abs=3000)
    assert page.get_by_text("The second one.").count() >= 1
    links = page.locator("#read-files a[download]")
    links.nth(1).wait_for()
    with page.expect_download() as download:
        links.nth(1).click()
    subtitles = Path(download.value.path()).read_text()
    assert (
        re.findall(r"^[A-Z].*$", subtitles, re.M) == ["First.", "The second one.", "And a third."]
        or "And a third." in subtitles
    )
    page.fill("#read-number input", "2")
    page.click("#read-again")
    page.get_by_text("✓ 2").wait_for()
    assert sound_of(page, "#read-sound") != before


def test_voices_are_heard_renamed_exported_and_deleted(page: Any, page_server: Server, served: Path) -> None:
    (page_server.voices / "guest.json").write_bytes((served / "voices/ada.json").read_bytes())
    tab(page, "Voices")
    page.click("#voices-voice input")
    page.get_by_role("option", name="guest").click()
    page.click("#voices-listen")
    assert len(read_audio(sound_of(page, "#voices-sound"))) > 8000
    page.fill("#voices-name input, #voices-name textarea", "friend")
    page.click("#voices-rename")
    page.get_by_text("✓ friend").wait_for()
    assert (page_server.voices / "friend.json").exists()
    assert not (page_server.voices / "guest.json").exists()
    page.click("#voices-export")
    page.locator("#voices-file a[download]").first.wait_for()
    page.click("#voices-delete")
    page.wait_for_function("!document.querySelector('#voices-voice input').value")
    assert not (page_server.voices / "friend.json").exists()


@pytest.mark.parametrize(
    ("where", "button", "sentence"),
    [
        ("Clone", "#clone-speak", "Record or upload a clip of the voice first."),
        ("Create", "#create-speak", "The text is empty"),
        ("Create", "#create-keep", "Let the voice say something first."),
        ("Read", "#read-again", "Let a text be read"),
        ("Voices", "#voices-delete", "Choose a voice first."),
    ],
)
def test_mistakes_are_told_in_a_sentence(page: Any, where: str, button: str, sentence: str) -> None:
    tab(page, where)
    page.click(button)
    page.get_by_text(sentence).wait_for()


@pytest.mark.parametrize(("locale", "word"), [("en-US", "Clone"), ("zh-CN", "克隆")])
def test_the_page_speaks_the_browser_s_language_and_fits_a_phone_in_the_dark(
    browser: Any, page_server: Server, locale: str, word: str
) -> None:
    context = browser.new_context(locale=locale, viewport={"width": 390, "height": 844}, color_scheme="dark")
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_server.url)
    page.wait_for_selector("#clone-text textarea")
    assert page.get_by_role("tab", name=word).count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert all(url.startswith((page_server.url, "data:", "blob:")) for url in asked), asked
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement !== document.body")
    context.close()
