"""The whole service as a child process, between played chat services and a played Messages API that live in the test.

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
import os
import shutil
import signal
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from docker.errors import APIError

from nanoclaw.runtimes.docker.engine import Engine
from nanoclaw.testing.messages_api import Fault, MessagesApi, Model, Reply, say
from nanoclaw.testing.scripts import Script
from nanoclaw.testing.slack_api import SlackApi
from nanoclaw.testing.telegram_api import Chat, Sent, TelegramApi, User
from nanoclaw.testing.whatsapp_service import PlayedWhatsApp
from tests.service.child import WITHIN_S, Service, alive
from tests.service.records import Records
from tests.service.surroundings import (
    API_KEY,
    BOT_TOKEN,
    SHORT_WAITS,
    Toml,
    chosen,
    environment,
    write_settings,
)

__all__ = [
    "API_KEY",
    "BOT_TOKEN",
    "WITHIN_S",
    "House",
    "Service",
    "Toml",
    "alive",
    "open_house",
    "paired_house",
]

_LOOK_AGAIN_S: Final = 0.02
_PAIRING: Final = "Pairing code: "


@dataclass
class House(Records):
    """A home folder, its fakes, at most one service that runs, and Ada, who becomes the owner."""

    root: Path
    """The home folder."""
    tg: TelegramApi
    slack: SlackApi
    """Only in a house with Slack does anybody answer there; likewise with WhatsApp."""
    whatsapp: PlayedWhatsApp
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
            service.end()
            raise
        if service.process.returncode is not None:
            code = await service.ended()
            raise AssertionError(f"the service ended at its start with {code}\n{service.story()}")
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
            child.end()
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
        return self.running.records(event)

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

    async def until_value(self, wanted: object, sql: str, *parameters: Any) -> None:
        """Waits until that query's first value is `wanted`."""
        await self.until(
            lambda: self.value(sql, *parameters) == wanted,
            what=lambda: f"{sql}: {self.value(sql, *parameters)}",
        )

    async def until(
        self, fits: Callable[[], object], *, what: Callable[[], str] = str, within_s: float = WITHIN_S
    ) -> None:
        """Waits for something that nobody announces: a row, a process, a file."""
        try:
            async with asyncio.timeout(within_s):
                while not fits():
                    await asyncio.sleep(_LOOK_AGAIN_S)
        except TimeoutError:
            raise TimeoutError(f"{what()}\n{self.story()}") from None

    async def outcome(self, text: str) -> str:
        """What became of the newest stored message with this text, once it is over."""
        sql = "SELECT outcome FROM messages WHERE content = ? ORDER BY seq DESC LIMIT 1"
        await self.until(
            lambda: self.value(sql, text) not in (None, "open"), what=lambda: f"{text!r} stays open"
        )
        return str(self.value(sql, text))

    def agents(self) -> dict[str, int]:
        """The service's agents as processes of this machine, by their group's folder."""
        over = {record["run"] for record in self.logged("run.ended")}
        begun = [*self.logged("run.started"), *self.logged("run.adopted")]
        return {run["group"]: _pid(run["handle"]) for run in begun if run["run"] not in over}

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
        said += [f"{sent.channel}: {sent.text[:300]}" for sent in self.slack.sent[-12:]]
        said += [f"{chat}: {text[:300]}" for chat, text in self.whatsapp.texts[-12:]]
        service = self.past[-1].story() if self.past else "no service was started"
        return "\n".join([*said, f"problems: {self.api.problems}", service])

    # --- the end -------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Ends every process that the house has started, and waits for the agents, which end with their service."""
        for service in self.past:
            service.end()
        for service in self.past:
            await service.ended()
        handles = [str(run["handle"]) for service in self.past for run in service.records("run.started")]
        agents = [int(handle) for handle in handles if handle.isdecimal()]  # containers outlive their service
        await self.until(lambda: not any(alive(agent) for agent in agents))
        await asyncio.to_thread(_remove, [handle for handle in handles if not handle.isdecimal()])

    def _ready(self, service: Service) -> bool | None:
        if service.process.returncode is not None or any('"ready"' in line for line in service.lines):
            return True
        return None


def _pid(handle: str) -> int:
    """Of an agent that is a child process, or the first process of a container."""
    if handle.isdigit() and len(handle) < 12:
        return int(handle)
    with contextlib.closing(Engine(str(chosen[-1]["docker"]["socket"])).new_client()) as engine:
        return int(engine.inspect_container(handle)["State"]["Pid"])


def _remove(containers: list[str]) -> None:
    """What a service that was killed has left running."""
    if containers and "docker" in chosen[-1]:
        with contextlib.closing(Engine(str(chosen[-1]["docker"]["socket"])).new_client()) as engine:
            for handle in dict.fromkeys(containers):
                with contextlib.suppress(APIError):
                    engine.remove_container(handle, force=True, v=True)


@asynccontextmanager
async def open_house(
    settings: Toml | None = None,
    *,
    model: Model = lambda _: say("Yes."),
    offline: bool = False,
    telegram: bool = True,
    slack: bool = False,
    whatsapp: bool = False,
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
        played_slack, played_whatsapp = SlackApi(ack_timeout_s=5.0), PlayedWhatsApp(folder / "wa.sock")
        names: dict[str, str] = {}
        if slack:
            names |= await _open_slack(stack, played_slack)
        if whatsapp:
            names |= await _open_whatsapp(stack, played_whatsapp, home)
        if telegram:
            names |= {"TELEGRAM_BOT_TOKEN": tg.token, "TELEGRAM_BASE_URL": tg.base_url}
        if not offline:
            names |= {"ANTHROPIC_API_KEY": API_KEY, "ANTHROPIC_BASE_URL": api.url}
        if clock:
            names["NANOCLAW_TEST_CLOCK"] = str(folder / "clock")
        on: Toml = {"whatsapp": {"enabled": whatsapp}}
        write_settings(home, SHORT_WAITS, on, chosen[-1], settings or {})
        ada = tg.user(7, "Ada")
        house = House(
            root=home,
            tg=tg,
            slack=played_slack,
            whatsapp=played_whatsapp,
            api=api,
            environ=environment(folder, **names),
            ada=ada,
            chat=tg.private_chat(ada),
        )
        stack.push_async_callback(house.close)
        try:
            yield house
        except BaseException as error:
            error.add_note(house.story())
            raise


async def _open_slack(stack: AsyncExitStack, slack: SlackApi) -> dict[str, str]:
    """It is there; what the service has to know of it."""
    await stack.enter_async_context(slack)
    return {
        "SLACK_BOT_TOKEN": slack.bot_token,
        "SLACK_APP_TOKEN": slack.app_token,
        "SLACK_BASE_URL": slack.base_url,
    }


async def _open_whatsapp(stack: AsyncExitStack, whatsapp: PlayedWhatsApp, home: Path) -> dict[str, str]:
    """It is there, and the account was linked long ago; what the service has to know of it."""
    session = home / "data" / "whatsapp" / "session.db"
    session.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    whatsapp.was_linked(session)
    await whatsapp.start()
    stack.push_async_callback(whatsapp.stop)
    return {"NANOCLAW_TEST_WHATSAPP": str(whatsapp.place)}


@asynccontextmanager
async def paired_house(settings: Toml | None = None, **more: Any) -> AsyncIterator[House]:
    """A house whose service runs, with Ada paired."""
    async with open_house(settings, **more) as house:
        await house.start()
        await house.pair()
        yield house
