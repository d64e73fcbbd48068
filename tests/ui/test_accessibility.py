"""What axe-core says of every tab of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("axe_playwright_python")

from axe_playwright_python.sync_playwright import Axe

from ..server.process import Server

GRADIO = {"aria-prohibited-attr"}  # the name of an empty player or file field (Gradio 6.31)


@pytest.fixture(params=["light", "dark"])
def page(browser: Any, page_server: Server, request: pytest.FixtureRequest) -> Iterator[Any]:
    context = browser.new_context(
        locale="en-US", viewport={"width": 1100, "height": 1000}, color_scheme=request.param, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(page_server.url)
    page.wait_for_selector("#clone-text textarea")
    yield page
    context.close()


@pytest.mark.parametrize(
    ("tab", "field"),
    [("Clone", "#clone-text"), ("Create", "#create-text"), ("Read", "#read-text"), ("Voices", "#voices-text")],
)
def test_no_serious_fault_is_ours(page: Any, tab: str, field: str) -> None:
    page.get_by_role("tab", name=tab).click()
    page.wait_for_selector(f"{field} textarea")
    page.wait_for_timeout(500)  # colours fade in
    faults = [fault for fault in Axe().run(page).response["violations"] if fault["id"] not in GRADIO]
    serious = [fault for fault in faults if fault["impact"] in ("serious", "critical")]
    assert not serious, [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in serious]
    assert "page-has-heading-one" not in {fault["id"] for fault in faults}
