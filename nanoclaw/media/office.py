"""Text out of Word and Excel files, read as they unpack."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from nanoclaw.media.damage import UnreadableError

_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_SHARED = "xl/sharedStrings.xml"
_SHEET_FILE = re.compile(r"xl/worksheets/sheet\d+\.xml")
_NUMBER = re.compile(r"\d+")
MAX_PART_BYTES = 64 * 1024 * 1024
"""Of one part, unpacked. What a part says of itself is what `zipfile` reads of it at most."""


def docx_pieces(parts: zipfile.ZipFile) -> Iterator[str]:
    """The running text; tables come cell by cell."""
    for node in _nodes(parts, "word/document.xml", forget=f"{_WORD}p"):
        if node.tag == f"{_WORD}t":
            yield node.text or ""
        elif node.tag == f"{_WORD}tab":
            yield "\t"
        elif node.tag in (f"{_WORD}p", f"{_WORD}br"):
            yield "\n"


def xlsx_pieces(parts: zipfile.ZipFile) -> Iterator[str]:
    """Rows of cells with tabs between; the sheets one after the other, in the order of their numbers."""
    shared = _shared(parts)
    sheets = [name for name in parts.namelist() if _SHEET_FILE.fullmatch(name)]
    for sheet in sorted(sheets, key=lambda name: int(_NUMBER.findall(name)[-1])):
        cells: list[str] = []
        for node in _nodes(parts, sheet, forget=f"{_SHEET}row"):
            if node.tag == f"{_SHEET}c":
                cells.append(_cell(node, shared))
            elif node.tag == f"{_SHEET}row":
                yield "\t".join(cells) + "\n"
                cells.clear()
        yield "\n"


def _cell(node: ET.Element, shared: list[str]) -> str:
    value = node.findtext(f"{_SHEET}v") or ""
    if node.get("t") == "s":
        return shared[int(value)]
    if node.get("t") == "inlineStr":
        return _text(node)
    return value


def _shared(parts: zipfile.ZipFile) -> list[str]:
    """Texts of cells, which most cells name by number."""
    if _SHARED not in parts.namelist():
        return []
    entry = f"{_SHEET}si"
    return [_text(node) for node in _nodes(parts, _SHARED, forget=entry) if node.tag == entry]


def _text(node: ET.Element) -> str:
    return "".join(text.text or "" for text in node.iter(f"{_SHEET}t"))


def _nodes(parts: zipfile.ZipFile, name: str, *, forget: str) -> Iterator[ET.Element]:
    """Each element when it is complete; those called `forget` are emptied once they have been seen."""
    if parts.getinfo(name).file_size > MAX_PART_BYTES:
        raise UnreadableError("it unpacks to too much")
    with parts.open(name) as file:
        for _, node in ET.iterparse(file):  # noqa: S314 - expat bounds entities, and this process everything else
            yield node
            if node.tag == forget:
                node.clear()
