"""A channel that fails as it is told, and delivery around it over a real store."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

from nanoclaw.delivery import Delivery, DeliverySettings, channel_by_owner
from nanoclaw.domain import ChatId, OutboxEntry, OutboxPart, ToolCall
from nanoclaw.envelope import REPEAT_LABEL, Envelope
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import Capabilities, Channel, PartToSend, PlainChannel
from nanoclaw.spool import Spool
from nanoclaw.sqlite.outbox import Outbox
from tests.sqlite.vault import FAMILY, Vault, entry

OTHER = ChatId("tg:8")
SETTINGS = DeliverySettings(retry_delays_s=(0.001,), store_pause_s=0.001)


class Pigeon(PlainChannel):
    """A channel that splits at `|` and fails as it is told."""

    name = "pigeon"
    prefix = "tg:"

    def __init__(self, *, finds_sent: bool = False, edits: bool = True, max_file_bytes: int = 0) -> None:
        self.capabilities = Capabilities(
            guarantee="", keeps_for_us="", finds_sent=finds_sent, edits=edits, max_file_bytes=max_file_bytes
        )
        self.sent: list[PartToSend] = []
        self.tries: list[str] = []
        self.faults: dict[str, list[Exception]] = {}
        """By text: what the next tries of it raise."""
        self.held: dict[str, asyncio.Event] = {}
        """By text: its sending waits for this."""
        self.away: set[ChatId] = set()
        self.known: dict[str, str] = {}
        """What `find_sent` finds, by key."""

    def reachable(self, chat_id: ChatId) -> bool:
        return chat_id not in self.away

    def split(self, text: str) -> list[str]:
        return text.split("|")

    async def send_part(self, part: PartToSend) -> str:
        text = part.text.removeprefix(REPEAT_LABEL)
        self.tries.append(text)
        if text in self.held:
            await self.held[text].wait()
        if self.faults.get(text):
            raise self.faults[text].pop(0)
        self.sent.append(part)
        return f"id {len(self.sent)}"

    async def find_sent(self, part: PartToSend) -> str | None:
        return self.known.get(part.key)

    def texts(self, chat_id: ChatId = FAMILY.chat_id) -> list[str]:
        return [part.text for part in self.sent if part.chat_id == chat_id]


class Shaky:
    """The outbox, with a store that is away when a test wants it."""

    def __init__(self, real: Outbox) -> None:
        self._real = real
        self.away = 0
        """So many of the next records fail."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def sent(
        self, entry: OutboxEntry, part: OutboxPart, platform_id: str, call: ToolCall, **more: Any
    ) -> None:
        if self.away:
            self.away -= 1
            raise StoreUnavailableError("the disk is full")
        await self._real.sent(entry, part, platform_id, call, **more)


@dataclass(slots=True)
class Post:
    """Everything together."""

    vault: Vault
    pigeon: Pigeon
    delivery: Delivery
    store: Shaky
    spool: Spool
    told: list[tuple[str, str, ChatId | None]] = field(default_factory=list)
    live: set[str] = field(default_factory=set)
    """Turns of which something is still shown."""

    async def put(self, text: str, **changes: Any) -> OutboxEntry:
        given = replace(entry(text), **changes)
        assert await self.vault.store.outbox.put(given, self.vault.clock.now())
        self.delivery.poke(given.chat_id, given.lane)
        return given

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.001)

    async def empty(self) -> None:
        """Until nothing is left to be sent."""
        await self.until(
            lambda: not self.vault.rows("SELECT 1 FROM outbox WHERE state IN ('queued', 'sending')")
        )

    def parts(self) -> list[tuple[Any, ...]]:
        return self.vault.rows(
            "SELECT text, state, attempts, platform_id FROM outbox_parts ORDER BY outbox_id, part"
        )


@asynccontextmanager
async def post(
    vault: Vault,
    pigeon: Pigeon | None = None,
    settings: DeliverySettings = SETTINGS,
    zone: str = "UTC",
) -> AsyncIterator[Post]:
    pigeon = pigeon or Pigeon()
    store = Shaky(vault.store.outbox)
    told: list[tuple[str, str, ChatId | None]] = []

    async def tell_main(key: str, text: str, *, not_in: ChatId | None = None) -> bool:
        told.append((key, text, not_in))
        return True

    spool, live = Spool(vault.path.parent / "spool"), set[str]()

    async def hushed(turn_id: str) -> None:
        while turn_id in live:
            await asyncio.sleep(0.001)

    channels: dict[str, Channel] = {"pigeon": pigeon}  # type: ignore[dict-item]  # what delivery uses of one
    delivery = Delivery(
        store=store,
        channel_of=channel_by_owner(channels),
        clock=vault.clock,
        settings=settings,
        tell_main=tell_main,
        envelope=Envelope(spool=spool, zone=ZoneInfo(zone)),
        spool=spool,
        hushed=hushed,
    )
    await delivery.start()
    try:
        yield Post(vault, pigeon, delivery, store, spool, told, live)
    finally:
        for event in pigeon.held.values():
            event.set()
        await delivery.stop()
