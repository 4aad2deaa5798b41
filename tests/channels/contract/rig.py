"""What the contract asks of each channel: an adapter, the played service behind it, and one person who writes there."""

from __future__ import annotations

import asyncio
import gc
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from nanoclaw.domain import ChatId, Inbound
from nanoclaw.ports import Channel, PartToSend
from tests.channels.channel_doubles import Gate

WITHIN_S: Final = 60.0
_LOOK_AGAIN_S: Final = 0.01


class ContractGate(Gate):
    """Also hears of chats without a message; `once` is what the real one would have kept."""

    async def seen(self, channel: str, chat_id: ChatId, name: str, *, is_group: bool) -> None:
        """Nothing to note."""

    @property
    def once(self) -> list[Inbound]:
        kept = {(one.chat_id, one.sender, one.message_id): one for one in reversed(self.stored)}
        return list(reversed(kept.values()))

    async def has(self, *texts: str) -> None:
        """Returns when these are durable."""
        await until(
            lambda: set(texts) <= set(self.texts), what=lambda: f"{texts[-1]!r} is not in {self.texts}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A message of ours as people see it."""

    text: str
    bold: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    hangs_on: str | None = None
    """The message that it visibly belongs to."""


class Rig(ABC):
    """One channel in its world. `up` may follow `stop`: the positions are those that `gate` has stored."""

    name: ClassVar[str]
    channel: Channel

    def __init__(self, chat: str) -> None:
        self.chat = ChatId(chat)
        self.gate = ContractGate()

    @abstractmethod
    def build(self) -> Channel:
        """A fresh adapter, not started."""

    @abstractmethod
    async def open(self) -> None:
        """The service is there."""

    @abstractmethod
    async def close(self) -> None:
        """The service ends."""

    async def up(self) -> None:
        """A fresh adapter is started, and up."""
        self.channel = self.build()
        await self.channel.start(self.gate)
        await self.until_state("up")

    async def until_state(self, *states: str) -> None:
        await until(
            lambda: self.channel.health().state in states,
            what=lambda: f"{self.channel.health()}, not {states}",
        )

    @abstractmethod
    def say(self, text: str) -> str:
        """The person writes; the id of the message, as the gate will see it."""

    def say_aside(self, text: str) -> str:
        """Likewise, where an answer should hang on the question: in a thread where there are any."""
        return self.say(text)

    @abstractmethod
    def again(self, message_id: str) -> None:
        """The service hands us the same message once more."""

    @abstractmethod
    def held(self) -> int:
        """How many messages are there that we have not acknowledged."""

    @abstractmethod
    async def away(self) -> None:
        """Nobody can reach the service, and every connection is broken."""

    @abstractmethod
    async def back(self) -> None: ...

    @abstractmethod
    def shown(self) -> list[Shown]:
        """What we have sent to the chat."""

    @abstractmethod
    async def cut_off(self, part: PartToSend) -> None:
        """Sends it: the service takes it, and we never hear of that. Raises what the adapter raises."""


async def until(condition: Callable[[], object], *, what: Callable[[], str] = str) -> None:
    """For what nobody announces."""
    try:
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                await asyncio.sleep(_LOOK_AGAIN_S)
    except TimeoutError:
        raise AssertionError(f"not within {WITHIN_S:g} s: {what()}") from None


@dataclass(frozen=True, slots=True)
class Belongings:
    """What this process has at hand."""

    tasks: frozenset[asyncio.Task[object]]
    children: frozenset[str]
    sockets: int

    @classmethod
    def now(cls) -> Belongings:
        threads = Path("/proc/self/task").iterdir()
        children = {child for thread in threads for child in _children(thread)}
        me = asyncio.current_task()
        return cls(frozenset(asyncio.all_tasks() - {me}), frozenset(children), _sockets())


async def nothing_left(before: Belongings) -> None:
    """After everything is stopped. What is only forgotten, not closed, is a ResourceWarning, and those are errors."""

    def left() -> str:
        now = Belongings.now()
        tasks = [task.get_name() for task in now.tasks - before.tasks]
        children = sorted(now.children - before.children)
        more = now.sockets - before.sockets
        return f"{tasks} {children} {more} sockets" if tasks or children or more > 0 else ""

    await until(lambda: not left(), what=left)
    gc.collect()


def tasks_of_adapters() -> list[str]:
    """Tasks that run code of `nanoclaw.channels`."""
    found = []
    for task in asyncio.all_tasks():
        code = getattr(task.get_coro(), "cr_code", None)
        if code is not None and "/nanoclaw/channels/" in code.co_filename:
            found.append(f"{task.get_name()}: {code.co_qualname}")
    return found


def _children(thread: Path) -> list[str]:
    try:
        return (thread / "children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):  # a thread that has just ended
        return []


def _sockets() -> int:
    count = 0
    for number in Path("/proc/self/fd").iterdir():
        try:
            count += str(number.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return count
