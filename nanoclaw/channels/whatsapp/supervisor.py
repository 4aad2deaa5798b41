"""Owns that there is a child while there is an account: started, started again, and what each end of it means."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import structlog

from nanoclaw.channels.whatsapp.life import End, Life, Linking, NotWrittenError, UnansweredError
from nanoclaw.channels.whatsapp.process import ChildProcess
from nanoclaw.channels.whatsapp.session_file import forget_session, linked_account
from nanoclaw.channels.whatsapp.settings import WhatsAppSettings
from nanoclaw.channels.whatsapp.standing import LINK_HOW, MISSING, Kind, Standing
from nanoclaw.channels.whatsapp.words import banned, trouble, why_not_linked
from nanoclaw.errors import NanoclawError
from nanoclaw.ports import Clock, LinkStep

_UNLINKED: Final = f"WhatsApp is not linked. {LINK_HOW}"
_FORGOTTEN: Final = (
    "WhatsApp could not be asked, so I have only forgotten the account here. On the phone, under Linked devices, remove this"
    " one if it is still listed. /whatsapp link links an account again."
)
_BEYOND_REACH: Final[frozenset[Kind]] = frozenset(
    {"banned", "replaced", "outdated", "failed", "crashed", "hung"}
)
"""WhatsApp may never be there again for this session: it can be given up without asking."""
_LOGOUT_S: Final = 30.0
_STEADY_S: Final = 60.0
"""A child that lived so long was a good one; the pauses begin anew after it."""

_log = structlog.get_logger()


def extra_installed() -> bool:
    """Looks without loading: that would cost 50 MB."""
    return find_spec("neonize") is not None and find_spec("pylibmagic") is not None


class Supervisor:
    """One task for as long as the channel runs. `take` gets what children bring."""

    def __init__(
        self,
        *,
        settings: WhatsAppSettings,
        folder: Path,
        assistant_name: str,
        clock: Clock,
        standing: Standing,
        python: str,
        environ: Mapping[str, str],
        installed: Callable[[], bool] = extra_installed,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._assistant_name = assistant_name
        self._clock = clock
        self._standing = standing
        self._python = python
        self._environ = environ
        self._installed = installed
        self._take: Callable[[dict[str, Any]], Awaitable[bool]] | None = None
        self._life: Life | None = None
        self._linking: Linking | None = None
        self._failures = 0
        self._stopping = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def life(self) -> Life | None:
        """The child that lives now."""
        return self._life

    def start(self, take: Callable[[dict[str, Any]], Awaitable[bool]]) -> None:
        self._take = take
        self._stopping = False
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._task = asyncio.create_task(self._run(), name="whatsapp-supervisor")

    async def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        if self._life is not None:
            await self._life.stop()
        if self._task is not None:
            await self._task
        self._fail_link("The service is stopping.")

    # --- linking ------------------------------------------------------------------------------------------------

    async def link(self, phone: str | None) -> AsyncGenerator[LinkStep]:
        """Each step of it, until it is linked or failed. Closed before that, nothing stays half done."""
        if refusal := await self._refusal(phone):
            yield LinkStep(kind="failed", text=refusal)
            return
        digits = "".join(sign for sign in phone if sign.isdigit()) if phone else None
        linking = self._linking = Linking(phone=digits, steps=asyncio.Queue())
        self._wake.set()
        if self._life is not None:
            await self._life.stop()
        try:
            while True:
                step = await linking.steps.get()
                yield step
                if step.kind in {"linked", "failed"}:
                    return
        finally:
            if self._linking is linking:
                self._linking = None
                if self._standing.kind == "linking" and self._life is not None:
                    await self._life.stop()

    async def logout(self) -> str:
        """Unlinks the account, at WhatsApp and here; here alone if WhatsApp is out of reach. What came of it, for a person.

        Raises NanoclawError.
        """
        life, kind = self._life, self._standing.kind
        if kind in _BEYOND_REACH:
            return await self._forget()
        if kind == "missing":
            raise NanoclawError(MISSING)
        if kind in {"unlinked", "logged_out"}:
            raise NanoclawError("WhatsApp is not linked, so there is nothing to unlink.")
        if life is None or kind != "up":
            raise NanoclawError("WhatsApp is not connected, so the account cannot be unlinked from here.")
        try:
            result = await life.ask("logout", _LOGOUT_S)
        except (NotWrittenError, UnansweredError) as error:
            raise NanoclawError(str(error), safe="WhatsApp did not answer.") from error
        if not result.ok:
            raise NanoclawError(result.reason, safe=f"WhatsApp refused: {result.reason}")
        self._standing.forget_account()
        await life.stop()
        return "WhatsApp is unlinked."

    async def _forget(self) -> str:
        """Raises NanoclawError."""
        if not await asyncio.to_thread(forget_session, self._folder):
            raise NanoclawError("Another process holds this WhatsApp session. Stop that one first.")
        self._standing.forget_account()
        self._wake.set()
        if self._life is not None:  # it began at this moment, with nothing
            await self._life.stop()
        return _FORGOTTEN

    async def _refusal(self, phone: str | None) -> str | None:
        if self._stopping or self._task is None:
            return "WhatsApp is not running."
        if not self._installed():
            return MISSING
        if self._linking is not None:
            return "A link is under way already."
        if await asyncio.to_thread(linked_account, self._folder):
            account = self._standing.account
            return f"WhatsApp is linked{f' as {account}' if account else ''} already. To change that: /whatsapp logout"
        if phone is not None and not 7 <= sum(sign.isdigit() for sign in phone) <= 15:
            return "That is no phone number. Give it with the country code, e.g. +49 151 1234567."
        return None

    def _fail_link(self, reason: str) -> None:
        if self._linking is not None:
            self._linking.steps.put_nowait(LinkStep(kind="failed", text=reason))
            self._linking = None

    # --- one child after the other ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            linking = self._linking
            linked = await asyncio.to_thread(linked_account, self._folder)
            if not self._installed():
                self._standing.become("missing", MISSING)
                await self._wake.wait()
            elif linking is None and not linked:
                if self._standing.kind != "logged_out":
                    self._standing.become("unlinked", _UNLINKED)
                await self._wake.wait()
            else:
                await self._pause(self._after(await self._supervised(linking)))

    async def _supervised(self, linking: Linking | None) -> End:
        try:
            return await self._live(linking)
        except Exception:  # noqa: BLE001 - one child is supervised: the next one may do better
            _log.exception("whatsapp.life_failed")
            return End(why="crashed", reason="an error inside; the log says which")

    async def _live(self, linking: Linking | None) -> End:
        if self._stopping or self._take is None:
            return End(why="stopped")
        if linking is None:
            self._standing.become("connecting", "Connecting to WhatsApp.")
        else:
            self._standing.become("linking", "WhatsApp is being linked.")
        try:
            child = await ChildProcess.start(self._command(), self._environ)
        except OSError as error:
            return End(why="crashed", reason=f"it could not be started ({error.strerror})")
        life = self._life = Life(
            child=child, settings=self._settings, standing=self._standing, take=self._take, linking=linking
        )
        if self._stopping or self._linking is not linking:
            life.abort()  # while it was started, somebody changed their mind
        began = asyncio.get_running_loop().time()
        try:
            return await life.run()
        finally:
            self._life = None
            if asyncio.get_running_loop().time() - began > _STEADY_S:
                self._failures = 0

    def _command(self) -> list[str]:
        own = ["--own-number"] if self._settings.own_number else []
        name = ["--assistant", self._assistant_name]
        host = ["--host-pid", str(os.getpid())]
        return [self._python, "-m", "nanoclaw.channels.whatsapp.child", str(self._folder), *host, *name, *own]

    async def _pause(self, seconds: float) -> None:
        if seconds > 0 and not self._stopping and self._linking is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()

    def _after(self, end: End) -> float:
        """The state that follows, and how long it lasts before the next child."""
        if end.why not in {"stopped", "link_failed"}:
            _log.warning("whatsapp.child_ended", why=end.why, reason=end.reason)
        if self._linking is not None and end.why != "stopped":
            self._fail_link(why_not_linked(end))
        match end.why:
            case "stopped" | "link_failed":
                return 0.0
            case "missing":
                self._standing.become("missing", MISSING)
                return self._settings.restart_delays_s[-1]
            case "logged_out":
                self._standing.forget_account()
                self._standing.become("logged_out", f"The phone has logged WhatsApp out. {LINK_HOW}")
                return 0.0
            case "banned":
                until = self._clock.now() + timedelta(seconds=end.for_s)
                self._standing.become("banned", banned(until.strftime("%Y-%m-%d %H:%M UTC"), end.reason))
                return end.for_s
            case "replaced":
                self._standing.become(
                    "replaced",
                    "Another program uses this WhatsApp session, so I let go of it. I try again later; stop the other one.",
                )
                return self._settings.restart_delays_s[-1]
            case "outdated":
                self._standing.become(
                    "outdated",
                    "WhatsApp no longer speaks to this version of its library. Update that: .venv/bin/pip install -U neonize",
                )
                return self._settings.restart_delays_s[-1]
            case why:
                self._standing.become(*trouble(why, end.reason))
                return self._next_delay_s()

    def _next_delay_s(self) -> float:
        delays = self._settings.restart_delays_s
        self._failures += 1
        return delays[min(self._failures, len(delays)) - 1]
