"""The files of a played Telegram: what people attach, what the bot sends and fetches, and how large they may be."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from nanoclaw.testing.telegram_checks import Checks, shown_keyboard
from nanoclaw.testing.telegram_faults import RefusedError, bad, not_found, too_large
from nanoclaw.testing.telegram_params import Params, Upload
from nanoclaw.testing.telegram_records import Sent
from nanoclaw.testing.telegram_world import World

MAX_PHOTO_BYTES: Final = 10_000_000
MAX_SENT_BYTES: Final = 50_000_000
MAX_FETCHED_BYTES: Final = 20_000_000
_SIDES: Final = 10_000
"""Width and height of a photo together."""

Kind = Literal["photo", "document", "voice", "audio", "video", "video_note", "animation", "sticker"]
_PICTURES: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM")
_TIMED: Final = frozenset({"voice", "audio", "video", "video_note", "animation"})
_SEEN: Final = frozenset({"photo", "video", "animation", "sticker"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A file on the service."""

    id: str
    path: str
    data: bytes = field(repr=False)


class Files:
    """Keeps the bytes; carries out the calls that send or fetch a file."""

    def __init__(self, world: World, checks: Checks, sent: list[Sent]) -> None:
        self._world = world
        self._checks = checks
        self._sent = sent
        self._stored: dict[str, _Stored] = {}
        self.table: dict[str, Callable[[Params], Any]] = {
            "sendphoto": lambda params: self._send("photo", params),
            "senddocument": lambda params: self._send("document", params),
            "getfile": self._get_file,
        }

    def keep(self, kind: str, data: bytes) -> _Stored:
        number = len(self._stored) + 1
        stored = _Stored(id=f"{kind}-{number}", path=f"{kind}s/file_{number}", data=data)
        self._stored[stored.id] = stored
        return stored

    def shown(self, kind: Kind, upload: Upload, duration_s: int) -> dict[str, Any]:
        """The field of a message with this file, e.g. `{"photo": [...]}`."""
        stored = self.keep(kind, upload.data)
        body = _body(stored)
        if kind == "photo":  # several sizes of the same picture, the largest last
            small = _body(self.keep("thumb", upload.data[:10])) | {"width": 90, "height": 90}
            return {"photo": [small, body | {"width": 800, "height": 600}]}
        if kind == "video_note":
            body |= {"length": 240}
        else:
            body |= {"mime_type": upload.mime} if kind != "sticker" else {}
        body |= {"duration": duration_s} if kind in _TIMED else {}
        body |= {"width": 512, "height": 512} if kind in _SEEN else {}
        if kind in {"document", "audio", "video", "animation"} and upload.name:
            body |= {"file_name": upload.name}
        if kind == "sticker":
            body |= {"is_animated": False, "is_video": False, "type": "regular", "emoji": "🎉"}
        # A GIF is a document as well, for bots of the time before there were GIFs.
        return {kind: body} | ({"document": body} if kind == "animation" else {})

    def download(self, path: str) -> bytes:
        for stored in self._stored.values():
            if stored.path == path:
                return stored.data
        raise not_found()

    def _get_file(self, params: Params) -> dict[str, Any]:
        stored = self._stored.get(str(params.get("file_id")))
        if stored is None:
            raise bad("wrong file_id or the file is temporarily unavailable")
        if len(stored.data) > MAX_FETCHED_BYTES:
            raise bad("file is too big")
        return _body(stored) | {"file_path": stored.path}

    def _send(self, kind: Literal["photo", "document"], params: Params) -> dict[str, Any]:
        chat = self._checks.chat(params)
        upload = params.get(kind)
        if not isinstance(upload, Upload):
            raise bad(f"there is no {kind} in the request")
        if (refusal := _refused(kind, upload.data)) is not None:
            raise refusal
        caption, found = self._checks.caption(params)
        buttons = self._checks.keyboard(params)
        reply_to, thread = self._checks.reply(chat, params), self._checks.thread(chat, params)
        message = self._world.new_message(chat, self._world.bot, reply_to=reply_to, thread=thread)
        message |= self.shown(kind, upload, 0) | shown_keyboard(buttons)
        message |= ({"caption": caption} if caption else {}) | ({"caption_entities": found} if found else {})
        self._sent.append(
            Sent(
                chat_id=chat.id,
                message_id=message["message_id"],
                text=caption,
                source=str(params.get("caption") or ""),
                entities=found,
                parse_mode=params.get("parse_mode") or None,
                reply_to=reply_to,
                thread=thread,
                at=time.monotonic(),
                kind=kind,
                file=upload,
                buttons=buttons,
            )
        )
        return message


def _body(stored: _Stored) -> dict[str, Any]:
    return {"file_id": stored.id, "file_unique_id": f"u{stored.id}", "file_size": len(stored.data)}


def _refused(kind: str, data: bytes) -> RefusedError | None:
    if len(data) > MAX_SENT_BYTES:
        return too_large()
    if not data:
        return bad("file must be non-empty")
    if kind == "document":
        return None
    if len(data) > MAX_PHOTO_BYTES:
        return bad("file is too big")
    if not data.startswith(_PICTURES):
        return bad("IMAGE_PROCESS_FAILED")
    if data.startswith(_PICTURES[0]) and sum(struct.unpack(">II", data[16:24].ljust(8, b"\0"))) > _SIDES:
        return bad("PHOTO_INVALID_DIMENSIONS")
    return None
