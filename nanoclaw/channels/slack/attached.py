"""Owns files that come with a message: how they read, and how they are fetched, never more than was allowed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import BinaryIO, Final, cast

import aiohttp

from nanoclaw.channels.slack.api import Message, WebApi
from nanoclaw.channels.slack.refusals import CALL_ERRORS, code_of
from nanoclaw.domain import Attachment, AttachmentKind
from nanoclaw.errors import FetchError

_PIECE: Final = 256 * 1024
_NOT_NOW: Final = "Slack does not hand the file out at the moment."
_SCOPE: Final = "The Slack app may not read files: it lacks the scope files:read."
_GONE: Final = frozenset({"file_deleted", "file_not_found", "file_not_visible"})


def attachment(file: Message) -> Attachment:
    """One entry of a message's `files`; Slack may hide all but its id."""
    size, duration = file.get("size"), file.get("duration_ms")
    return Attachment(
        kind=_kind(file),
        ref=str(file["id"]),
        name=str(file["name"]) if file.get("name") else None,
        mime=str(file["mimetype"]) if file.get("mimetype") else None,
        size_bytes=int(size) if size is not None else None,
        duration_s=float(duration) / 1000 if duration is not None else None,
    )


def placeholder(file: Message) -> str:
    """What stands for it in the text."""
    if file.get("mode") == "tombstone":
        return "[file that was deleted]"
    name = str(file.get("title") or file.get("name") or "")
    match _kind(file):
        case "image":
            return "[photo]"
        case "voice":
            seconds = round(float(file.get("duration_ms") or 0) / 1000)
            return f"[Voice message, {seconds // 60}:{seconds % 60:02d}]"
        case "other":
            return "[file]"
        case kind:
            return f"[{kind}: {name}]" if name else f"[{kind}]"


def _kind(file: Message) -> AttachmentKind:
    if file.get("subtype") == "slack_audio":
        return "voice"
    mime = str(file.get("mimetype") or "")
    kind = mime.partition("/")[0]
    if kind in {"image", "audio", "video"}:
        return cast("AttachmentKind", kind)
    return "document" if mime else "other"


def _check_size(to: Path, file: Message) -> None:
    """Slack may answer with a page about the file instead of the file."""
    size = file.get("size")
    if size and to.stat().st_size != int(size):
        to.unlink()
        raise FetchError("another size than announced", final=False, safe=_NOT_NOW)


async def fetch(api: WebApi, wanted: Attachment, to: Path, limit_bytes: int, *, timeout_s: float) -> None:
    """Writes the file to `to`, which is not there yet, and is not there afterwards if it fails. Raises FetchError."""
    if wanted.size_bytes is not None and wanted.size_bytes > limit_bytes:
        raise _larger(limit_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            file = await api.file(wanted.ref)
            address = file.get("url_private_download") or file.get("url_private")
            if not address or file.get("is_external"):
                raise FetchError("no address", final=True, safe="The file is kept outside of Slack.")
            async with api.download(str(address)) as reply:
                _check(reply, file)
                await _write(reply, to, limit_bytes)
                _check_size(to, file)
    except PermissionError as error:
        raise FetchError(
            f"foreign host {error}", final=True, safe="The file is kept outside of Slack."
        ) from error
    except CALL_ERRORS as error:
        raise _refused(error) from error


def _check(reply: aiohttp.ClientResponse, file: Message) -> None:
    """Who may not read gets a page to log in at, perhaps by a redirection, instead of a refusal."""
    login = reply.status == 200 and reply.content_type == "text/html" and file.get("mimetype") != "text/html"
    if login or 300 <= reply.status < 400 or reply.status in {401, 403}:
        raise FetchError(f"download: HTTP {reply.status}, {reply.content_type}", final=True, safe=_SCOPE)
    if reply.status in {404, 410}:
        raise FetchError(f"download: HTTP {reply.status}", final=True, safe="Slack no longer has the file.")
    if reply.status != 200:
        raise FetchError(f"download: HTTP {reply.status}", final=False, safe=_NOT_NOW)


async def _write(reply: aiohttp.ClientResponse, to: Path, limit_bytes: int) -> None:
    try:
        file = await asyncio.to_thread(to.open, "xb")
    except OSError as error:
        raise _unwritable(error) from error
    whole = False
    try:
        with file:
            await _pieces(reply, file, limit_bytes)
            whole = True
    finally:
        if not whole:
            to.unlink(missing_ok=True)  # noqa: ASYNC240 - also when we are cancelled, which waits for nothing


async def _pieces(reply: aiohttp.ClientResponse, file: BinaryIO, limit_bytes: int) -> None:
    written = 0
    async for piece in reply.content.iter_chunked(_PIECE):
        written += len(piece)
        if written > limit_bytes:
            raise _larger(limit_bytes)
        try:
            await asyncio.to_thread(file.write, piece)
        except OSError as error:
            raise _unwritable(error) from error


def _unwritable(error: OSError) -> FetchError:
    return FetchError(
        f"write: {error.strerror}", final=False, safe="The file could not be written to the disk."
    )


def _larger(limit_bytes: int) -> FetchError:
    return FetchError(
        f"more than {limit_bytes} bytes",
        final=True,
        safe=f"The file is larger than {limit_bytes / 1_000_000:g} MB.",
    )


def _refused(error: BaseException) -> FetchError:
    code = code_of(error)
    detail = f"files.info: {code or type(error).__name__}"
    if code in _GONE:
        return FetchError(detail, final=True, safe="Slack no longer has the file.")
    if code == "missing_scope":
        return FetchError(detail, final=True, safe=_SCOPE)
    return FetchError(detail, final=False, safe=_NOT_NOW)
