"""Owns how a file that somebody sent comes here: asked for, then written piece by piece, never more than was allowed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import BinaryIO, Final

import httpx
from telegram.error import BadRequest, Forbidden, TelegramError

from nanoclaw.channels.telegram.api import BotApi
from nanoclaw.channels.telegram.refusals import short
from nanoclaw.domain import Attachment
from nanoclaw.errors import FetchError

_PIECE: Final = 256 * 1024
_NOT_NOW = "Telegram does not hand it out at the moment"
_TOO_LARGE = "Telegram hands out nothing larger than 20 MB"
_REFUSED = "Telegram does not hand it out"


async def fetch(api: BotApi, attachment: Attachment, to: Path, limit_bytes: int, *, timeout_s: float) -> None:
    """Writes the file to `to`, which is not there yet, and is not there afterwards if it fails. Raises FetchError."""
    if attachment.size_bytes is not None and attachment.size_bytes > limit_bytes:
        raise _larger(limit_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            await _download(api, await api.file_url(attachment.ref), to, limit_bytes)
    except TelegramError as error:
        raise _refused(error) from error
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        # Without the error's own words: they may name the address, and the token is a part of that.
        raise FetchError(f"download: {type(error).__name__}", final=False, safe=_NOT_NOW) from None
    except OSError as error:
        raise FetchError(
            f"download: {error.strerror}", final=False, safe="it could not be written to the disk"
        ) from error


async def _download(api: BotApi, url: str, to: Path, limit_bytes: int) -> None:
    async with api.download(url) as response:
        if response.status_code != httpx.codes.OK:
            raise FetchError(f"download: HTTP {response.status_code}", final=False, safe=_NOT_NOW)
        file = await asyncio.to_thread(to.open, "xb")
        try:
            with file:
                await _pour(response, file, limit_bytes)
        except BaseException:
            await asyncio.to_thread(to.unlink, missing_ok=True)
            raise


async def _pour(response: httpx.Response, file: BinaryIO, limit_bytes: int) -> None:
    written = 0
    async for piece in response.aiter_bytes(_PIECE):
        written += len(piece)
        if written > limit_bytes:
            raise _larger(limit_bytes)
        await asyncio.to_thread(file.write, piece)


def _larger(limit_bytes: int) -> FetchError:
    return FetchError(
        f"more than {limit_bytes} bytes",
        final=True,
        safe=f"it is larger than {limit_bytes / 1_000_000:.1f} MB",
    )


def _refused(error: TelegramError) -> FetchError:
    detail = f"getFile: {type(error).__name__}: {short(error)}"
    if isinstance(error, BadRequest) and "too big" in str(error).lower():
        return FetchError(detail, final=True, safe=_TOO_LARGE)
    # "wrong file_id or the file is temporarily unavailable": one sentence for both, so it is tried again.
    final = isinstance(error, BadRequest | Forbidden) and "temporarily" not in str(error).lower()
    return FetchError(detail, final=final, safe=_REFUSED if final else _NOT_NOW)
