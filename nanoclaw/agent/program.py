"""The life of the agent program: say hello, take the host's frames, work through turns, leave when told or left."""

from __future__ import annotations

import asyncio
import contextlib
import os

import nanoclaw
from nanoclaw.agent.engine import Engine
from nanoclaw.agent.limits import Limits
from nanoclaw.agent.link import HostGoneError, Link, complain
from nanoclaw.agent.model import Model
from nanoclaw.agent.turn import Turn
from nanoclaw.wire import WIRE_VERSION, Close, FollowUp, Frame, Hello, HostResult, Interrupt, TurnStart


class Program:
    """One run. It ends when the host says `close` (after the turns already begun), or goes away, or on `stop`."""

    def __init__(self, *, link: Link, model: Model, engine: Engine, limits: Limits) -> None:
        self._link = link
        self._model = model
        self._engine = engine
        self._limits = limits
        self._turns: dict[str, Turn] = {}
        self._queue: asyncio.Queue[Turn | None] = asyncio.Queue()
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Ends the program at once, as if the host had gone."""
        self._stopped.set()

    async def run(self) -> None:
        """Returns when the run is over; a broken pipe is an end like any other."""
        with contextlib.suppress(HostGoneError):
            await self._link.send(Hello(wire=WIRE_VERSION, program=nanoclaw.__version__, pid=os.getpid()))
        # Loading the SDK takes a second; by the time that a turn comes, much of it has passed.
        warming = asyncio.create_task(self._model.warm())
        ways_out = [
            asyncio.create_task(self._read()),
            asyncio.create_task(self._work()),
            asyncio.create_task(self._link.gone.wait()),
            asyncio.create_task(self._stopped.wait()),
        ]
        try:
            await asyncio.wait(ways_out, return_when=asyncio.FIRST_COMPLETED)
            for task in ways_out:
                if task.done() and not isinstance(task.exception(), HostGoneError):
                    await task
        finally:
            for task in (*ways_out, warming):
                task.cancel()
            await asyncio.gather(*ways_out, warming, return_exceptions=True)
            await self._model.close()

    async def _read(self) -> None:
        """Takes in frames until the host closes its end."""
        async for n, frame in self._link.frames():
            self._take(n, frame)
            await self._link.acknowledge(n)

    def _take(self, n: int, frame: Frame) -> None:
        """What is about a turn that is over is dropped: the host knows what became of that turn."""
        if isinstance(frame, TurnStart):
            self._turns[frame.turn] = Turn(frame)
            self._queue.put_nowait(self._turns[frame.turn])
        elif isinstance(frame, Close):
            self._queue.put_nowait(None)
        elif isinstance(frame, FollowUp | HostResult | Interrupt) and frame.turn in self._turns:
            turn = self._turns[frame.turn]
            if isinstance(frame, FollowUp):
                turn.add_follow_up(n, frame)
            elif isinstance(frame, HostResult):
                turn.add_host_result(frame)
            else:
                turn.interrupted.set()

    async def _work(self) -> None:
        """Works through turns until `close`, then waits a little for the host to have taken in everything."""
        while turn := await self._queue.get():
            await self._engine.run(turn)
            if self._turns.get(turn.id) is turn:
                del self._turns[turn.id]
            if self._engine.spent:
                complain("what a turn had started could not be ended: this run ends with it")
                break
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.close_grace_s):
                await self._link.acked(self._link.sent)
