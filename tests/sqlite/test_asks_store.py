"""Questions to the owners in the store: put once, answered once, and what is held for them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.domain import (
    Ask,
    AskId,
    Attachment,
    ChatId,
    Cursor,
    Folder,
    Inbound,
    Quote,
    ToolCall,
)
from nanoclaw.sqlite import held
from nanoclaw.sqlite.asks import AskRules
from nanoclaw.sqlite.store import Store
from tests.sqlite.vault import FAMILY, MAIN, NOW, Vault, after_a_kill, inbound, opened

PHONE = replace(MAIN, chat_id=ChatId("tg:7"), name="Phone", folder=Folder("phone"))
CLUB = replace(FAMILY, chat_id=ChatId("tg:-5"), name="Book club", folder=Folder("club"))
AGAIN = timedelta(days=30)


async def ask(vault: Vault, question: str = "May I?", **payload: Any) -> Ask:
    return await vault.store.change(lambda tx: tx.ask("test", question, payload, about=FAMILY.chat_id))


async def hold(vault: Vault, told: Inbound, limit: int = 20) -> str:
    return await vault.store.asks.hold(
        told,
        why="unknown",
        question=f"{told.chat_name}?",
        limit=limit,
        again_after=AGAIN,
        now=vault.clock.now(),
    )


async def close(vault: Vault, ask_id: int, state: Any, by: str | None = "Ada") -> bool:
    return await vault.store.change(lambda tx: tx.close_ask(AskId(ask_id), state, by))


def stranger(n: int, text: str = "hello", **changes: Any) -> Inbound:
    club = replace(CLUB, chat_id=ChatId(f"tg:-{n}"), name=f"Club {n}")
    return inbound(text, club, **{"message_id": f"s{n}", **changes})


# --- questions -----------------------------------------------------------------------------------------------


async def test_a_question_goes_to_main_with_its_number_and_two_buttons(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        first, second = await ask(vault, "First?"), await ask(vault, "Second?", a=[1, "ü"])

        assert (first.id, second.id) == (1, 2)
        head = await vault.store.outbox.head(MAIN.chat_id, "command")
        assert head
        assert head.entry.text == "First?\n/yes 1 · /no 1"
        assert [(button.label, button.command) for button in head.entry.buttons] == [
            ("Yes", "/yes 1"), ("No", "/no 1"),
        ]  # fmt: skip
        async with after_a_kill(vault) as found:
            assert await found.store.asks.open() == [first, second]
            assert second.payload == {"a": [1, "ü"]}
            assert second.expires_at == NOW + timedelta(days=1)


async def test_a_question_goes_to_the_main_that_was_used_last(tmp_path: Path) -> None:
    async with opened(tmp_path, groups=(MAIN, PHONE)) as vault:
        await vault.sql(
            "UPDATE registered_groups SET owner_seen_at = '2026-11-20T08:00:00.000Z' WHERE jid = ?",
            PHONE.chat_id,
        )
        await ask(vault)

        assert vault.value("SELECT chat_jid FROM outbox") == PHONE.chat_id


async def test_a_question_goes_where_it_can_be_read_now(tmp_path: Path) -> None:
    rules = AskRules(expires_after_s=60, reachable=lambda chat_id: chat_id == MAIN.chat_id)
    async with opened(tmp_path, groups=(MAIN, PHONE)) as vault:
        await vault.sql("UPDATE registered_groups SET owner_seen_at = 'now' WHERE jid = ?", PHONE.chat_id)
    async with Store(vault.path, backups=tmp_path / "b", clock=vault.clock, ask_rules=rules) as store:
        asked = await store.change(lambda tx: tx.ask("test", "May I?", {}))

        assert vault.value("SELECT chat_jid FROM outbox") == MAIN.chat_id
        assert asked.expires_at == NOW + timedelta(seconds=60)


async def test_a_question_without_a_main_is_kept_all_the_same(tmp_path: Path) -> None:
    async with opened(tmp_path, groups=(FAMILY,)) as vault:
        asked = await ask(vault)

        assert await vault.store.asks.open() == [asked]
        assert vault.value("SELECT count(*) FROM outbox") == 0
        assert not await vault.store.change(lambda tx: tx.tell_main("k", "hello"))


async def test_a_question_hangs_on_its_event_in_the_trace(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await hold(vault, stranger(5))

        sql = (
            "SELECT e.disposition, a.action_type, a.target FROM action_log a JOIN event_log e ON e.id = a.triggered_by"
            " JOIN outbox o ON o.action_id = a.id"
        )
        assert vault.rows(sql) == [("unregistered", "owner_asked", MAIN.chat_id)]


async def test_a_question_is_closed_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        asked = await ask(vault)
        assert await close(vault, asked.id, "no", "Ada")
        assert not await close(vault, asked.id, "yes", "Bob")

        found = await vault.store.asks.find(asked.id)
        assert found == replace(asked, state="no", answered_by="Ada", answered_at=NOW)
        assert await vault.store.asks.open() == []


async def test_a_reply_finds_its_question_by_the_services_id_in_that_chat_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        asked = await ask(vault)
        head = await vault.store.outbox.head(MAIN.chat_id, "command")
        assert head
        await vault.store.outbox.begin(head.entry.id, [head.entry.text])
        head = await vault.store.outbox.head(MAIN.chat_id, "command")
        assert head
        call = ToolCall(
            action_id=None, tool_name="channel.sendMessage", started_at=NOW, duration_ms=1, success=True
        )
        await vault.store.outbox.sent(head.entry, head.parts[0], "901", call, then="end", now=NOW)

        assert await vault.store.asks.quoted(MAIN.chat_id, "901") == asked.id
        assert await vault.store.asks.quoted(FAMILY.chat_id, "901") is None
        assert await vault.store.asks.quoted(MAIN.chat_id, "902") is None


async def test_what_expires_next_is_known(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        assert await vault.store.asks.next_expiry() is None
        first = await ask(vault)
        vault.clock.advance(10)
        await ask(vault)

        assert await vault.store.asks.next_expiry() == first.expires_at
        assert await vault.store.asks.due(first.expires_at - timedelta(seconds=1)) == []
        assert await vault.store.asks.due(first.expires_at) == [first]


async def test_what_raises_in_an_attempt_leaves_nothing_and_the_rest_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:

        def broken(tx: Any) -> None:
            tx.tell_main("inside", "inside")
            raise KeyError("broken")

        def work(tx: Any) -> None:
            tx.tell_main("before", "before")
            with pytest.raises(KeyError):
                tx.attempt(lambda: broken(tx))
            tx.tell_main("after", tx.attempt(lambda: "after"))

        await vault.store.change(work)
        assert vault.rows("SELECT text FROM outbox ORDER BY ord") == [("before",), ("after",)]


# --- what is held ----------------------------------------------------------------------------------------------

texts = st.text(max_size=30)
maybe = st.none() | texts
attachments = st.builds(
    Attachment, kind=st.sampled_from(["image", "voice", "other"]), ref=texts, name=maybe, mime=maybe,
    size_bytes=st.none() | st.integers(0, 1 << 40), duration_s=st.none() | st.floats(0, 1e6),
)  # fmt: skip
inbounds = st.builds(
    Inbound, channel=texts, chat_id=texts.map(ChatId), chat_name=texts, is_group=st.booleans(), message_id=texts,
    sender=texts, sender_name=texts, text=st.text(st.characters(), max_size=100),
    sent_at=st.datetimes(timezones=st.just(UTC)), from_me=st.booleans(), from_bot=st.booleans(),
    mentions_me=st.booleans(), quote=st.none() | st.builds(Quote, message_id=texts, text=texts, sender_name=texts),
    thread=maybe, cursor=st.none() | st.builds(Cursor, name=texts, value=texts),
    attachments=st.lists(attachments, max_size=3).map(tuple), caption=maybe, edit_of=maybe,
)  # fmt: skip


@given(told=inbounds)
def test_a_held_message_is_kept_exactly_as_it_came(told: Inbound) -> None:
    assert held.from_json(held.as_json(told)) == told


async def test_a_chat_is_asked_about_once_and_its_newest_message_is_held(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        assert await hold(vault, stranger(5, "first")) == "asked"
        assert await hold(vault, stranger(5, "second", message_id="s5b")) == "held"

        assert vault.value("SELECT count(*) FROM asks") == 1
        assert vault.value("SELECT count(*) FROM outbox") == 1
        (body,) = vault.rows("SELECT body FROM held_messages")[0]
        assert held.from_json(body).text == "second"
        assert vault.rows("SELECT disposition, raw_content FROM event_log WHERE disposition IS NOT NULL") == [
            ("unregistered", None), ("unregistered", None),
        ]  # fmt: skip


@pytest.mark.parametrize("state", ["no", "expired", "withdrawn"])
async def test_what_is_held_is_deleted_unless_the_answer_is_yes(tmp_path: Path, state: str) -> None:
    async with opened(tmp_path) as vault:
        await hold(vault, stranger(5))
        await close(vault, 1, state)

        assert vault.value("SELECT count(*) FROM held_messages") == 0
        assert await vault.store.asks.to_replay() == []


@pytest.mark.parametrize("state", ["no", "expired"])
async def test_a_chat_that_nobody_wanted_is_not_asked_about_for_thirty_days(
    tmp_path: Path, state: str
) -> None:
    async with opened(tmp_path) as vault:
        await hold(vault, stranger(5))
        await close(vault, 1, state)

        vault.clock.advance(AGAIN.total_seconds() - 1)
        assert await hold(vault, stranger(5, "again")) == "noted"
        vault.clock.advance(2)
        assert await hold(vault, stranger(5, "and again")) == "asked"


async def test_a_chat_that_was_removed_is_not_asked_about_for_thirty_days(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.store.change(lambda tx: tx.remove_group(FAMILY.chat_id))
        assert await hold(vault, inbound()) == "noted"
        vault.clock.advance(AGAIN.total_seconds() + 1)
        assert await hold(vault, inbound()) == "asked"


async def test_a_flood_of_strangers_is_noted_and_not_asked_about(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        assert [await hold(vault, stranger(n), limit=2) for n in (1, 2, 3)] == ["asked", "asked", "noted"]
        assert await hold(vault, stranger(1, "newer"), limit=2) == "held", (
            "one that is held already may be replaced"
        )
        await close(vault, 2, "no")
        assert await hold(vault, stranger(3), limit=2) == "asked"
        assert vault.value("SELECT count(*) FROM held_messages") == 2


async def test_nobody_is_asked_if_nothing_may_be_held(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        assert await hold(vault, stranger(5), limit=0) == "noted"
        assert vault.value("SELECT count(*) FROM asks") == 0


async def test_a_message_of_a_chat_that_was_registered_meanwhile_is_not_held(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        assert await hold(vault, inbound()) == "registered"
        assert vault.value("SELECT count(*) FROM event_log") == 0


async def test_an_edit_changes_the_held_message_and_no_other(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        assert await hold(vault, stranger(5, "hi", message_id="s5:edit:1", edit_of="s5")) == "noted"
        await hold(vault, stranger(5, "helo"))
        assert await hold(vault, stranger(5, "hello", message_id="s5:edit:2", edit_of="s5")) == "held"
        assert await hold(vault, stranger(5, "other", message_id="s4:edit:2", edit_of="s4")) == "noted"

        assert held.from_json(vault.value("SELECT body FROM held_messages")) == stranger(5, "hello")


async def test_after_a_yes_it_can_be_replayed_without_its_read_position_until_it_was(tmp_path: Path) -> None:
    cursor = Cursor(name="telegram.offset", value="17")
    async with opened(tmp_path) as vault:
        await hold(vault, stranger(5, cursor=cursor, mentions_me=True))
        assert vault.value("SELECT value FROM router_state WHERE key = 'cursor.telegram.offset'") == "17"
        assert await vault.store.asks.to_replay() == []
        await close(vault, 1, "yes")

        async with after_a_kill(vault) as found:
            ((number, told),) = await found.store.asks.to_replay()
            assert told == stranger(5, mentions_me=True)
            await found.store.asks.replayed(number)
            assert await found.store.asks.to_replay() == []


async def test_a_chat_that_is_registered_otherwise_has_its_question_withdrawn(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await hold(vault, stranger(5))
        await vault.store.change(lambda tx: tx.add_group(replace(CLUB, chat_id=ChatId("tg:-5"))))

        assert vault.rows("SELECT state FROM asks") == [("withdrawn",)]
        assert vault.value("SELECT count(*) FROM held_messages") == 0


async def test_questions_of_a_group_that_is_removed_are_withdrawn(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        asked = await ask(vault)
        await vault.store.change(lambda tx: tx.remove_group(FAMILY.chat_id))

        found = await vault.store.asks.find(asked.id)
        assert found
        assert found.state == "withdrawn"


def test_a_moment_of_any_zone_is_kept(tmp_path: Path) -> None:
    told = stranger(5, sent_at=datetime.fromisoformat("2026-10-25T02:30:00.123456+02:00"))
    assert held.from_json(held.as_json(told)) == told
