"""Owns what Telegram's refusals and silences mean: for a part on its way out, and in words for a person."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import httpx
from telegram.error import BadRequest, Forbidden, InvalidToken, RetryAfter, TelegramError

from nanoclaw.errors import SendError, SendPermanentError, SendRetryError, SendUncertainError

TOKEN_REFUSED: Final = "Telegram refuses the bot token (401). Check TELEGRAM_BOT_TOKEN."  # noqa: S105 - a sentence

_NEVER_WRITTEN = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
_MARKUP_TROUBLE = ("can't parse entities", "text is empty", "text must be non-empty", "is too long")
_CANNOT_BE_EDITED = (
    "message to edit not found",
    "message can't be edited",
    "message_id_invalid",
    "no text in the message to edit",
)
_WORDS: Final = (
    ("blocked by the user", "The user has blocked the bot on Telegram."),
    ("user is deactivated", "That Telegram account no longer exists."),
    ("kicked", "The bot was removed from that Telegram group."),
    ("not a member", "The bot is not a member of that Telegram chat."),
    ("chat not found", "Telegram does not know that chat."),
    ("thread not found", "That Telegram topic no longer exists."),
    ("not enough rights", "The bot may not write in that Telegram chat."),
    ("have no rights", "The bot may not write in that Telegram chat."),
    ("chat_write_forbidden", "The bot may not write in that Telegram chat."),
    ("file must be non-empty", "Telegram takes no empty files."),
)


def classify(error: TelegramError) -> SendError:
    """retry: certainly not sent; permanent: never will be; uncertain: the request was written and no answer came."""
    detail = f"{type(error).__name__}: {short(error)}"
    match error:
        case RetryAfter():
            pause_s = retry_after_s(error)
            return SendRetryError(
                detail,
                retry_after_s=pause_s,
                safe=f"Telegram asks for a pause of {pause_s:g} s in this chat.",
            )
        case InvalidToken():
            return SendRetryError(detail, safe=TOKEN_REFUSED)
        case Forbidden():
            return SendPermanentError(
                detail, safe=_in_words(error, "Telegram does not let the bot write to that chat.")
            )
        case BadRequest():
            return SendPermanentError(
                detail, safe=_in_words(error, f"Telegram refused the message: {short(error)}.")
            )
    if "request entity too large" in str(error).lower():
        return SendPermanentError(detail, safe="The file is too large for Telegram.")
    cause = error.__cause__
    if isinstance(cause, _NEVER_WRITTEN):
        return SendRetryError(detail, safe="Telegram cannot be reached.")
    return SendUncertainError(
        detail, safe="Telegram did not answer; the message may or may not have arrived."
    )


def is_markup_trouble(error: BadRequest) -> bool:
    """Whether the same text without formatting has a chance."""
    return _says(error, *_MARKUP_TROUBLE)


def is_unchanged(error: BadRequest) -> bool:
    """An edit changed nothing: the message reads already as it should."""
    return _says(error, "message is not modified")


def is_beyond_edits(error: BadRequest) -> bool:
    """The message that was to be edited is gone, or is none of ours."""
    return _says(error, *_CANNOT_BE_EDITED)


def is_refused_picture(error: BadRequest) -> bool:
    """Telegram does not take the file for a picture; as a document it may."""
    return _says(error, "photo", "image", "file is too big")


def retry_after_s(error: RetryAfter) -> float:
    pause = error.retry_after
    return pause.total_seconds() if isinstance(pause, timedelta) else float(pause)


def trouble(error: TelegramError) -> str:
    """Why calls do not work, for `/status`."""
    cause = error.__cause__
    if isinstance(cause, httpx.TimeoutException):
        return "Telegram does not answer in time."
    if isinstance(cause, httpx.HTTPError):
        return "Telegram cannot be reached; the network may be down."
    return f"Telegram has trouble: {short(error)}"


def short(error: TelegramError) -> str:
    """Without the page that a gateway answers with, which the library appends."""
    return str(error).split(". Parsing the server response")[0][:200].rstrip(".")


def _says(error: TelegramError, *words: str) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)


def _in_words(error: TelegramError, otherwise: str) -> str:
    text = str(error).lower()
    return next((sentence for words, sentence in _WORDS if words in text), otherwise)
