"""Live answers: what is shown of a text that is being written, how often, and never anything internal or too late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.domain import ChatId, OutboxEntry, Turn, TurnId
from nanoclaw.live import WRITING, Live, LiveSettings, draft_id, visible
from nanoclaw.ports import Capabilities, Channel, LiveMode, PlainChannel
from nanoclaw.stores import Ending, live_key
from nanoclaw.testing.clock import FixedClock
from tests.core.post_office import Pigeon, post
from tests.sqlite.vault import FAMILY, NOW, entry, opened

from .virtual_time import play

TURN = TurnId("t1")
SETTINGS = LiveSettings()


class Blackboard(PlainChannel):
    """A channel that notes what it showed, and when."""

    name = "blackboard"
    prefix = "tg:"
    capabilities = Capabilities(guarantee="", keeps_for_us="", edits=True)

    def __init__(self, mode: LiveMode) -> None:
        self.mode: LiveMode = mode
        self.shown: list[tuple[float, str]] = []
        self.ids: set[int | str] = set()
        self.broken = False
        self.held: asyncio.Event | None = None

    def live_mode(self, chat_id: ChatId, thread: str | None, *, is_group: bool) -> LiveMode:
        return self.mode

    def split(self, text: str) -> list[str]:
        return [text[n : n + 20] for n in range(0, len(text), 20)]

    async def draft(self, chat_id: ChatId, thread: str | None, draft_id: int, text: str) -> None:
        await self._show(draft_id, text)

    async def update(self, chat_id: ChatId, platform_id: str, text: str) -> None:
        await self._show(platform_id, text)

    async def _show(self, id_: int | str, text: str) -> None:
        self.ids.add(id_)
        if self.broken:
            raise RuntimeError("a bug of the adapter")
        if self.held:
            await self.held.wait()
        self.shown.append((round(asyncio.get_running_loop().time(), 3), text))


class Tray:
    """The outbox, as far as live answers use it."""

    def __init__(self) -> None:
        self.entries: list[OutboxEntry] = []
        self.sent_as: str | None = None
        self.running = True

    async def put_live(self, entry: OutboxEntry, now: datetime) -> bool:
        if self.running:
            self.entries.append(entry)
        return self.running

    async def shown(self, ref: str) -> str | None:
        assert ref == live_key(TURN)
        return self.sent_as


class Stage:
    """Everything together."""

    def __init__(self, mode: LiveMode) -> None:
        self.board = Blackboard(mode)
        self.tray = Tray()
        self.poked: list[ChatId] = []
        channel: Channel = self.board  # type: ignore[assignment]  # what is used of one
        self.live = Live(
            channel_of=lambda _: channel,
            outbox=self.tray,  # type: ignore[arg-type]  # what is used of one
            asked=self._asked,
            poke=lambda chat_id, _: self.poked.append(chat_id),
            clock=FixedClock(NOW),
            settings=SETTINGS,
        )

    async def _asked(self, turn_id: TurnId) -> tuple[int, str] | None:
        return (1, "m41") if turn_id == TURN else None

    def begin(self, *, is_group: bool = True, **changes: Any) -> None:
        turn = Turn(
            id=TURN, kind="messages", chat_id=FAMILY.chat_id, folder=FAMILY.folder, session_id="s", action_id="a",  # type: ignore[arg-type]
            event_id="e", state="running", tries=0, started_at=NOW,  # type: ignore[arg-type]
        )  # fmt: skip
        self.live.begin(replace(turn, **changes), is_group=is_group)


def staged(mode: LiveMode, story: Callable[[Stage], Any]) -> Stage:
    stages: list[Stage] = []

    async def whole() -> None:
        stages.append(Stage(mode))
        await story(stages[0])
        await stages[0].live.stop()

    play(whole)
    return stages[0]


def test_a_draft_grows_once_a_second_and_ends_with_the_turn() -> None:
    async def story(stage: Stage) -> None:
        stage.begin()
        for piece in ("one", " two", " three"):
            stage.live.said(TURN, 1, piece)
            await asyncio.sleep(1)
        stage.live.end(TURN)
        stage.live.said(TURN, 1, " late")
        await asyncio.sleep(20)

    board = staged("draft", story).board
    assert board.shown == [(0.7, "one"), (1.7, "one two"), (2.7, "one two three")]
    assert board.ids == {draft_id(TURN)}


def test_an_answer_that_is_complete_at_once_is_not_shown_before() -> None:
    async def story(stage: Stage) -> None:
        stage.begin()
        stage.live.said(TURN, 1, "yes")
        await asyncio.sleep(0.6)
        stage.live.end(TURN)
        await asyncio.sleep(20)

    assert staged("draft", story).board.shown == []


def test_what_does_not_change_is_not_shown_again_and_only_what_fits_is_shown() -> None:
    async def story(stage: Stage) -> None:
        stage.begin()
        stage.live.said(TURN, 1, "x" * 30)
        await asyncio.sleep(5)
        stage.live.said(TURN, 1, "y" * 30)
        await asyncio.sleep(5)

    assert staged("draft", story).board.shown == [(0.7, "x" * 20)]


def test_only_the_text_of_the_model_call_that_goes_on_is_shown() -> None:
    async def story(stage: Stage) -> None:
        stage.begin()
        stage.live.said(TURN, 1, "let me look")
        await asyncio.sleep(1)
        stage.live.said(TURN, 2, "found it")
        await asyncio.sleep(1)

    assert [text for _, text in staged("draft", story).board.shown] == ["let me look", "found it"]


def test_where_nothing_may_be_watched_nothing_is_shown() -> None:
    async def story(stage: Stage) -> None:
        stage.begin()
        stage.live.said(TURN, 1, "one")
        await asyncio.sleep(20)

    assert staged("none", story).board.shown == []


def test_a_scheduled_task_is_not_shown_while_it_works() -> None:
    async def story(stage: Stage) -> None:
        stage.begin(kind="occurrence")
        stage.live.said(TURN, 1, "one")
        await asyncio.sleep(20)

    assert staged("draft", story).board.shown == []


def test_an_edited_answer_begins_as_a_message_and_is_changed_every_three_seconds() -> None:
    async def story(stage: Stage) -> None:
        stage.begin(thread="5")
        stage.live.said(TURN, 1, "one")
        await asyncio.sleep(1)
        stage.live.said(TURN, 1, " two")
        await asyncio.sleep(3)
        stage.tray.sent_as = "p7"
        await asyncio.sleep(3)
        stage.live.said(TURN, 1, " three")
        await asyncio.sleep(10)

    stage = staged("edit", story)
    (entry,) = stage.tray.entries
    assert (entry.key, entry.text, entry.thread, entry.reply_to) == (
        live_key(TURN),
        "one" + WRITING,
        "5",
        "m41",
    )
    assert entry.expires is not None
    assert stage.poked == [FAMILY.chat_id]
    assert stage.board.shown == [(6.7, "one two" + WRITING), (9.7, "one two three" + WRITING)]
    assert stage.board.ids == {"p7"}


def test_a_later_try_of_a_turn_goes_on_in_the_message_of_the_first() -> None:
    async def story(stage: Stage) -> None:
        stage.tray.sent_as = "p7"
        stage.begin()
        stage.live.said(TURN, 1, "again")
        await asyncio.sleep(1)

    stage = staged("edit", story)
    assert stage.tray.entries == []
    assert stage.board.shown == [(0.7, "again" + WRITING)]


def test_a_channel_that_fails_is_tried_again_and_costs_nothing() -> None:
    async def story(stage: Stage) -> None:
        stage.begin()
        stage.board.broken = True
        stage.live.said(TURN, 1, "one")
        await asyncio.sleep(1)
        stage.board.broken = False
        await asyncio.sleep(1)

    assert staged("draft", story).board.shown == [(1.7, "one")]


def test_an_answer_waits_for_what_is_on_its_way_but_not_for_ever() -> None:
    async def story(stage: Stage) -> None:
        loop = asyncio.get_running_loop()
        await stage.live.hushed(TURN)
        stage.begin()
        stage.board.held = asyncio.Event()
        stage.live.said(TURN, 1, "one")
        await asyncio.sleep(1)
        await stage.live.hushed(TURN)
        assert loop.time() == 1, "the turn is not over: nothing to wait for"
        stage.live.end(TURN)
        loop.call_later(2, stage.board.held.set)
        await stage.live.hushed(TURN)
        assert (loop.time(), [text for _, text in stage.board.shown]) == (3, ["one"])

        stage.begin()
        stage.board.held = asyncio.Event()
        stage.live.said(TURN, 1, "two")
        await asyncio.sleep(1)
        stage.live.end(TURN)
        await stage.live.hushed(TURN)
        assert loop.time() == 4 + SETTINGS.hush_s
        stage.board.held.set()
        await asyncio.sleep(5)

    assert [text for _, text in staged("draft", story).board.shown] == ["one"], "what hung was cut off"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a <internal>b</internal> c", "a  c"),
        ("a <internal>b", "a"),
        ("a <inter", "a"),
        ("a <", "a"),
        ("a <INTERNAL ", "a"),
        ("a </int", "a"),
        ("a <internal>b</inter", "a"),
        ("1 < 2", "1 < 2"),
        ("if a <b", "if a <b"),
    ],
)
def test_what_may_be_seen_of_a_beginning(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(
    before=st.text(alphabet="ab <i", max_size=8),
    secret=st.text(alphabet="XYZ", min_size=1, max_size=8),
    after=st.text(alphabet="cd >/", max_size=8),
)
def test_no_beginning_of_a_text_shows_anything_internal(before: str, secret: str, after: str) -> None:
    text = f"{before}<internal>{secret}</internal>{after}"
    for end in range(len(text) + 1):
        seen = visible(text[:end])
        assert not set(seen) & set("XYZ")
        assert "intern" not in seen


async def test_the_outbox_of_a_real_store_takes_a_live_answer(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        turn = (await vault.turn()).turn
        board = Blackboard("edit")
        channel: Channel = board  # type: ignore[assignment]  # what is used of one
        live = Live(
            channel_of=lambda _: channel,
            outbox=vault.store.outbox,
            asked=vault.store.turns.last_asked,
            poke=lambda *_: None,
            clock=vault.clock,
            settings=LiveSettings(first_after_s=0.001, edit_every_s=0.001),
        )
        live.begin(turn, is_group=True)
        live.said(turn.id, 1, "one")
        async with asyncio.timeout(20):
            while not vault.rows("SELECT 1 FROM outbox"):
                await asyncio.sleep(0.001)
        await live.stop()

        assert vault.rows("SELECT key, text, reply_to, turn_id FROM outbox") == [
            (live_key(turn.id), "one" + WRITING, "m1", turn.id)
        ]


class Slate(Pigeon):
    """A pigeon whose messages can be watched while they are written."""

    def __init__(self) -> None:
        super().__init__()
        self.updates: list[tuple[str, str]] = []

    def live_mode(self, chat_id: ChatId, thread: str | None, *, is_group: bool) -> LiveMode:
        return "edit"

    async def update(self, chat_id: ChatId, platform_id: str, text: str) -> None:
        self.updates.append((platform_id, text))


@pytest.mark.parametrize("stopped", [False, True])
async def test_from_the_first_words_to_the_last_there_is_one_message(
    tmp_path: Path, *, stopped: bool
) -> None:
    slate = Slate()
    async with opened(tmp_path) as vault, post(vault, slate) as p:
        live = Live(
            channel_of=lambda _: slate,  # type: ignore[arg-type, return-value]  # what is used of one
            outbox=vault.store.outbox,
            asked=vault.store.turns.last_asked,
            poke=p.delivery.poke,
            clock=vault.clock,
            settings=LiveSettings(first_after_s=0.001, edit_every_s=0.001),
        )
        started = await vault.turn()
        turn = started.turn
        live.begin(turn, is_group=True)
        live.said(turn.id, 1, "one")
        await p.until(lambda: slate.texts() == ["one" + WRITING])
        live.said(turn.id, 1, " two")
        await p.until(lambda: slate.updates == [("id 1", "one two" + WRITING)])
        live.end(turn.id)
        if stopped:
            await vault.store.change(lambda tx: tx.cancel(FAMILY.chat_id))
        else:
            reply = entry("one two three", turn_id=turn.id)
            await vault.end(started, Ending(state="answered", reason="", entry=reply))
        p.delivery.poke(FAMILY.chat_id, "conversation")
        await p.empty()
        await live.stop()

    assert [(part.text, part.replaces) for part in slate.sent[1:]] == [
        ("(stopped)" if stopped else "one two three", "id 1")
    ]
