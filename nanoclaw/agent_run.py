"""A run as the host sees it: one agent process, its numbered frames in both directions, one turn at a time.

What a frame does to the store is done before it is acknowledged. The turn's end is handed to whoever waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from nanoclaw.domain import ChatId, RunId, Turn, TurnId
from nanoclaw.errors import OutageCause, OutageError, StoreUnavailableError
from nanoclaw.ports import AgentProcess, Clock, HostTool
from nanoclaw.stores import KeptFrame, RunStore
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
    WireError,
    decode,
    encode,
    encode_ack,
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Died:
    """The process ended, or spoke what no agent speaks, in the middle of a turn."""

    reason: str
    outage: OutageCause | None = None
    """Set when not the agent but what it runs in is in trouble."""


Ended = tuple[int, TurnEnd | AgentError] | Died
"""The last word on a turn, with the number of its frame; its effects are the caller's, in the frame's transaction."""


@dataclass(slots=True)
class _Serving:
    turn: Turn
    ended: asyncio.Future[Ended]
    inputs: dict[str, dict[str, object]] = field(default_factory=dict)
    """Input of each tool that was started, by tool use id: its end does not repeat it."""
    host_calls: set[str] = field(default_factory=set)
    step: str = "thinking"
    tools: int = 0
    tokens: dict[str, int] = field(default_factory=lambda: {"input_tokens": 0, "output_tokens": 0})


class AgentRun:
    """Owns the process and the task that reads it."""

    def __init__(
        self,
        *,
        run_id: RunId,
        chat_id: ChatId,
        process: AgentProcess,
        store: RunStore,
        tools: Callable[[str], HostTool | None],
        clock: Clock,
        host_called: Callable[[HostCall], Awaitable[None]] | None = None,
    ) -> None:
        self.id = run_id
        self.chat_id = chat_id
        self._process = process
        self._store = store
        self._tools = tools
        self._clock = clock
        self._host_called = host_called
        self._hello: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader: asyncio.Task[None] | None = None
        self._serving: _Serving | None = None
        self._served: _Serving | None = None
        """The newest turn, also after its end."""
        self._taken = 0
        self._known = 0
        """Agent frames up to this one have had their effects in a former life of the host."""
        self._write_lock = asyncio.Lock()
        self._notes: set[asyncio.Task[None]] = set()
        self.dead: str | None = None
        """Why the run is over, once it is."""
        self._outage: OutageCause | None = None

    @property
    def turn(self) -> Turn | None:
        return self._serving.turn if self._serving else None

    @property
    def step(self) -> str:
        """What the agent does now, in a word or two."""
        return self._serving.step if self._serving else "idle"

    @property
    def account(self) -> dict[str, int]:
        """What the newest turn has used, for the log."""
        return {"tools": self._served.tools, **self._served.tokens} if self._served else {}

    async def start(self, hello_timeout_s: float = 30.0) -> None:
        """Waits for the agent's `hello`. Raises OutageError(engine) if it does not come or is not understood."""
        self._reader = asyncio.create_task(self._read(), name=f"run {self.id[:8]}")
        await self._greeted(hello_timeout_s)

    async def _greeted(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._hello)
        except TimeoutError:
            await self.stop(0)
            safe = "The agent did not start."
            raise OutageError("the agent did not say hello", cause="engine", safe=safe) from None

    async def adopt(self, known: int, turn: Turn | None, turn_start: TurnStart | None) -> None:
        """Takes over a process that outlived its host: reads its log again, then resends what it may have missed.

        `turn_start` is the frame of the running turn, if the agent has not acknowledged it. Raises OutageError.
        """
        self._known = known
        if turn:
            self._serving = self._served = _Serving(turn, asyncio.get_running_loop().create_future())
        self._reader = asyncio.create_task(self._read(), name=f"run {self.id[:8]}")
        await self._greeted(30.0)
        with suppress(ConnectionError):  # it has ended meanwhile; what it said is read all the same
            await self._process.write(b"\n" + encode_ack(Ack(upto=known)))
            for kept in await self._store.kept_frames(self.id):
                frame = turn_start if kept.type == TurnStart.type else _frame(kept)
                if frame:
                    await self._send(kept.n, frame)

    async def finish(self) -> Ended:
        """The last word on the turn of an adopted run."""
        serving = self._serving
        if serving is None:
            return Died(reason=self.dead or "the run has no turn")
        try:
            return await serving.ended
        finally:
            self._serving = None

    async def detach(self) -> None:
        """Lets the process run on; the next host adopts it."""
        await self._process.detach()
        if self._reader:
            self._reader.cancel()
            await asyncio.gather(self._reader, *self._notes, return_exceptions=True)

    async def serve(self, turn: Turn, n: int, frame: TurnStart) -> Ended:
        """Hands the turn to the agent and waits for its last word."""
        serving = _Serving(turn, asyncio.get_running_loop().create_future())
        self._serving = self._served = serving
        try:
            if self.dead:
                return Died(reason=self.dead, outage=self._outage)
            await self._send(n, frame)
            return await serving.ended
        except (ConnectionError, OutageError) as error:
            outage = error.cause if isinstance(error, OutageError) else self._outage
            return Died(reason=self.dead or str(error), outage=outage)
        finally:
            self._serving = None

    async def offer(self, n: int, turn_id: TurnId, text: str) -> None:
        """A follow-up for the running turn."""
        with suppress(ConnectionError, OutageError):  # the turn's own end tells
            await self._send(n, FollowUp(turn=turn_id, text=text))

    async def interrupt(self, grace_s: float) -> None:
        """Ends the running turn; an agent that does not obey in time is ended itself."""
        serving = self._serving
        if serving is None:
            return
        with suppress(ConnectionError, OutageError, StoreUnavailableError):
            n = await self._store.reserve(self.id, "interrupt", serving.turn.id)
            await self._send(n, Interrupt(turn=serving.turn.id))
        done, _ = await asyncio.wait([serving.ended], timeout=grace_s)
        if not done and self._serving is serving:
            self._over(f"did not obey an interrupt within {grace_s:g} s")
            await self._process.stop(0)

    async def stop(self, grace_s: float) -> str:
        """Ends the process and the reader; says how it ended."""
        if self.dead is None and grace_s > 0:
            with suppress(ConnectionError, OutageError, StoreUnavailableError):
                n = await self._store.reserve(self.id, "close", None)
                await self._send(n, Close())
        await self._process.stop(grace_s)
        reason = await self._process.exited()
        if self._reader:
            self._reader.cancel()
            await asyncio.gather(self._reader, *self._notes, return_exceptions=True)
        self._over(reason)
        return reason

    async def _send(self, n: int, frame: Frame) -> None:
        async with self._write_lock:
            await self._process.write(encode(frame, n))

    async def _read(self) -> None:
        reason = "the agent ended"
        try:
            async for line in self._process.lines():
                await self._line(line)
            reason = await self._process.exited()
        except WireError as error:
            reason = f"the agent cannot be understood: {error}"
            log.error("run.wire", run=self.id, reason=str(error))
        except StoreUnavailableError as error:
            reason = f"store: {error}"
        except OutageError as error:
            reason, self._outage = error.safe, error.cause
        except ConnectionError as error:
            reason = f"the agent is gone: {error}"
        except Exception as error:  # one run is supervised here; its turn goes on with another
            reason = f"{type(error).__name__}: {error}"
            log.exception("run.failed", run=self.id)
        self._over(reason)

    def _over(self, reason: str) -> None:
        if self.dead is None:
            self.dead = reason
        if not self._hello.done():
            self._hello.set_exception(
                OutageError(
                    f"agent start: {reason}", cause="engine", safe=f"No agent can be started ({reason})."
                )
            )
            self._hello.exception()  # somebody may have stopped waiting
        if self._serving and not self._serving.ended.done():
            self._serving.ended.set_result(Died(reason=self.dead, outage=self._outage))

    async def _line(self, line: bytes) -> None:
        got = decode(line)
        if got is None:
            return
        if isinstance(got, Ack):
            self._note_ack(got.upto)
            return
        n, frame = got
        if n <= self._taken:
            return
        if n != self._taken + 1:
            raise WireError(f"frame {n} came after {self._taken}")
        self._taken = n
        if n <= self._known:
            self._replay(frame)
            return
        last_word = await self._take(n, frame)
        if last_word and self._serving and not self._serving.ended.done():
            self._serving.ended.set_result((n, last_word))
        elif not isinstance(frame, Text):
            await self.acknowledge(n)

    async def acknowledge(self, n: int) -> None:
        """Everything up to agent frame `n` is durable. For a turn's last word this is the caller's to say."""
        with suppress(ConnectionError):
            async with self._write_lock:
                await self._process.write(encode_ack(Ack(upto=n)))

    def _note_ack(self, upto: int) -> None:
        """Forgets kept host frames; nobody waits for that."""
        task = asyncio.create_task(self._forget(upto), name=f"ack {self.id[:8]}")
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _forget(self, upto: int) -> None:
        with suppress(StoreUnavailableError):  # they are sent again at worst, and dropped by their number
            await self._store.acknowledged(self.id, upto)

    async def _take(self, n: int, frame: Frame) -> TurnEnd | AgentError | None:
        """The effects of one frame, durable on return. The last word of the turn is the caller's to make durable."""
        if isinstance(frame, Hello):
            self._greet(frame)
            return None
        serving = self._serving
        if serving is None or getattr(frame, "turn", None) != serving.turn.id:
            log.debug("run.stray_frame", run=self.id, type=frame.type)
            return None
        turn, now = serving.turn, self._clock.now()
        if isinstance(frame, ToolStart):
            serving.inputs[frame.call] = dict(frame.input)
            serving.step = frame.name
            serving.tools += 1
        elif isinstance(frame, Accepted):
            await self._store.accepted(self.id, n, frame, turn, now)
        elif isinstance(frame, ModelEnd):
            serving.step = "thinking"
            for name in serving.tokens:
                serving.tokens[name] += int(frame.usage.get(name) or 0)
            await self._store.model_end(self.id, n, frame, turn, now)
        elif isinstance(frame, ToolEnd):
            kind = "host_tool" if frame.call in serving.host_calls else "tool"
            given = serving.inputs.pop(frame.call, {})
            await self._store.tool_end(self.id, n, frame, turn, given, kind, now)
        elif isinstance(frame, HostCall):
            serving.host_calls.add(frame.call)
            number, result = await self._store.host_call(
                self.id, n, frame, turn, self._tools(frame.name), now
            )
            if self._host_called:
                await self._host_called(frame)
            await self._send(number, result)
        elif isinstance(frame, TurnEnd | AgentError):
            return frame
        return None

    def _replay(self, frame: Frame) -> None:
        """A frame whose effects are in the store: only what this object has to know of it."""
        serving = self._serving
        if isinstance(frame, Hello):
            self._greet(frame)
        elif serving is None or getattr(frame, "turn", None) != serving.turn.id:
            return
        elif isinstance(frame, ToolStart):
            serving.inputs[frame.call] = dict(frame.input)
        elif isinstance(frame, HostCall):
            serving.host_calls.add(frame.call)

    def _greet(self, frame: Hello) -> None:
        if frame.wire != WIRE_VERSION:
            raise WireError(f"the agent speaks wire {frame.wire}, this host speaks {WIRE_VERSION}")
        if not self._hello.done():
            self._hello.set_result(None)


def _frame(kept: KeptFrame) -> Frame | None:
    """A host frame as it was sent first."""
    body = kept.body or {}
    if kept.type == FollowUp.type and kept.turn_id:
        return FollowUp(turn=kept.turn_id, text=body["text"])
    if kept.type == HostResult.type:
        return HostResult(turn=body["turn"], call=body["call"], ok=body["ok"], content=body["content"])
    if kept.type == Interrupt.type and kept.turn_id:
        return Interrupt(turn=kept.turn_id)
    return Close() if kept.type == Close.type else None
