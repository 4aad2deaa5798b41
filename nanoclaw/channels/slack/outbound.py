"""Owns the way out: one part, as text, as a file, or in the place of a message that is there already."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import Any, Final

import structlog

from nanoclaw.channels.pacing import Pacing
from nanoclaw.channels.slack.api import KEY_EVENT, WebApi
from nanoclaw.channels.slack.inbound import ACTION
from nanoclaw.channels.slack.positions import PREFIX, channel_of
from nanoclaw.channels.slack.refusals import (
    CALL_ERRORS,
    TOKEN_CODES,
    UNREADABLE_CODES,
    bot_token_refused,
    certainly_not,
    classify,
    code_of,
    is_beyond_edits,
    is_format_trouble,
    retry_after_s,
)
from nanoclaw.channels.slack.settings import SlackSettings
from nanoclaw.channels.slack.standing import Standing
from nanoclaw.domain import Button, ChatId
from nanoclaw.errors import SendError, SendPermanentError, SendRetryError, SendUncertainError
from nanoclaw.formatting import mended, split
from nanoclaw.markdown import plain, to_slack_mrkdwn
from nanoclaw.ports import Clock, PartToSend

_SHORT_HOLD_S: Final = 0.05
_SECTION: Final = 3000
_SECTION_SOURCE: Final = 1500
"""So much of our text fits a section however much its formatting adds."""
_LABEL: Final = 75
_AT_WORK: Final = "is at work…"
_REMEMBERED: Final = 200

_log = structlog.get_logger()


class Sender:
    """Sends in the task of the caller, at each channel's own pace."""

    def __init__(
        self,
        *,
        api: WebApi,
        pacing: Pacing[str],
        standing: Standing,
        settings: SlackSettings,
        clock: Clock,
        refused: Callable[[str], None],
    ) -> None:
        """`refused`: Slack no longer takes our token."""
        self._refused = refused
        self._api = api
        self._pacing = pacing
        self._standing = standing
        self._settings = settings
        self._clock = clock
        self._uploaded: OrderedDict[str, str] = OrderedDict()
        """Key → id of a file whose sharing is uncertain: a file carries no key of ours."""

    async def send(self, part: PartToSend) -> str:
        """Raises SendRetryError, SendPermanentError or SendUncertainError."""
        if not part.chat_id.startswith(PREFIX):
            raise SendPermanentError(
                f"no Slack chat id: {part.chat_id}", safe="Slack does not know that channel."
            )
        channel = channel_of(part.chat_id)
        await self._wait_for_turn(channel)
        try:
            sent_id = await self._send(channel, part)
        except SendError:
            raise
        except CALL_ERRORS as error:
            raise self._noted(channel, error) from error
        except Exception as error:
            # Whatever the library stumbled over, perhaps Slack's answer: the request may have been taken.
            _log.exception("slack_send_broken", key=part.key)
            raise SendUncertainError(
                repr(error)[:300], safe="It is not known whether Slack took it."
            ) from error
        self._standing.proven()
        return sent_id

    async def find(self, part: PartToSend) -> str | None:
        """Our message with the part's key, in its thread or in the channel. Raises SendRetryError if we cannot look now."""
        channel = channel_of(part.chat_id)
        try:
            if part.file is not None:
                return await self._find_file(channel, part.key)
            return await self._find_message(channel, part)
        except CALL_ERRORS as error:
            if code_of(error) in UNREADABLE_CODES | {"thread_not_found", "file_not_found"}:
                return None
            raise certainly_not(self._noted(channel, error)) from error

    async def update(self, chat_id: ChatId, ts: str, text: str) -> None:
        shown = to_slack_mrkdwn(mended(text))
        await self._presence(
            self._api.update(
                channel_of(chat_id), ts, shown, blocks=(), timeout_s=self._settings.presence_timeout_s
            )
        )

    async def typing(self, chat_id: ChatId, thread: str) -> None:
        await self._presence(self._api.status(channel_of(chat_id), thread, _AT_WORK))

    async def eyes(self, chat_id: ChatId, ts: str) -> None:
        await self._presence(self._api.eyes(channel_of(chat_id), ts))

    async def _presence(self, call: Awaitable[None]) -> None:
        try:
            await call
        except Exception as error:  # noqa: BLE001 - presence is never worth more than a line in the log
            _log.debug("slack_presence_failed", error=code_of(error) or repr(error)[:200])

    async def _wait_for_turn(self, channel: str) -> None:
        held_s = self._pacing.held_s(channel)
        if held_s > _SHORT_HOLD_S:
            raise SendRetryError(
                "held after a 429", retry_after_s=held_s, safe="Slack asked for a pause in this channel."
            )
        wait_s = self._pacing.reserve(channel)
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def _noted(self, channel: str, error: Exception) -> SendError:
        """What the error means for the part; a pause or a refused token is remembered."""
        pause_s = retry_after_s(error)
        if pause_s is not None:
            self._pacing.hold(channel, pause_s)
        elif (code := code_of(error)) in TOKEN_CODES:
            self._refused(bot_token_refused(code))
        return classify(error)

    async def _send(self, channel: str, part: PartToSend) -> str:
        if part.file is not None:
            return await self._send_file(channel, part, part.file)
        text = mended(part.text)
        blocks = _blocks(text, part.buttons)
        if part.replaces is not None and await self._replace(channel, part.replaces, text, blocks):
            return part.replaces
        try:
            return await self._api.post(
                channel, to_slack_mrkdwn(text), key=part.key, thread=part.thread, mrkdwn=True, blocks=blocks
            )
        except CALL_ERRORS as error:
            if not is_format_trouble(error):
                raise
            _log.warning("slack_sent_plain", key=part.key, error=code_of(error))
        return await self._api.post(
            channel,
            escape(plain(text), quote=False),
            key=part.key,
            thread=part.thread,
            mrkdwn=False,
            blocks=(),
        )

    async def _replace(self, channel: str, ts: str, text: str, blocks: Sequence[dict[str, Any]]) -> bool:
        """Whether the message now reads like the part. False: it is gone, and the part has to be sent anew.

        A repeat changes nothing, so an answer that does not come is no reason for uncertainty.
        """
        try:
            try:
                await self._api.update(channel, ts, to_slack_mrkdwn(text), blocks=blocks)
            except CALL_ERRORS as error:
                if not is_format_trouble(error):
                    raise
                await self._api.update(channel, ts, escape(plain(text), quote=False), blocks=())
        except CALL_ERRORS as error:
            if is_beyond_edits(error):
                return False
            raise certainly_not(self._noted(channel, error)) from error
        return True

    async def _send_file(self, channel: str, part: PartToSend, path: Path) -> str:
        """The file's id: Slack makes the message a little later, by itself."""
        name = part.file_name or path.name
        try:
            file = await self._api.upload(path, name)
        except CALL_ERRORS as error:
            raise certainly_not(self._noted(channel, error)) from error
        self._uploaded[part.key] = file
        if len(self._uploaded) > _REMEMBERED:
            self._uploaded.popitem(last=False)
        comment = to_slack_mrkdwn(mended(part.text)) if part.text.strip() else None
        await self._api.share(channel, file, name, thread=part.thread, comment=comment)
        self._uploaded.pop(part.key, None)
        return file

    async def _find_file(self, channel: str, key: str) -> str | None:
        """Only while we live: after a restart nobody knows which file it was."""
        file = self._uploaded.get(key)
        if file is None:
            return None
        shares = (await self._api.file(file)).get("shares") or {}
        return file if any(channel in places for places in shares.values()) else None

    async def _find_message(self, channel: str, part: PartToSend) -> str | None:
        if part.replaces is not None:
            return None  # to say it once more changes nothing
        since = self._clock.now() - timedelta(days=self._settings.history_days)
        pages = (
            self._api.history(channel, metadata=True)
            if part.thread is None
            else self._api.replies(channel, part.thread, metadata=True)
        )
        async with aclosing(pages) as found:
            async for page in found:
                for message in page:
                    if _key(message) == part.key:
                        return str(message["ts"])
                if part.thread is None and all(float(m["ts"]) < since.timestamp() for m in page):
                    return None
        return None


def _key(message: Mapping[str, Any]) -> str | None:
    metadata = message.get("metadata") or {}
    payload = metadata.get("event_payload") or {}
    return str(payload.get("key")) if metadata.get("event_type") == KEY_EVENT else None


def _blocks(text: str, buttons: Sequence[Button]) -> list[dict[str, Any]]:
    """The text in sections with the buttons below it; nothing without buttons."""
    if not buttons:
        return []
    shown = [to_slack_mrkdwn(piece) for piece in split(text, _SECTION_SOURCE)]
    if any(len(piece) > _SECTION for piece in shown):
        return []
    sections = [{"type": "section", "text": {"type": "mrkdwn", "text": piece}} for piece in shown]
    elements = [
        {
            "type": "button",
            "action_id": f"{ACTION}{n}",
            "text": {"type": "plain_text", "text": button.label[:_LABEL]},
            "value": button.command,
        }
        for n, button in enumerate(buttons)
    ]
    return [*sections, {"type": "actions", "elements": elements}]
