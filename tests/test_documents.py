"""Books, subtitles and notes become text; what is none of them becomes one sentence."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparktts.documents import read_document, subtitles
from sparktts.errors import TextError
from sparktts.report import UtteranceReport
from sparktts.subtitles import to_srt

CONTAINER = '<container xmlns="urn:c"><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
PACKAGE = """<package xmlns="urn:p">
<manifest><item id="b" href="two.xhtml"/><item id="a" href="one%20.xhtml"/></manifest>
<spine><itemref idref="a"/><itemref idref="b"/></spine></package>"""
ONE = """<html><head><title>No</title><style>p {}</style></head><body><h1>Chapter &amp; one</h1><p>It was
a <b>dark</b> night.<br/>And 下雨了。</p><script>no()</script></body></html>"""


def book(path: Path, **files: str | bytes) -> Path:
    content = {
        "META-INF/container.xml": CONTAINER,
        "OEBPS/book.opf": PACKAGE,
        "OEBPS/one .xhtml": ONE,
        "OEBPS/two.xhtml": "<p>The end.",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**content, **files}.items():
            archive.writestr(name, data)
    return path


def test_a_book_is_read_in_its_order_without_what_nobody_reads(tmp_path: Path) -> None:
    text = read_document(book(tmp_path / "a.epub"))
    assert text == "Chapter & one\n\nIt was a dark night.\n\nAnd 下雨了。\n\nThe end."


def test_subtitles_that_were_written_are_read_again(tmp_path: Path) -> None:
    said = [
        UtteranceReport(text, text, 1.0, 0.1, 1, 0, (), float(n), n + 0.9) for n, text in enumerate(("One.", "2 二"))
    ]
    (tmp_path / "a.srt").write_text(to_srt(said), encoding="utf-8")
    assert read_document(tmp_path / "a.srt") == "One.\n2 二"
    assert subtitles("1\r\n00:00:01,0 --> 00:00:02,0\r\n<i>Hi</i>\r\nyou{\\an8}.\r\n\r\n12\r\n") == "Hi you.\n12"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_plain_text_in_the_usual_encodings(tmp_path: Path, encoding: str) -> None:
    for suffix in (".txt", ".md"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes("你好，世界。\nHello.".encode(encoding))
        assert read_document(path) == "你好，世界。\nHello."


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.pdf", b"%PDF"),
        ("a", b"text"),
        ("a.txt", b""),
        ("a.txt", b" \n "),
        ("a.txt", b"\xff\xff\xff\x81"),
        ("a.srt", b"1\n00:00:01,000 --> 00:00:02,000\n"),
        ("a.epub", b"no zip"),
        ("a.epub", b"PK\x03\x04"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TextError, match=r"^[^\n]+\.$"):
        read_document(tmp_path / name)
    with pytest.raises(TextError, match="cannot be read"):
        read_document(tmp_path / "missing.txt")


@pytest.mark.parametrize(
    "files",
    [
        {"META-INF/container.xml": "<container/>"},
        {"META-INF/container.xml": "<broken"},
        {"OEBPS/book.opf": PACKAGE.replace('idref="a"', 'idref="zzz"')},
        {"OEBPS/book.opf": PACKAGE.replace("two.xhtml", "../../../etc/passwd")},
        {"OEBPS/book.opf": '<!DOCTYPE x [<!ENTITY a "aaaa">]>' + PACKAGE},
    ],
)
def test_broken_and_hostile_books_are_refused(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(TextError, match="no EPUB"):
        read_document(book(tmp_path / "a.epub", **files))


def test_a_book_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="no book"):
        read_document(book(tmp_path / "a.epub", **{"OEBPS/two.xhtml": b"a" * (600 << 20)}))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_page_is_text_or_an_error(tmp_path: Path, page: str) -> None:
    path = book(tmp_path / "a.epub", **{"OEBPS/one .xhtml": page})
    assert read_document(path).endswith("The end.")
