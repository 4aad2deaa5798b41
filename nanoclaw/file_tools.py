"""`send_file`: a file of the group's folder goes to the chat."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from nanoclaw.domain import Action, ChatId, Folder, Group, OutboxEntry
from nanoclaw.envelope import megabytes
from nanoclaw.errors import NanoclawError
from nanoclaw.file_types import HEAD_BYTES, PICTURES, suffix_of
from nanoclaw.ports import Channel, HostTool, HostToolCall, HostToolRefusedError, HostToolRequest, Tx
from nanoclaw.reports import plain_name
from nanoclaw.spool import Spool, TooLargeError

MAX_CAPTION = 900
MAX_WAITING_BYTES = 1 << 30
"""Of all files that were not sent yet."""
_CONTAINER_FOLDER = "/workspace/group/"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """What is in the spool, and whom it goes to."""

    spool_path: str
    picture: bool
    target: Group


class SendFile:
    """The tool. What it sends is copied first: the agent may change or delete the file at once."""

    def __init__(
        self,
        *,
        open_file: Callable[[Folder, str], BinaryIO | None],
        spool: Spool,
        groups: Callable[[], Sequence[Group]],
        channel_of: Callable[[ChatId], Channel | None],
        max_bytes: int,
    ) -> None:
        """`open_file`: beneath a group's folder, following no link; None if there is no such file."""
        self._open_file = open_file
        self._spool = spool
        self._groups = groups
        self._channel_of = channel_of
        self._max_bytes = max_bytes

    def tool(self) -> HostTool:
        texts = {
            "path": "The file, relative to your group's folder.",
            "caption": f"Text below it, at most {MAX_CAPTION} characters.",
            "chat": "From the main chat only: chat id or folder of another group.",
        }
        return HostTool(
            name="send_file",
            description="Send a file of your group's folder to this chat; pictures are shown as pictures. It is sent as it is now. "
            "From the main chat, `chat` may name another registered group.",
            input_schema={
                "type": "object",
                "properties": {name: {"type": "string", "description": text} for name, text in texts.items()},
                "required": ["path"],
                "additionalProperties": False,
            },
            run=_send,
            prepare=self.prepare,
        )

    async def prepare(self, request: HostToolRequest) -> _Prepared:
        """Copies the file into the spool."""
        path, wanted = _text(request, "path").removeprefix(_CONTAINER_FOLDER), _text(request, "chat")
        path = path.removeprefix("./")
        if not path:
            raise HostToolRefusedError("path is missing")
        if len(_text(request, "caption")) > MAX_CAPTION:
            raise HostToolRefusedError(f"caption must be at most {MAX_CAPTION} characters")
        target = self._target(request.group, wanted)
        limit = self._limit(target)
        return await asyncio.to_thread(self._copy, request.group.folder, path, target, limit)

    def _target(self, group: Group, wanted: str) -> Group:
        if not wanted or wanted in (group.chat_id, group.folder):
            return group
        if not group.is_main:
            raise HostToolRefusedError("only the main chat may send to another group")
        found = [g for g in self._groups() if wanted in (g.chat_id, g.folder, g.name)]
        if len(found) != 1:
            raise HostToolRefusedError(f"{wanted!r} names {len(found) or 'no'} registered groups")
        return found[0]

    def _limit(self, target: Group) -> int:
        channel = self._channel_of(target.chat_id)
        if channel is None or not channel.capabilities.max_file_bytes:
            through = channel.name if channel else "any channel"
            raise HostToolRefusedError(f"no files can be sent to {target.name} (through {through})")
        return min(self._max_bytes, channel.capabilities.max_file_bytes)

    def _copy(self, folder: Folder, path: str, target: Group, limit_bytes: int) -> _Prepared:
        try:
            file = self._open_file(folder, path)
            if file is None:
                raise HostToolRefusedError(f"there is no file {path[:200]} in your folder")
            with file:
                if self._spool.used_bytes() > MAX_WAITING_BYTES:
                    raise HostToolRefusedError("too many files wait to be sent; try again later")
                head = file.read(HEAD_BYTES)
                if not head:
                    raise HostToolRefusedError("the file is empty; chat services take no empty files")
                suffix = suffix_of(head, path)
                file.seek(0)
                kept = self._spool.copy(file, suffix, limit_bytes)
        except TooLargeError as error:
            raise HostToolRefusedError(
                f"the file is larger than {megabytes(limit_bytes)}, the limit of this chat"
            ) from error
        except NanoclawError as error:
            raise HostToolRefusedError(error.safe) from error
        except OSError as error:
            raise HostToolRefusedError(f"the file cannot be read ({error.strerror})") from error
        return _Prepared(spool_path=kept, picture=suffix in PICTURES - {"gif"}, target=target)


def _text(request: HostToolRequest, name: str) -> str:
    value = request.input.get(name, "")
    if not isinstance(value, str) or len(value) > 4096:
        raise HostToolRefusedError(f"{name} must be a short text")
    return value.strip()


def _send(tx: Tx, call: HostToolCall) -> str:
    given: _Prepared = call.prepared
    target = tx.group(given.target.chat_id)
    if target is None:
        raise HostToolRefusedError(f"{given.target.name} is no longer registered")
    caption, name = _text(call, "caption"), plain_name(PurePosixPath(_text(call, "path")).name)
    action = Action(
        action_type="message_sent", triggered_by=call.event_id, target=target.chat_id,
        content=f"[file: {name}] {caption}".strip(), turn_id=call.turn.id,
    )  # fmt: skip
    entry = OutboxEntry(
        key=f"call:{call.turn.id}:{call.call_id}",
        chat_id=target.chat_id,
        text=caption,
        kind="picture" if given.picture else "file",
        spool_path=given.spool_path,
        file_name=name,
        mime=mimetypes.guess_type(name)[0] or "application/octet-stream",
        thread=call.turn.thread if target.chat_id == call.turn.chat_id else None,
        turn_id=call.turn.id,
        action_id=action.id,
    )
    tx.put(entry)
    tx.log(action)
    return f"{name} is on its way to {target.name}."
