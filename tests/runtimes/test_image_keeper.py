"""The agent image in a running service: looks that do not wait for ever, and one build at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from nanoclaw.domain import ChatId
from nanoclaw.errors import NanoclawError, OutageError
from nanoclaw.ports import ImageState
from nanoclaw.runtimes.docker.keeper import ImageKeeper
from nanoclaw.testing.clock import FixedClock

WITHIN_S = 10.0
HERE = ChatId("tg:1")
BUILT = ImageState(name="nanoclaw-agent", exists=True, id="sha256:1")
SILENT = OutageError("no", cause="engine", safe="The container engine does not answer.")


class SlowImages:
    """An engine that answers when the test says so."""

    name = "nanoclaw-agent"

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.asked = threading.Event()
        self.found: ImageState | Exception = BUILT
        self.outcome: str | Exception = "sha256:2"
        self.builds = 0

    def state(self) -> ImageState:
        self._wait()
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def build(self, progress: Callable[[str], None]) -> str:
        self.builds += 1
        progress("Step 1/2: FROM python")
        self._wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def _wait(self) -> None:
        self.asked.set()
        assert self.answer.wait(WITHIN_S)


class House:
    """A keeper, its engine, and what was said in which chat."""

    def __init__(self, images: SlowImages) -> None:
        self.images = images
        self.said: asyncio.Queue[tuple[ChatId, str]] = asyncio.Queue()
        self.keeper = ImageKeeper(
            images, clock=FixedClock(datetime(2026, 3, 16, tzinfo=UTC)), tell=self._tell, then="And so on."
        )

    async def _tell(self, chat_id: ChatId, text: str) -> None:
        await self.said.put((chat_id, text))

    async def asked(self) -> None:
        assert await asyncio.to_thread(self.images.asked.wait, WITHIN_S)

    async def next_word(self) -> tuple[ChatId, str]:
        async with asyncio.timeout(WITHIN_S):
            return await self.said.get()


@pytest.fixture
def images() -> Iterator[SlowImages]:
    made = SlowImages()
    yield made
    made.answer.set()


@asynccontextmanager
async def opened(images: SlowImages) -> AsyncIterator[House]:
    house = House(images)
    try:
        yield house
    finally:
        await house.keeper.stop()


async def test_a_look_gives_what_the_engine_says(images: SlowImages) -> None:
    images.answer.set()
    async with opened(images) as house:
        assert await house.keeper.look(WITHIN_S) == BUILT


async def test_a_look_does_not_wait_for_a_slow_engine_and_later_gives_what_was_seen_last(
    images: SlowImages,
) -> None:
    async with opened(images) as house:
        with pytest.raises(OutageError, match="has not answered yet"):
            await house.keeper.look(0.0)
        images.answer.set()
        assert await house.keeper.look(WITHIN_S) == BUILT
        images.answer.clear()
        images.found = replace(BUILT, stale=True)
        assert await house.keeper.look(0.0) == BUILT
        images.answer.set()
        assert (await house.keeper.look(WITHIN_S)).stale


async def test_a_dead_engine_is_an_outage_until_it_is_back(images: SlowImages) -> None:
    images.answer.set()
    async with opened(images) as house:
        await house.keeper.look(WITHIN_S)
        images.found = SILENT
        with pytest.raises(OutageError, match="no"):
            await house.keeper.look(WITHIN_S)
        images.found = BUILT
        assert await house.keeper.look(WITHIN_S) == BUILT


async def test_a_build_runs_in_the_background_and_its_end_is_told_where_it_was_asked_for(
    images: SlowImages,
) -> None:
    async with opened(images) as house:
        assert house.keeper.build(HERE)
        await house.asked()
        assert house.keeper.progress() == "Step 1/2: FROM python, for 0s"
        assert house.said.empty()
        images.answer.set()
        assert await house.next_word() == (
            HERE,
            "The agent image nanoclaw-agent is built. It took 0s. And so on.",
        )
        assert house.keeper.progress() is None


async def test_there_is_one_build_at_a_time(images: SlowImages) -> None:
    async with opened(images) as house:
        assert house.keeper.build(HERE)
        assert not house.keeper.build(ChatId("tg:2"))
        images.answer.set()
        await house.next_word()
        assert images.builds == 1
        assert house.said.empty()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            NanoclawError("The agent image could not be built.\nStep 2/2: RUN make"),
            "The agent image could not be built.\nStep",
        ),
        (SILENT, "The container engine does not answer."),
        (
            ValueError("never seen before"),
            "The agent image could not be built (ValueError; the log has more).",
        ),
    ],
)
async def test_a_build_that_fails_is_told_and_another_can_begin(
    images: SlowImages, error: Exception, expected: str
) -> None:
    images.answer.set()
    images.outcome = error
    async with opened(images) as house:
        house.keeper.build(HERE)
        assert (await house.next_word())[1].startswith(expected)
        images.outcome = "sha256:3"
        assert house.keeper.progress() is None
        while not house.keeper.build(HERE):
            await asyncio.sleep(0)
        assert "is built" in (await house.next_word())[1]


async def test_a_service_that_stops_does_not_wait_for_a_build_and_says_that_it_gave_it_up(
    images: SlowImages,
) -> None:
    async with opened(images) as house:
        house.keeper.build(HERE)
        await house.asked()
        async with asyncio.timeout(WITHIN_S / 2):
            await house.keeper.stop()
        assert not images.answer.is_set()
        assert (await house.next_word())[1].startswith(
            "The service stops, and the build of the agent image with it."
        )
