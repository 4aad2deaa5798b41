"""The way out in the store: a decision is kept once, each part's state is known at every instant, also across a kill."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from nanoclaw.domain import Action, ActionId, Button, OutboxId, OutboxPart, ToolCall, TurnId
from nanoclaw.stores import Ending, Head, live_key
from tests.sqlite.vault import FAMILY, MAIN, NOW, Vault, after_a_kill, entry, opened


def call(*, success: bool = True) -> ToolCall:
    return ToolCall(
        action_id=None, tool_name="channel.sendMessage", started_at=NOW, duration_ms=1, success=success
    )


async def head(vault: Vault) -> Head:
    found = await vault.store.outbox.head(FAMILY.chat_id, "conversation")
    assert found
    return found


async def begun(vault: Vault, *texts: str) -> Head:
    """An entry whose first part is being sent."""
    await vault.store.outbox.put(entry("\n".join(texts)), NOW)
    await vault.store.outbox.begin((await head(vault)).entry.id, texts)
    return await head(vault)


async def states(vault: Vault) -> list[tuple[str, int]]:
    return [(part.state, part.attempts) for part in (await head(vault)).parts]


async def sent(vault: Vault, at: Head, part: OutboxPart, *, last: bool) -> None:
    await vault.store.outbox.sent(
        at.entry, part, f"p{part.index}", call(), then="end" if last else "next", now=NOW
    )


async def test_the_same_decision_is_stored_once(tmp_path: Path) -> None:
    action = Action(action_type="message_sent", triggered_by=None)
    async with opened(tmp_path) as vault:
        put = vault.store.outbox.put
        stored = list(
            await asyncio.gather(
                put(entry("one", key="k"), NOW, action),
                put(entry("two", key="k"), NOW, Action(action_type="x", triggered_by=None)),
            )
        )

        assert stored == [True, False]
        assert vault.rows("SELECT text FROM outbox") == [("one",)]
        assert vault.value("SELECT count(*) FROM action_log") == 1


async def test_an_entry_comes_back_as_it_was_put_even_after_a_kill(tmp_path: Path) -> None:
    given = entry(
        "hi",
        thread="5",
        reply_to="m1",
        due=NOW,
        expires=NOW + timedelta(hours=1),
        action_id=ActionId("a"),
        lane="command",
        kind="file",
        edit_of=OutboxId("e"),
        spool_path="0a.pdf",
        file_name="böse “Datei”.pdf",
        mime="application/pdf",
        buttons=(Button(label="Ja, bitte", command="/yes 3"), Button(label="No", command="/no 3")),
    )
    async with opened(tmp_path) as vault:
        await vault.store.outbox.put(given, NOW)
        async with after_a_kill(vault) as found:
            at = await found.store.outbox.head(FAMILY.chat_id, "command")
            assert at
            assert (at.entry, at.created_at, at.parts) == (given, NOW, [])


async def test_a_lane_is_a_line_and_lanes_are_apart(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        for text in ("one", "two"):
            await vault.store.outbox.put(entry(text), NOW)
        await vault.store.outbox.put(entry("status", lane="command"), NOW)
        await vault.store.outbox.put(entry("elsewhere", group=MAIN), NOW)

        lanes = await vault.store.outbox.unsent_lanes()
        assert sorted(lanes) == [
            (MAIN.chat_id, "conversation"), (FAMILY.chat_id, "command"), (FAMILY.chat_id, "conversation"),
        ]  # fmt: skip
        first = await head(vault)
        assert first.entry.text == "one"
        await vault.store.outbox.begin(first.entry.id, ["one"])
        await sent(vault, first, (await head(vault)).parts[0], last=True)
        assert (await head(vault)).entry.text == "two"


async def test_each_part_is_marked_before_it_is_sent_and_the_last_one_ends_the_entry(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        at = await begun(vault, "a", "b")
        assert await states(vault) == [("sending", 1), ("queued", 0)]

        await sent(vault, at, at.parts[0], last=False)
        assert await states(vault) == [("sent", 1), ("sending", 1)]

        await sent(vault, at, at.parts[1], last=True)
        assert vault.rows("SELECT state, done_at FROM outbox") == [("sent", "2026-11-20T09:00:00.000Z")]
        assert vault.rows("SELECT platform_id FROM outbox_parts ORDER BY part") == [("p0",), ("p1",)]
        assert await vault.store.outbox.unsent_lanes() == []


async def test_what_was_being_sent_at_a_kill_is_uncertain_and_what_was_not_is_queued(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        at = await begun(vault, "a", "b", "c")
        await sent(vault, at, at.parts[0], last=False)
        async with after_a_kill(vault) as found:
            assert (await found.store.recover()).uncertain_parts == 1
            assert await states(found) == [("sent", 1), ("uncertain", 1), ("queued", 0)]


async def test_what_was_only_decided_at_a_kill_is_sent_without_doubt(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.store.outbox.put(entry("hi"), NOW)
        async with after_a_kill(vault) as found:
            assert (await found.store.recover()).uncertain_parts == 0
            assert (await head(found)).parts == []


@pytest.mark.parametrize("state", ["queued", "uncertain"])
async def test_a_part_that_was_not_sent_says_why_and_counts_its_tries(tmp_path: Path, state: str) -> None:
    async with opened(tmp_path) as vault:
        at = await begun(vault, "a")
        await vault.store.outbox.not_sent(
            at.parts[0], state=state, error="no route", next_try=NOW + timedelta(seconds=5), call=call(success=False), now=NOW  # type: ignore[arg-type]
        )  # fmt: skip
        assert await states(vault) == [(state, 1)]
        assert vault.rows("SELECT error, next_try FROM outbox_parts") == [
            ("no route", "2026-11-20T09:00:05.000Z")
        ]

        await vault.store.outbox.sending(at.parts[0])
        assert await states(vault) == [("sending", 2)]
        assert vault.rows("SELECT success FROM tool_call_log") == [(0,)]


async def test_what_is_given_up_fails_with_its_reason_and_keeps_what_was_sent(tmp_path: Path) -> None:
    failed = Action(action_type="delivery_failed", triggered_by=None, failed=True)
    async with opened(tmp_path) as vault:
        at = await begun(vault, "a", "b")
        await sent(vault, at, at.parts[0], last=False)
        await vault.store.outbox.give_up(at.entry, "blocked", failed, call(success=False), NOW)

        assert vault.rows("SELECT state, error FROM outbox_parts ORDER BY part") == [
            ("sent", None),
            ("failed", "blocked"),
        ]
        assert vault.value("SELECT state FROM outbox") == "failed"
        assert vault.rows("SELECT action_type, failed FROM action_log") == [("delivery_failed", 1)]
        assert await vault.store.outbox.unsent_lanes() == []


async def test_what_is_too_old_is_known_in_the_order_in_which_it_was_decided(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        for text, expires in (("a", None), ("b", NOW + timedelta(hours=1)), ("c", NOW + timedelta(days=9))):
            await vault.store.outbox.put(entry(text, expires=expires), NOW)
        await vault.store.outbox.put(entry("later"), NOW + timedelta(hours=1))
        await vault.store.outbox.put(entry("other lane", lane="command"), NOW)

        async def old(after: timedelta) -> list[str]:
            found = await vault.store.outbox.too_old(
                FAMILY.chat_id, "conversation", NOW + after, timedelta(hours=24)
            )
            return [each.text for each in found]

        assert await old(timedelta(minutes=59)) == []
        assert await old(timedelta(hours=1)) == ["b"]
        assert await old(timedelta(hours=24)) == ["a", "b"]


async def test_what_was_given_up_before_it_was_begun_says_why(tmp_path: Path) -> None:
    failed = Action(action_type="delivery_failed", triggered_by=None, failed=True)
    async with opened(tmp_path) as vault:
        await vault.store.outbox.put(entry("hi"), NOW)
        await vault.store.outbox.give_up((await head(vault)).entry, "too old", failed, None, NOW)

        assert vault.rows("SELECT text, state, error FROM outbox_parts") == [("hi", "failed", "too old")]


async def test_an_entry_is_shown_once_its_first_part_was_sent(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        at = await begun(vault, "a", "b")
        assert await vault.store.outbox.shown(at.entry.id) is None
        await sent(vault, at, at.parts[0], last=False)

        assert await vault.store.outbox.shown(at.entry.id) == "p0"
        assert await vault.store.outbox.shown(at.entry.key) == "p0"


async def test_a_file_is_needed_until_its_entry_is_sent(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.store.outbox.put(entry("a", kind="file", spool_path="0a.pdf"), NOW)
        assert await vault.store.outbox.spooled() == {"0a.pdf"}
        at = await head(vault)
        await vault.store.outbox.begin(at.entry.id, ["a"])
        await sent(vault, at, (await head(vault)).parts[0], last=True)

        assert await vault.store.outbox.spooled() == set()


async def live(vault: Vault) -> TurnId:
    """A turn that runs, with the beginning of its answer in the outbox."""
    turn = (await vault.turn()).turn
    begin = entry("so far", key=live_key(turn.id), turn_id=turn.id)
    assert await vault.store.outbox.put_live(begin, NOW)
    return turn.id


async def test_an_answer_takes_the_place_of_its_live_beginning(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        turn = started.turn
        await vault.store.outbox.put_live(entry("so far", key=live_key(turn.id), turn_id=turn.id), NOW)
        reply = entry("done", key="reply", turn_id=turn.id)
        await vault.end(started, Ending(state="answered", reason="", entry=reply))

        kinds = vault.rows("SELECT text, kind, edit_of IS (SELECT id FROM outbox WHERE ord = 1) FROM outbox")
        assert kinds == [("so far", "text", 0), ("done", "edit", 1)]


async def test_an_answer_without_a_live_beginning_is_a_message(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        reply = entry("done", turn_id=started.turn.id)
        await vault.end(started, Ending(state="answered", reason="", entry=reply))

        assert vault.rows("SELECT text, kind, edit_of FROM outbox") == [("done", "text", None)]


async def test_a_live_beginning_whose_turn_is_stopped_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        turn = await live(vault)
        await vault.store.change(lambda tx: tx.cancel(FAMILY.chat_id))

        assert vault.rows("SELECT key, text, kind FROM outbox WHERE ord = 2") == [
            (f"live:{turn}:end", "(stopped)", "edit")
        ]


async def test_nothing_live_is_begun_once_the_turn_is_over(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        turn = (await vault.turn()).turn
        await vault.store.change(lambda tx: tx.cancel(FAMILY.chat_id))

        late = entry("so far", key=live_key(turn.id), turn_id=turn.id)
        assert not await vault.store.outbox.put_live(late, NOW)
        assert vault.rows("SELECT * FROM outbox") == []
