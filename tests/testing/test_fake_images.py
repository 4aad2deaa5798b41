"""Which pictures the played Messages API takes, and what it says about the others."""

import base64
import io
from typing import Any

import pytest
from PIL import Image

from nanoclaw.testing.messages_rules import RefusedError, check

NEW = "2026-10-21"
TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}


def drawn(form: str, size: tuple[int, int] = (30, 20), mode: str = "RGB", **more: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, "red").save(buffer, form, **more)
    return buffer.getvalue()


def block(data: bytes | str, media_type: str = "image/png") -> dict[str, Any]:
    text = data if isinstance(data, str) else base64.b64encode(data).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": text}}


def asked(*blocks: dict[str, Any]) -> dict[str, Any]:
    words = {"type": "text", "text": "what is this?"}
    return check(
        {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": [*blocks, words]}]},
        version=NEW, beta=False,
    )  # fmt: skip


@pytest.mark.parametrize("form", TYPES)
@pytest.mark.parametrize("size", [(30, 20), (8000, 1)])
def test_it_takes_a_picture_of_each_kind(form: str, size: tuple[int, int]) -> None:
    assert asked(block(drawn(form, size), TYPES[form]))


@pytest.mark.parametrize("more", [{"lossless": True}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}])
def test_it_knows_the_size_of_every_webp(more: dict[str, Any]) -> None:
    assert asked(block(drawn("WEBP", (8000, 1), **more), "image/webp"))
    with pytest.raises(RefusedError, match="8000 pixels"):
        asked(block(drawn("WEBP", (8001, 1), **more), "image/webp"))


@pytest.mark.parametrize("form", TYPES)
def test_a_picture_that_is_too_wide_is_refused(form: str) -> None:
    with pytest.raises(RefusedError, match=r"messages\.0\.content\.0\.image\..* 8000 pixels"):
        asked(block(drawn(form, (8001, 1)), TYPES[form]))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (block(drawn("PNG"), "image/jpeg"), "appears to be image/png"),
        (block(drawn("BMP"), "image/bmp"), "media_type"),
        (block(drawn("BMP")), "Could not process image"),
        (block(drawn("PNG")[:10]), "Could not process image"),
        (block(b"\xff\xd8\xff", "image/jpeg"), "Could not process image"),
        (block("no base64!"), "Invalid base64"),
        (block("A" * (5 * 1024 * 1024 + 4)), "exceeds 5 MB maximum"),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png"}}, "valid string"),
        ({"type": "image", "source": {"type": "path"}}, "valid image source"),
        ({"type": "image"}, "valid image source"),
        ({"type": "nanoclaw_image", "path": "attachments/a.png"}, "does not match any of the expected tags"),
    ],
)
def test_it_refuses(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        asked(wrong)


def test_a_picture_in_a_tool_result_is_looked_at_too() -> None:
    use = {"type": "tool_use", "id": "1", "name": "look", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "1", "content": [block("?")]}
    messages = [
        {"role": "user", "content": "look"}, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]},
    ]  # fmt: skip
    with pytest.raises(RefusedError, match="Invalid base64"):
        check({"model": "m", "max_tokens": 10, "messages": messages}, version=NEW, beta=False)
