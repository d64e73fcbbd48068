"""The page in a server: what it costs while nobody uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio")
fastapi = pytest.importorskip("fastapi")

from sparktts import SparkTTS  # noqa: E402
from sparktts.ui import page  # noqa: E402


def test_an_idle_page_looks_for_work_some_times_a_second(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted: list[Any] = []
    monkeypatch.setattr(page.gr, "mount_gradio_app", lambda app, blocks, **_: mounted.append(blocks))
    page.mount(fastapi.FastAPI(), SparkTTS.from_pretrained(mini, engine="torch"))
    (queue,) = [blocks._queue for blocks in mounted]
    assert queue.sleep_when_free >= 0.05  # of Gradio's two loops
    assert queue.progress_update_sleep_when_free >= 0.05
