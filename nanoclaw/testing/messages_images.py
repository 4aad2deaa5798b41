"""What the Messages API says about a picture that it does not take; None for one that it takes."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from typing import Any, Final

MAX_CHARS: Final = 5 * 1024 * 1024
MAX_EDGE_PX: Final = 8000
_JPEG_SIZE: Final = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]..\x08(..)(..)", re.DOTALL)


def complaint(source: Any) -> str | None:
    """`source` of an image block; those by URL or file id are taken as they are."""
    if not isinstance(source, dict) or source.get("type") not in {"base64", "url", "file"}:
        return "source: Input should be a valid image source"
    if source["type"] != "base64":
        return None
    named, data = source.get("media_type"), source.get("data")
    if named not in {"image/jpeg", "image/png", "image/gif", "image/webp"}:
        return (
            "source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'"
        )
    if not isinstance(data, str):
        return "source.base64.data: Input should be a valid string"
    if len(data) > MAX_CHARS:
        return f"source.base64: image exceeds 5 MB maximum: {len(data)} bytes > {MAX_CHARS} bytes"
    try:
        found = _looked_at(base64.b64decode(data, validate=True))
    except binascii.Error:
        return "source.base64.data: Invalid base64 data"
    except struct.error:
        found = None
    if found is None:
        return "source.base64.data: Could not process image"
    media_type, width, height = found
    if media_type != named:
        return f"source.base64: the image was specified as {named}, but it appears to be {media_type}"
    if max(width, height) > MAX_EDGE_PX:
        return f"source.base64: image dimensions exceed max allowed size: {MAX_EDGE_PX} pixels"
    return None


def _looked_at(data: bytes) -> tuple[str, int, int] | None:
    """Media type, width and height, as the first bytes say. Raises struct.error for a file that ends too early."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return ("image/png", *struct.unpack_from(">II", data, 16))
    if data.startswith((b"GIF87a", b"GIF89a")):
        return ("image/gif", *struct.unpack_from("<HH", data, 6))
    if data.startswith(b"\xff\xd8\xff"):
        size = _JPEG_SIZE.search(data)
        return (
            ("image/jpeg", int.from_bytes(size[2], "big"), int.from_bytes(size[1], "big")) if size else None
        )
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    return None


def _webp(data: bytes) -> tuple[str, int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        width, high, height, higher = struct.unpack_from("<HBHB", data, 24)
        return "image/webp", (width | high << 16) + 1, (height | higher << 16) + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return "image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return "image/webp", width & 0x3FFF, height & 0x3FFF
    return None
