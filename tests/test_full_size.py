"""Slow checks (make test-all): official shapes fit in memory, and a long run does not grow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sparktts import ReadingOptions, SparkTTS
from sparktts.checkpoint.layout import check

from .seeded_checkpoint import write_checkpoint

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkpoint") / "full"
    write_checkpoint(directory, "full")
    return directory


@pytest.mark.parametrize(("dtype", "megabytes"), [("fp32", 3100), ("bf16", 1900)])
def test_cloning_and_speaking_ten_seconds_fits_in_memory(
    full: Path, clip_24k: Path, dtype: str, megabytes: int
) -> None:
    command = [sys.executable, "-m", "benchmarks.footprint", str(full), str(clip_24k), "--one", "--dtype", dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["speech"] >= 10
    assert result["peak"] <= megabytes


def test_a_full_size_checkpoint_is_found_sound(full: Path) -> None:
    report = check(full)
    assert report.ok
    assert sum(part.values for part in report.parts) > 900_000_000


def test_an_hour_of_reading_does_not_grow(mini: Path, clip_24k: Path) -> None:
    psutil_free = Path("/proc/self/statm")
    if not psutil_free.exists():
        pytest.skip("needs /proc")

    def resident() -> float:
        return int(psutil_free.read_text().split()[1]) * 4096 / 1e6

    tts = SparkTTS.from_pretrained(mini, device="cpu")
    voice = tts.clone(clip_24k)
    text = (ROOT / "tests" / "data" / "mixed.txt").read_text(encoding="utf-8")
    spoken, sizes = 0.0, []
    while spoken < 3600:
        spoken += tts.say(text, voice=voice, reading=ReadingOptions(checks=False, batch_size=4)).duration
        sizes.append(resident())
    assert sizes[-1] < sizes[len(sizes) // 4] + 100
