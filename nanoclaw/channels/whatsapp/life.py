"""Owns the life of one child, from its start to its end: what it tells, what is asked of it, and that it is alive."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from nanoclaw.channels.whatsapp.lines import ENDS
from nanoclaw.channels.whatsapp.process import ChildProcess
from nanoclaw.channels.whatsapp.settings import WhatsAppSettings
from nanoclaw.channels.whatsapp.standing import Standing
from nanoclaw.ports import LinkStep

_log = structlog.get_logger()


class NotWrittenError(Exception):
    """The request never left: nothing has happened."""


class UnansweredError(Exception):
    """The request left, and no answer came: it may have been carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The child's answer to a request."""

    ok: bool
    value: str | None = None
    kind: str = ""
    """If not ok: retry, permanent or uncertain."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Why a child ended. `why` is one of `lines.ENDS`, or crashed, hung, stopped."""

    why: str
    reason: str = ""
    for_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Linking:
    """A wish to link an account."""

    phone: str | None
    steps: asyncio.Queue[LinkStep]


class Life:
    """`take` gets `message` and `group` lines one at a time: true once they are durable, false if it is to be tried again."""

    def __init__(
        self,
        *,
        child: ChildProcess,
        settings: WhatsAppSettings,
        standing: Standing,
        take: Callable[[dict[str, Any]], Awaitable[bool]],
        linking: Linking | None,
    ) -> None:
        self._child = child
        self._settings = settings
        self._standing = standing
        self._take = take
        self._linking = linking
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._asked: dict[int, asyncio.Future[Result]] = {}
        self._numbers = itertools.count(1)
        self._end: End | None = None
        self._ready = False
        self._heard_at = 0.0
        self._down_since: float | None = None
        self._over = asyncio.Event()
        """Nothing more is taken in; what is in hand is finished."""

    @property
    def pid(self) -> int:
        return self._child.pid

    async def run(self) -> End:
        """Until the child has ended and the message in hand is done with."""
        self._heard_at = self._now()
        helpers = [
            asyncio.create_task(self._take_in(), name="whatsapp-intake"),
            asyncio.create_task(self._watch(), name="whatsapp-watch"),
            asyncio.create_task(self._prove(), name="whatsapp-prove"),
        ]
        try:
            async for frame in self._child.frames():
                self._heard_at = self._now()
                self._hear(frame)
            code = await self._child.ended()
        finally:
            self._child.kill()
            self._abandon()
            self._over.set()
            await self._inbox.join()
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await self._child.close()
        return self._end or self._unexplained(code)

    async def ask(self, request: str, timeout_s: float, **fields: Any) -> Result:
        """Raises NotWrittenError or UnansweredError."""
        number = next(self._numbers)
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._child.write(request, id=number, **fields)
            async with asyncio.timeout(timeout_s):
                return await answer
        except ConnectionError as error:
            raise NotWrittenError(str(error)) from error
        except TimeoutError as error:
            raise UnansweredError(f"no answer to `{request}` within {timeout_s:g} s") from error
        finally:
            self._asked.pop(number, None)

    async def stop(self) -> None:
        """The message in hand is finished and acknowledged first. `run` returns after that."""
        self._ending(End(why="stopped"))
        self._over.set()
        await self._inbox.join()
        await self._child.stop(self._settings.stop_grace_s)

    def abort(self) -> None:
        """At once."""
        self._give_up(End(why="stopped"))

    # --- what it tells --------------------------------------------------------------------------------------

    def _hear(self, frame: dict[str, Any]) -> None:
        match frame["t"]:
            case "ready":
                self._begin()
            case "message" | "group":
                self._standing.proven()
                self._inbox.put_nowait(frame)
            case "result":
                self._answered(frame)
            case "connected":
                self._down_since = None
                self._standing.up(frame["account"])
            case "disconnected":
                self._down("disconnected", "The connection to WhatsApp broke off; it is being made again.")
            case "shaky":
                self._down("shaky", "WhatsApp does not answer; the network may be down.")
            case "qr":
                self._step("qr", frame["code"])
            case "pair_code":
                self._step("code", frame["code"])
            case "linked":
                self._step("linked", f"WhatsApp is linked as {frame['account']}.")
                self._linking = None
            case why if why in ENDS:
                reason, for_s = str(frame.get("reason", "")), float(frame.get("for_s", 0))
                self._ending(End(why=why, reason=reason, for_s=for_s))

    def _begin(self) -> None:
        self._ready = True
        self._down_since = self._now()
        if self._linking is None:
            self._child.write("connect")
        else:
            self._child.write("link", phone=self._linking.phone, timeout_s=self._settings.link_timeout_s)

    def _step(self, kind: Any, text: str) -> None:
        if self._linking is not None:
            self._linking.steps.put_nowait(LinkStep(kind=kind, text=text))

    def _down(self, kind: Any, reason: str) -> None:
        if self._down_since is None:
            self._down_since = self._now()
        self._standing.become(kind, reason)

    def _answered(self, frame: dict[str, Any]) -> None:
        answer = self._asked.get(frame["id"])
        if answer is not None and not answer.done():
            answer.set_result(
                Result(
                    ok=frame["ok"],
                    value=frame.get("value"),
                    kind=frame.get("kind", ""),
                    reason=frame.get("reason", ""),
                )
            )

    def _abandon(self) -> None:
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(UnansweredError("WhatsApp's process ended before it answered"))

    def _unexplained(self, code: int) -> End:
        words = self._child.last_words() or (f"signal {-code}" if code < 0 else f"exit {code}")
        return End(why="crashed", reason=words)

    # --- what goes on beside ----------------------------------------------------------------------------------

    async def _take_in(self) -> None:
        while True:
            frame = await self._inbox.get()
            try:
                while not self._over.is_set() and not await self._taken(frame):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._settings.store_pause_s):
                            await self._over.wait()
            finally:
                self._inbox.task_done()

    async def _taken(self, frame: dict[str, Any]) -> bool:
        if not await self._take(frame):
            return False
        if "n" in frame:
            try:
                self._child.write("ack", n=frame["n"])
            except ConnectionError:
                _log.info("whatsapp.not_acknowledged", n=frame["n"])  # it comes again, and is known then
        return True

    async def _watch(self) -> None:
        """Kills a child that shows no sign of life, or that gets no connection."""
        while True:
            await asyncio.sleep(self._settings.ping_interval_s)
            patience_s = self._settings.start_timeout_s
            if self._ready:  # a quiet one says nothing but the answer to the ping of a round before
                patience_s = self._settings.answer_timeout_s + self._settings.ping_interval_s
            if self._now() - self._heard_at > patience_s:
                self._give_up(End(why="hung"))
            elif self._linking is None and self._down_for_s() > self._settings.connect_timeout_s:
                self._give_up(End(why="failed", reason="no connection in time"))
            elif self._ready:
                try:
                    self._child.write("ping")
                except ConnectionError:
                    return

    def _give_up(self, end: End) -> None:
        self._ending(end)
        self._child.kill()

    def _ending(self, end: End) -> None:
        """The first reason is the true one."""
        if self._end is None:
            self._end = end

    def _down_for_s(self) -> float:
        return 0.0 if self._down_since is None else self._now() - self._down_since

    async def _prove(self) -> None:
        """Asks WhatsApp itself now and then, so that `up` is more than the absence of bad news."""
        while True:
            await asyncio.sleep(self._settings.probe_interval_s)
            if self._standing.kind not in {"up", "shaky"}:
                continue
            try:
                result = await self.ask("probe", self._settings.answer_timeout_s)
            except (NotWrittenError, UnansweredError) as error:
                result = Result(ok=False, reason=str(error))
            if self._end is not None or self._standing.kind not in {"up", "shaky"}:
                continue
            if result.ok:
                self._down_since = None
                self._standing.up()
            else:
                _log.warning("whatsapp.probe_failed", reason=result.reason)
                self._down("shaky", "WhatsApp does not answer; the network may be down.")

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
