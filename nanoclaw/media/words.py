"""The text of a document: PDF, Word, Excel, or any file that is text itself."""

from __future__ import annotations

import codecs
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from nanoclaw.file_types import HEAD_BYTES, is_text
from nanoclaw.media.damage import UnreadableError
from nanoclaw.media.office import docx_pieces, xlsx_pieces

_PAGES = 2000
"""A PDF may say that it has millions."""


def words_of(file: BinaryIO, *, max_bytes: int) -> tuple[str, bool]:
    """The text, at most `max_bytes` of UTF-8, and whether there is more. Raises UnreadableError."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if head.startswith(b"%PDF-"):
        return _up_to(_pdf_pieces(file), max_bytes)
    if head.startswith(b"PK\x03\x04"):
        return _up_to(_office_pieces(file), max_bytes)
    if is_text(head):
        return _plain(file, head, max_bytes)
    raise UnreadableError("it has no text that can be shown")


def _up_to(pieces: Iterator[str], max_bytes: int) -> tuple[str, bool]:
    """Never cut inside of a character; nothing is read beyond the limit."""
    found = bytearray()
    for piece in pieces:
        found += piece.encode("utf-8", "replace")
        if len(found) > max_bytes:
            return found[:max_bytes].decode("utf-8", "ignore"), True
    return found.decode("utf-8").strip(), False


def _plain(file: BinaryIO, head: bytes, max_bytes: int) -> tuple[str, bool]:
    """UTF-8 or UTF-16; what is neither is taken for the old Western encoding."""
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    data = file.read((2 if wide else 1) * max_bytes + 4)
    cut = bool(file.read(1))
    decoder = codecs.getincrementaldecoder("utf-16" if wide else "utf-8-sig")()
    try:
        text = decoder.decode(data, final=not cut)
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    shown, more = _up_to(iter((text,)), max_bytes)
    return shown, more or cut


def _pdf_pieces(file: BinaryIO) -> Iterator[str]:
    from pypdf import PdfReader  # noqa: PLC0415 - slow to load, and only for PDFs
    from pypdf.errors import DependencyError, FileNotDecryptedError  # noqa: PLC0415 - likewise

    try:
        pdf = PdfReader(file)
        if pdf.is_encrypted and not pdf.decrypt(""):
            raise UnreadableError("it is protected by a password")
        for number, page in enumerate(pdf.pages):
            if number == _PAGES:
                return
            yield page.extract_text() + "\n\n"
    except (DependencyError, FileNotDecryptedError) as error:
        raise UnreadableError("it is protected by a password") from error


def _office_pieces(file: BinaryIO) -> Iterator[str]:
    with zipfile.ZipFile(file) as parts:
        names = set(parts.namelist())
        if "word/document.xml" in names:
            yield from docx_pieces(parts)
        elif "xl/workbook.xml" in names:
            yield from xlsx_pieces(parts)
        else:
            raise UnreadableError("it has no text that can be shown")
