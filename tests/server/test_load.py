"""The load generator against a real server; the whole load is in `make test-all`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import httpx
import pytest

from sparktts.load import Load, run

from ..cli.runner import run as command
from .process import Server
from .test_hostile import memory

MORE = {"checks": False, "seed": 2}
TEXTS = ("Hello there.", "One two three four.", "你好。")


def test_every_request_is_counted_and_measured(server: Server) -> None:
    figures = asyncio.run(run(Load(server.url, TEXTS, 8, concurrency=4, extra=MORE)))
    assert (len(figures.answered), figures.errors) == (8, {})
    for outcome in figures.outcomes:
        assert outcome.first is not None
        assert 0 < outcome.first <= outcome.total
    assert figures.speech > 8
    known = figures.to_dict()
    assert known["first"][50] <= known["first"][99] <= known["total"][99]


def test_errors_and_cancellations_are_told_apart(server: Server) -> None:
    load = Load(server.url, TEXTS, 6, concurrency=6, cancel=1.0, extra={**MORE, "exact": True})
    assert set(asyncio.run(run(load)).errors) <= {"cancelled"}
    wrong = asyncio.run(run(Load(server.url, TEXTS, 2, model="other", extra=MORE)))
    assert wrong.errors == {"404": 2}
    nobody = asyncio.run(run(Load("http://127.0.0.1:9", TEXTS, 2)))
    assert nobody.errors == {"ConnectError": 2}


def test_requests_arrive_at_a_rate(server: Server) -> None:
    figures = asyncio.run(run(Load(server.url, TEXTS, 5, rate=50.0, extra=MORE)))
    assert len(figures.answered) == 5


def test_the_command_says_what_is_wrong_and_draws(server: Server, tmp_path: Path) -> None:
    refused = command("bench", server.url, "--requests", 0)
    assert refused.code == 2
    assert command("bench", "http://127.0.0.1:9", "-n", 1).code == 2
    texts = tmp_path / "texts.txt"
    texts.write_text("Hello there.\n\n")
    shown = command(
        "bench", server.url, "-n", 2, "-c", 2, "--texts", texts, "--plot", tmp_path / "a.png", "--voice", "ada"
    )
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert "requests answered" in shown.text or shown.code == 2  # random weights may fail the checks


@pytest.mark.slow
def test_a_thousand_requests_with_a_third_given_up_leave_nothing_behind(server: Server) -> None:
    def threads() -> int:
        return len(os.listdir(f"/proc/{server.process.pid}/task"))  # noqa: PTH208

    warm = Load(server.url, TEXTS, 60, concurrency=8, extra=MORE)
    asyncio.run(run(warm))
    before, tasks = memory(server), threads()
    load = Load(server.url, TEXTS, 1000, concurrency=8, cancel=1 / 3, extra=MORE)
    figures = asyncio.run(run(load))
    assert set(figures.errors) <= {"cancelled"}
    assert len(figures.answered) > 500
    told = httpx.get(f"{server.url}/metrics").text
    assert "sparktts_running 0.0" in told
    assert "sparktts_queue 0.0" in told
    assert threads() <= tasks + 4
    assert memory(server) - before < 60
