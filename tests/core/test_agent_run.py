"""A run: each frame takes effect once and in order, and whatever its process does, its turn gets a last word."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.agent_run import AgentRun, Died
from nanoclaw.errors import OutageError, StoreUnavailableError
from nanoclaw.ports import HostTool
from nanoclaw.stores import LiveRun, Started
from nanoclaw.wire import (
    WIRE_VERSION,
    Accepted,
    Ack,
    AgentError,
    Close,
    FollowUp,
    Frame,
    Hello,
    HostCall,
    HostResult,
    Interrupt,
    ModelEnd,
    Text,
    ToolEnd,
    ToolStart,
    TurnEnd,
    TurnStart,
    decode,
    encode,
    encode_ack,
)
from tests.sqlite.vault import FAMILY, RUN, Vault, opened

HELLO = Hello(wire=WIRE_VERSION, program="puppet", pid=1)
OTHER = "turn of another life"


class Puppet:
    """An agent process that says what a test puts into its mouth."""

    handle = "4711"
    image = None

    def __init__(self) -> None:
        self._mouth: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._said = 0
        self._end = "exit 0"
        self.heard: list[tuple[int, Frame] | Ack] = []
        self.stops: list[float] = []
        self.deaf: Exception | None = None
        self.obeys = True

    def say(self, *frames: Frame) -> int:
        """The number of the last one."""
        for frame in frames:
            self._said += 1
            self._mouth.put_nowait(encode(frame, self._said))
        return self._said

    def raw(self, line: bytes) -> None:
        self._mouth.put_nowait(line)

    def die(self, how: str) -> None:
        self._end = how
        self._mouth.put_nowait(None)

    async def write(self, data: bytes) -> None:
        if self.deaf:
            raise self.deaf
        for line in data.splitlines():
            got = decode(line)
            if got:
                self.heard.append(got)
                if isinstance(got, tuple) and isinstance(got[1], Interrupt) and self.obeys:
                    self.say(TurnEnd(turn=got[1].turn, status="interrupted"))

    async def lines(self) -> AsyncIterator[bytes]:
        while (line := await self._mouth.get()) is not None:
            yield line

    async def stop(self, grace_s: float) -> None:
        self.stops.append(grace_s)
        self._mouth.put_nowait(None)

    async def detach(self) -> None:
        self.stops.append(-1)

    async def exited(self) -> str:
        return self._end

    def frames(self, kind: type[Frame]) -> list[Any]:
        return [got[1] for got in self.heard if isinstance(got, tuple) and isinstance(got[1], kind)]

    @property
    def acked(self) -> int:
        return max((got.upto for got in self.heard if isinstance(got, Ack)), default=0)


class Shaky:
    """The store of runs, away when a test wants it."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.away = False

    def __getattr__(self, name: str) -> Any:
        if self.away:
            raise StoreUnavailableError("full", safe="The store cannot be used.")
        return getattr(self._real, name)


@dataclass(slots=True)
class Stage:
    """A run with its puppet, and a turn that waits for it."""

    vault: Vault
    puppet: Puppet
    store: Shaky
    run: AgentRun
    started: Started
    rung: list[str]
    said: list[tuple[str, int, str]]

    async def begin(self, frame: int | None = None) -> "asyncio.Task[Any]":
        """The turn is handed over; the task ends with its last word."""
        start = TurnStart(turn=self.turn, model="m", system="", messages=[])
        serving = asyncio.create_task(self.run.serve(self.started.turn, frame or self.started.frame, start))
        await self.until(lambda: self.puppet.frames(TurnStart))
        return serving

    @property
    def turn(self) -> str:
        return self.started.turn.id

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.001)

    async def acked(self, n: int) -> None:
        await self.until(lambda: self.puppet.acked >= n)

    def transcript(self) -> list[str]:
        return [row[0] for row in self.vault.rows("SELECT role FROM transcript ORDER BY id")]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    rung: list[str] = []

    def ring(tx: object, call: Any) -> str:
        rung.append(call.call_id)
        return "rung"

    tool = HostTool(name="ring", description="", input_schema={}, run=ring)
    async with opened(tmp_path) as vault:
        started = await vault.turn("hello")
        puppet, store = Puppet(), Shaky(vault.store.runs)
        said: list[tuple[str, int, str]] = []
        run = AgentRun(
            run_id=RUN, chat_id=FAMILY.chat_id, process=puppet, store=store,  # type: ignore[arg-type]
            tools={"ring": tool}.get, clock=vault.clock, said=lambda *words: said.append(words),
        )  # fmt: skip
        yield Stage(vault, puppet, store, run, started, rung, said)
        await run.stop(0)


async def test_what_the_model_writes_is_passed_on_piece_by_piece_but_for_other_turns(stage: Stage) -> None:
    p, turn = stage.puppet, stage.turn
    p.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    p.say(
        Text(turn=turn, call=1, text="Good"),
        Text(turn=OTHER, call=1, text="!"),
        Text(turn=turn, call=2, text=" day"),
    )
    p.say(TurnEnd(turn=turn, status="done", text="Good day"))
    await serving

    assert stage.said == [(turn, 1, "Good"), (turn, 2, " day")]


async def test_of_an_adopted_run_nothing_is_passed_on_of_a_text_whose_beginning_was_missed(
    stage: Stage,
) -> None:
    p, turn = stage.puppet, stage.turn
    p.say(HELLO, Text(turn=turn, call=1, text="secret</internal> hello"))
    p.say(ModelEnd(turn=turn, call=1, model="m", ok=True, content=[]))
    p.say(Text(turn=turn, call=2, text="whole"), TurnEnd(turn=turn, status="done", text="whole"))
    record = LiveRun(
        id=RUN, chat_id=FAMILY.chat_id, folder=FAMILY.folder, runtime="docker", handle="4711", image=None, token_hash="",
    )  # fmt: skip
    await stage.run.adopt(record, stage.started.turn, None)
    await stage.run.finish()

    assert stage.said == [(turn, 2, "whole")]


async def test_a_whole_turn_each_frame_durable_before_it_is_acknowledged(stage: Stage) -> None:
    p, turn = stage.puppet, stage.turn
    p.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    assert stage.run.turn == stage.started.turn

    p.say(Text(turn=turn, call=1, text="Let me "))
    said = ModelEnd(
        turn=turn, call=1, model="m", ok=True, content=[{"type": "tool_use", "id": "t1", "name": "read", "input": {}}],
        usage={"input_tokens": 10, "output_tokens": 3},
    )  # fmt: skip
    n = p.say(said, ToolStart(turn=turn, call="t1", name="read", input={"path": "x"}))
    await stage.acked(n)
    assert stage.transcript() == ["user", "assistant"]
    assert stage.run.step == "read"
    n = p.say(ToolEnd(turn=turn, call="t1", name="read", ok=True, content="42"))
    await stage.acked(n)
    assert stage.transcript() == ["user", "assistant", "user"]
    last = p.say(TurnEnd(turn=turn, status="done", text="42"))

    assert await serving == (last, TurnEnd(turn=turn, status="done", text="42"))
    assert p.acked < last, "the last word is acknowledged by the one who makes it durable"
    await stage.run.acknowledge(last)
    assert p.acked == last
    assert stage.run.account == {"tools": 1, "input_tokens": 10, "output_tokens": 3}
    assert stage.run.step == "idle"
    assert stage.vault.rows("SELECT kind, input FROM tool_call_log WHERE kind = 'tool'") == [
        ("tool", '{"path": "x"}')
    ]


async def test_frames_that_come_twice_take_effect_once(stage: Stage) -> None:
    p, turn = stage.puppet, stage.turn
    p.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    end = encode(ToolEnd(turn=turn, call="t1", name="read", ok=True, content="42"), 2)
    for line in (end, end, encode(HELLO, 1), end):
        p.raw(line)
    p._said = 2
    p.say(TurnEnd(turn=turn, status="done", text="x"))
    await serving

    assert stage.transcript() == ["user", "user"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (encode(HELLO, 3), "frame 3 came after 1"),
        (b"stray print()\n", "not JSON"),
        (b'{"n":2,"t":"dance"}\n', "unknown frame type"),
        (b'{"n":2,"t":"tool_start","turn":1}\n', "tool_start: turn is 1"),
        (b"\xff\xfe\n", "not JSON"),
    ],
)
async def test_a_run_that_cannot_be_understood_is_over_and_so_is_its_turn(
    stage: Stage, line: bytes, why: str
) -> None:
    stage.puppet.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    stage.puppet.raw(line)

    ended = await serving

    assert isinstance(ended, Died)
    assert why in ended.reason
    assert ended.outage is None
    assert stage.run.dead


async def test_empty_lines_and_late_acknowledgements_change_nothing(stage: Stage) -> None:
    p = stage.puppet
    p.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    for line in (b"\n", b"  \n", encode_ack(Ack(upto=1)), encode_ack(Ack(upto=1)), encode_ack(Ack(upto=0))):
        p.raw(line)
    p.say(TurnEnd(turn=stage.turn, status="done", text="x"))

    assert (await serving)[0] == 2
    await stage.until(lambda: stage.vault.value("SELECT count(*) FROM frames_out") == 0)


async def test_frames_of_another_turn_have_no_effect(stage: Stage) -> None:
    p = stage.puppet
    p.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    p.say(
        ToolEnd(turn=OTHER, call="t1", name="read", ok=True, content="42"),
        HostCall(turn=OTHER, call="t2", name="ring"),
        TurnEnd(turn=OTHER, status="done", text="not mine"),
        AgentError(turn=OTHER, kind="fault", cause="x"),
    )
    last = p.say(TurnEnd(turn=stage.turn, status="done", text="mine"))

    assert (await serving)[0] == last
    assert stage.transcript() == ["user"]
    assert stage.rung == []


# --- beginning and end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, WIRE_VERSION + 1])
async def test_an_agent_of_another_wire_version_is_refused(stage: Stage, version: int) -> None:
    stage.puppet.say(Hello(wire=version, program="old", pid=1))

    with pytest.raises(OutageError, match=f"the agent speaks wire {version}") as caught:
        await stage.run.start()
    assert caught.value.cause == "engine"


async def test_an_agent_that_does_not_say_hello_is_ended(stage: Stage) -> None:
    with pytest.raises(OutageError, match="did not say hello"):
        await stage.run.start(hello_timeout_s=0.02)

    assert stage.puppet.stops == [0]


async def test_an_agent_that_ends_before_its_hello_says_how(stage: Stage) -> None:
    stage.puppet.die("exit 1: ImportError: no anthropic")

    with pytest.raises(OutageError, match="ImportError") as caught:
        await stage.run.start()
    assert caught.value.cause == "engine"


async def test_a_process_that_dies_in_the_middle_of_a_turn_says_how(stage: Stage) -> None:
    stage.puppet.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    stage.puppet.die("killed by SIGKILL")

    assert await serving == Died(reason="killed by SIGKILL")
    assert stage.run.dead == "killed by SIGKILL"
    start = TurnStart(turn="t", model="m", system="", messages=[])
    assert await stage.run.serve(stage.started.turn, 9, start) == Died(reason="killed by SIGKILL")


async def test_an_agent_that_hears_nothing_costs_its_turn_and_nothing_else(stage: Stage) -> None:
    stage.puppet.say(HELLO)
    await stage.run.start()
    stage.puppet.deaf = ConnectionResetError("the agent process is gone")
    start = TurnStart(turn=stage.turn, model="m", system="", messages=[])

    assert await stage.run.serve(stage.started.turn, 1, start) == Died(reason="the agent process is gone")
    await stage.run.offer(2, stage.started.turn.id, "more")
    await stage.run.acknowledge(1)


async def test_an_engine_in_trouble_is_an_outage_and_no_fault_of_the_turn(stage: Stage) -> None:
    stage.puppet.say(HELLO)
    await stage.run.start()
    stage.puppet.deaf = OutageError("docker is away", cause="engine")
    start = TurnStart(turn=stage.turn, model="m", system="", messages=[])

    ended = await stage.run.serve(stage.started.turn, 1, start)

    assert isinstance(ended, Died)
    assert ended.outage == "engine"
    await stage.run.acknowledge(1)


async def test_a_store_that_is_away_is_an_outage_and_no_fault_of_the_turn(stage: Stage) -> None:
    stage.puppet.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    stage.store.away = True
    n = stage.puppet.say(ToolEnd(turn=stage.turn, call="t1", name="read", ok=True, content="42"))

    ended = await serving

    assert isinstance(ended, Died)
    assert ended.outage == "store"
    assert stage.puppet.acked < n, "what is not stored is not acknowledged"


async def test_stop_asks_first_and_ends_the_process(stage: Stage) -> None:
    stage.puppet.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    stage.puppet.say(TurnEnd(turn=stage.turn, status="done", text="x"))
    await serving

    assert await stage.run.stop(2.0) == "exit 0"

    assert len(stage.puppet.frames(Close)) == 1
    assert stage.puppet.stops == [2.0]
    assert stage.run.dead == "exit 0"


async def test_stop_ends_the_process_even_if_nothing_can_be_stored(stage: Stage) -> None:
    stage.puppet.say(HELLO)
    await stage.run.start()
    stage.store.away = True
    await stage.run.stop(2.0)

    assert stage.puppet.stops == [2.0]


# --- in the middle of a turn -------------------------------------------------------------------------------


async def test_an_interrupt_that_is_obeyed_ends_the_turn(stage: Stage) -> None:
    stage.puppet.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    await stage.run.interrupt(5.0)

    n, end = await serving
    assert (n, end.status) == (2, "interrupted")
    assert stage.puppet.stops == []
    assert stage.run.dead is None


async def test_an_interrupt_that_is_not_obeyed_ends_the_agent(stage: Stage) -> None:
    stage.puppet.say(HELLO)
    stage.puppet.obeys = False
    await stage.run.start()
    serving = await stage.begin()
    await stage.run.interrupt(0.02)

    ended = await serving
    assert isinstance(ended, Died)
    assert "did not obey an interrupt" in ended.reason
    assert stage.puppet.stops == [0]


async def test_an_interrupt_without_a_store_still_ends_the_agent(stage: Stage) -> None:
    stage.puppet.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    stage.store.away = True
    await stage.run.interrupt(0.02)

    assert isinstance(await serving, Died)


async def test_an_interrupt_of_nothing_does_nothing(stage: Stage) -> None:
    stage.puppet.say(HELLO)
    await stage.run.start()
    await stage.run.interrupt(1.0)

    assert stage.puppet.frames(Interrupt) == []


async def test_a_host_call_is_answered_after_its_effect_is_durable(stage: Stage) -> None:
    stage.puppet.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    call = HostCall(turn=stage.turn, call="t1", name="ring")
    stage.puppet.say(ToolStart(turn=stage.turn, call="t1", name="ring"), call, call)
    await stage.until(lambda: len(stage.puppet.frames(HostResult)) == 2)

    assert stage.rung == ["t1"]
    result = HostResult(turn=stage.turn, call="t1", ok=True, content="rung")
    assert stage.puppet.frames(HostResult) == [result, result]
    stage.puppet.say(
        ToolEnd(turn=stage.turn, call="t1", name="ring", ok=True, content="rung"),
        TurnEnd(turn=stage.turn, status="done"),
    )
    await serving
    assert stage.vault.value("SELECT kind FROM tool_call_log WHERE tool_name = 'ring'") == "host_tool"


async def test_a_follow_up_is_part_of_the_turn_once_it_is_accepted(stage: Stage) -> None:
    stage.puppet.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    seq = await stage.vault.say("more")
    n = await stage.vault.store.turns.follow_up(stage.started.turn.id, RUN, [seq], "more")
    assert n
    await stage.run.offer(n, stage.started.turn.id, "more")
    assert stage.puppet.frames(FollowUp) == [FollowUp(turn=stage.turn, text="more")]
    assert stage.transcript() == ["user"]

    await stage.acked(stage.puppet.say(Accepted(turn=stage.turn, frame=n)))

    assert stage.transcript() == ["user", "user"]
    stage.puppet.say(TurnEnd(turn=stage.turn, status="done", text="x"))
    await serving


async def test_frames_leave_in_the_order_of_their_numbers_whoever_comes_first(stage: Stage) -> None:
    stage.puppet.say(HELLO)
    await stage.run.start()
    await stage.run.offer(2, stage.started.turn.id, "and one more thing")
    assert stage.puppet.frames(FollowUp) == []

    serving = await stage.begin()
    await stage.until(lambda: stage.puppet.frames(FollowUp))
    numbers = [got[0] for got in stage.puppet.heard if isinstance(got, tuple)]
    assert numbers == [1, 2]
    stage.puppet.say(TurnEnd(turn=stage.turn, status="done", text="x"))
    await serving


async def test_a_number_that_is_not_used_is_sent_all_the_same(stage: Stage) -> None:
    stage.puppet.say(HELLO)
    await stage.run.start()
    await stage.run.void(1, stage.started.turn.id)
    serving = await stage.begin(frame=2)
    stage.puppet.say(TurnEnd(turn=stage.turn, status="done", text="x"))
    assert (await serving)[1].text == "x"
    assert [got[0] for got in stage.puppet.heard if isinstance(got, tuple)] == [1, 2]


async def test_an_error_is_a_last_word_too(stage: Stage) -> None:
    stage.puppet.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    error = AgentError(turn=stage.turn, kind="outage", cause="credentials", status=401)
    n = stage.puppet.say(error)

    assert await serving == (n, error)
    assert stage.run.dead is None


async def test_a_run_serves_one_turn_after_another(stage: Stage) -> None:
    stage.puppet.say(HELLO)
    await stage.run.start()
    for n in range(3):
        stage.puppet.heard.clear()
        serving = await stage.begin(frame=n + 1)
        stage.puppet.say(TurnEnd(turn=stage.turn, status="done", text=str(n)))
        assert (await serving)[1].text == str(n)
