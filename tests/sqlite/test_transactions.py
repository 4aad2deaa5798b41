"""What commands and tools do in one transaction: stop, try again, start afresh; whole or not at all."""

from pathlib import Path

import pytest

from nanoclaw.domain import StoredMessage, TurnId
from nanoclaw.errors import BadInputError
from nanoclaw.ports import Tx
from nanoclaw.stores import Ending
from tests.sqlite.vault import FAMILY, MAIN, NOW, RUN, Vault, after_a_kill, entry, opened


def outcomes(vault: Vault) -> list[str]:
    return [row[0] for row in vault.rows("SELECT outcome FROM messages ORDER BY seq")]


async def failed(vault: Vault, text: str = "hello") -> TurnId:
    started = await vault.begin(await vault.say(text))
    await vault.end(started, Ending(state="failed", reason="broken", entry=entry("sorry"), failed=True))
    return started.turn.id


async def test_stopping_a_chat_cancels_its_turns_and_messages_and_nothing_elsewhere(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn("runs")
        await vault.say("waits")
        await vault.say("elsewhere", MAIN)
        await vault.task()
        (due,) = await vault.store.tasks.claim_due(NOW)

        turns, messages = await vault.store.change(lambda tx: tx.cancel(FAMILY.chat_id))

        assert (set(turns), messages) == ({started.turn.id, due.turn_id}, 2)
        assert outcomes(vault) == ["cancelled", "cancelled", "open"]
        async with after_a_kill(vault) as found:
            assert (await found.store.recover()).turns == 0
            assert await found.store.turns.waiting(FAMILY.chat_id) == []
        assert await vault.store.change(lambda tx: tx.cancel(FAMILY.chat_id)) == ([], 0)


async def test_what_an_agent_says_after_its_turn_was_stopped_sends_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        await vault.store.change(lambda tx: tx.cancel(FAMILY.chat_id))

        assert not await vault.end(started, Ending(state="answered", reason="", entry=entry("42")), frame=9)
        assert vault.value("SELECT count(*) FROM outbox") == 0
        assert vault.value("SELECT last_frame FROM runs") == 9, "and the frame counts as taken"


async def retry(vault: Vault, ref: str) -> StoredMessage | str:
    return await vault.store.change(lambda tx: tx.retry(ref))


@pytest.mark.parametrize("how", ["number", "#number", "turn", "beginning of turn"])
async def test_a_failed_message_is_opened_again_and_makes_a_new_turn(tmp_path: Path, how: str) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        turn_id = await failed(vault)
        ref = {"number": "1", "#number": "#1", "turn": turn_id, "beginning of turn": turn_id[:4]}[how]

        message = await retry(vault, ref)

        assert isinstance(message, StoredMessage)
        assert message.seq == 1
        (waiting,) = (await vault.store.mailbox.open_messages(FAMILY.chat_id, context=0)).waiting
        assert waiting.mentions_me, "it needs no trigger the second time"
        again = await vault.begin(1)
        assert again.turn.id != turn_id
        await vault.end(again, Ending(state="answered", reason="", entry=entry("42")))
        assert outcomes(vault) == ["answered"]


async def test_a_cancelled_message_is_opened_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.turn()
        await vault.store.change(lambda tx: tx.cancel(FAMILY.chat_id))

        assert isinstance(await retry(vault, "1"), StoredMessage)
        await vault.begin(1)


async def test_what_cannot_be_tried_again_is_said_in_words(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        started = await vault.begin(await vault.say())
        assert await retry(vault, "1") == "No message with an outcome is known as 1."
        await vault.end(started, Ending(state="answered", reason="", entry=entry("42")))

        assert "Message #1 is answered" in str(await retry(vault, "1"))
        assert "No message" in str(await retry(vault, "99"))
        assert "No message" in str(await retry(vault, "99999999999999999999999999"))
        for ref in ("abc", "****", "a?cd", "[a-z]*", ""):
            assert "at least 4 characters" in str(await retry(vault, ref))
        assert outcomes(vault) == ["answered"]


async def test_a_change_that_fails_leaves_nothing_of_itself(tmp_path: Path) -> None:
    def change(tx: Tx) -> None:
        tx.put(entry("half"))
        tx.new_session(FAMILY.folder)
        tx.cancel(FAMILY.chat_id)
        tx.add_group(FAMILY)

    async with opened(tmp_path) as vault:
        started = await vault.turn()
        with pytest.raises(BadInputError):
            await vault.store.change(change)

        assert vault.value("SELECT count(*) FROM outbox") == 0
        assert vault.value("SELECT session_id FROM sessions") == started.turn.session_id
        assert outcomes(vault) == ["open"]
        assert vault.value("SELECT state FROM turns") == "running"


async def test_a_turn_may_be_silenced_by_a_tool(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        await vault.store.change(lambda tx: tx.silence_turn(started.turn.id))
        await vault.store.turns.put_off(
            started.turn, reason="", fault=False, empty=False, notice=None, action=None, now=NOW
        )

        resumed = await vault.store.turns.resume(started.turn.id, RUN, None, NOW)
        assert resumed
        assert resumed.turn.silent_by_tool


async def test_one_time_stands_on_everything_of_a_transaction(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        vault.clock.advance(5)
        started = await vault.turn()
        vault.clock.advance(5)
        await vault.end(started, Ending(state="answered", reason="", entry=entry("42")))

        ended = "2026-11-20T09:00:10.000Z"
        assert vault.value("SELECT outcome_at FROM messages") == ended
        assert vault.value("SELECT ended_at FROM turns") == ended
        assert vault.value("SELECT created_at FROM outbox") == ended
        assert vault.value("SELECT timestamp FROM action_log") == ended
