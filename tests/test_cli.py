"""The command line as a person or a script uses it: real processes, a real socket, a real terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from nanoclaw import __version__
from nanoclaw.channels.local.channel import LocalChannel
from nanoclaw.cli.lines import in_thread, lines_of
from nanoclaw.cli.notify import notify
from nanoclaw.cli.run import serve
from nanoclaw.cli.screen import printable
from nanoclaw.domain import ChatId, Cursor, Inbound, new_id
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.home import Home
from nanoclaw.ports import PartToSend
from nanoclaw.testing.clock import FixedClock

ROOT = Path(__file__).parents[1]
WITHIN_S = 20.0


@pytest.fixture
def root() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="nc"))
    yield folder
    shutil.rmtree(folder)


def environment(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return {**kept, "HOME": "/nonexistent", "PYTHONPATH": str(ROOT), "TERM": "xterm", **more}


def nanoclaw(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nanoclaw", *arguments],
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )


# --- what needs no service ---------------------------------------------------------------------------------


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    script = "import sys; from nanoclaw.cli import main\ntry: main(['--help'])\nfinally: print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=WITHIN_S,
    )
    shown, _, modules = done.stdout.rstrip("\n").rpartition("\n")
    assert all(name in shown for name in ("run", "chat", "pair", "--home", "--version"))
    assert {"asyncio", "structlog", "aiohttp", "telegram", "sqlite3", "tomllib"}.isdisjoint(modules.split())


def test_the_version_is_the_packages() -> None:
    assert nanoclaw("--version").stdout == f"nanoclaw {__version__}\n"


@pytest.mark.parametrize("arguments", [(), ("zzz",), ("chat", "--name", "No Name"), ("run", "--zzz")])
def test_a_wrong_call_shows_the_usage_and_exits_with_2(arguments: tuple[str, ...]) -> None:
    done = nanoclaw(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: nanoclaw")


@pytest.mark.parametrize("command", ["run", "chat"])
@pytest.mark.parametrize("place", ["before", "after", "environment"])
def test_a_mistake_in_the_settings_is_one_line_with_exit_code_2_and_nothing_written(
    root: Path, command: str, place: str
) -> None:
    (root / "nanoclaw.toml").write_text("[assistant]\nnane = 1\n")
    flag = ["--home", str(root)]
    arguments = {"before": [*flag, command], "after": [command, *flag], "environment": [command]}[place]
    done = nanoclaw(*arguments, NANOCLAW_HOME=str(root) if place == "environment" else "/nonexistent")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'nanoclaw: nanoclaw.toml: [assistant] has no key "nane"; did you mean "name"?\n'
    assert [path.name for path in root.iterdir()] == ["nanoclaw.toml"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_is_closed_from_the_start_is_an_empty_one(root: Path, closed: str) -> None:
    command = f"{sys.executable} -m nanoclaw --home {root} pair {closed}"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_output_that_cannot_be_written_is_one_line(root: Path) -> None:
    command = f"{sys.executable} -m nanoclaw --home {root} pair > /dev/full"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (
        1,
        "nanoclaw: the output cannot be written (No space left on device)\n",
    )


def test_a_home_that_is_no_folder_is_told_as_that() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nanoclaw", "--home", "/dev/null", "pair"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "that is no folder" in done.stderr


def test_a_home_that_somebody_uses_is_named_by_a_second_start(root: Path) -> None:
    with Home(root).open():
        done = nanoclaw("--home", str(root), "run")
    assert done.returncode == 2
    assert done.stderr.startswith(f"nanoclaw: NanoClaw already runs on this home (pid {os.getpid()})")
    assert len(done.stderr.splitlines()) == 1


# --- joining a running service -----------------------------------------------------------------------------


class World:
    """A service's local channel, with a receiver that answers each message as `answers` says."""

    def __init__(self, socket_path: Path) -> None:
        self.received: list[Inbound] = []
        self.open = 0
        self.answered = asyncio.Event()
        self.full = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.channel = LocalChannel(
            socket_path=socket_path,
            assistant_name="Zoë",
            version="9.9",
            clock=FixedClock(datetime(2026, 3, 1, tzinfo=UTC)),
            settled=self.settled,
            make_code=self.make_code,
            on_reachable=lambda _chat: None,
        )

    async def settled(self, _chat: ChatId) -> bool:
        return self.open == 0

    async def make_code(self) -> str:
        return "482913"

    async def moved(self, old: ChatId, new: ChatId, cursor: Cursor | None = None) -> None:
        raise NotImplementedError

    async def seen(self, channel: str, chat_id: ChatId, name: str, *, is_group: bool) -> None:
        raise NotImplementedError

    async def receive(self, inbound: Inbound) -> None:
        if self.full:
            raise StoreUnavailableError("disk full", safe="I cannot store anything now.")
        self.received.append(inbound)
        self.open += 1
        task = asyncio.create_task(self._answer(inbound))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, inbound: Inbound) -> None:
        try:
            await self.channel.typing(inbound.chat_id, None)
            await self.channel.typing(inbound.chat_id, None)
            await self.say(f"you said {inbound.text}", inbound.chat_id)
        finally:
            self.open -= 1
            self.answered.set()

    async def say(self, text: str, chat_id: str = "local:main") -> None:
        await self.channel.send_part(PartToSend(chat_id=ChatId(chat_id), text=text, key=new_id()))

    async def finish(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def service(root: Path) -> AsyncIterator[World]:
    world = World(Home(root).chat_socket)
    await world.channel.start(world)
    try:
        yield world
    finally:
        await world.channel.stop()
        await world.finish()


async def through_a_pipe(root: Path, text: str, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nanoclaw", "--home", str(root), *arguments),
        env=environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WITHIN_S):
        out, err = await process.communicate(text.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_through_a_pipe_each_line_is_a_message_and_each_reply_is_printed_before_it_ends(
    root: Path,
) -> None:
    async with service(root) as world:
        result = await through_a_pipe(root, "one\n\n  \ntwo ü\r\nlast without end", "chat")
    assert result == (0, "you said one\nyou said two ü\nyou said last without end\n", "")
    assert [message.text for message in world.received] == ["one", "two ü", "last without end"]


async def test_an_empty_pipe_ends_at_once(root: Path) -> None:
    async with service(root):
        assert await through_a_pipe(root, "", "chat") == (0, "", "")


async def test_another_terminal_chat_can_be_named(root: Path) -> None:
    async with service(root) as world:
        assert (await through_a_pipe(root, "hello", "chat", "--name", "work"))[0] == 0
    assert world.received[0].chat_id == "local:work"


async def test_a_message_that_was_not_taken_in_is_told_and_is_the_exit_code(root: Path) -> None:
    async with service(root) as world:
        world.full = True
        result = await through_a_pipe(root, "hello", "chat")
    assert result == (1, "", "I cannot store anything now.\n")


async def test_a_line_too_long_is_told_and_the_others_are_answered(root: Path) -> None:
    async with service(root):
        code, out, err = await through_a_pipe(root, "x" * 1_100_000 + "\nshort", "chat")
    assert (code, out) == (1, "you said short\n")
    assert "1 MiB" in err


async def test_a_service_that_goes_away_ends_the_chat_with_1(root: Path) -> None:
    async with service(root) as world:
        world.open = 1
        running = asyncio.create_task(through_a_pipe(root, "hello", "chat"))
        async with asyncio.timeout(WITHIN_S):
            await world.answered.wait()
        await world.channel.stop()
        code, out, err = await running
    assert (code, out) == (1, "you said hello\n")
    assert "NanoClaw has stopped" in err


async def test_pair_prints_the_code_of_the_running_service_alone(root: Path) -> None:
    async with service(root):
        assert await through_a_pipe(root, "", "pair") == (0, "482913\n", "")


async def test_a_plain_file_is_read_like_a_pipe(root: Path) -> None:
    """The event loop cannot wait for one."""
    (root / "input").write_text("one\ntwo")
    async with service(root):
        with (root / "input").open() as file:
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", "nanoclaw", "chat", "--home", str(root)],
                env=environment(),
                stdin=file,
                capture_output=True,
                text=True,
                check=True,
                timeout=WITHIN_S,
            )
    assert done.stdout == "you said one\nyou said two\n"


# --- in a terminal -----------------------------------------------------------------------------------------


class Terminal:
    """`nanoclaw chat` on a pseudo-terminal, and all that it has shown."""

    def __init__(self, root: Path) -> None:
        self._ours, self._theirs = pty.openpty()
        self._before = termios.tcgetattr(self._theirs)
        self.shown = ""
        self._news = asyncio.Event()
        self._command = (sys.executable, "-m", "nanoclaw", "chat", "--home", str(root))

    async def __aenter__(self) -> Self:
        stream = self._theirs
        self.process = await asyncio.create_subprocess_exec(
            *self._command,
            env=environment(),
            stdin=stream,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        asyncio.get_running_loop().add_reader(self._ours, self._read)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def _read(self) -> None:
        self.shown += os.read(self._ours, 65536).decode("utf-8", "replace")
        self._news.set()

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    async def until(self, pattern: str) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not re.search(pattern, self.shown, re.DOTALL):
                self._news.clear()
                await self._news.wait()

    async def ended(self) -> int:
        async with asyncio.timeout(WITHIN_S):
            return await self.process.wait()

    def mode_is_restored(self) -> bool:
        return termios.tcgetattr(self._theirs) == self._before


async def test_in_a_terminal_a_reply_carries_the_name_and_ctrl_d_ends_politely(root: Path) -> None:
    async with service(root) as world, Terminal(root) as terminal:
        await terminal.until(r"This is Zoë, in the NanoClaw 9.9.*Type /help.*> ")
        terminal.type("hello\n")
        await terminal.until(r"Zoë: you said hello\r\n> ")
        terminal.type("\x04")
        assert await terminal.ended() == 0
        await terminal.until("Bye.")
        assert terminal.shown.count("…") == 1
        assert terminal.mode_is_restored()
    assert [message.text for message in world.received] == ["hello"]


async def test_what_is_half_typed_survives_a_reply_that_comes_in_between(root: Path) -> None:
    async with service(root) as world, Terminal(root) as terminal:
        await terminal.until("> ")
        terminal.type("half")
        await terminal.until("> .*half")
        await world.say("news\x1b[2J")
        await terminal.until("Zoë: news\ufffd\\[2J\r\n> half")
        terminal.type(" a line\n")
        await terminal.until("you said half a line")


async def test_ctrl_c_ends_politely_even_while_a_line_is_being_typed(root: Path) -> None:
    async with service(root), Terminal(root) as terminal:
        await terminal.until("> ")
        terminal.type("half")
        await terminal.until("> .*half")
        terminal.process.send_signal(signal.SIGINT)
        assert await terminal.ended() == 0
        await terminal.until("Bye.")
        assert "Traceback" not in terminal.shown
        assert terminal.mode_is_restored()


async def test_a_service_that_stops_ends_the_terminal_chat_and_says_so(root: Path) -> None:
    async with service(root) as world, Terminal(root) as terminal:
        await terminal.until("> ")
        await world.channel.stop()
        assert await terminal.ended() == 1
        await terminal.until("NanoClaw has stopped")


# --- the service's own start and stop ----------------------------------------------------------------------


class Double:
    """What `nanoclaw run` needs of the app, and nothing behind it."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.running = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.steps.append("started")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.steps.append("stopped")

    async def make_pairing_code(self) -> str:
        return "482913"

    async def run_until(self, stop: asyncio.Event) -> None:
        self.running.set()
        await stop.wait()
        self.steps.append("was asked to stop")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_run_prints_a_code_says_ready_and_stops_cleanly_at_a_signal(
    root: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    double = Double()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(root / "notify"))
        manager.setblocking(False)
        serving = asyncio.create_task(serve(lambda: double, {"NOTIFY_SOCKET": str(root / "notify")}))
        async with asyncio.timeout(WITHIN_S):
            await double.running.wait()
            assert manager.recv(100) == b"READY=1"
            os.kill(os.getpid(), number)
            await serving
        assert manager.recv(100) == b"STOPPING=1"
    assert double.steps == ["started", "was asked to stop", "stopped"]
    lines = capsys.readouterr().out.splitlines()
    assert 'Pairing code: 482913  (send "/pair 482913" to the bot within 10 minutes)' in lines


def test_an_abstract_notify_socket_works_and_a_missing_one_stops_nobody(root: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{root.name}")
        notify("READY=1", {"NOTIFY_SOCKET": f"@{root.name}"})
        assert manager.recv(100) == b"READY=1"
    notify("READY=1", {"NOTIFY_SOCKET": str(root / "nowhere")})
    notify("READY=1", {})


async def test_lines_are_whole_however_they_arrive() -> None:
    receive, send = os.pipe()
    os.write(send, b"first\nsec")
    lines = in_thread(lambda: lines_of(receive))
    assert await anext(lines) == "first"
    os.write(send, "ond ü\nthird".encode())
    os.close(send)
    assert [line async for line in lines] == ["second ü", "third"]
    os.close(receive)


async def test_trouble_while_reading_is_raised_to_the_one_who_waits() -> None:
    receive, send = os.pipe()
    os.close(send)
    os.close(receive)
    with pytest.raises(OSError, match="Bad file descriptor"):
        await anext(in_thread(lambda: lines_of(receive)))


def test_control_characters_never_reach_the_terminal() -> None:
    assert printable("a\x1b[31mb\x07\n\tc\x9b") == "a\ufffd[31mb\ufffd\n\tc\ufffd"
