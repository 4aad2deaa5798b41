"""What a file is, told by its first bytes; what its sender calls it only chooses among what those allow. Pure."""

from __future__ import annotations

import re

from nanoclaw.domain import KeptAttachment

HEAD_BYTES = 4096
"""As much of a file's beginning is looked at."""

PICTURES = frozenset({"jpg", "png", "gif", "webp"})
"""What a model can be shown."""

# Beginning -> what it may be called; the first one, if the sender's name says nothing of use.
_BEGINNINGS: tuple[tuple[bytes, tuple[str, ...]], ...] = (
    (b"\xff\xd8\xff", ("jpg",)),
    (b"\x89PNG\r\n\x1a\n", ("png",)),
    (b"GIF87a", ("gif",)),
    (b"GIF89a", ("gif",)),
    (b"%PDF-", ("pdf",)),
    (b"PK\x03\x04", ("zip", "docx", "xlsx", "pptx", "odt", "ods", "odp", "epub", "jar", "apk")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ("doc", "xls", "ppt", "msg")),
    (b"OggS", ("ogg", "oga", "opus", "ogv")),
    (b"ID3", ("mp3",)),
    (b"\xff\xfb", ("mp3",)),
    (b"\xff\xf3", ("mp3",)),
    (b"\xff\xf1", ("aac",)),
    (b"\xff\xf9", ("aac",)),
    (b"fLaC", ("flac",)),
    (b"#!AMR", ("amr",)),
    (b"\x1aE\xdf\xa3", ("webm", "mkv")),
    (b"\x1f\x8b", ("gz", "tgz")),
    (b"BZh", ("bz2",)),
    (b"\xfd7zXZ\x00", ("xz",)),
    (b"7z\xbc\xaf\x27\x1c", ("7z",)),
    (b"Rar!\x1a\x07", ("rar",)),
    (b"II*\x00", ("tiff",)),
    (b"MM\x00*", ("tiff",)),
    (b"SQLite format 3\x00", ("sqlite", "db")),
)
_RIFF = {b"WEBP": "webp", b"WAVE": "wav", b"AVI ": "avi"}
_FTYP = {b"heic": "heic", b"heix": "heic", b"mif1": "heic", b"avif": "avif", b"M4A ": "m4a", b"qt  ": "mov"}
_FILMS = ("mp4", "m4v", "m4a", "mov", "3gp")
_UNKNOWN = "bin"
_KNOWN = frozenset(
    {name for _, names in _BEGINNINGS for name in names}
    | {*_RIFF.values(), *_FTYP.values(), *_FILMS, _UNKNOWN}
)
_WORDS = frozenset({"pdf", "docx", "xlsx"})
_NO_TEXT = frozenset(range(32)) - frozenset(b"\t\n\f\r\x1b")
_SUFFIX = re.compile(r"\.([a-z0-9]{1,8})\Z")


def suffix_of(head: bytes, claimed: str | None) -> str:
    """`jpg`, `pdf`, `md`, …; `bin` for what is neither known nor text. `claimed`: the name that its sender gave it."""
    found = _SUFFIX.search((claimed or "").lower())
    wish = found[1] if found else ""
    for beginning, names in _BEGINNINGS:
        if head.startswith(beginning):
            return wish if wish in names else names[0]
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], _UNKNOWN)
    if head[4:8] == b"ftyp":
        return _FTYP.get(head[8:12]) or (wish if wish in _FILMS else "mp4")
    if is_text(head):
        return wish if wish and wish not in _KNOWN else "txt"
    return _UNKNOWN


def is_text(head: bytes) -> bool:
    """UTF-16 with its mark, or nothing but what stands in texts of any 8-bit encoding."""
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or _NO_TEXT.isdisjoint(head[:HEAD_BYTES])


def is_picture(file: KeptAttachment) -> bool:
    """Whether a model is shown it."""
    return file.state == "kept" and _suffix(file) in PICTURES


def is_document(file: KeptAttachment) -> bool:
    """Whether it may have text that can be shown."""
    suffix = _suffix(file)
    documents = file.state == "kept" and file.kind in ("document", "other")
    return documents and (suffix in _WORDS or suffix not in _KNOWN)


def _suffix(file: KeptAttachment) -> str:
    return (file.path or "").rpartition(".")[2]
