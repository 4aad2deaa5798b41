"""Owns what was said while we were away: read from the history, and given to the gate in the order in which it was said."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import structlog

from nanoclaw.channels.slack.api import Message, WebApi
from nanoclaw.channels.slack.history import is_newer, read_missed
from nanoclaw.channels.slack.inbound import Reader
from nanoclaw.channels.slack.intake import Intake
from nanoclaw.channels.slack.positions import Positions
from nanoclaw.channels.slack.refusals import CALL_ERRORS, UNREADABLE_CODES, code_of, retry_after_s
from nanoclaw.channels.slack.settings import SlackSettings
from nanoclaw.channels.slack.standing import Standing
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import Clock

_TRIES: Final = 3

_log = structlog.get_logger()


class CatchUp:
    """One task while we are connected; it reads one channel after the other, and a channel again when something failed."""

    def __init__(
        self,
        *,
        api: WebApi,
        positions: Positions,
        standing: Standing,
        settings: SlackSettings,
        clock: Clock,
    ) -> None:
        self._api = api
        self._positions = positions
        self._standing = standing
        self._settings = settings
        self._clock = clock
        self._began = _ts(clock.now())
        """Of a channel without a position nothing older is taken."""
        self._todo: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._in_hand = False
        self._stopping = False
        self._failed: dict[tuple[str, str], int] = {}

    def reopened(self) -> None:
        """From now on a connection may bring new messages; until `start`, they move no position."""
        self._todo = dict.fromkeys(self._positions.reopened())

    def behind(self, channel: str) -> None:
        """A new message of this channel could not be stored."""
        self._positions.incomplete(channel)
        if self._positions.is_registered(channel):
            self._todo[channel] = None
            self._wake.set()

    def start(self, reader: Reader, intake: Intake) -> None:
        self._task = asyncio.create_task(self._run(reader, intake), name="slack-catch-up")

    async def pause(self) -> None:
        """There is no connection: what would be read now would have a gap behind it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def stop(self) -> None:
        """Lets the message in hand be stored."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            if not self._in_hand:
                self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _run(self, reader: Reader, intake: Intake) -> None:
        while not self._stopping:
            while self._todo and not self._stopping:
                channel = next(iter(self._todo))
                del self._todo[channel]
                pause_s = await self._supervised(channel, reader, intake)
                if pause_s is not None:
                    self._todo[channel] = None
                    await asyncio.sleep(pause_s)
            self._wake.clear()
            if not self._stopping and not self._todo:
                await self._wake.wait()

    async def _supervised(self, channel: str, reader: Reader, intake: Intake) -> float | None:
        """None: done with this channel; else the pause before it is tried again."""
        try:
            await self._channel(channel, reader, intake)
        except StoreUnavailableError as error:
            _log.warning("slack_catch_up_not_stored", channel=channel, reason=error.safe)
            return self._settings.store_pause_s
        except CALL_ERRORS as error:
            self._positions.stuck = True
            return self._refused(channel, error, await reader.called(channel))
        except Exception:  # noqa: BLE001 - one channel, supervised: it is read again, and the others do not suffer
            self._positions.stuck = True
            _log.exception("slack_catch_up_failed", channel=channel)
            return self._settings.retry_first_s
        return None

    def _refused(self, channel: str, error: BaseException, name: str) -> float | None:
        code = code_of(error)
        _log.warning("slack_history_not_read", channel=channel, error=code or type(error).__name__)
        pause_s = retry_after_s(error)
        if pause_s is not None:
            return pause_s
        if code not in UNREADABLE_CODES:
            return self._settings.retry_first_s
        self._positions.given_up(channel)
        self._standing.unread(
            channel,
            f"I cannot read the history of {name} ({code}): what is written there while I am away is lost to me.",
        )
        return None

    async def _channel(self, channel: str, reader: Reader, intake: Intake) -> None:
        since = await self._positions.since(channel) or self._began
        window = _ts(self._clock.now() - timedelta(days=self._settings.history_days))
        missed = await read_missed(self._api, channel, since=max(since, window, key=Decimal), window=window)
        for message in missed.messages:
            if self._stopping:
                return
            self._in_hand = True
            try:
                await self._hand_on(message, channel, reader, intake, until=missed.until)
            finally:
                self._in_hand = False
        if channel not in self._todo:  # else something went wrong meanwhile
            self._positions.completed(channel)
            self._standing.unread(channel, None)
        if missed.messages:
            _log.info("slack_caught_up", channel=channel, messages=len(missed.messages))

    async def _hand_on(
        self, message: Message, channel: str, reader: Reader, intake: Intake, *, until: str
    ) -> None:
        try:
            inbound = await reader.message(message, channel)
            if inbound is not None:
                whole = not is_newer(inbound.message_id, until)
                cursor = self._positions.cursor(channel, inbound.message_id, live=False) if whole else None
                await intake.receive(inbound, cursor)
        except StoreUnavailableError:
            raise
        except Exception:  # one message, supervised: tried again, then passed over and counted
            _log.exception("slack_message_not_taken", channel=channel)
            if not self._given_up(channel, str(message.get("ts"))):
                raise

    def _given_up(self, channel: str, ts: str) -> bool:
        tries = self._failed.pop((channel, ts), 0) + 1
        if tries < _TRIES:
            self._failed[channel, ts] = tries
            return False
        self._standing.lost_one()
        return True


def _ts(moment: datetime) -> str:
    return f"{moment.timestamp():.6f}"
