"""Questions to the owners: what an answer does, what happens when none comes, and what waits for a yes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Literal, Protocol

import structlog

from nanoclaw import registration, routing
from nanoclaw.domain import Action, Ask, AskId, Event, EventId, Inbound
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import Answer, AskKind, Clock, Tx
from nanoclaw.reports import ago, cut
from nanoclaw.stores import AskStore, Held

Word = Literal["yes", "no"]
Carry = Callable[[Tx, Ask, EventId], str]

AGAIN_AFTER = timedelta(days=30)
"""A chat that an owner did not want is not asked about again before."""
POLL_S = 60.0
_SHORT = 80
_WORDS: dict[str, Word] = {
    **dict.fromkeys(("yes", "y", "yep", "yeah", "ok", "okay", "sure", "ja", "j", "klar", "👍", "✅"), "yes"),
    **dict.fromkeys(("no", "n", "nope", "nein", "nee", "nö", "👎", "❌"), "no"),
}
_OPTIONS = re.compile(r"/yes (\d{1,15}) · /no \1\s*$")
"""How a question ends."""
_PLAIN = str.maketrans("", "", "\ufe0f" + "".join(map(chr, range(0x1F3FB, 0x1F400))))
"""Without what gives an emoji its colour."""

log = structlog.get_logger()


class Change(Protocol):
    """`Store.change`, as far as it is needed."""

    async def __call__(self, work: Callable[[Tx], None], /) -> None: ...


class Asks:
    """Answers are carried out in the transaction of the command that gives them; the rest happens here by itself."""

    def __init__(
        self,
        *,
        store: AskStore,
        change: Change,
        kinds: Sequence[AskKind],
        max_held: int,
        clock: Clock,
        receive: Callable[[Inbound], Awaitable[None]],
        look: Callable[[], Awaitable[None]],
        poll_s: float = POLL_S,
    ) -> None:
        self._store = store
        self._change = change
        self._kinds = {kind.name: kind for kind in reversed(kinds)}  # the first of a name counts
        self._max_held = max_held
        self._clock = clock
        self._receive = receive
        self._look = look
        self._poll_s = poll_s
        self._wake = asyncio.Event()
        self._replaying = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """What a crash kept from being replayed is replayed first."""
        self._task = asyncio.create_task(self._run(), name="asks")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # --- unknown chats ---------------------------------------------------------------------------------------

    async def hold(self, inbound: Inbound, why: str) -> Held:
        """Durable on return. Raises StoreUnavailableError."""
        held = await self._store.hold(
            inbound,
            why=why,
            question=registration.question(inbound),
            limit=self._max_held,
            again_after=AGAIN_AFTER,
            now=self._clock.now(),
        )
        if held == "asked":
            self._wake.set()
        return held

    async def replay(self) -> None:
        """Lets in what waited for a yes, as if it had just come. Raises StoreUnavailableError: it is tried again."""
        async with self._replaying:
            for held, inbound in await self._store.to_replay():
                await self._receive(inbound)
                await self._store.replayed(held)

    # --- answers -----------------------------------------------------------------------------------------------

    async def open(self) -> list[Ask]:
        """Oldest first."""
        return await self._store.open()

    async def reply(self, inbound: Inbound) -> routing.Typed | None:
        """The command that this message means, if it says yes or no in reply to a question."""
        word = _WORDS.get(inbound.text.translate(_PLAIN).strip(" \n.!,").casefold())
        if word is None or inbound.quote is None:
            return None
        ask_id = await self._store.quoted(inbound.chat_id, inbound.quote.message_id)
        if ask_id is None and (asked := _OPTIONS.search(inbound.quote.text)):
            ask_id = AskId(
                int(asked[1])
            )  # so quick that the service has not told us yet what became of the question
        return routing.Typed(name=word, args=str(ask_id)) if ask_id else None

    async def answer(self, word: Word, ref: str, by: str) -> Answer:
        """`ref`: the number of the question; empty if there is just one."""
        number = ref.removeprefix("#")
        if not number:
            asks = await self._store.open()
            if len(asks) != 1:
                return Answer(text=_which(word, asks))
            ask: Ask | None = asks[0]
        elif number.isascii() and number.isdigit() and len(number) < 16:
            ask = await self._store.find(AskId(int(number)))
        else:
            return Answer(text=f"Usage: /{word} <number of the question>")
        if ask is None:
            return Answer(text=f"There is no question {number}. /asks shows the open ones.")
        return await self._answer(word, ask, by)

    async def _answer(self, word: Word, ask: Ask, by: str) -> Answer:
        kind = self._kinds.get(ask.kind)
        if kind is None:
            carry: Carry = _nobody
        elif word == "no":
            carry = kind.no
        elif kind.prepare and ask.state == "open":
            carry = await kind.prepare(ask)
        else:
            carry = kind.yes

        def change(tx: Tx) -> str:
            return _answered(tx, ask.id, word, by, carry)

        replays = word == "yes" and kind is not None and kind.replay
        return Answer(change=change, after=self.replay if replays else None)

    # --- what happens by itself --------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            pause = self._poll_s
            self._wake.clear()
            try:
                await self._round()
                pause = await self._pause()
            except StoreUnavailableError as error:
                log.warning("asks.put_off", reason=str(error))
            except Exception:  # one round is supervised here
                log.exception("asks.round_failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _round(self) -> None:
        await self.replay()
        due = await self._store.due(self._clock.now())
        for ask in due:
            await self._expire(ask)
        if due:
            await self._look()

    async def _pause(self) -> float:
        """Until the next one expires; never long, because a clock may be set."""
        following = await self._store.next_expiry()
        left = (following - self._clock.now()).total_seconds() if following else self._poll_s
        return min(left, self._poll_s) if left > 0 else self._poll_s

    async def _expire(self, ask: Ask) -> None:
        kind = self._kinds.get(ask.kind)
        hook = kind.expired if kind else None
        try:
            await self._change(lambda tx: _expired(tx, ask, hook))
        except StoreUnavailableError:
            raise
        except Exception:  # what a kind (a plugin's, too) does about it is supervised here
            log.exception("ask.expiry_failed", ask=ask.id, kind=ask.kind)
            await self._change(lambda tx: _expired(tx, ask, None))


def _expired(tx: Tx, ask: Ask, hook: Callable[[Tx, Ask], None] | None) -> None:
    if not tx.close_ask(ask.id, "expired"):
        return
    tx.log(
        Action(action_type="ask_expired", triggered_by=None, target=ask.chat_id, content=_numbered(ask, 200))
    )
    tx.tell_main(f"ask:{ask.id}:expired", f"Question {ask.id} expired: {cut(ask.question, _SHORT)}")
    if hook:
        hook(tx, ask)


def _answered(tx: Tx, ask_id: AskId, word: Word, by: str, carry: Carry) -> str:
    """Once: the second one hears who was first."""
    ask = tx.find_ask(ask_id)
    if ask is None or ask.state != "open":
        return _over(ask, ask_id, tx)
    if ask.expires_at <= tx.now:
        return f"Question {ask_id} has expired."
    tx.close_ask(ask_id, word, by)
    event = tx.event
    if event is None:
        system = Event(source="system", summary=f"{by} answered question {ask_id}")
        tx.log(system)
        event = system.id
    said = carry(tx, ask, event)
    content = f"{word} to {_numbered(ask, 200)}"
    tx.log(Action(action_type="ask_answered", triggered_by=event, target=ask.chat_id, content=content))
    return said


def _over(ask: Ask | None, ask_id: AskId, tx: Tx) -> str:
    if ask is None:
        return f"There is no question {ask_id}."
    when = f" {ago(ask.answered_at, tx.now)}" if ask.answered_at else ""
    if ask.state == "expired":
        return f"Question {ask_id} expired{when}."
    if ask.state == "withdrawn":
        return f"Question {ask_id} was settled otherwise{when}; nothing is left to answer."
    by = f" by {ask.answered_by}" if ask.answered_by else ""
    return f"Question {ask_id} was answered with {ask.state}{by}{when}."


def _which(word: Word, asks: Sequence[Ask]) -> str:
    if not asks:
        return "No question is open."
    lines = [f"{len(asks)} questions are open; which one?"]
    return "\n".join([*lines, *(f"/{word} {ask.id}: {cut(ask.question, _SHORT)}" for ask in asks)])


def _numbered(ask: Ask, chars: int) -> str:
    return f"question {ask.id}: {cut(ask.question, chars)}"


def _nobody(_tx: Tx, ask: Ask, _event: EventId) -> str:
    return f"Question {ask.id} is closed. What asked it is not installed any more, so nothing was done."
