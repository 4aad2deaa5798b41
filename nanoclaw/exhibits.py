"""What an agent is shown of the files in its group's folder: pictures as they look, documents as their text.

The bytes of a picture are never stored with the conversation: its rows name the file, and for as long as the turn lasts
the picture is made again for each start. Later turns know that there was one.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Protocol

import structlog

from nanoclaw import transcript
from nanoclaw.domain import Folder, KeptAttachment
from nanoclaw.errors import NanoclawError
from nanoclaw.file_types import is_document

Block = dict[str, Any]

MAX_PICTURES = 20
"""In one turn; the API takes more only if they are smaller than ours."""
MAX_PICTURE_BYTES = 3_900_000
"""5 MB in base64, the API's limit."""
MAX_PICTURES_CHARS = 14_000_000
"""Base64 of all pictures that are shown at once, but for the last one. A request may have 32 MB, and follow-ups bring more."""

log = structlog.get_logger()


class UnshownError(NanoclawError):
    """A file cannot be shown; `safe` is a clause for a person: "it is protected by a password"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Ready for the model."""

    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a document says, as far as it is shown."""

    text: str
    cut: bool


class Reader(Protocol):
    """Looks into hostile files, away from this process. Both raise UnshownError and leave the file open."""

    async def picture(self, file: BinaryIO, max_bytes: int) -> Picture: ...
    async def words(self, file: BinaryIO, max_bytes: int) -> Words: ...


class GroupRoom(Protocol):
    """A group's folder, through the one door that follows no links."""

    def open_file(self, relative: str) -> BinaryIO | None:
        """Blocks; raises NanoclawError or OSError."""
        ...


class Exhibits:
    """Owns nothing: what it shows is read anew each time."""

    def __init__(
        self, *, room_of: Callable[[Folder], GroupRoom], reader: Reader, text_bytes: int = 200 * 1024
    ) -> None:
        """`text_bytes`: of all documents that come together."""
        self._room_of = room_of
        self._reader = reader
        self._text_bytes = text_bytes

    async def with_words(self, folder: Folder, files: Sequence[KeptAttachment]) -> list[KeptAttachment]:
        """With the text of those that are documents, one after the other as far as the limit for all goes."""
        left = self._text_bytes
        shown = []
        for file in files:
            if is_document(file):
                told = await self._told(folder, file, left)
                left -= len((told.text or "").encode())
                shown.append(told)
            else:
                shown.append(file)
        return shown

    async def _told(self, folder: Folder, file: KeptAttachment, max_bytes: int) -> KeptAttachment:
        if max_bytes <= 0:
            return replace(file, problem="its text is not shown: there is too much of it beside the others")
        try:
            with await self._open(folder, file.path or "") as opened:
                words = await self._reader.words(opened, max_bytes)
        except UnshownError as error:
            return replace(file, problem=f"its text cannot be shown: {error.safe}")
        if not words.text.strip():
            return replace(file, problem="there is no text in it")
        return replace(file, text=words.text, text_cut=words.cut)

    async def show(self, folder: Folder, rows: transcript.Rows, own: Sequence[bool]) -> transcript.Rows:
        """Puts the pictures that `own` rows name in their place, or why there is none; other rows keep words of them."""
        paths = transcript.pictures(rows, own)
        return transcript.with_pictures(rows, own, await self._pictures(folder, paths))

    async def _pictures(self, folder: Folder, paths: Sequence[str]) -> dict[str, Block]:
        blocks: dict[str, Block] = {}
        left = MAX_PICTURES_CHARS
        for path in dict.fromkeys(paths):
            if len(blocks) >= MAX_PICTURES or left <= 0:
                blocks[path] = _not_shown(path, "there are too many pictures at once")
                continue
            blocks[path] = await self._picture(folder, path)
            left -= len(blocks[path].get("source", {}).get("data", ""))
        return blocks

    async def _picture(self, folder: Folder, path: str) -> Block:
        try:
            with await self._open(folder, path) as file:
                picture = await self._reader.picture(file, MAX_PICTURE_BYTES)
        except UnshownError as error:
            return _not_shown(path, error.safe)
        data = base64.b64encode(picture.data).decode("ascii")
        source = {"type": "base64", "media_type": picture.media_type, "data": data}
        return {"type": "image", "source": source}

    async def _open(self, folder: Folder, path: str) -> BinaryIO:
        """What lies there may be anything by now: the agent can write where it is."""
        try:
            file = await asyncio.to_thread(self._room_of(folder).open_file, path)
        except (NanoclawError, OSError) as error:
            log.warning("attachment.not_opened", group=folder, path=path, reason=str(error))
            raise UnshownError("not opened", safe="it cannot be opened") from error
        if file is None:
            raise UnshownError("gone", safe="the file is not there any more")
        return file


def _not_shown(path: str, why: str) -> Block:
    return {"type": "text", "text": f"[image {path} is not shown: {why}]"}
