"""Owns the way in: who we are, then one read after the other, confirmed only when everything before is durable."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from telegram import Update, User
from telegram.error import Conflict, InvalidToken, RetryAfter, TelegramError

from nanoclaw.channels.telegram import inbound
from nanoclaw.channels.telegram.api import UNREADABLE, BotApi
from nanoclaw.channels.telegram.inbound import Moved
from nanoclaw.channels.telegram.moves import Moves
from nanoclaw.channels.telegram.refusals import TOKEN_REFUSED, retry_after_s, trouble
from nanoclaw.channels.telegram.settings import TelegramSettings
from nanoclaw.channels.telegram.standing import Standing
from nanoclaw.domain import Inbound
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import Clock, Receiver

InitialOffset = Callable[[], Awaitable[tuple[int, datetime] | None]]

PRIVACY_MODE = "In groups I only see commands, replies to me and messages that name me (privacy mode)."
_TRUSTED_FOR = timedelta(days=6)
"""After a week without updates Telegram starts at any number, perhaps a lower one: an old offset would hide them."""
_REMEMBERED = 1000
_TRIES = 3

_COMMAND = re.compile(r"\s*(?:@\w+[\s,:]+)?/\w")

_log = structlog.get_logger()


class Polling:
    """One task: `run` until `stop`. A refused token or a lost network never ends it."""

    def __init__(
        self,
        *,
        api: BotApi,
        receiver: Receiver,
        moves: Moves,
        standing: Standing,
        settings: TelegramSettings,
        clock: Clock,
        initial_offset: InitialOffset,
        commands: Sequence[tuple[str, str]],
    ) -> None:
        self._api = api
        self._receiver = receiver
        self._moves = moves
        self._standing = standing
        self._settings = settings
        self._clock = clock
        self._initial_offset = initial_offset
        self._commands = commands
        self._me: User | None = None
        self._offset: int | None = None
        self._offset_known = False
        self._offset_at = clock.now()
        self._answered: dict[int, None] = {}
        self._tries: dict[int, int] = {}
        self._pause_s = settings.retry_first_s
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self._in_hand = False
        self._menu_set = False
        self._at_once = False
        """The next read is not held open: after trouble, we want to know soon whether it is over."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="telegram-polling")

    async def stop(self) -> None:
        """Waits for the update in hand; a read under way is given up, for it confirms nothing new."""
        self._stopping.set()
        if self._task is None:
            return
        if not self._in_hand:
            self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            _log.error("telegram_polling_failed", error=repr(error)[:300])
        for answer in self._answers:
            answer.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._work()
            except TelegramError as error:
                await self._pause(await self._explain(error))
            except StoreUnavailableError as error:
                self._standing.retrying(error.safe)
                await self._pause(self._settings.store_pause_s)
            except Exception:  # noqa: BLE001 - the only ear that we have must outlive what we did not think of
                _log.exception("telegram_read_broken")
                self._standing.retrying("Telegram answered something that I cannot read; the log says more.")
                await self._pause(self._settings.retry_most_s)

    async def _work(self) -> None:
        if not self._offset_known:
            stored = await self._initial_offset()
            if stored is not None:
                self._offset, self._offset_at = stored
            self._offset_known = True
        if self._me is None:
            self._me = await self._api.me()
            await self._introduce(self._me)
        while not self._stopping.is_set():
            await self._read(self._me)

    async def _introduce(self, me: User) -> None:
        notes = () if me.can_read_all_group_messages else (PRIVACY_MODE,)
        self._standing.identified(f"@{me.username}", notes)
        self._standing.up()
        if self._menu_set or not self._commands:
            return
        try:
            await self._api.set_commands(self._commands)
            self._menu_set = True
        except TelegramError as error:  # a menu is a convenience: reading matters more
            _log.warning("telegram_menu_not_set", error=trouble(error))

    async def _read(self, me: User) -> None:
        if self._offset is not None and self._clock.now() - self._offset_at > _TRUSTED_FOR:
            self._offset = None
            self._answered.clear()
        held_s = 0 if self._at_once else self._settings.poll_timeout_s
        updates = await self._api.updates(self._offset, held_s=held_s)
        self._at_once = False
        self._standing.up()
        self._pause_s = self._settings.retry_first_s
        if not await self._take_all(updates, me):
            await self._pause(self._settings.store_pause_s)
        elif updates:
            await self._pause(self._settings.breath_s)

    async def _take_all(self, updates: Sequence[Update], me: User) -> bool:
        """Hands the updates on in order; False if one has to come again.

        Behind that one only commands are taken, which must be answered when nothing can be stored, too: a message
        would overtake it, and its position in the store would say that all before it is there.
        """
        moved_on = True
        for update in updates:
            if self._stopping.is_set():
                return moved_on
            if update.update_id not in self._answered:
                self._in_hand = True
                taken = await self._take(update, me, behind=not moved_on)
                self._in_hand = False
                if taken:
                    self._remember(update.update_id)
                moved_on = moved_on and taken
            if moved_on:
                self._offset, self._offset_at = update.update_id + 1, self._clock.now()
        return moved_on

    async def _take(self, update: Update, me: User, *, behind: bool) -> bool:
        """Whether the update is dealt with for ever."""
        heard = self._map(update, me)
        if heard is None:
            self._answer_press(update)
            return True
        if behind and not (isinstance(heard, Inbound) and _is_command(heard)):
            return False
        try:
            if isinstance(heard, Moved):
                await self._moves.report(heard.old, heard.new, inbound.cursor(update))
            else:
                await self._receiver.receive(replace(heard, cursor=None) if behind else heard)
        except StoreUnavailableError:
            return False
        except Exception:  # noqa: BLE001 - one delivery, supervised: tried again, then passed over and counted
            _log.exception("telegram_update_not_taken", update_id=update.update_id)
            return self._given_up(update.update_id)
        self._answer_press(update)
        return True

    def _map(self, update: Update, me: User) -> Inbound | Moved | None:
        if UNREADABLE in update.api_kwargs:
            self._standing.lost_one()
            return None
        try:
            return inbound.moved(update) or inbound.read(update, me, self._clock.now())
        except Exception:  # noqa: BLE001 - one update that nobody can read must not hold up all that come after it
            _log.exception("telegram_update_unreadable", update_id=update.update_id)
            self._standing.lost_one()
            return None

    def _answer_press(self, update: Update) -> None:
        """Ends the waiting that Telegram shows on a pressed button; nothing waits for that."""
        if update.callback_query is None:
            return
        task = asyncio.create_task(self._answer(update.callback_query.id), name="telegram-press")
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, press: str) -> None:
        try:
            await self._api.answer_press(press)
        except Exception as error:  # noqa: BLE001 - presence is never worth more than a line in the log
            _log.debug("telegram_presence_failed", press=press, error=repr(error)[:200])

    def _given_up(self, update_id: int) -> bool:
        tries = self._tries.get(update_id, 0) + 1
        self._tries[update_id] = tries
        if tries < _TRIES:
            return False
        del self._tries[update_id]
        self._standing.lost_one()
        return True

    def _remember(self, update_id: int) -> None:
        self._answered[update_id] = None
        if len(self._answered) > _REMEMBERED:
            del self._answered[next(iter(self._answered))]

    async def _explain(self, error: TelegramError) -> float:
        """Notes how we stand; the seconds until the next try."""
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, self._settings.retry_most_s)
        if isinstance(error, InvalidToken):
            self._me = None
            self._standing.refused(TOKEN_REFUSED)
            pause_s = self._settings.refused_retry_s
        elif isinstance(error, Conflict) and "webhook" in str(error).lower():
            self._standing.retrying("A webhook was set for this bot; it is being removed.")
            await self._remove_webhook()
        elif isinstance(error, Conflict):
            # Not by `_pause_s`: while two read in turn, some reads work, and each makes that short again.
            most_s, times = self._settings.retry_most_s, self._standing.contested()
            pause_s = min(self._settings.retry_first_s * 2 ** min(times - 1, 16), most_s)
        elif isinstance(error, RetryAfter):
            pause_s = retry_after_s(error)
            self._standing.retrying(f"Telegram asks for a pause of {pause_s:g} s.")
        else:
            self._standing.retrying(trouble(error))
            self._at_once = True
        _log.warning(
            "telegram_read_failed", error=type(error).__name__, reason=self._standing.health().reason
        )
        return pause_s

    async def _remove_webhook(self) -> None:
        try:
            await self._api.delete_webhook()
        except TelegramError as error:
            _log.warning("telegram_webhook_not_removed", error=trouble(error))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def _is_command(message: Inbound) -> bool:
    typed = message.text if message.caption is None else message.caption
    return _COMMAND.match(typed) is not None
