"""Owns what happens to each thing that Slack hands us: it is durable before Slack hears that we have it."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from nanoclaw.channels.slack.inbound import Reader
from nanoclaw.channels.slack.positions import Positions, channel_of
from nanoclaw.channels.slack.settings import SlackSettings
from nanoclaw.domain import Cursor, Inbound
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import Receiver

_REMEMBERED: Final = 2000
_COMMAND: Final = re.compile(r"\s*(?:@\w+[\s,:]+)?/\w")

_log = structlog.get_logger()


class Intake:
    """Takes the envelopes of one channel one after the other; Bolt's first middleware is the durable insert."""

    def __init__(
        self,
        *,
        receiver: Receiver,
        positions: Positions,
        settings: SlackSettings,
        behind: Callable[[str], None],
        lost: Callable[[], None],
    ) -> None:
        """`behind`: something in this channel could not be stored; its history has to be read again.

        `lost`: something could not be read at all.
        """
        self._lost = lost
        self._receiver = receiver
        self._positions = positions
        self._behind = behind
        self._locks: dict[str, asyncio.Lock] = {}
        self._storing: dict[str, asyncio.Lock] = {}
        self._known: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._stopping = False
        self.reader: Reader | None = None
        """Set once we know who we are."""
        self._app = AsyncApp(
            name="nanoclaw",
            token=settings.bot_token or "unset",  # Bolt wants one before it starts; nothing is asked with it
            before_authorize=self._durable,  # answers everything: what Bolt would do behind it is not needed
            ssl_check_enabled=False,
            request_verification_enabled=False,
        )

    def close(self) -> None:
        """What is in hand is finished; nothing else is taken."""
        self._stopping = True
        self._positions.nobody_waits()

    async def envelope(self, payload: Mapping[str, Any]) -> bool:
        """Whether it may be acknowledged. False: Slack shall send it again."""
        async with self._locks.setdefault(_place(payload), asyncio.Lock()):
            if self._stopping:
                return False
            request = AsyncBoltRequest(mode="socket_mode", body=dict(payload))
            response = await self._app.async_dispatch(request)
        return response.status == 200

    async def _durable(self, body: dict[str, Any]) -> BoltResponse:
        """An error would do as well (Bolt turns it into a 500, which is no acknowledgement), but not be told as plainly."""
        try:
            taken = await self._take(body)
        except StoreUnavailableError as error:
            _log.warning("slack_not_stored", reason=error.safe)
            return BoltResponse(status=503)
        except Exception:  # noqa: BLE001 - one envelope, supervised: it is not acknowledged, so Slack delivers it again
            _log.exception("slack_envelope_not_taken")
            return BoltResponse(status=500)
        return BoltResponse(status=200 if taken else 503, body="")

    async def _take(self, body: Mapping[str, Any]) -> bool:
        """False: this has to come again, or from the history, because we stop or it would overtake what is missing."""
        inbound = await self._read(body)
        if inbound is None:
            return True
        channel = channel_of(inbound.chat_id)
        in_history = "event" in body and inbound.edit_of is None
        if in_history and (not await self._in_order(inbound, channel) or self._stopping):
            return False
        cursor = self._positions.cursor(channel, inbound.message_id) if in_history else None
        try:
            await self.receive(inbound, cursor)
        except BaseException:
            if in_history:
                self._behind(channel)
            raise
        return True

    async def _read(self, body: Mapping[str, Any]) -> Inbound | None:
        try:
            return await self.reader.body(body) if self.reader is not None else None
        except Exception:  # noqa: BLE001 - one envelope that nobody can read: to have it again would not help
            _log.exception("slack_envelope_unreadable", type=body.get("type"))
            self._lost()
            return None

    async def receive(self, inbound: Inbound, cursor: Cursor | None) -> None:
        """Hands it to the gate, unless that has it already: a mention comes twice, and so does what is sent again."""
        key = (inbound.chat_id, inbound.sender, inbound.message_id)
        channel = channel_of(inbound.chat_id)
        async with self._storing.setdefault(
            channel, asyncio.Lock()
        ):  # the history may bring it at the same time
            if key in self._known:
                return
            await self._receiver.receive(replace(inbound, cursor=cursor))
            self._positions.stored(channel, cursor)
            self._known[key] = None
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    async def _in_order(self, inbound: Inbound, channel: str) -> bool:
        """Whether it is its turn. False: what was missed before it is being read, and it will be read in its place.

        Nothing waits for a history that cannot be read now, and a command not for long: its place is of no importance.
        """
        try:
            await self._positions.in_order(channel)
        except TimeoutError:
            waits = not self._positions.stuck and not _COMMAND.match(inbound.text)
            _log.info("slack_order_not_waited_for", channel=channel, left_to_history=waits)
            if waits:
                self._behind(channel)
            return not waits
        return True


def _place(payload: Mapping[str, Any]) -> str:
    """Where it happened: order matters within one channel only."""
    event = payload.get("event") or {}
    channel = event.get("channel") or payload.get("channel_id") or payload.get("channel") or {}
    return str(channel.get("id") if isinstance(channel, Mapping) else channel)
