"""A picture as a model is shown it: upright, not too large, without what a camera notes about place and owner."""

from __future__ import annotations

import io
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from nanoclaw.media.damage import UnreadableError

MAX_PIXELS = 64_000_000
"""Of what is decoded; a JPEG is decoded at a fraction of its size where that is enough."""
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
_QUALITIES = (85, 70, 50)
_LEAST_EDGE_PX = 64


def scaled(file: BinaryIO, *, edge_px: int, max_bytes: int) -> tuple[str, bytes]:
    """(media type, data) of at most `max_bytes`; of what moves, the first picture. Raises UnreadableError."""
    Image.MAX_IMAGE_PIXELS = None  # we look ourselves, after a JPEG has been told to come smaller
    try:
        opened = Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise UnreadableError("it is not a JPEG, PNG, GIF or WebP picture") from error
    lossy = opened.format == "JPEG"
    opened.draft(None, (edge_px, edge_px))
    if opened.width * opened.height > MAX_PIXELS:
        raise UnreadableError(f"it has too many pixels ({opened.width} x {opened.height})")
    image = ImageOps.exif_transpose(opened)
    plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
    plain.thumbnail((edge_px, edge_px), Image.Resampling.LANCZOS)
    plain.info.clear()
    if not lossy and len(data := _png(plain)) <= max_bytes:
        return "image/png", data
    return "image/jpeg", _jpeg(_flat(plain), max_bytes)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _flat(image: Image.Image) -> Image.Image:
    """On white: JPEG knows no transparency."""
    if image.mode != "RGBA":
        return image
    ground = Image.new("RGB", image.size, "white")
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def _jpeg(image: Image.Image, max_bytes: int) -> bytes:
    while True:
        for quality in _QUALITIES:
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=quality)
            if buffer.tell() <= max_bytes:
                return buffer.getvalue()
        edge = max(image.size) // 2
        if edge < _LEAST_EDGE_PX:
            raise UnreadableError("it cannot be made small enough")
        image.thumbnail((edge, edge), Image.Resampling.LANCZOS)
