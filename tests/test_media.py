"""Files that strangers made: what is shown of them is small and clean, and what is wrong with them stays in the child."""

import asyncio
import io
import os
import signal
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from nanoclaw.exhibits import Picture, UnshownError, Words
from nanoclaw.media import images
from nanoclaw.media.office import MAX_PART_BYTES
from nanoclaw.media.reader import MediaReader
from nanoclaw.media.words import words_of

WITHIN_S = 60.0
PLENTY = 3_900_000


@pytest.fixture
def reader() -> MediaReader:
    return MediaReader(edge_px=100)


def picture(form: str, size: tuple[int, int] = (300, 200), mode: str = "RGB", **more: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, "red").save(buffer, form, **more)
    return buffer.getvalue()


def stored(folder: Path, data: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(data)
    return path


async def seen(reader: MediaReader, path: Path, max_bytes: int = PLENTY) -> tuple[Picture, Image.Image]:
    with path.open("rb") as file:
        async with asyncio.timeout(WITHIN_S):
            shown = await reader.picture(file, max_bytes)
    return shown, Image.open(io.BytesIO(shown.data))


async def read(reader: MediaReader, path: Path, max_bytes: int = 1000) -> Words:
    with path.open("rb") as file:
        async with asyncio.timeout(WITHIN_S):
            return await reader.words(file, max_bytes)


@pytest.mark.parametrize(
    ("form", "media_type"),
    [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("GIF", "image/png"), ("WEBP", "image/png")],
)
async def test_a_picture_comes_back_as_large_as_the_model_sees_it(
    tmp_path: Path, reader: MediaReader, form: str, media_type: str
) -> None:
    shown, image = await seen(reader, stored(tmp_path, picture(form)))

    assert shown.media_type == media_type
    assert image.size == (100, 67)
    assert image.get_format_mimetype() == media_type  # type: ignore[attr-defined]


async def test_a_small_picture_stays_as_small_as_it_is(tmp_path: Path, reader: MediaReader) -> None:
    _, image = await seen(reader, stored(tmp_path, picture("PNG", (20, 10))))
    assert image.size == (20, 10)


async def test_a_photo_is_shown_upright_and_without_what_the_camera_wrote_into_it(
    tmp_path: Path, reader: MediaReader
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010E] = "at home, 52.5 N 13.4 E"
    shown, image = await seen(reader, stored(tmp_path, picture("JPEG", exif=exif, comment=b"by Ada")))

    assert image.size == (67, 100)
    assert not image.getexif()
    assert b"at home" not in shown.data
    assert b"by Ada" not in shown.data


async def test_transparency_is_kept_where_there_is_room_and_becomes_white_where_not(
    tmp_path: Path, reader: MediaReader
) -> None:
    noise = Image.frombytes("RGBA", (100, 100), os.urandom(40_000))
    noise.putpixel((0, 0), (0, 0, 0, 0))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    path = stored(tmp_path, buffer.getvalue())

    large, image = await seen(reader, path)
    small, flat = await seen(reader, path, max_bytes=6000)

    assert (large.media_type, image.mode) == ("image/png", "RGBA")
    assert (small.media_type, flat.mode) == ("image/jpeg", "RGB")
    assert len(small.data) <= 6000


def bomb() -> bytes:
    """A PNG of a few hundred bytes that says it has 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (bomb(), "it has too many pixels (30000 x 30000)"),
        (b"\xff\xd8\xff\xe0 and then nothing of a picture", "it is damaged, or not what it says it is"),
        (picture("PNG")[:120], "it is damaged, or not what it says it is"),
        (picture("BMP"), "it is not a JPEG, PNG, GIF or WebP picture"),
        (b"", "it is not a JPEG, PNG, GIF or WebP picture"),
    ],
)
async def test_what_is_no_picture_for_a_model_is_a_sentence(
    tmp_path: Path, reader: MediaReader, data: bytes, why: str
) -> None:
    with pytest.raises(UnshownError) as refused:
        await seen(reader, stored(tmp_path, data))
    assert refused.value.safe == why


def test_a_huge_photo_is_decoded_at_a_fraction_of_its_size() -> None:
    """It has more pixels than we would decode; a JPEG need not be decoded whole."""
    data = picture("JPEG", (9000, 8000))
    assert images.MAX_PIXELS < 9000 * 8000

    _, shown = images.scaled(io.BytesIO(data), edge_px=100, max_bytes=PLENTY)
    assert max(Image.open(io.BytesIO(shown)).size) == 100


# --- documents ---------------------------------------------------------------------------------------------


def pdf(*pages: str, password: str | None = None) -> bytes:
    writer = PdfWriter()
    for text in pages:
        page = writer.add_blank_page(200, 200)
        font = DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type1"),
                NameObject("/BaseFont"): NameObject("/Helvetica"),
            }
        )
        fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 10 100 Td ({text}) Tj ET".encode())
        page[NameObject("/Contents")] = writer._add_object(stream)
    if password is not None:
        writer.encrypt(password, algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def zipped(**parts: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in parts.items():
            file.writestr(name, text)
    return buffer.getvalue()


W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
S = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def docx(*paragraphs: str) -> bytes:
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    return zipped(**{"word/document.xml": f"<w:document {W}><w:body>{body}</w:body></w:document>"})


def xlsx() -> bytes:
    rows = (
        '<row><c t="s"><v>1</v></c><c t="s"><v>0</v></c></row>'
        '<row><c t="inlineStr"><is><t>tea</t></is></c><c><v>2.5</v></c></row>'
    )
    return zipped(
        **{
            "xl/workbook.xml": "<workbook/>",
            "xl/sharedStrings.xml": f"<sst {S}><si><t>price</t></si><si><r><t>th</t></r><r><t>ing</t></r></si></sst>",
            "xl/worksheets/sheet2.xml": f"<worksheet {S}><sheetData><row><c><v>9</v></c></row></sheetData></worksheet>",
            "xl/worksheets/sheet1.xml": f"<worksheet {S}><sheetData>{rows}</sheetData></worksheet>",
        }
    )


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (pdf("Invoice 4711", "Page two"), "Invoice 4711\n\nPage two"),
        (pdf("Not so secret", password=""), "Not so secret"),
        (docx("Dear Ada,", "tea &amp; cake"), "Dear Ada,\ntea & cake"),
        (xlsx(), "thing\tprice\ntea\t2.5\n\n9"),
        ("naïve — ünïcode\n".encode(), "naïve — ünïcode"),
        ("\ufeffmarked".encode(), "marked"),
        ("wide ünï".encode("utf-16"), "wide ünï"),
        ("Bücher für 3 \x80".encode("latin-1"), "Bücher für 3 €"),
        (b"", ""),
    ],
)
async def test_the_text_of_a_document_is_read(
    tmp_path: Path, reader: MediaReader, data: bytes, text: str
) -> None:
    assert await read(reader, stored(tmp_path, data)) == Words(text=text, cut=False)


@pytest.mark.parametrize("make", [pdf, docx, lambda text: text.encode()])
async def test_a_long_document_is_cut_at_the_limit(
    tmp_path: Path, reader: MediaReader, make: Callable[[str], bytes]
) -> None:
    words = await read(reader, stored(tmp_path, make("word " * 2000)), max_bytes=500)
    assert words.cut
    assert words.text == ("word " * 100)


@pytest.mark.parametrize("limit", range(1, 12))
def test_a_text_is_never_cut_inside_of_a_character(limit: int) -> None:
    text, cut = words_of(io.BytesIO("aü€😀bü€😀".encode()), max_bytes=limit)
    assert cut
    assert "aü€😀bü€😀".startswith(text)
    assert limit - 4 < len(text.encode()) <= limit


def swelling() -> bytes:
    """A small file that unpacks to more than we take."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("word/document.xml", "w") as part,
    ):
        for _ in range(MAX_PART_BYTES // 1_000_000 + 1):
            part.write(b" " * 1_000_000)
    return buffer.getvalue()


LAUGHS = (
    '<!DOCTYPE a [<!ENTITY b "ha">'
    + "".join(f'<!ENTITY {chr(99 + i)} "{f"&{chr(98 + i)};" * 10}">' for i in range(12))
    + f"]><w:document {W}><w:p><w:t>&n;</w:t></w:p></w:document>"
)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (pdf("Secret", password="tea"), "it is protected by a password"),
        (pdf("x")[:300], "it is damaged, or not what it says it is"),
        (zipped(a="b"), "it has no text that can be shown"),
        (b"PK\x03\x04 and no more", "it is damaged, or not what it says it is"),
        (b"\x00\x01\x02\x03", "it has no text that can be shown"),
        (swelling(), "it unpacks to too much"),
        (zipped(**{"word/document.xml": LAUGHS}), "it is damaged, or not what it says it is"),
    ],
)
async def test_what_cannot_be_read_is_a_sentence(
    tmp_path: Path, reader: MediaReader, data: bytes, why: str
) -> None:
    with pytest.raises(UnshownError) as refused:
        await read(reader, stored(tmp_path, data))
    assert refused.value.safe == why


async def test_a_child_gets_no_more_memory_than_its_limit(tmp_path: Path, reader: MediaReader) -> None:
    """A table that names one long text a million times."""
    cells = "<row>" + '<c t="s"><v>0</v></c>' * 400_000 + "</row>"
    book = {
        "xl/workbook.xml": "<workbook/>",
        "xl/sharedStrings.xml": f"<sst {S}><si><t>{'x' * 20_000}</t></si></sst>",
        "xl/worksheets/sheet1.xml": f"<worksheet {S}><sheetData>{cells}</sheetData></worksheet>",
    }
    with pytest.raises(UnshownError) as refused:
        await read(reader, stored(tmp_path, zipped(**book)))
    assert refused.value.safe == "it would need too much memory"


# --- children that do not do as they should ----------------------------------------------------------------


def pretender(folder: Path, script: str) -> MediaReader:
    """A reader whose child is this script, whatever it is asked."""
    python = folder / "python"
    python.write_text(f"#!{sys.executable} -I\nimport os, signal, sys\n{script}\n")
    python.chmod(0o700)
    return MediaReader(edge_px=100, python=python)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "it could not be read"),
        ("os.kill(os.getpid(), signal.SIGXCPU)", "reading it takes too long"),
        ("sys.exit(1)", "it could not be read"),
        ("print('no answer')", "it could not be read"),
        ("print('{}')", "it could not be read"),
        ("print('[]')", "it could not be read"),
        ('print(\'{"media_type": "text/html"}\')', "it could not be read"),
        ("while True: os.write(1, b'x' * 65536)", "it could not be read"),
    ],
)
async def test_a_child_that_fails_or_lies_is_a_sentence_and_leaves_nothing_behind(
    tmp_path: Path, script: str, why: str
) -> None:
    with pytest.raises(UnshownError) as refused:
        await seen(pretender(tmp_path, script), stored(tmp_path, picture("PNG")), max_bytes=10_000)
    assert refused.value.safe == why


async def test_a_reader_that_is_given_up_ends_its_child(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    slow = pretender(tmp_path, f"open({str(told)!r}, 'w').write(str(os.getpid()) + '.')\nsignal.pause()")
    path = stored(tmp_path, picture("PNG"))
    asking = asyncio.create_task(seen(slow, path))
    async with asyncio.timeout(WITHIN_S):
        while not (told.exists() and told.read_text().endswith(".")):
            await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()[:-1]), signal.SIG_DFL)


async def test_the_child_sees_nothing_of_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    told = tmp_path / "environment"
    reader = pretender(tmp_path, f"open({str(told)!r}, 'w').write(repr(dict(os.environ)))")
    with pytest.raises(UnshownError):
        await seen(reader, stored(tmp_path, picture("PNG")))
    assert "sk-ant-secret" not in told.read_text()
    assert "PYTHONPATH" in told.read_text()


def test_the_service_itself_loads_no_library_that_reads_files() -> None:
    look = "import sys, nanoclaw.media.reader; print({'PIL', 'pypdf', 'zipfile'} & set(sys.modules))"
    said = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, check=True, text=True, timeout=60
    )
    assert said.stdout.strip() == "set()"
