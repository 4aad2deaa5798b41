"""The one place that builds and runs the objects. Start-up is a stack; shutdown is the same stack, backwards."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, TypeVar
from zoneinfo import ZoneInfo

import structlog

from nanoclaw import __version__, commands, host_tools
from nanoclaw.channels.local.channel import LocalChannel
from nanoclaw.commands.deps import ChannelView, Deps
from nanoclaw.config import Settings
from nanoclaw.delivery import Delivery, DeliverySettings, channel_by_owner
from nanoclaw.directory import Directory
from nanoclaw.disk_guard import DiskGuard, Fill
from nanoclaw.domain import (
    Action,
    ChatId,
    Folder,
    Group,
    Inbound,
    OutboxEntry,
    TurnId,
    new_id,
)
from nanoclaw.errors import OutageError, StoreUnavailableError
from nanoclaw.folder_size import TooMuchError, folder_bytes, free_share
from nanoclaw.gate import Admission, Gate
from nanoclaw.group_queue import QueueSettings
from nanoclaw.home import Home
from nanoclaw.inspect_tool import inspect_tool
from nanoclaw.launcher import Launcher
from nanoclaw.masking import Masker
from nanoclaw.mounts import ExtraMounts
from nanoclaw.notices import Notices
from nanoclaw.orchestrator import Orchestrator, TurnSettings
from nanoclaw.plugins import discover
from nanoclaw.ports import AgentRuntime, Change, Channel, Clock, Plugin, PluginOffers, Tx
from nanoclaw.presence import Presence, PresenceSettings
from nanoclaw.proxy.server import Proxy, Upstream
from nanoclaw.reports import ago
from nanoclaw.rooms import Room, RoomRefusedError
from nanoclaw.runtimes.choice import choose
from nanoclaw.runtimes.docker.engine import ANSWER_TIMEOUT_S, DEFAULT_SOCKET, Engine
from nanoclaw.runtimes.docker.image import Images
from nanoclaw.runtimes.docker.keeper import ImageKeeper
from nanoclaw.runtimes.docker.open_network import OpenNetworks
from nanoclaw.runtimes.docker.runtime import AGENT_UID, DockerRuntime, DockerSettings
from nanoclaw.runtimes.process import ProcessRuntime
from nanoclaw.scheduler import Scheduler
from nanoclaw.senders import AllowlistFile
from nanoclaw.sqlite.reports import Reports
from nanoclaw.sqlite.store import Store
from nanoclaw.sqlite.tx import SqliteTx
from nanoclaw.tracing import Recorder

T = TypeVar("T")
log = structlog.get_logger()

TERMINAL = ChatId("local:main")
TERMINAL_OWNER = "local:owner"
MEMORY_BYTES = 64 * 1024
GLOBAL_FOLDER = "global"


class SystemClock:
    """The machine's own."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class PluginDoor:
    """What one plugin receives; implements `ports.PluginHost`."""

    def __init__(self, *, app: App, settings: Mapping[str, Any]) -> None:
        self._app = app
        self.clock: Clock = app.clock
        self.settings = settings

    async def write(self, change: Callable[[Tx], T]) -> T:
        result = await self._app.store.change(change)
        await self._app.look()
        return result

    async def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return await self._app.store.read(sql, parameters)

    async def send(self, entry: OutboxEntry) -> None:
        await self._app.store.outbox.put(entry, self.clock.now())
        self._app.delivery.poke(entry.chat_id, entry.lane)


class App:
    """The running program. `async with` starts it; what was started ends in the opposite order."""

    def __init__(
        self,
        settings: Settings,
        home: Home,
        *,
        clock: Clock,
        masker: Masker,
        plugins: Sequence[Plugin],
        problems: Sequence[str],
    ) -> None:
        self.settings = settings
        self.home = home
        self.clock = clock
        self._masker = masker
        self.zone = ZoneInfo(settings.assistant.timezone)
        self.started_at = clock.now()
        self.channels: dict[str, Channel] = {}
        self._plugins = list(plugins)
        self._problems = list(problems)
        self._offers: list[PluginOffers] = []
        self._stack = AsyncExitStack()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pruning = asyncio.Lock()
        self._up = False
        self._networks: OpenNetworks | None = None

    @classmethod
    def build(cls, settings: Settings, home: Home, *, masker: Masker) -> Self:
        """Nothing is opened or started yet. `masker` is the log's own, so that plugins' secrets reach both."""
        clock: Clock = SystemClock()
        if settings.test_clock:
            from nanoclaw.testing.clock import FileClock  # noqa: PLC0415 - the documented test switch

            clock = FileClock(settings.test_clock)
        plugins, problems = discover()
        return cls(settings, home, clock=clock, masker=masker, plugins=plugins, problems=problems)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run_until(self, stop: asyncio.Event) -> None:
        await stop.wait()

    async def make_pairing_code(self) -> str:
        """A one-time code, good for 10 minutes and 5 tries."""
        return await self.store.people.new_code(self.clock.now())

    # --- start-up ------------------------------------------------------------------------------------------

    async def _start(self, stack: AsyncExitStack) -> None:
        await self._open_store(stack)
        await self._register_terminal()
        await self._set_up_plugins()
        await self._open_proxy(stack)
        self._build_channels()
        self._build_core()
        self.recorder.start()
        stack.push_async_callback(self.recorder.stop)
        stack.push_async_callback(self._end_tasks)
        await self.delivery.start()
        stack.push_async_callback(self.delivery.stop)
        stack.push_async_callback(self.presence.stop)
        stack.push_async_callback(self.image.stop)
        await self.launcher.sweep([record.id for record in self._kept])
        await self._take_over()
        self.orchestrator.start()
        stack.push_async_callback(self.orchestrator.stop)
        self.disk_guard.start()
        stack.push_async_callback(self.disk_guard.stop)
        await self.scheduler.start()
        stack.push_async_callback(self.scheduler.stop)
        await self._start_plugins(stack)
        stack.push_async_callback(self.gate.stop)
        stack.push_async_callback(self._stop_channels)
        await asyncio.gather(*(channel.start(self.gate) for channel in self.channels.values()))
        self.recorder.log_event("system", None, {"version": __version__}, "The service has started")
        for problem in self._problems:
            await self.notices.tell_main(f"plugin:{problem}", problem)
        self._up = True

    async def _open_store(self, stack: AsyncExitStack) -> None:
        self.store = await stack.enter_async_context(
            Store(
                self.home.database,
                backups=self.home.backups,
                clock=self.clock,
                mask=self._masker.mask,
                plugin_migrations=[step for plugin in self._plugins for step in plugin.migrations],
            )
        )
        for component, why in self.store.refused.items():
            self._problems.append(
                f'The plugin "{component}" was left out: its tables cannot be made ({why}).'
            )
        self._plugins = [plugin for plugin in self._plugins if plugin.name not in self.store.refused]
        self.runtime = await self._choose_runtime()
        if self._networks:
            stack.push_async_callback(self._networks.stop)
        self._adopted = await self.runtime.adopt()
        live = {record.id: record for record in await self.store.runs.live()}
        self._kept = [live[run_id] for run_id in self._adopted if run_id in live]
        recovered = await self.store.recover([record.id for record in self._kept])
        log.info("store.open", applied=len(self.store.applied), recovered=str(recovered))
        self.directory = Directory(self.store.people)
        self.recorder = Recorder(sink=self.store, clock=self.clock)

    async def _register_terminal(self) -> None:
        main = Group(
            chat_id=TERMINAL, name="Terminal", folder=Folder("main"), trigger=f"@{self.settings.assistant.name}",
            requires_trigger=False, is_main=True, added_at=self.clock.now(), is_group=False,
        )  # fmt: skip
        await self.store.people.ensure_main(main, TERMINAL_OWNER, "owner", "local", self.clock.now())
        await self.directory.reload()

    async def _set_up_plugins(self) -> None:
        for plugin in list(self._plugins):
            given = self.settings.plugins.get(plugin.name, {})
            try:
                offers = plugin.setup(PluginDoor(app=self, settings=given))
                self._masker.add([str(given[name]) for name in offers.secrets if given.get(name)])
                self._offers.append(offers)
            except Exception as error:  # noqa: BLE001 - foreign code; it is logged, told and left out
                self._leave_out(plugin, error)

    async def _start_plugins(self, stack: AsyncExitStack) -> None:
        for plugin in list(self._plugins):
            try:
                await plugin.start()
            except Exception as error:  # noqa: BLE001 - foreign code; it is logged, told and left out
                self._leave_out(plugin, error)
            else:
                stack.push_async_callback(self._stop_plugin, plugin)

    async def _stop_plugin(self, plugin: Plugin) -> None:
        try:
            await plugin.stop()
        except Exception:  # foreign code must not keep the program from ending
            log.exception("plugin.stop_failed", plugin=plugin.name)

    def _leave_out(self, plugin: Plugin, error: Exception) -> None:
        log.error("plugin.failed", plugin=plugin.name, exc_info=error)
        self._problems.append(f'The plugin "{plugin.name}" was left out: {type(error).__name__}: {error}')
        self._plugins.remove(plugin)

    async def _open_proxy(self, stack: AsyncExitStack) -> None:
        model = self.settings.model
        if model.offline:
            from nanoclaw.testing.offline import MODEL_NAME, serve_offline  # noqa: PLC0415 - only without a key

            place = stack.enter_context(
                TemporaryDirectory(prefix="nanoclaw-")
            )  # short, whatever the home's path is
            socket = Path(place) / "offline.sock"
            offline = await serve_offline(socket, clock=self.clock)
            stack.push_async_callback(offline.stop)
            self.model_name = MODEL_NAME
            upstream = Upstream(base_url="http://offline", api_key=None, auth_token=None, unix_path=socket)
        else:
            self.model_name = model.name
            upstream = Upstream(
                base_url=model.url,
                api_key=model.api_key.reveal() if model.api_key else None,
                auth_token=model.auth_token.reveal() if model.auth_token else None,
                unix_path=None,
            )
        self.proxy = Proxy(upstream=upstream, ledger=self.store.usage, clock=self.clock)
        await self.proxy.start()
        stack.push_async_callback(self.proxy.stop)

    def _build_channels(self) -> None:
        local = LocalChannel(
            socket_path=self.home.chat_socket,
            assistant_name=self.settings.assistant.name,
            version=__version__,
            clock=self.clock,
            settled=self.store.mailbox.settled,
            make_code=self.make_pairing_code,
            on_reachable=lambda chat_id: self.delivery.reachable(chat_id),  # noqa: PLW0108 - built later
        )
        self.channels[local.name] = local
        if self.settings.telegram.token:
            self._add_telegram(self.settings.telegram.token.reveal())
        for channel in (channel for offers in self._offers for channel in offers.channels):
            self.channels[channel.name] = channel

    def _add_telegram(self, token: str) -> None:
        from nanoclaw.channels.telegram.channel import TelegramChannel  # noqa: PLC0415 - only with a token
        from nanoclaw.channels.telegram.settings import TelegramSettings  # noqa: PLC0415 - only with a token

        telegram = self.settings.telegram
        self.channels["telegram"] = TelegramChannel(
            settings=TelegramSettings(
                token=token,
                base_url=telegram.base_url,
                poll_timeout_s=telegram.poll_timeout_s,
                private_per_min=telegram.private_per_min,
                group_per_min=telegram.group_per_min,
                refused_retry_s=telegram.refused_retry_s,
            ),
            clock=self.clock,
            initial_offset=self._telegram_offset,
            commands=[
                (row.name, row.help)
                for row in commands.table(self._deps()).values()
                if row.where != "anywhere"
            ],
            on_up=lambda: self._reachable("tg:"),
        )

    async def _telegram_offset(self) -> tuple[int, datetime] | None:
        stored = await self.store.mailbox.cursor("telegram.offset")
        return (int(stored[0]), stored[1]) if stored else None

    def _reachable(self, prefix: str) -> None:
        for group in self.directory.groups():
            if group.chat_id.startswith(prefix):
                self.delivery.reachable(group.chat_id)

    def _build_core(self) -> None:
        settings, agents = self.settings, self.settings.agents
        self.channel_of = channel_by_owner(self.channels)
        self.delivery = Delivery(
            store=self.store.outbox,
            channel_of=self.channel_of,
            clock=self.clock,
            settings=DeliverySettings(
                retry_delays_s=settings.delivery.retry_delays_s,
                expires_after_s=settings.delivery.expires_after_s,
            ),
            tell_main=self._tell_main,
            name_of=self._name_of,
        )
        self.notices = Notices(
            outbox=self.store.outbox,
            directory=self.directory,
            clock=self.clock,
            reachable=self._is_reachable,
            poke=self.delivery.poke,
        )
        self.image = self._image()
        self.presence = Presence(
            channel_of=self.channel_of,
            settings=PresenceSettings(
                typing_renew_s=settings.delivery.typing_renew_s,
                receipt_after_s=settings.delivery.receipt_after_s,
            ),
        )
        self._tools = {
            tool.name: tool
            for tool in (
                *host_tools.core_tools(zone=self.zone, min_interval_s=settings.tasks.min_interval_s),
                inspect_tool(self._deps()),
                *(tool for offers in self._offers for tool in offers.host_tools),
            )
        }
        self.launcher = Launcher(
            runtime=self.runtime,
            proxy=self.proxy,
            store=self.store.runs,
            tools=self._tools.get,
            clock=self.clock,
            group_dir=lambda folder: self.home.groups / folder,
            run_dir=self.home.run_dir,
            runs_dir=self.home.runs,
            timezone=self.zone.key,
            host_called=lambda _: self.look(),
            extras=lambda group: self.extra_mounts.extras(group, possible=self.runtime.name == "docker"),
            admit=lambda: self.disk_guard.admit(),  # noqa: PLW0108 - built later
        )
        self.extra_mounts = ExtraMounts(
            settings.mount_allowlist,
            ours=(self.home.root, Path((settings.docker.socket or DEFAULT_SOCKET).removeprefix("unix://"))),
            tell=lambda text: self._warn("mounts", text),
        )
        self.allowlist = AllowlistFile(
            self.home.root / "sender-allowlist.json", broken=self._allowlist_broken
        )
        self.orchestrator = self._orchestrator(
            QueueSettings(
                max_runs=agents.max_concurrent,
                idle_timeout_s=agents.idle_timeout_s,
                retry_delays_s=agents.retry_delays_s,
                outage_retry_s=agents.outage_retry_s,
                outage_retry_max_s=agents.outage_retry_max_s,
            )
        )
        self.disk_guard = DiskGuard(
            runs=self.orchestrator.queue.runs,
            directory=self.directory,
            measure=self._fill,
            free_share=lambda: free_share(self.home.root),
            notices=self.notices,
            trace=self.recorder,
            clock=self.clock,
            quota_mb=settings.docker.folder_quota_mb,
            interval_s=settings.docker.disk_check_s,
        )
        self.scheduler = Scheduler(
            store=self.store.tasks,
            clock=self.clock,
            wake=self.orchestrator.wake,
            look=self.look,
            kinds={kind.name: kind for offers in self._offers for kind in offers.task_kinds},
            housekeeping=self.prune,
            housekeeping_interval_s=settings.trace.prune_interval_s,
        )
        self.gate = self._gate()

    async def _choose_runtime(self) -> AgentRuntime:
        """The runtime of this home. Docker's library is loaded only where there is an engine to talk to."""
        docker = self.settings.docker
        engine = Engine(docker.socket or DEFAULT_SOCKET)
        choice = await choose(
            self.settings.agents.runtime,
            await self.store.recall("runtime"),
            engine_answers=lambda: engine.exists() and engine.answers(),
            image_exists=lambda: engine.has_image(docker.image),
        )
        if choice.record:
            await self.store.remember("runtime", choice.name)
        if choice.name == "process":
            return ProcessRuntime(why=choice.why)
        home_id = await self.store.remember("home_id", new_id())
        owner_uid = self.home.root.stat().st_uid
        self._networks = OpenNetworks(
            engine=engine,
            image=docker.image,
            home_id=home_id,
            user=f"{owner_uid or AGENT_UID}:{owner_uid or AGENT_UID}",
            clock=self.clock,
            reachable=lambda text: self._warn("network", text),
        )
        return DockerRuntime(
            engine=engine,
            networks=self._networks,
            settings=DockerSettings(
                image=docker.image,
                memory_mb=docker.memory_mb,
                cpus=docker.cpus,
                pids=docker.pids,
                file_size_mb=docker.file_size_mb,
                output_mb=docker.output_mb,
                network=docker.network,
            ),
            home_id=home_id,
            owner_uid=owner_uid,
            why=choice.why,
        )

    def _image(self) -> ImageKeeper:
        docker = self.settings.docker
        engine = Engine(docker.socket or DEFAULT_SOCKET)
        if self.runtime.name == "docker":
            then = "Agents that start from now on use it."
        elif self.settings.agents.runtime == "auto":
            then = "From its next start on the service runs agents in containers."
        else:
            then = "Agents go on without it, because the settings say so ([agents] runtime)."
        return ImageKeeper(
            Images(
                lambda: engine.new_client(ANSWER_TIMEOUT_S),
                image=docker.image,
                base_image=docker.base_image,
                ca_bundle=docker.ca_bundle,
            ),
            clock=self.clock,
            tell=lambda chat_id, text: self.notices.tell(chat_id, f"image:{new_id()}", text),
            then=then,
        )

    async def _take_over(self) -> None:
        """Agents that outlived the last host go on; what nobody knows is ended."""
        kept = {record.id: record for record in self._kept}
        for run_id, process in self._adopted.items():
            record = kept.get(run_id)
            group = self.directory.group(record.chat_id) if record else None
            if record is None or group is None:
                log.warning("run.unknown", run=run_id, handle=process.handle)
                await process.stop(0)
                continue
            run = await self.launcher.adopt(record, group, process)
            try:
                await self.orchestrator.adopt(group, run, record)
            except OutageError as error:
                log.warning("run.not_adopted", run=run_id, reason=str(error))
                await self.launcher.dismiss(run, "it could not be adopted", 0)

    def _orchestrator(self, queue: QueueSettings) -> Orchestrator:
        settings, store = self.settings, self.store
        return Orchestrator(
            mailbox=store.mailbox,
            turns=store.turns,
            tasks=store.tasks,
            directory=self.directory,
            may_ask=self._may_ask,
            launch=self.launcher.launch,
            dismiss=self.launcher.dismiss,
            leave=self.launcher.leave,
            memory=self._memory,
            host_tools=lambda group: [t for t in self._tools.values() if group.is_main or not t.main_only],
            notices=self.notices,
            presence=self.presence,
            poke=self.delivery.poke,
            look=self.look,
            clock=self.clock,
            settings=TurnSettings(
                assistant_name=settings.assistant.name,
                zone=self.zone,
                model=self.model_name,
                max_tokens=settings.model.max_tokens,
                max_model_calls=settings.model.max_calls_per_turn,
                turn_timeout_s=settings.agents.turn_timeout_s,
                web_tools=settings.model.offers_web_tools,
                shell=self.runtime.shell,
                max_messages_per_prompt=settings.agents.max_messages_per_prompt,
                poll_interval_s=settings.orchestrator.poll_interval_s,
                interrupt_grace_s=settings.agents.interrupt_grace_s,
                prewarm=settings.docker.prewarm and self.runtime.name == "docker",
            ),
            queue_settings=queue,
        )

    def _gate(self) -> Gate:
        extra = [command for offers in self._offers for command in offers.commands]
        return Gate(
            mailbox=self.store.mailbox,
            directory=self.directory,
            commands=commands.table(self._deps(), extra),
            admission=Admission(stores=self._may_be_stored, asks=self._may_ask),
            assistant_name=self.settings.assistant.name,
            clock=self.clock,
            stored=self.orchestrator.stored,
            poke=self.delivery.poke,
            changed=self.look,
            channel_of=self.channel_of,
            stop_all=self.orchestrator.stop_all,
        )

    # --- what the objects ask of each other ----------------------------------------------------------------

    def _deps(self) -> Deps:
        return Deps(
            assistant_name=self.settings.assistant.name,
            zone=self.zone,
            retention_days=self.settings.trace.retention_days,
            started_at=self.started_at,
            clock=self.clock,
            queue=_Late(lambda: self.orchestrator.queue),
            runtime=_Late(lambda: self.runtime),
            image=_Late(lambda: self.image),
            reports=Reports(self.store.reader, self.store.slow_reader),
            channels=self._channel_views,
            groups=self.directory.groups,
            model_line=self._model_line,
            trace_lost=lambda: self.recorder.lost,
            memory_bytes=_resident_bytes,
            pair=self._pair,
            stop=self._stop,
            wake=self._wake,
            groups_changed=self.directory.reload,
            tasks_changed=self._tasks_changed,
        )

    async def look(self) -> None:
        """Something may have been put into the outbox or on the schedule: see to it now."""
        for chat_id, lane in await self.store.outbox.unsent_lanes():
            self.delivery.poke(chat_id, lane)
        await self.scheduler.tick()

    async def prune(self) -> None:
        """Hourly: the trace keeps to its retention."""
        if self._pruning.locked():
            return
        async with self._pruning:
            try:
                deleted = await self.store.prune_trace(self.settings.trace.retention_days)
            except StoreUnavailableError as error:
                log.error("prune.failed", reason=str(error))
            else:
                log.info("prune.done", rows=deleted)

    def _channel_views(self) -> list[ChannelView]:
        return [
            ChannelView(name=channel.name, health=channel.health(), capabilities=channel.capabilities)
            for channel in self.channels.values()
        ]

    def _model_line(self) -> str:
        health, now = self.proxy.health(), self.clock.now()
        if self.settings.model.offline:
            return f"{self.model_name} (no AI: no ANTHROPIC_API_KEY is set)"
        error = health.last_error
        if error and not health.ok:
            status = f" ({error.status})" if error.status else ""
            return f"{self.model_name}, last request failed {ago(error.at, now)}{status}: {error.text}"
        if health.last_answer_at:
            return f"{self.model_name}, last answer {ago(health.last_answer_at, now)}"
        return self.model_name

    def _is_reachable(self, chat_id: ChatId) -> bool:
        channel = self.channel_of(chat_id)
        return channel is not None and channel.health().state == "up" and channel.reachable(chat_id)

    def _may_ask(self, chat_id: ChatId, sender: str) -> bool:
        return self.directory.is_owner(sender) or self.allowlist.current().rule(chat_id).admits(sender)

    def _may_be_stored(self, chat_id: ChatId, sender: str) -> bool:
        rule = self.allowlist.current().rule(chat_id)
        return rule.mode == "trigger" or rule.admits(sender)

    def _allowlist_broken(self, text: str) -> None:
        self._own(self.notices.tell_main(f"allowlist:{self.clock.now().isoformat()}", text))

    def _warn(self, about: str, text: str) -> None:
        """Says it in main; if we are not up yet, at the end of the start."""
        if self._up:
            self._own(self.notices.tell_main(f"{about}:{self.clock.now().isoformat()}", text))
        else:
            self._problems.append(text)

    def _fill(self, folder: Folder, limit: int) -> Fill:
        try:
            return Fill(size_bytes=folder_bytes(self.home.groups / folder, limit))
        except TooMuchError as error:
            return Fill(size_bytes=limit, why=str(error))
        except FileNotFoundError:
            return Fill(size_bytes=0)

    def _name_of(self, chat_id: ChatId) -> str:
        group = self.directory.group(chat_id)
        return group.name if group else chat_id

    async def _tell_main(self, key: str, text: str, *, not_in: ChatId | None = None) -> bool:
        return await self.notices.tell_main(key, text, not_in=not_in)

    async def _memory(self, folder: Folder) -> tuple[str | None, str | None]:
        rooms = [Room(self.home.groups / name) for name in (folder, GLOBAL_FOLDER)]
        own, everyones = await asyncio.to_thread(lambda: [_read_memory(room) for room in rooms])
        return own, everyones

    def _pair(self, code: str, inbound: Inbound) -> Change:
        name = self.settings.assistant.name

        def change(tx: Tx) -> str:
            if not isinstance(tx, SqliteTx) or not tx.redeem_code(code, inbound, name):
                why = f"A wrong pairing code came from {inbound.sender_name} in {inbound.chat_name}"
                log.warning(
                    "pairing.wrong_code",
                    chat=inbound.chat_id,
                    hint="after five wrong ones: nanoclaw pair makes a new code",
                )
                failed = Action(
                    action_type="pairing_failed",
                    triggered_by=None,
                    target=inbound.chat_id,
                    content=why,
                    failed=True,
                )
                tx.log(failed)
                return (
                    "That code is wrong, used, or too old." if self.directory.is_owner(inbound.sender) else ""
                )
            return (
                f"Paired. This chat is a control panel of {name} now, and you are an owner. "
                "Write to me as to a person; /status shows how I am, /help what I can do."
            )

        return change

    async def _stop(self, chats: Sequence[ChatId], turns: Sequence[TurnId]) -> None:
        here = [run.turn.id for run in self.orchestrator.queue.runs() if run.turn and run.chat_id in chats]
        await self.orchestrator.interrupt([*turns, *here])

    async def _wake(self, chat_id: ChatId) -> None:
        self.orchestrator.queue.forgive(chat_id)
        self.orchestrator.wake(chat_id)

    async def _tasks_changed(self) -> None:
        await self.orchestrator.drop_cancelled()
        await self.scheduler.tick()

    async def _stop_channels(self) -> None:
        await asyncio.gather(*(channel.stop() for channel in self.channels.values()), return_exceptions=True)

    def _own(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Late:
    """Stands in for an object that is built later; every attribute is looked up when it is used."""

    def __init__(self, made: Callable[[], Any]) -> None:
        self._made = made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made(), name)


def _read_memory(room: Room) -> str | None:
    """The beginning of CLAUDE.md; nothing if the agent has put something strange in its place."""
    try:
        excerpt = room.read_start("CLAUDE.md", MEMORY_BYTES)
    except (RoomRefusedError, OSError) as error:
        log.warning("memory.not_read", group=room.name, reason=str(error))
        return None
    return excerpt.text if excerpt else None


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - a kernel file, read in one go
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def offline_pairing_code(home: Home) -> str:
    """A code made without a running service; the caller holds the home's lock."""
    clock = SystemClock()
    async with Store(home.database, backups=home.backups, clock=clock) as store:
        return await store.people.new_code(clock.now())
