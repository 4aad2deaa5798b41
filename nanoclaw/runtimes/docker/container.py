"""One agent in a container: written through the engine's attach socket, read by following the container's own log."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import structlog

from nanoclaw.errors import OutageError
from nanoclaw.runtimes.docker.engine import Engine
from nanoclaw.runtimes.lines import LineBuffer
from nanoclaw.wire import MAX_FRAME_BYTES, WireError

if TYPE_CHECKING:
    from docker.types.daemon import CancellableStream

_QUEUE = 64
"""Pieces of the log that may wait for us; then the thread that reads it waits."""
_AWAY_S = 30.0
"""How long the engine may be away before the run counts as lost."""
_LOOK_AGAIN_S = 0.5

log = structlog.get_logger()


class Container:
    """Implements `ports.AgentProcess`. Owns a thread that follows the log, from the first byte on."""

    def __init__(
        self,
        *,
        engine: Engine,
        container_id: str,
        image: str,
        output_bytes: int,
        memory_mb: int,
        gone: Callable[[], object],
    ) -> None:
        self.handle = container_id
        self.image: str | None = image
        self._engine = engine
        self._output_bytes = output_bytes
        self._memory_mb = memory_mb
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(_QUEUE)
        self._lines = LineBuffer(MAX_FRAME_BYTES)
        self._stdin: socket.socket | None = None
        self._attached: Any = None
        self._stream: CancellableStream[bytes] | None = None
        self._leaving = threading.Event()
        self._thread: threading.Thread | None = None
        self._ending = asyncio.Lock()
        self._removed = False
        self._reason: str | None = None

    async def attach(self) -> None:
        """Opens both directions. A container that has ended can still be read."""
        self._thread = threading.Thread(target=self._follow, name=f"log {self.handle[:8]}", daemon=True)
        self._thread.start()
        with contextlib.suppress(Exception):  # ended: nobody writes to it any more
            await self._open_stdin()

    async def _open_stdin(self) -> socket.socket:
        self._attached, raw = await asyncio.to_thread(self._attach_socket)
        self._stdin = raw
        return raw

    def _attach_socket(self) -> tuple[Any, socket.socket]:
        attached = self._engine.api().attach_socket(self.handle, params={"stdin": 1, "stream": 1})
        raw: socket.socket = attached._sock  # noqa: SLF001 - docker-py hands out a file around the socket that we need
        raw.setblocking(False)
        return attached, raw

    async def write(self, data: bytes) -> None:
        """Raises ConnectionError when the container is gone."""
        if self._leaving.is_set():
            raise ConnectionResetError("the container is gone")
        for attempt in (1, 2):
            try:
                await self._loop.sock_sendall(self._stdin or await self._open_stdin(), data)
            except Exception as error:
                self._close_stdin()
                if attempt == 2:
                    raise ConnectionResetError(f"the container cannot be written to: {error}") from error
                data = b"\n" + data  # what was cut off in mid-line ends here
            else:
                return

    async def lines(self) -> AsyncIterator[bytes]:
        """Raises WireError for a line that is too long or too much output, OutageError when the engine is gone."""
        while True:
            try:
                while (line := self._lines.take()) is not None:
                    yield line
            except WireError:
                await self.stop(0)
                raise
            chunk = await self._chunks.get()
            if chunk is None:
                return
            if isinstance(chunk, Exception):
                if isinstance(chunk, WireError):
                    await self.stop(0)
                raise chunk
            self._lines.feed(chunk)

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, after `grace_s` SIGKILL; the container and its log are removed."""
        async with self._ending:
            await asyncio.to_thread(self._end, grace_s)
        self._let_go()

    async def detach(self) -> None:
        """Lets the container run on without us; a later host adopts it."""
        self._let_go()

    async def exited(self) -> str:
        """How it ended, in words. Raises OutageError when the engine does not know any more."""
        while self._reason is None:
            state = await asyncio.to_thread(self._state)
            if state is None:
                self._reason = "the container is gone"
            elif not state.get("Running"):
                self._reason = self._in_words(state)
            else:
                await asyncio.sleep(_LOOK_AGAIN_S)
        return self._reason

    def _let_go(self) -> None:
        self._leaving.set()
        self._close_stdin()
        if self._stream is not None:
            with contextlib.suppress(Exception):
                self._stream.close()
        with contextlib.suppress(asyncio.QueueFull):
            self._chunks.put_nowait(None)
        self._gone()

    def _close_stdin(self) -> None:
        if self._stdin is not None:
            self._stdin.close()
        if self._attached is not None:
            with contextlib.suppress(Exception):
                self._attached.close()
        self._stdin = self._attached = None

    # --- in worker threads ---------------------------------------------------------------------------------

    def _end(self, grace_s: float) -> None:
        if self._removed:
            return
        api = self._engine.api()
        with contextlib.suppress(Exception):
            if grace_s > 0:
                api.stop(self.handle, timeout=max(1, round(grace_s)))
            else:
                api.kill(self.handle)
        if self._reason is None:
            with contextlib.suppress(Exception):
                state = self._state()
                self._reason = self._in_words(state) if state else "the container is gone"
        try:
            api.remove_container(self.handle, force=True, v=True)
        except Exception as error:  # noqa: BLE001 - the engine may be away; what is left is swept at the next start
            log.warning("docker.not_removed", container=self.handle[:12], reason=str(error))
        self._removed = True
        self._reason = self._reason or "stopped"

    def _state(self) -> dict[str, Any] | None:
        from docker.errors import NotFound  # noqa: PLC0415 - only where containers are used

        try:
            state: dict[str, Any] = self._engine.api().inspect_container(self.handle)["State"]
        except NotFound:
            return None
        return state

    def _in_words(self, state: dict[str, Any]) -> str:
        code = state.get("ExitCode")
        if state.get("OOMKilled"):
            return f"out of memory (limit {self._memory_mb} MB)"
        if code == 137:
            return "killed"
        return f"exit {code}"

    def _follow(self) -> None:
        """Reads the log to its end; goes on where it was when the engine comes back with the container alive."""
        read = 0
        away_since: float | None = None
        last: Exception | None = None
        while not self._leaving.is_set():
            try:
                read = self._read_from(read)
                state = self._state()
                if state is None or not state.get("Running"):
                    self._put(None)
                    return
                away_since = None
            except WireError as error:
                self._put(error)
                return
            except Exception as error:  # noqa: BLE001 - whatever the engine's connection does: it may come back
                last = error
                now = self._monotonic()
                away_since = away_since or now
                if now - away_since > _AWAY_S:
                    break
            self._leaving.wait(_LOOK_AGAIN_S)
        gone = OutageError(f"engine: {last}", cause="engine", safe="The container engine does not answer.")
        self._put(gone if not self._leaving.is_set() else None)

    def _read_from(self, already: int) -> int:
        """One connection's worth of the log; how many bytes are read now, of all."""
        client = self._engine.new_client()
        try:
            self._stream = client.logs(self.handle, stdout=True, stderr=False, stream=True, follow=True)
            total = 0
            for chunk in self._stream:
                total += len(chunk)
                if total <= already:
                    continue
                if total > self._output_bytes:
                    raise WireError(f"the agent printed more than {self._output_bytes // 2**20} MB")
                self._put(chunk[-(total - already) :] if total - len(chunk) < already else chunk)
                already = total
        finally:
            self._stream = None
            client.close()
        return already

    def _put(self, item: bytes | Exception | None) -> None:
        """Hands a piece to the loop; waits while the loop has enough."""
        if self._loop.is_closed():
            return
        handed = asyncio.run_coroutine_threadsafe(self._chunks.put(item), self._loop)
        while not self._leaving.is_set():
            try:
                handed.result(timeout=_LOOK_AGAIN_S)
            except TimeoutError:
                continue
            return
        handed.cancel()

    def _monotonic(self) -> float:
        return self._loop.time()
