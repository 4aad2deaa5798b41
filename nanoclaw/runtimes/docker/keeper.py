"""The agent image for a running service: what it last looked like, and one build of it at a time, in the background."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from datetime import datetime
from typing import Protocol, TypeVar

import structlog

from nanoclaw.domain import ChatId
from nanoclaw.errors import NanoclawError, OutageError
from nanoclaw.ports import Clock, ImageState
from nanoclaw.reports import duration

T = TypeVar("T")
Tell = Callable[[ChatId, str], Awaitable[object]]

log = structlog.get_logger()


class ImageSource(Protocol):
    """`Images`, as far as it is used here. Both block."""

    name: str

    def state(self) -> ImageState: ...
    def build(self, progress: Callable[[str], None]) -> str: ...


class ImageKeeper:
    """Owns the build and the look at the engine that are under way. `tell` says in a chat how a build ended."""

    def __init__(self, images: ImageSource, *, clock: Clock, tell: Tell, then: str) -> None:
        """`then`: what follows from a build that went well, in a sentence."""
        self._images = images
        self._clock = clock
        self._tell = tell
        self._then = then
        self._known: ImageState | None = None
        self._trouble: NanoclawError | None = None
        self._looking: asyncio.Task[None] | None = None
        self._building: asyncio.Task[None] | None = None
        self._for: ChatId | None = None
        self._since: datetime | None = None
        self._step = ""

    async def look(self, patience_s: float) -> ImageState:
        """As it is now; if the engine takes longer than that, as it was. Raises NanoclawError if neither is known."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        await asyncio.wait({self._looking}, timeout=patience_s)
        if self._trouble is not None:
            raise self._trouble
        if self._known is None:
            late = "The container engine has not answered yet."
            raise OutageError(late, cause="engine", safe=late)
        return self._known

    async def _look(self) -> None:
        try:
            self._known, self._trouble = await asyncio.to_thread(self._images.state), None
        except NanoclawError as error:
            self._known, self._trouble = None, error

    def progress(self) -> str | None:
        """How far the build is; None if there is none."""
        if self._since is None:
            return None
        return f"{self._step or 'Beginning'}, for {duration(self._clock.now() - self._since)}"

    def build(self, chat_id: ChatId) -> bool:
        """Begins a build whose end is told in the chat; False if one is under way."""
        if self._building is not None and not self._building.done():
            return False
        self._for, self._since, self._step = chat_id, self._clock.now(), ""
        self._building = asyncio.create_task(self._build(chat_id))
        return True

    async def stop(self) -> None:
        """A build that is under way is given up (the engine ends it when we are gone), and its chat is told."""
        given_up = self._for if self._since is not None else None
        if self._building is not None and given_up is not None:
            self._building.cancel()
        if self._looking is not None:
            self._looking.cancel()
        tasks = [task for task in (self._building, self._looking) if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        if given_up is not None:
            text = "The service stops, and the build of the agent image with it. /image build begins anew."
            await self._tell(given_up, text)

    async def _build(self, chat_id: ChatId) -> None:
        text = await self._built(self._clock.now())
        self._since = None
        await self._tell(chat_id, text)

    async def _built(self, began: datetime) -> str:
        """What there is to say about it in the end."""
        try:
            image_id = await _in_thread_of_its_own(lambda: self._images.build(self._note))
        except NanoclawError as error:
            log.warning("image.build_failed", reason=str(error))
            return error.safe
        except Exception as error:  # a build is supervised like a task: whatever it was, its chat is told
            log.exception("image.build_failed")
            return f"The agent image could not be built ({type(error).__name__}; the log has more)."
        took = duration(self._clock.now() - began)
        log.info("image.built", image=image_id, took=took)
        return f"The agent image {self._images.name} is built. It took {took}. {self._then}"

    def _note(self, step: str) -> None:
        self._step = step  # from the build's thread: one assignment


async def _in_thread_of_its_own(work: Callable[[], T]) -> T:
    """Not one of the pool's, which the program waits for when it ends: a build can take minutes."""
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()  # from here on it is not cancelled under the thread's hands

    def run() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001 - handed to the one who waits
            outcome.set_exception(error)

    threading.Thread(target=run, name="image build", daemon=True).start()
    return await asyncio.wrap_future(outcome)
