"""The whole service as a child process, between a played Telegram and a played Messages API that live in the test.

    async with open_house() as house:
        await house.start()
        await house.pair()
        house.says(say("Hello Ada."))
        assert await house.ask("hi") == "Hello Ada."

The house outlives its service: `kill`, `stop` and `start` as often as you like; what the fakes saw stays. On the way out
every process that it started is ended, and if the test failed, what the service printed is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import nanoclaw
from nanoclaw.testing.listener import Changes
from nanoclaw.testing.messages_api import Fault, MessagesApi, Model, Reply, say
from nanoclaw.testing.scripts import Script
from nanoclaw.testing.telegram_api import Chat, Sent, TelegramApi, User

T = TypeVar("T")

ROOT: Final = Path(nanoclaw.__file__).parents[1]
API_KEY: Final = "sk-ant-api03-the-key-of-the-house-0123456789"
BOT_TOKEN: Final = "123456:the-bot-token-of-the-house"
WITHIN_S: Final = 15.0
"""No wait of a test is longer; most are a hundred times shorter."""
_LOOK_AGAIN_S: Final = 0.02
_PAIRING: Final = "Pairing code: "

Toml = Mapping[str, Mapping[str, Any]]

SHORT_WAITS: Final[Toml] = {
    "assistant": {"timezone": "Europe/Berlin"},
    "agents": {"retry_delays_s": [0.05, 0.05], "outage_retry_s": 0.1, "outage_retry_max_s": 0.2, "interrupt_grace_s": 0.5},
    "orchestrator": {"poll_interval_s": 0.5},
    "delivery": {"retry_delays_s": [0.05, 0.1], "typing_renew_s": 1.0},
    "telegram": {
        "poll_timeout_s": 10,
        "private_per_min": 60_000,
        "group_per_min": 60_000,
        "refused_retry_s": 0.1,
    },
    "tasks": {"min_interval_s": 1},
}


@dataclass(slots=True)
class Service:
    """One child process and everything that it printed."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    """Standard output."""
    errors: list[str] = field(default_factory=list)
    """Standard error."""
    changes: Changes = field(default_factory=Changes)
    readers: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    async def follow(self) -> None:
        """Begins to collect what it prints."""
        for stream, into in ((self.process.stdout, self.lines), (self.process.stderr, self.errors)):
            if stream is not None:
                self.readers.append(asyncio.create_task(self._collect(stream, into)))
        self.readers.append(asyncio.create_task(self._tell_end()))

    async def ended(self) -> int:
        """Its exit code, once it is gone and all that it printed is here."""
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*self.readers)
            return await self.process.wait()

    async def until(self, look: Callable[[], T | None], *, timeout_s: float = WITHIN_S) -> T:
        """The first result of `look` that is not None; it is asked at every line that is printed."""
        return await self.changes.until(look, timeout_s=timeout_s, what=self.story)

    def story(self) -> str:
        return "\n".join(
            ["--- the service's output:", *self.lines[-60:], "--- and its errors:", *self.errors]
        )

    async def _collect(self, stream: asyncio.StreamReader, into: list[str]) -> None:
        async for line in stream:
            into.append(line.decode("utf-8", "replace").rstrip("\n"))
            self.changes.notify()

    async def _tell_end(self) -> None:
        await self.process.wait()
        self.changes.notify()


@dataclass(slots=True)
class House:
    """A home folder, its fakes, at most one service that runs, and Ada, who becomes the owner."""

    root: Path
    """The home folder."""
    tg: TelegramApi
    api: MessagesApi
    environ: dict[str, str]
    """Of the service; what is changed here holds from the next start on."""
    ada: User
    chat: Chat
    """Ada's private chat with the bot."""
    service: Service | None = None
    past: list[Service] = field(default_factory=list)
    """Those that ran before."""

    # --- the service ---------------------------------------------------------------------------------------

    async def start(self) -> Service:
        """Starts it, and waits until it is ready: the code is printed then."""
        service = await self.launch("run")
        try:
            await service.until(lambda: self._ready(service))
        except TimeoutError:
            self._end(service)
            raise
        if service.process.returncode is not None:
            raise AssertionError(f"the service ended at its start\n{service.story()}")
        return service

    async def launch(self, *arguments: str, stdin: bytes | None = None) -> Service:
        """Any `nanoclaw` command on this home, not waited for. `run` becomes the house's service."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "nanoclaw", "--home", str(self.root), *arguments,
            env=self.environ,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=4 * 1024 * 1024,
        )  # fmt: skip
        service = Service(process)
        await service.follow()
        if arguments[0] == "run" and not self.runs:
            self.service = service
        self.past.append(service)
        if stdin is not None and process.stdin is not None:
            process.stdin.write(stdin)
            process.stdin.close()
        return service

    async def command(self, *arguments: str, stdin: bytes | None = None) -> tuple[int, str, str]:
        """A `nanoclaw` command on this home, to its end: exit code, standard output, standard error."""
        child = await self.launch(*arguments, stdin=stdin)
        try:
            code = await child.ended()
        except TimeoutError:
            self._end(child)
            raise AssertionError(f"nanoclaw {' '.join(arguments)} does not end\n{child.story()}") from None
        return code, "\n".join(child.lines), "\n".join(child.errors)

    async def stop(self) -> int:
        """SIGTERM, as systemd sends it; the exit code."""
        service = self.running
        service.process.send_signal(signal.SIGTERM)
        code = await service.ended()
        self.service = None
        return code

    async def kill(self) -> None:
        """SIGKILL; gone on return. Its agents end by themselves, a moment later."""
        service = self.running
        service.process.kill()
        await service.ended()
        self.service = None

    @property
    def runs(self) -> bool:
        return self.service is not None and self.service.process.returncode is None

    @property
    def running(self) -> Service:
        if self.service is None:
            raise AssertionError("no service runs in this house")
        return self.service

    @property
    def code(self) -> str:
        """The pairing code that the service printed."""
        line = next(line for line in self.running.lines if line.startswith(_PAIRING))
        return line.removeprefix(_PAIRING).split()[0]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log records of this name, of the service that runs."""
        return [record for record in _records(self.running.lines) if record.get("event") == event]

    async def until_logged(self, event: str, *, count: int = 1) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.logged(event)
            return found[count - 1] if len(found) >= count else None

        return await self.running.until(look)

    def turn_clock(self, seconds: float) -> None:
        """From now on the service's clock is so far ahead. Needs `open_house(clock=True)`."""
        path = Path(self.environ["NANOCLAW_TEST_CLOCK"])
        fresh = path.with_suffix(".new")
        fresh.write_text(str(seconds), encoding="ascii")
        fresh.replace(path)

    # --- talking -------------------------------------------------------------------------------------------

    async def pair(self) -> None:
        """Ada's chat becomes a main, and Ada an owner."""
        await self.ask(f"/pair {self.code}")

    def tell(self, text: str, *, chat: Chat | None = None, user: User | None = None, **more: Any) -> int:
        """Somebody (Ada, in her chat) writes; the message id. For more see `TelegramApi.say`."""
        return self.tg.say(chat or self.chat, user or self.ada, text, **more)

    async def ask(self, text: str, *, chat: Chat | None = None, user: User | None = None, **more: Any) -> str:
        """The next message in that chat after this was written."""
        count = len(self.texts(chat))
        self.tell(text, chat=chat, user=user, **more)
        return await self.next_text(count, chat=chat)

    async def next_text(self, count: int, *, chat: Chat | None = None) -> str:
        """The message that follows the first `count` in that chat."""
        return await self.tg.until(
            lambda: self.texts(chat)[count] if len(self.texts(chat)) > count else None, timeout_s=WITHIN_S
        )

    async def heard(self, wanted: str, *, chat: Chat | None = None, count: int = 1) -> str:
        """The `count`-th message of that chat which contains `wanted`."""
        number = (chat or self.chat).id
        sent = await self.tg.wait_sent(
            lambda s: s.chat_id == number and wanted in s.text, count=count, timeout_s=WITHIN_S
        )
        return sent.text

    def sent(self, chat: Chat | None = None) -> list[Sent]:
        """What the bot sent to that chat."""
        return [sent for sent in self.tg.sent if sent.chat_id == (chat or self.chat).id]

    def texts(self, chat: Chat | None = None) -> list[str]:
        return [sent.text for sent in self.sent(chat)]

    async def calm(self) -> None:
        """Between two tests that share a house: nothing hangs, nothing is open, nothing was malformed."""
        self.api.faults = deque()
        self.api.model = lambda _: say("Yes.")
        self.api.accept_any_key()
        self.api.release()
        self.tg.heal()
        problems, self.api.problems = self.api.problems, []
        open_now = "SELECT count(*) FROM messages WHERE outcome = 'open'"
        if self.value(open_now):
            self.tell("/stop all")
        await self.until_value(0, open_now)
        assert problems == []

    async def passed_by(self) -> None:
        """Returns when the service has dealt with everything that was written before; Ada must be paired."""
        assert "Uptime" in await self.ask("/status")

    def group(self, title: str, number: int) -> Chat:
        """A group on Telegram in which Ada, among others, writes; not registered yet."""
        return self.tg.group(-number, title)

    async def add_group(self, title: str, number: int) -> Chat:
        """A registered one."""
        chat = self.group(title, number)
        self.tell("is anybody here?", chat=chat)
        assert "Registered" in await self.ask(f"/group add tg:{chat.id} {title}")
        return chat

    # --- the model -----------------------------------------------------------------------------------------

    def says(self, *replies: Reply | Callable[[dict[str, Any]], Reply]) -> Script:
        """From now on the model gives these replies, in this order."""
        script = Script(replies)
        self.api.model = script
        return script

    def fails(self, *faults: Fault | None) -> None:
        """The next requests go wrong like this, one each; None: that one does not."""
        self.api.faults = deque(faults)

    # --- looking -------------------------------------------------------------------------------------------

    @property
    def database(self) -> Path:
        return self.root / "store" / "messages.db"

    def rows(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """A query of its database, read only, whether it runs or not."""
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(sql, parameters)]

    def dump(self) -> str:
        """Every value of every table as text, one row a line."""
        tables = [row["name"] for row in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        lines = [f"{table}: {row}" for table in tables for row in self.rows(f'SELECT * FROM "{table}"')]
        return "\n".join(lines)

    def value(self, sql: str, *parameters: Any) -> Any:
        """The first column of the first row; None without one."""
        found = self.rows(sql, *parameters)
        return next(iter(found[0].values())) if found else None

    def change(self, sql: str, *parameters: Any) -> None:
        """Changes its database by hand, as an owner might; nothing may run."""
        assert not self.runs
        with contextlib.closing(sqlite3.connect(self.database)) as db, db:
            db.execute(sql, parameters)

    async def until_value(self, wanted: object, sql: str, *parameters: Any) -> None:
        """Waits until that query's first value is `wanted`."""
        await self.until(
            lambda: self.value(sql, *parameters) == wanted,
            what=lambda: f"{sql}: {self.value(sql, *parameters)}",
        )

    async def until(self, fits: Callable[[], object], *, what: Callable[[], str] = str) -> None:
        """Waits for something that nobody announces: a row, a process, a file."""
        try:
            async with asyncio.timeout(WITHIN_S):
                while not fits():  # noqa: ASYNC110 - see above
                    await asyncio.sleep(_LOOK_AGAIN_S)
        except TimeoutError:
            raise TimeoutError(f"{what()}\n{self.story()}") from None

    async def outcome(self, text: str) -> str:
        """What became of the newest stored message with this text, once it is over."""
        sql = "SELECT outcome FROM messages WHERE content = ? ORDER BY seq DESC LIMIT 1"
        await self.until(lambda: self.value(sql, text) not in (None, "open"), what=lambda: f"{text!r} stays open")
        return str(self.value(sql, text))

    def agents(self) -> dict[str, int]:
        """The processes of the runs that are on, by their group's folder."""
        over = {record["run"] for record in self.logged("run.ended")}
        return {
            run["group"]: int(run["handle"]) for run in self.logged("run.started") if run["run"] not in over
        }

    def freeze(self, folder: str) -> int:
        """The agent of that group does nothing any more, and does not know it; its process id."""
        pid = self.agents()[folder]
        os.kill(pid, signal.SIGSTOP)
        return pid

    def kill_agent(self, folder: str) -> int:
        """SIGKILL for the agent of that group; its process id."""
        pid = self.agents()[folder]
        os.kill(pid, signal.SIGKILL)
        return pid

    def story(self) -> str:
        """Everything for a failure's report."""
        said = [f"{sent.chat_id}: {sent.text[:300]}" for sent in self.tg.sent[-12:]]
        service = self.past[-1].story() if self.past else "no service was started"
        return "\n".join([*said, f"problems: {self.api.problems}", service])

    # --- the end -------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Ends every process that the house has started."""
        if os.environ.get("HOUSE_SHOW"):
            with open(os.environ["HOUSE_SHOW"], "a") as f: f.write("\n=====\n" + "\n---\n".join(f"[{x.chat_id}] {x.text}" for x in self.tg.sent))
        for service in self.past:
            self._end(service)
        for service in self.past:
            await service.ended()

    def _end(self, service: Service) -> None:
        if service.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                service.process.kill()

    def _ready(self, service: Service) -> bool | None:
        if service.process.returncode is not None or any('"ready"' in line for line in service.lines):
            return True
        return None


def _records(lines: Sequence[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines if line.startswith("{")]


def alive(pid: int) -> bool:
    """Whether that process runs; one that waits to be buried does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


def write_settings(root: Path, *layers: Toml) -> None:
    """`nanoclaw.toml`, later layers over earlier ones."""
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, values in layer.items():
            merged.setdefault(section, {}).update(values)
    lines = []
    for section, values in merged.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
    (root / "nanoclaw.toml").write_text("\n".join(lines), encoding="utf-8")


def environment(root: Path, **more: str) -> dict[str, str]:
    """Nothing of this machine's but where programs are; a clock that can be turned (`root`'s neighbour `…clock`)."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return {**kept, "HOME": str(root), "PYTHONPATH": str(ROOT), **more}


@asynccontextmanager
async def open_house(
    settings: Toml | None = None,
    *,
    model: Model = lambda _: say("Yes."),
    offline: bool = False,
    telegram: bool = True,
    clock: bool = False,
    root: Path | None = None,
    username: str = "andy_bot",
) -> AsyncIterator[House]:
    """A fresh home and fresh fakes; nothing runs yet.

    `offline`: no key, so that the offline model answers. `root`: a home folder of your own, which is left in place.
    """
    async with AsyncExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="nc", dir="/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        home = root or folder / "h"
        home.mkdir(mode=0o700, exist_ok=True)
        tg = await stack.enter_async_context(TelegramApi(token=BOT_TOKEN, username=username))
        api = await stack.enter_async_context(MessagesApi(model=model))
        names: dict[str, str] = {}
        if telegram:
            names |= {"TELEGRAM_BOT_TOKEN": tg.token, "TELEGRAM_BASE_URL": tg.base_url}
        if not offline:
            names |= {"ANTHROPIC_API_KEY": API_KEY, "ANTHROPIC_BASE_URL": api.url}
        if clock:
            names["NANOCLAW_TEST_CLOCK"] = str(folder / "clock")
        write_settings(home, SHORT_WAITS, settings or {})
        ada = tg.user(7, "Ada")
        house = House(
            root=home, tg=tg, api=api, environ=environment(folder, **names), ada=ada, chat=tg.private_chat(ada)
        )
        stack.push_async_callback(house.close)
        try:
            yield house
        except BaseException as error:
            error.add_note(house.story())
            raise


@asynccontextmanager
async def paired_house(settings: Toml | None = None, **more: Any) -> AsyncIterator[House]:
    """A house whose service runs, with Ada paired."""
    async with open_house(settings, **more) as house:
        await house.start()
        await house.pair()
        yield house
