"""Host tools that look before they act: once, only if they may, and told in the record whatever comes of it."""

import asyncio
from pathlib import Path

import pytest

from nanoclaw.domain import RunId
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import HostTool, HostToolCall, HostToolRefusedError, HostToolRequest, Tx
from nanoclaw.sqlite.runs import Runs
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.stores import Started
from nanoclaw.wire import HostCall
from tests.sqlite.vault import FAMILY, MAIN, NOW, RUN, Vault, entry, opened

OTHER_RUN = RunId("run-2")


class Lookup:
    """A host tool that finds out a number first, and then sends it."""

    def __init__(self, *, error: Exception | None = None, main_only: bool = False) -> None:
        self.asked: list[HostToolRequest] = []
        self.done: list[HostToolCall] = []
        self._error = error
        self.tool = HostTool(
            name="look",
            description="",
            input_schema={},
            run=self._run,
            main_only=main_only,
            prepare=self._prepare,
        )

    async def _prepare(self, request: HostToolRequest) -> int:
        self.asked.append(request)
        if self._error:
            raise self._error
        return len(self.asked)

    def _run(self, tx: Tx, call: HostToolCall) -> str:
        self.done.append(call)
        tx.put(entry("found", key=f"call:{call.turn.id}:{call.call_id}", group=call.group))
        return f"number {call.prepared}"


def frame(started: Started, call: str = "t1") -> HostCall:
    return HostCall(turn=started.turn.id, call=call, name="look", input={"for": "keys"})


async def call(
    vault: Vault, started: Started, tool: HostTool, name: str = "t1", run: RunId = RUN
) -> tuple[bool, str]:
    _, result = await vault.store.runs.host_call(run, 4, frame(started, name), started.turn, tool, NOW)
    return result.ok, result.content


async def test_what_was_found_out_is_handed_to_the_transaction(tmp_path: Path) -> None:
    lookup = Lookup()
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        assert await call(vault, started, lookup.tool) == (True, "number 1")

        (request,) = lookup.asked
        assert (request.group, request.input, request.call_id) == (FAMILY, {"for": "keys"}, "t1")
        assert lookup.done[0].event_id == vault.value("SELECT id FROM event_log WHERE source = 'ipc'")
        assert vault.rows("SELECT ok, content FROM host_calls") == [(1, "number 1")]


async def test_a_call_that_comes_again_is_answered_from_its_record_without_another_look(
    tmp_path: Path,
) -> None:
    lookup = Lookup()
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        answers = [await call(vault, started, lookup.tool) for _ in range(3)]

        assert answers == [(True, "number 1")] * 3
        assert len(lookup.asked) == len(lookup.done) == 1
        assert vault.value("SELECT count(*) FROM event_log WHERE source = 'ipc'") == 1


async def test_a_call_that_comes_twice_at_once_is_carried_out_once(tmp_path: Path) -> None:
    lookup = Lookup()
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        one, other = await asyncio.gather(*(call(vault, started, lookup.tool) for _ in range(2)))

        assert one == other
        assert len(lookup.done) == 1
        assert vault.value("SELECT count(*) FROM outbox") == 1


async def test_nothing_is_looked_up_for_who_may_not_ask(tmp_path: Path) -> None:
    lookup = Lookup(main_only=True)
    async with opened(tmp_path) as vault:
        started, main = await vault.turn(), await vault.turn("hi", MAIN, OTHER_RUN)
        assert await call(vault, started, lookup.tool) == (False, "look is for the main chat only.")
        await vault.store.change(lambda tx: tx.cancel(MAIN.chat_id))
        assert await call(vault, main, lookup.tool, run=OTHER_RUN) == (False, "This turn is over.")

        assert lookup.asked == lookup.done == []
        assert vault.value("SELECT count(*) FROM event_log WHERE source = 'ipc'") == 2, (
            "the attempt leaves its trace"
        )


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (HostToolRefusedError("no such thing"), "no such thing"),
        (KeyError("inside"), "look failed inside the program: KeyError"),
    ],
)
async def test_a_look_that_fails_is_told_and_nothing_is_done(
    tmp_path: Path, error: Exception, answer: str
) -> None:
    lookup = Lookup(error=error)
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        assert await call(vault, started, lookup.tool) == (False, answer)

        assert lookup.done == []
        assert vault.rows("SELECT ok, content FROM host_calls") == [(0, answer)]


async def test_a_look_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    async def hang(_: HostToolRequest) -> None:
        await asyncio.Event().wait()

    tool = HostTool(name="look", description="", input_schema={}, run=lambda tx, call: "done", prepare=hang)
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        runs = Runs(
            writer=vault.store.writer, reader=vault.store.reader, trace=TraceWriter(str), prepare_limit_s=0.01
        )
        _, result = await runs.host_call(RUN, 4, frame(started), started.turn, tool, NOW)

        assert (result.ok, result.content) == (False, "look took longer than 0.01 s")


async def test_a_turn_that_is_stopped_during_the_look_gets_nothing_done(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:

        async def stopped_meanwhile(_: HostToolRequest) -> str:
            await vault.store.change(lambda tx: tx.cancel(FAMILY.chat_id))
            return "found"

        tool = HostTool(
            name="look",
            description="",
            input_schema={},
            run=lambda tx, call: "done",
            prepare=stopped_meanwhile,
        )
        started = await vault.turn()
        assert await call(vault, started, tool) == (False, "This turn is over.")


async def test_a_store_that_cannot_be_read_is_an_outage_and_no_answer(tmp_path: Path) -> None:
    lookup = Lookup(error=StoreUnavailableError("store: gone"))
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        with pytest.raises(StoreUnavailableError):
            await call(vault, started, lookup.tool)

        assert vault.value("SELECT count(*) FROM host_calls") == 0
