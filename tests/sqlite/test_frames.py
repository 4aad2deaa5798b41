"""Frames in the store: the effects of each are there once, together with its number, and a host call is carried out once."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.domain import RunId
from nanoclaw.ports import HostTool, HostToolCall, HostToolRefusedError, Tx
from nanoclaw.stores import Ending, Started
from nanoclaw.wire import Accepted, HostCall, ModelEnd, ToolEnd
from tests.sqlite.vault import FAMILY, MAIN, NOW, RUN, Vault, after_a_kill, entry, opened

OTHER_RUN = RunId("run-2")


class Bell:
    """A host tool that notes each time it is carried out."""

    def __init__(
        self, *, says: str = "rung", error: Exception | None = None, main_only: bool = False
    ) -> None:
        self.rung: list[Mapping[str, Any]] = []
        self._says = says
        self._error = error
        self.tool = HostTool(name="ring", description="", input_schema={}, run=self._run, main_only=main_only)

    def _run(self, tx: Tx, call: HostToolCall) -> str:
        self.rung.append(call.input)
        tx.put(entry("ding", key=f"call:{call.turn.id}:{call.call_id}", group=call.group))
        if self._error:
            raise self._error
        return self._says


def host_call(started: Started, call: str = "t1", name: str = "ring") -> HostCall:
    return HostCall(turn=started.turn.id, call=call, name=name, input={"times": 3})


def model_end(started: Started, text: str = "hi", **changes: Any) -> ModelEnd:
    given: dict[str, Any] = {"call": 1, "model": "m", "ok": True, "content": [{"type": "text", "text": text}]}
    return ModelEnd(turn=started.turn.id, **(given | changes))


def transcript(vault: Vault) -> list[tuple[str, Any]]:
    return [
        (role, json.loads(content))
        for role, content in vault.rows("SELECT role, content FROM transcript ORDER BY id")
    ]


async def test_a_frame_takes_effect_once_however_often_it_comes(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        end = ToolEnd(turn=started.turn.id, call="t1", name="read", ok=False, content="no such file")
        for _ in range(2):
            await vault.store.runs.model_end(RUN, 2, model_end(started), started.turn, NOW)
            await vault.store.runs.tool_end(RUN, 3, end, started.turn, {"path": "x"}, "tool", NOW)

        assert [role for role, _ in transcript(vault)] == ["user", "assistant", "user"]
        result = {"type": "tool_result", "tool_use_id": "t1", "content": "no such file", "is_error": True}
        assert transcript(vault)[-1] == ("user", [result])
        assert vault.rows("SELECT kind, success FROM tool_call_log ORDER BY rowid") == [
            ("model", 1),
            ("tool", 0),
        ]
        assert vault.value("SELECT last_frame FROM runs") == 3


async def test_a_frame_and_its_number_survive_a_kill_together(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        await vault.store.runs.model_end(RUN, 2, model_end(started, "kept"), started.turn, NOW)
        async with after_a_kill(vault) as found:
            assert found.value("SELECT last_frame FROM runs") == 2
            assert transcript(found)[-1] == ("assistant", [{"type": "text", "text": "kept"}])


async def test_a_failed_model_call_leaves_its_trace_and_no_word_in_the_conversation(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        failed = model_end(started, ok=False, content=[], error="overloaded", duration_ms=1500)
        await vault.store.runs.model_end(RUN, 2, failed, started.turn, NOW)

        assert [role for role, _ in transcript(vault)] == ["user"]
        assert vault.rows("SELECT tool_name, kind, success, output, duration_ms FROM tool_call_log") == [
            ("m", "model", 0, "overloaded", 1500)
        ]


async def test_the_models_blocks_are_kept_as_they_came(tmp_path: Path) -> None:
    blocks = [
        {"type": "thinking", "thinking": "ß\n", "signature": "s=="},
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "日本"}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "s1",
            "content": {"type": "error", "error_code": "x"},
        },
        {"type": "text", "text": "😀", "unknown_key": [1, None, 2.5]},
    ]
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        await vault.store.runs.model_end(RUN, 2, model_end(started, content=blocks), started.turn, NOW)

        assert transcript(vault)[-1] == ("assistant", blocks)
        assert vault.rows("SELECT tool_name, success FROM tool_call_log WHERE kind = 'server_tool'") == [
            ("web_search", 0)
        ]


async def test_a_host_call_is_carried_out_once_and_answered_each_time(tmp_path: Path) -> None:
    bell = Bell()
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        first, second = await asyncio.gather(
            *(
                vault.store.runs.host_call(RUN, n, host_call(started), started.turn, bell.tool, NOW)
                for n in (4, 5)
            )
        )

        assert bell.rung == [{"times": 3}]
        assert (first[1].ok, first[1].content) == (second[1].ok, second[1].content) == (True, "rung")
        assert first[0] != second[0], "each answer is a host frame of its own"
        assert vault.rows("SELECT text FROM outbox") == [("ding",)]
        assert vault.rows("SELECT source, source_id FROM event_log WHERE source = 'ipc'") == [("ipc", "t1")]


async def test_a_resumed_turn_is_told_what_its_host_calls_came_to(tmp_path: Path) -> None:
    bell = Bell()
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        await vault.store.runs.host_call(RUN, 4, host_call(started), started.turn, bell.tool, NOW)
        async with after_a_kill(vault) as found:
            await found.store.recover()
            await found.run(OTHER_RUN)
            resumed = await found.store.turns.resume(started.turn.id, OTHER_RUN, None, NOW)
            assert resumed
            assert resumed.results == {"t1": (True, "rung")}

            _, again = await found.store.runs.host_call(
                OTHER_RUN, 2, host_call(started), resumed.turn, bell.tool, NOW
            )

            assert again.content == "rung"
            assert len(bell.rung) == 1
            assert found.value("SELECT count(*) FROM outbox") == 1


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (HostToolRefusedError("not today"), "not today"),
        (KeyError("inside"), "ring failed inside the program: KeyError"),
    ],
)
async def test_a_host_call_that_fails_leaves_nothing_but_its_answer(
    tmp_path: Path, error: Exception, answer: str
) -> None:
    bell = Bell(error=error)
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        _, result = await vault.store.runs.host_call(RUN, 4, host_call(started), started.turn, bell.tool, NOW)

        assert (result.ok, result.content) == (False, answer)
        assert vault.value("SELECT count(*) FROM outbox") == 0
        assert vault.rows("SELECT ok, content FROM host_calls") == [(0, answer)]


async def test_a_mistake_in_a_tools_own_sql_is_told_to_the_agent(tmp_path: Path) -> None:
    tool = HostTool(
        name="ring",
        description="",
        input_schema={},
        run=lambda tx, call: str(tx.execute("SELECT * FROM nowhere")),
    )
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        _, result = await vault.store.runs.host_call(RUN, 4, host_call(started), started.turn, tool, NOW)

        assert (result.ok, result.content) == (False, "ring failed inside the program: OperationalError")


async def test_what_may_not_be_asked_is_refused_in_words(tmp_path: Path) -> None:
    bell = Bell(main_only=True)
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        main = await vault.turn("hi", MAIN, OTHER_RUN)
        calls = vault.store.runs.host_call
        _, unknown = await calls(RUN, 4, host_call(started, "t1", "dance"), started.turn, None, NOW)
        _, elsewhere = await calls(RUN, 5, host_call(started, "t2"), started.turn, bell.tool, NOW)
        _, allowed = await calls(OTHER_RUN, 4, host_call(main, "t3"), main.turn, bell.tool, NOW)
        await vault.end(main, Ending(state="answered", reason="", entry=None))
        _, late = await calls(OTHER_RUN, 5, host_call(main, "t4"), main.turn, bell.tool, NOW)

        assert unknown.content == "There is no host tool named dance."
        assert elsewhere.content == "ring is for the main chat only."
        assert allowed.ok
        assert late.content == "This turn is over."
        assert len(bell.rung) == 1


async def test_host_frames_are_numbered_and_kept_until_they_are_acknowledged(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        seq = await vault.say("more")
        offer = await vault.store.turns.follow_up(started.turn.id, RUN, [seq], "more")
        assert offer
        interrupt = await vault.store.runs.reserve(RUN, "interrupt", started.turn.id)
        assert [started.frame, offer, interrupt] == [1, 2, 3]
        kept = await vault.store.runs.kept_frames(RUN)
        assert [(frame.n, frame.type, frame.body) for frame in kept] == [
            (1, "turn_start", None), (2, "follow_up", {"text": "more"}), (3, "interrupt", {}),
        ]  # fmt: skip

        await vault.store.runs.acknowledged(RUN, 2)
        left = [(frame.n, frame.type) for frame in await vault.store.runs.kept_frames(RUN)]
        assert left == [(2, "follow_up"), (3, "interrupt")], "an offer is kept until it is accepted"

        await vault.store.runs.accepted(
            RUN, 4, Accepted(turn=started.turn.id, frame=offer), started.turn, NOW
        )
        assert [frame.n for frame in await vault.store.runs.kept_frames(RUN)] == [3]


async def test_accepting_twice_says_it_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        seq = await vault.say("more")
        offer = await vault.store.turns.follow_up(started.turn.id, RUN, [seq], "more")
        assert offer
        for n in (4, 4, 5):
            await vault.store.runs.accepted(
                RUN, n, Accepted(turn=started.turn.id, frame=offer), started.turn, NOW
            )

        assert [role for role, _ in transcript(vault)] == ["user", "user"]
        assert vault.value("SELECT cursor_seq FROM registered_groups WHERE jid = ?", FAMILY.chat_id) == seq


async def test_a_follow_up_that_was_stopped_meanwhile_is_not_taken_in(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        seq = await vault.say("more")
        offer = await vault.store.turns.follow_up(started.turn.id, RUN, [seq], "more")
        assert offer
        await vault.store.change(lambda tx: tx.cancel(FAMILY.chat_id))
        await vault.store.runs.accepted(
            RUN, 4, Accepted(turn=started.turn.id, frame=offer), started.turn, NOW
        )

        assert len(transcript(vault)) == 1
        assert vault.rows("SELECT outcome FROM messages") == [("cancelled",), ("cancelled",)]


async def test_a_run_that_ended_keeps_no_frames(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.turn()
        await vault.store.runs.end(RUN, "idle", NOW)

        assert await vault.store.runs.kept_frames(RUN) == []
        assert vault.rows("SELECT state, exit_reason FROM runs") == [("ended", "idle")]


async def test_after_a_kill_runs_that_are_not_ours_any_more_have_ended(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.run(RUN)
        await vault.run(OTHER_RUN, MAIN)
        async with after_a_kill(vault) as found:
            assert (await found.store.recover(kept=[OTHER_RUN])).ended_runs == 1
            assert dict(found.rows("SELECT id, state FROM runs")) == {RUN: "ended", OTHER_RUN: "live"}
