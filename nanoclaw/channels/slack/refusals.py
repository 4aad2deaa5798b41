"""Owns what Slack's refusals and silences mean: for a part on its way out, and in words for a person."""

from __future__ import annotations

from typing import Final

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError

from nanoclaw.errors import SendError, SendPermanentError, SendRetryError, SendUncertainError

CALL_ERRORS: Final = (SlackClientError, aiohttp.ClientError, TimeoutError, OSError)
"""All that a call of the Web API raises for what the service or the network does."""
TOKEN_CODES: Final = frozenset(
    {
        "account_inactive", "invalid_auth", "not_allowed_token_type", "not_authed", "token_expired", "token_revoked",
    }
)  # fmt: skip
UNREADABLE_CODES: Final = frozenset(
    {"access_denied", "channel_not_found", "missing_scope", "no_permission", "not_in_channel", "is_archived"}
)
"""A conversation cannot be read now, and trying again at once would not help."""
_BUSY_CODES: Final = frozenset({"request_timeout", "service_unavailable"})
_HALF_DONE_CODES: Final = frozenset({"fatal_error", "internal_error"})
"""Slack says of these that part of what was asked may have been done."""
_FORMAT_CODES: Final = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text"}
)
_NOT_OURS_CODES: Final = frozenset({"cant_update_message", "edit_window_closed", "message_not_found"})
_NEVER_WRITTEN = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)
_WORDS: Final = {
    "cannot_reply_to_message": "That Slack thread no longer exists.",
    "channel_not_found": "Slack does not know that channel, or the bot may not see it.",
    "ekm_access_denied": "The workspace does not let the bot write there.",
    "file_not_found": "Slack lost the file on its way.",
    "is_archived": "That Slack channel is archived.",
    "not_in_channel": "The bot is not in that Slack channel. Invite it there.",
    "restricted_action": "The workspace does not let the bot write there.",
    "restricted_action_read_only_channel": "Only some may write in that Slack channel.",
    "restricted_action_thread_locked": "That Slack thread is locked.",
    "storage_limit_reached": "The workspace has no room left for files.",
    "team_access_not_granted": "The workspace does not let the bot write there.",
    "thread_not_found": "That Slack thread no longer exists.",
    "user_not_found": "Slack does not know that user.",
}


def code_of(error: BaseException) -> str | None:
    """Slack's own word for a refusal; None if it said none."""
    data = _data(error)
    word = data.get("error") if isinstance(data, dict) else None
    return str(word) if word else None


def is_transient(error: BaseException) -> bool:
    """Trouble that may pass by itself."""
    code = code_of(error)
    return code is None or code in {"ratelimited", "rate_limited"} | _BUSY_CODES | _HALF_DONE_CODES


def retry_after_s(error: BaseException) -> float | None:
    """The pause that Slack asks for; None if this is about something else."""
    response = getattr(error, "response", None)
    if (
        code_of(error) not in {"ratelimited", "rate_limited"}
        and getattr(response, "status_code", None) != 429
    ):
        return None
    named = {str(k).lower(): v for k, v in (getattr(response, "headers", None) or {}).items()}.get(
        "retry-after"
    )
    try:
        return max(1.0, float(str(named)))
    except ValueError:
        return 30.0


def bot_token_refused(code: str | None) -> str:
    return f"Slack refuses the bot token ({code}). Check SLACK_BOT_TOKEN."


def connection_refused(code: str | None) -> str:
    """Why Slack opens no websocket, for `/status`."""
    if code == "missing_scope":
        return "The app-level token lacks the scope connections:write. Make a new SLACK_APP_TOKEN with it."
    if code in TOKEN_CODES:
        return f"Slack refuses the app-level token ({code}). Check SLACK_APP_TOKEN."
    return f"Slack opens no connection ({code}). Check SLACK_APP_TOKEN, and that the app has Socket Mode on."


def classify(error: Exception) -> SendError:
    """retry: certainly not sent; permanent: never will be; uncertain: the request was written and no answer came."""
    detail = _short(error)
    pause_s = retry_after_s(error)
    if pause_s is not None:
        safe = f"Slack asks for a pause of {pause_s:g} s in this channel."
        return SendRetryError(detail, retry_after_s=pause_s, safe=safe)
    if isinstance(error, _NEVER_WRITTEN):
        return SendRetryError(detail, safe="Slack cannot be reached.")
    code = code_of(error)
    if code is None:
        if 400 <= _status(error) < 500:
            return SendRetryError(detail, safe=f"Slack did not take it (HTTP {_status(error)}).")
        return _uncertain(detail)
    if code in _HALF_DONE_CODES:
        return _uncertain(detail)
    if code in _BUSY_CODES:
        return SendRetryError(detail, safe="Slack is busy.")
    if code in TOKEN_CODES:
        return SendRetryError(detail, safe=bot_token_refused(code))
    if code == "missing_scope":
        return SendPermanentError(detail, safe=f"The Slack app lacks the scope {_needed(error)}.")
    return SendPermanentError(detail, safe=_WORDS.get(code, f"Slack refused the message: {code}."))


def certainly_not(error: SendError) -> SendError:
    """Of a step that shows nothing to anybody: what failed in it was not sent."""
    return SendRetryError(str(error), safe=error.safe) if isinstance(error, SendUncertainError) else error


def is_format_trouble(error: Exception) -> bool:
    """Whether the same text without formatting has a chance."""
    return code_of(error) in _FORMAT_CODES


def is_beyond_edits(error: Exception) -> bool:
    """The message that was to be edited is gone, or is none of ours."""
    return code_of(error) in _NOT_OURS_CODES


def trouble(error: BaseException) -> str:
    """Why we are not connected, for `/status`."""
    pause_s = retry_after_s(error)
    if pause_s is not None:
        return f"Slack asks for a pause of {pause_s:g} s."
    if isinstance(error, TimeoutError):
        return "Slack does not answer in time."
    if isinstance(error, SlackApiError):
        return f"Slack has trouble: {code_of(error) or f'HTTP {_status(error)}'}."
    return "Slack cannot be reached; the network may be down."


def _uncertain(detail: str) -> SendError:
    return SendUncertainError(detail, safe="Slack did not answer; the message may or may not have arrived.")


def _data(error: BaseException) -> object:
    return getattr(getattr(error, "response", None), "data", None)


def _status(error: BaseException) -> int:
    response = getattr(error, "response", None)
    return int(getattr(response, "status_code", None) or getattr(response, "status", None) or 0)


def _needed(error: BaseException) -> str:
    data = _data(error)
    return str(data.get("needed") or "it needs") if isinstance(data, dict) else "it needs"


def _short(error: BaseException) -> str:
    """Without the answer's text, which may repeat the message."""
    code = code_of(error)
    return (
        f"{type(error).__name__}: {code}"
        if code
        else f"{type(error).__name__} {_status(error) or ''}".strip()
    )
