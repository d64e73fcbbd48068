"""The page of a real server in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

for package in ("fastapi", "uvicorn", "httpx", "gradio", "playwright", "matplotlib"):
    pytest.importorskip(package)

from ..server.conftest import served  # noqa: E402, F401
from ..server.process import Server  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="session")
def page_server(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:  # noqa: F811
    server = Server.start(served, tmp_path_factory.mktemp("kept"), "--concurrency", "4", program="tests.ui.unchecked")
    yield server
    server.process.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium. Not longer than a module: while it is there, an event loop runs in this thread."""
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield chromium
        chromium.close()
