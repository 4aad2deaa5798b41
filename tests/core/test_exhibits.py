"""A picture is shown in its own turn as the API takes it; what cannot be shown is said in its place."""

import asyncio
import base64
import io
import os
from typing import Any

import pytest
from PIL import Image

from nanoclaw import exhibits
from nanoclaw.exhibits import Exhibits, Picture, Words
from nanoclaw.testing.messages_images import complaint
from nanoclaw.transcript import picture
from tests.core.attachment_stage import Stage, staged
from tests.sqlite.vault import FAMILY

WITHIN_S = 60.0
TEXT = {"type": "text", "text": "what is this?"}


def put(stage: Stage, name: str, size: tuple[int, int] = (300, 200)) -> dict[str, Any]:
    """A picture in the group's folder; its reference."""
    folder = stage.group / "attachments"
    folder.mkdir(exist_ok=True)
    Image.new("RGB", size, "red").save(folder / name)
    return picture(f"attachments/{name}")


async def shown(exhibition: Exhibits, *refs: dict[str, Any]) -> list[dict[str, Any]]:
    """The blocks of a row of the current turn."""
    async with asyncio.timeout(WITHIN_S):
        rows = await exhibition.show(FAMILY.folder, [("user", [*refs, TEXT])], [True])
    ((role, blocks),) = rows
    assert role == "user"
    return list(blocks)


async def test_a_picture_becomes_what_the_api_takes() -> None:
    async with staged() as stage:
        image, text = await shown(stage.exhibits, put(stage, "a.jpg"))

        assert text == TEXT
        assert complaint(image["source"]) is None
        data = base64.b64decode(image["source"]["data"])
        assert Image.open(io.BytesIO(data)).size == (64, 43)


async def test_rows_of_other_turns_name_their_pictures_and_none_is_opened() -> None:
    async with staged() as stage:
        rows = [("user", [picture("attachments/a.jpg"), TEXT]), ("user", [put(stage, "b.png")])]
        (_, earlier), (_, now) = await stage.exhibits.show(FAMILY.folder, rows, [False, True])

        assert earlier == [{"type": "text", "text": "[image attachments/a.jpg, shown earlier]"}, TEXT]
        assert [block["type"] for block in now] == ["image"]


def replaced(stage: Stage, how: str) -> None:
    path = stage.group / "attachments" / "a.png"
    path.unlink()
    if how == "link":
        secret = stage.root / "secret.png"
        Image.new("RGB", (9, 9)).save(secret)
        path.symlink_to(secret)
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "junk":
        path.write_bytes(b"\x89PNG\r\n\x1a\n junk")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("gone", "the file is not there any more"),
        ("link", "it cannot be opened"),
        ("pipe", "it cannot be opened"),
        ("junk", "it is not a JPEG, PNG, GIF or WebP picture"),
    ],
)
async def test_a_picture_that_an_agent_has_changed_is_words(how: str, why: str) -> None:
    async with staged() as stage:
        ref = put(stage, "a.png")
        replaced(stage, how)
        told, _ = await shown(stage.exhibits, ref)
        assert told == {"type": "text", "text": f"[image attachments/a.png is not shown: {why}]"}


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "attachments/../../x.png"])
async def test_no_reference_leads_out_of_the_folder(path: str) -> None:
    async with staged() as stage:
        Image.new("RGB", (9, 9)).save(stage.root / "groups" / "secret.png")
        told, _ = await shown(stage.exhibits, picture(path))
        assert "is not shown: it cannot be opened" in told["text"]


class Painter:
    """A reader whose pictures are as large as one may be."""

    def __init__(self, size: int) -> None:
        self.size = size

    async def picture(self, file: Any, max_bytes: int) -> Picture:
        return Picture(media_type="image/png", data=b"x" * min(self.size, max_bytes))

    async def words(self, file: Any, max_bytes: int) -> Words:
        raise NotImplementedError


@pytest.mark.parametrize(("size", "fit"), [(10, exhibits.MAX_PICTURES), (10**9, 3)])
async def test_one_turn_shows_no_more_than_a_request_may_hold(size: int, fit: int) -> None:
    async with staged() as stage:
        painter = Exhibits(room_of=stage.exhibits._room_of, reader=Painter(size))
        refs = [put(stage, f"{n}.png", (2, 2)) for n in range(exhibits.MAX_PICTURES + 2)]
        *blocks, _ = await shown(painter, *refs)

        assert [block["type"] for block in blocks] == ["image"] * fit + ["text"] * (len(refs) - fit)
        assert "there are too many pictures at once" in blocks[-1]["text"]
        assert sum(len(block.get("source", {}).get("data", "")) for block in blocks) < 20_000_000
        assert all(len(b["source"]["data"]) <= 5 * 1024 * 1024 for b in blocks[:fit])
