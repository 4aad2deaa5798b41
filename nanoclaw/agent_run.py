"""A run as the host sees it: one agent process, its numbered frames in both directions, one turn at a time.

What a frame does to the store is done before it is acknowledged. The turn's end is handed to whoever waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from nanoclaw.domain import ChatId, RunId, Turn, TurnId
from nanoclaw.errors import OutageCause, OutageError, StoreUnavailableError
from nanoclaw.ports import AgentProcess, Clock, HostTool
from nanoclaw.stores import Block, KeptFrame, LiveRun, RunStore
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

_WRITE_S = 60.0
"""An agent that takes nothing in for so long is beyond help."""
_RESEND_S = 5.0
_UNHEARD_S = 5.0
"""How long a process may take to be seen as ended after a write to it has failed."""
"""So long an adopted agent has to take in what it may have missed; the service's start waits for it."""
_MAX_FRAMES, _MAX_HOST_CALLS = 10_000, 200
"""Of one turn; pieces of text are not counted. No honest agent comes near."""
_MAX_IDLE_LINES = 10_000
"""Lines in a run that change nothing: empty, repeated, of no turn."""
_MAX_NUMBER = 2**62
_PAUSE_LINES = 64
"""After so many lines everybody else has a go: an agent that floods us must not hold up the loop."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Died:
    """The process ended, or spoke what no agent speaks, in the middle of a turn."""

    reason: str
    outage: OutageCause | None = None
    """Set when not the agent but what it runs in is in trouble."""
    final: bool = False
    """Another try would end the same way: the turn fails, with this reason."""


Ended = tuple[int, TurnEnd | AgentError] | Died
"""The last word on a turn, with the number of its frame; its effects are the caller's, in the frame's transaction."""


Show = Callable[[Sequence[Block]], Awaitable[Sequence[Block]]]
"""References to pictures in, pictures out."""


@dataclass(slots=True)
class _Serving:
    turn: Turn
    ended: asyncio.Future[Ended]
    inputs: dict[str, dict[str, object]] = field(default_factory=dict)
    """Input of each tool that was started, by tool use id: its end does not repeat it."""
    host_calls: set[str] = field(default_factory=set)
    step: str = "thinking"
    tools: int = 0
    frames: int = 0
    calls: int = 0
    """Requests to the host, repeated ones included."""
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
        said: Callable[[TurnId, int, str], None] | None = None,
    ) -> None:
        """`said`: takes what the model writes, piece by piece, with the number of its call; returns at once."""
        self.id = run_id
        self.chat_id = chat_id
        self._process = process
        self._store = store
        self._tools = tools
        self._clock = clock
        self._host_called = host_called
        self._said = said
        self._hello: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader: asyncio.Task[None] | None = None
        self._serving: _Serving | None = None
        self._served: _Serving | None = None
        """The newest turn, also after its end."""
        self._taken = 0
        self._known = 0
        """Agent frames up to this one have had their effects in a former life of the host."""
        self._midway = False
        """The model call that goes on began before we listened: its text has no beginning, and nobody is to see it."""
        self._write_lock = asyncio.Lock()
        self._order_lock = asyncio.Lock()
        self._gone = asyncio.Event()
        self._due = 1
        """Number of the host frame that is written next: the agent takes no frame before the one in front of it."""
        self._ready: dict[int, bytes] = {}
        self._notes: set[asyncio.Task[None]] = set()
        self._sent = 0
        self._acked = 0
        self._forgetting = False
        """The agent has our frames up to this one."""
        self._idle_lines = 0
        self._odd: set[str] = set()
        """What was logged of the kinds of frames that no honest agent sends."""
        self.dead: str | None = None
        """Why the run is over, once it is."""
        self._outage: OutageCause | None = None
        self._doom: Died | None = None
        """Why we end it, whatever its own end looks like."""

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

    async def adopt(
        self, record: LiveRun, turn: Turn | None, turn_start: TurnStart | None, show: Show | None = None
    ) -> None:
        """Takes over a process that outlived its host: reads its log again, then resends what it may have missed.

        `turn_start` is the frame of the running turn, if the agent has not acknowledged it; `show` makes blocks of the
        pictures that follow-ups name. Raises OutageError.
        """
        self._known, self._sent = (
            record.last_frame,
            _MAX_NUMBER,
        )  # what our predecessor sent is acknowledged, too
        self._due = record.last_host_frame + 1
        self._midway = True
        if turn:
            self._serving = self._served = _Serving(turn, asyncio.get_running_loop().create_future())
        self._reader = asyncio.create_task(self._read(), name=f"run {self.id[:8]}")
        await self._greeted(30.0)
        blocks = await self._shown_again(show) if show else {}
        try:
            async with asyncio.timeout(_RESEND_S):
                await self._resend(turn_start, blocks)
        except ConnectionError:
            pass  # it has ended meanwhile; what it said is read all the same
        except TimeoutError:
            await self.kill("the agent does not read what it is sent")
            raise OutageError("adoption: it reads nothing", cause="engine", safe="An agent hangs.") from None

    async def _shown_again(self, show: Show) -> dict[int, Sequence[Block]]:
        """The pictures of follow-ups that the agent may have missed, by frame number."""
        kept = await self._store.kept_frames(self.id)
        return {each.n: await show(images) for each in kept if (images := _images(each))}

    async def _resend(self, turn_start: TurnStart | None, blocks: dict[int, Sequence[Block]]) -> None:
        await self._write(b"\n" + encode_ack(Ack(upto=self._known)))
        for kept in await self._store.kept_frames(self.id):
            frame = turn_start if kept.type == TurnStart.type else _frame(kept, blocks.get(kept.n, []))
            # What means nothing any more (a turn that was stopped meanwhile) still needs its number.
            await self._write(encode(frame or Interrupt(turn=kept.turn_id or ""), kept.n))

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
            await self._settle()

    async def serve(self, turn: Turn, n: int, frame: TurnStart) -> Ended:
        """Hands the turn to the agent and waits for its last word."""
        serving = _Serving(turn, asyncio.get_running_loop().create_future())
        self._serving = self._served = serving
        self._midway = False
        try:
            if self.dead:
                return self._doom or Died(reason=self.dead, outage=self._outage)
            await self._send(n, frame)
            return await serving.ended
        except (ConnectionError, OutageError) as error:
            outage = error.cause if isinstance(error, OutageError) else self._outage
            return self._doom or Died(reason=self.dead or str(error), outage=outage)
        finally:
            self._serving = None

    async def void(self, n: int, turn_id: TurnId) -> None:
        """Uses up a number that was reserved for a turn that needs no agent any more."""
        with suppress(ConnectionError, OutageError):
            await self._send(n, Interrupt(turn=turn_id))

    async def offer(self, n: int, turn_id: TurnId, text: str, blocks: Sequence[Block] = ()) -> None:
        """A follow-up for the running turn; `blocks` are its pictures."""
        with suppress(ConnectionError, OutageError):  # the turn's own end tells
            await self._send(n, FollowUp(turn=turn_id, text=text, blocks=list(blocks)))

    async def interrupt(self, grace_s: float) -> None:
        """Ends the running turn; an agent that does not obey in time is ended itself."""
        serving = self._serving
        if serving is None:
            return
        with suppress(ConnectionError, OutageError, StoreUnavailableError, TimeoutError):
            async with asyncio.timeout(grace_s):  # it may read nothing any more
                n = await self._store.reserve(self.id, "interrupt", serving.turn.id)
                await self._send(n, Interrupt(turn=serving.turn.id))
        done, _ = await asyncio.wait([serving.ended], timeout=grace_s)
        if not done and self._serving is serving:
            await self.kill(f"did not obey an interrupt within {grace_s:g} s")

    async def kill(self, reason: str) -> None:
        """Ends the process at once; its turn has its last word."""
        self._over(reason)
        await self._process.stop(0)

    async def abort(self, why: Died) -> None:
        """Ends the process at once; `why` is the last word on its turn, unless the agent was done before."""
        if self.dead is None:
            self._doom = why
            await self._process.stop(0)
            self._over(why.reason)

    async def stop(self, grace_s: float) -> str:
        """Ends the process and the reader; says how it ended."""
        if self.dead is None and grace_s > 0:
            with suppress(ConnectionError, OutageError, StoreUnavailableError, TimeoutError):
                async with asyncio.timeout(grace_s):
                    n = await self._store.reserve(self.id, "close", None)
                    await self._send(n, Close())
        await self._process.stop(grace_s)
        reason = await self._process.exited()
        if self._reader:
            self._reader.cancel()
            await self._settle()
        self._over(reason)
        return reason

    async def _settle(self) -> None:
        """Waits for the reader and the notes, which end with the process."""
        self._gone.set()
        await asyncio.gather(*(task for task in (self._reader, *self._notes) if task), return_exceptions=True)

    async def _send(self, n: int, frame: Frame) -> None:
        """Writes the frame, and any that waited for it. Raises ConnectionError."""
        self._ready[n] = encode(frame, n)
        async with self._order_lock:
            while (line := self._ready.pop(self._due, None)) is not None:
                self._sent = max(self._sent, self._due)
                self._due += 1
                await self._write(line)

    async def _write(self, data: bytes) -> None:
        """Raises ConnectionError, also for an agent that reads nothing."""
        try:
            async with asyncio.timeout(_WRITE_S), self._write_lock:
                await self._process.write(data)
        except TimeoutError as error:
            self._over("the agent does not read what it is sent")
            raise ConnectionResetError("the agent does not read what it is sent") from error
        except ConnectionError:
            self._note(self._unheard())
            raise

    async def _unheard(self) -> None:
        """A frame was lost on its way: the agent would wait for it for ever. It has ended, or it is ended."""
        try:
            async with asyncio.timeout(_UNHEARD_S):
                await self._gone.wait()
        except TimeoutError:
            await self.kill("the agent cannot be written to")

    async def _read(self) -> None:
        reason, lines = "the agent ended", 0
        try:
            async for line in self._process.lines():
                await self._line(line)
                lines += 1
                if lines % _PAUSE_LINES == 0:
                    await asyncio.sleep(0)
            reason = await self._process.exited()
        except WireError as error:
            reason = f"the agent cannot be understood: {error}"
            log.error("run.wire", run=self.id, reason=str(error))
            await self.kill(reason)  # at once: it may be flooding us
        except StoreUnavailableError as error:
            reason, self._outage = error.safe, "store"
        except OutageError as error:
            reason, self._outage = error.safe, error.cause
        except ConnectionError as error:
            reason = f"the agent is gone: {error}"
        except Exception as error:  # one run is supervised here; its turn goes on with another
            reason = f"{type(error).__name__}: {error}"
            log.exception("run.failed", run=self.id)
            await self.kill(reason)
        self._over(reason)

    def _over(self, reason: str) -> None:
        self._gone.set()
        if self.dead is None:
            self.dead = self._doom.reason if self._doom else reason
        if not self._hello.done():
            self._hello.set_exception(
                OutageError(
                    f"agent start: {reason}", cause="engine", safe=f"No agent can be started ({reason})."
                )
            )
            self._hello.exception()  # somebody may have stopped waiting
        if self._serving and not self._serving.ended.done():
            self._serving.ended.set_result(self._doom or Died(reason=self.dead, outage=self._outage))

    async def _line(self, line: bytes) -> None:
        got = decode(line)
        if got is None:
            self._idle()
            return
        if isinstance(got, Ack):
            self._note_ack(got.upto)
            return
        n, frame = got
        if n <= self._taken:
            self._idle("run.repeated_frame", type=frame.type, n=n)
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
        with suppress(ConnectionError, OutageError):
            await self._write(encode_ack(Ack(upto=n)))

    def _idle(self, odd: str | None = None, **facts: object) -> None:
        """A line that changes nothing. `odd`: no honest agent sends it; each kind is logged once in a run."""
        self._idle_lines += 1
        if self._idle_lines > _MAX_IDLE_LINES:
            raise WireError("line after line that changes nothing")
        if odd and odd not in self._odd:
            self._odd.add(odd)
            log.warning(odd, run=self.id, chat=self.chat_id, **facts)

    def _note_ack(self, upto: int) -> None:
        """Forgets kept host frames; nobody waits for that. One task at a time, however many the agent sends."""
        if upto <= self._acked:
            self._idle()
            return
        if upto > self._sent:
            raise WireError(f"it acknowledges frame {str(upto)[:20]}, and was sent {self._sent}")
        self._acked = upto
        if not self._forgetting:
            self._forgetting = True
            self._note(self._forget())

    def _note(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work, name=f"note {self.id[:8]}")
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _forget(self) -> None:
        forgotten = 0
        while forgotten < self._acked:
            forgotten = self._acked
            with suppress(StoreUnavailableError):  # they are sent again at worst, and dropped by their number
                await self._store.acknowledged(self.id, forgotten)
        self._forgetting = False

    async def _take(self, n: int, frame: Frame) -> TurnEnd | AgentError | None:
        """The effects of one frame, durable on return. The last word of the turn is the caller's to make durable."""
        if isinstance(frame, Hello):
            self._greet(frame)
            return None
        serving = self._serving
        if serving is None or getattr(frame, "turn", None) != serving.turn.id:
            self._stray(frame)
            return None
        turn, now = serving.turn, self._clock.now()
        self._count(serving, frame)
        if isinstance(frame, Text):
            if self._said and not self._midway:
                self._said(turn.id, frame.call, frame.text)
        elif isinstance(frame, ToolStart):
            serving.inputs[frame.call] = dict(frame.input)
            serving.step = frame.name
            serving.tools += 1
        elif isinstance(frame, Accepted):
            await self._store.accepted(self.id, n, frame, turn, now)
        elif isinstance(frame, ModelEnd):
            self._midway = False
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

    def _stray(self, frame: Frame) -> None:
        """Late words on the turn that has just ended are nothing; any other turn is none of this agent's business."""
        turn = str(getattr(frame, "turn", ""))[:40]
        late = self._served is not None and turn == self._served.turn.id
        self._idle(None if late else "run.stray_frame", type=frame.type, turn=turn)

    def _count(self, serving: _Serving, frame: Frame) -> None:
        serving.frames += not isinstance(frame, Text)
        serving.calls += isinstance(frame, HostCall)
        if serving.frames > _MAX_FRAMES:
            raise WireError(f"more than {_MAX_FRAMES} frames in one turn")
        if serving.calls > _MAX_HOST_CALLS:
            raise WireError(f"more than {_MAX_HOST_CALLS} requests to the host in one turn")

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


def _images(kept: KeptFrame) -> list[Block]:
    return (kept.body or {}).get("images", []) if kept.type == FollowUp.type else []


def _frame(kept: KeptFrame, blocks: Sequence[Block]) -> Frame | None:
    """A host frame as it was sent first."""
    body = kept.body or {}
    if kept.type == FollowUp.type and kept.turn_id:
        return FollowUp(turn=kept.turn_id, text=body["text"], blocks=list(blocks))
    if kept.type == HostResult.type:
        return HostResult(turn=body["turn"], call=body["call"], ok=body["ok"], content=body["content"])
    if kept.type == Interrupt.type and kept.turn_id:
        return Interrupt(turn=kept.turn_id)
    return Close() if kept.type == Close.type else None
