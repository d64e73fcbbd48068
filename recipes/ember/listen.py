"""The page to listen to Ember: docs/ember/index.html and small Opus files beside it.

    python recipes/ember/listen.py docs/ember [--model ember]

Every preset says a sentence in both languages, and the voices that Ember has never heard are cloned from their clips in
eval/prompts. Seeds are fixed: nothing was chosen by ear.
"""

from __future__ import annotations

import argparse
import html
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from sparktts import SparkTTS, Style
from sparktts.cli.run import guarded

HERE = Path(__file__).parent
SEED = 1
ENGLISH = "The ferry leaves at noon, and the last one comes back before dark."
MANDARIN = "这条小河从山里流出来,一直流到村子的东边。"
MIXED = "请把 report 发到我的 email,谢谢。"
CLONED = ("af_nova_0", "am_puck_0", "bf_emma_0", "bm_lewis_0", "zf_xiaoyi_0", "zm_yunxia_0")
CREATED = (
    ("female", "high", "high"),
    ("female", "low", "moderate"),
    ("male", "moderate", "high"),
    ("male", "very_low", "low"),
)
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Listen to Ember</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
  table {{ border-collapse: collapse; width: 100%; }}
  th, td {{ text-align: left; padding: .4rem .6rem; border-bottom: 1px solid #8884; }}
  audio {{ width: 100%; min-width: 9rem; }}
</style>
<h1>Listen to Ember</h1>
<p>All of this is synthetic speech, made by <code>recipes/ember/listen.py</code> with the model that is part of the
package, seed {seed}, at the first try. The clips that voices were cloned from are synthetic too: the teacher speaks
them, in voices that Ember was never trained on.</p>
{tables}
</html>
"""
Row = tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="ember")
    args = parser.parse_args()
    write(SparkTTS.from_pretrained(args.model), args.folder)
    print(args.folder / "index.html")


def write(tts: SparkTTS, folder: Path) -> None:
    """Writes the page and its sounds. Raises SparkTTSError."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = [
        _table("The voices it brings along", ("voice", ENGLISH, MANDARIN), presets(tts, folder)),
        _table("Cloned from five seconds", ("the clip", ENGLISH, MANDARIN, MIXED), clones(tts, folder)),
        _table("Created from gender, pitch and speed", ("asked for", ENGLISH, MANDARIN), creations(tts, folder)),
    ]
    (folder / "index.html").write_text(PAGE.format(seed=SEED, tables="\n".join(tables)), encoding="utf-8")


def presets(tts: SparkTTS, folder: Path) -> Iterator[Row]:
    for name in tts.voices.names():
        if tts.voices.is_preset(name):
            yield html.escape(name), *_said(tts, folder, name, (ENGLISH, MANDARIN), voice=name)


def clones(tts: SparkTTS, folder: Path) -> Iterator[Row]:
    for name in CLONED:
        clip = HERE / "eval" / "prompts" / f"{name}.ogg"
        shutil.copyfile(clip, folder / f"clip_{clip.name}")
        voice = tts.clone(clip)
        yield _player(f"clip_{clip.name}"), *_said(tts, folder, name, (ENGLISH, MANDARIN, MIXED), voice=voice)


def creations(tts: SparkTTS, folder: Path) -> Iterator[Row]:
    for gender, pitch, speed in CREATED:
        style = Style(gender=gender, pitch=pitch, speed=speed)  # type: ignore[arg-type]
        name = f"{gender}_{pitch}_{speed}"
        asked = f"{gender}, pitch {pitch}, speed {speed}".replace("_", " ")
        yield asked, *_said(tts, folder, name, (ENGLISH, MANDARIN), style=style)


def _said(tts: SparkTTS, folder: Path, name: str, texts: tuple[str, ...], **how: object) -> Iterator[str]:
    for number, text in enumerate(texts):
        audio = tts.say(text, seed=SEED, **how)  # type: ignore[arg-type]
        file = f"{name}_{number}.ogg"
        audio.save(folder / file)
        yield _player(file)


def _player(file: str) -> str:
    return f'<audio controls preload="none" src="{html.escape(file)}"></audio>'


def _table(title: str, heads: Row, rows: Iterator[Row]) -> str:
    head = "".join(f"<th>{html.escape(name)}" for name in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}" for cell in row) for row in rows)
    return f"<h2>{html.escape(title)}</h2>\n<table>\n<tr>{head}\n{body}\n</table>"


if __name__ == "__main__":
    sys.exit(guarded(main))
