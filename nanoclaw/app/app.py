"""Builds the objects, joins them, starts them. Start-up is a stack; shutdown is the same stack, backwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from zoneinfo import ZoneInfo

import structlog

from nanoclaw import __version__, commands, host_tools
from nanoclaw.app import post
from nanoclaw.app.agents import Quarters, choose_quarters, image_keeper
from nanoclaw.app.keeping import GroupRooms, Keeping
from nanoclaw.app.model import open_model
from nanoclaw.app.pairing import pairing
from nanoclaw.app.plugin_house import PluginDoor, PluginHouse
from nanoclaw.app.post import Post
from nanoclaw.app.surroundings import SystemClock, fill_of, memory_of, resident_bytes
from nanoclaw.app.way_out import WayOut
from nanoclaw.asks import POLL_S, Asks
from nanoclaw.commands.deps import Deps
from nanoclaw.config import Settings
from nanoclaw.directory import Directory
from nanoclaw.disk_guard import DiskGuard
from nanoclaw.domain import ChatId, Folder, Group, TurnId, new_id
from nanoclaw.errors import OutageError, StoreUnavailableError
from nanoclaw.folder_size import free_share
from nanoclaw.gate import Admission, Gate
from nanoclaw.group_queue import QueueSettings
from nanoclaw.group_tools import group_tools
from nanoclaw.home import Home
from nanoclaw.inspect_tool import inspect_tool
from nanoclaw.launcher import Launcher
from nanoclaw.masking import Masker
from nanoclaw.memory_templates import MemoryTemplates
from nanoclaw.mounts import ExtraMounts
from nanoclaw.orchestrator import Orchestrator
from nanoclaw.plugins import discover
from nanoclaw.ports import Clock, Plugin
from nanoclaw.registration import register_kind
from nanoclaw.runtimes.docker.engine import DEFAULT_SOCKET
from nanoclaw.scheduler import Scheduler
from nanoclaw.senders import AllowlistFile
from nanoclaw.sqlite.asks import AskRules
from nanoclaw.sqlite.reports import Reports
from nanoclaw.sqlite.store import Store
from nanoclaw.tasks import TaskRules
from nanoclaw.tool_asks import ToolAsks, with_asks
from nanoclaw.tracing import Recorder
from nanoclaw.turn_making import TurnSettings
from nanoclaw.wire import HostCall
from nanoclaw.workflow_files import WorkflowFiles
from nanoclaw.workflow_prompts import WorkflowPrompts
from nanoclaw.workflow_tools import workflow_tools
from nanoclaw.workflows import Desk, Rules

if TYPE_CHECKING:
    from nanoclaw.channels.whatsapp.channel import WhatsAppChannel

log = structlog.get_logger()

TERMINAL = ChatId("local:main")
MIB = 1024 * 1024
TERMINAL_OWNER = "local:owner"


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
        self._task_rules = TaskRules(zone=self.zone, retry_delays_s=settings.tasks.retry_delays_s)
        self.post = Post()
        self._rooms = GroupRooms(home)
        self.whatsapp: WhatsAppChannel | None = None
        self._plugins = PluginHouse(plugins, problems)
        self._stack = AsyncExitStack()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pruning = asyncio.Lock()
        self._up = False

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
        await self._choose_runtime(stack)
        await self._register_terminal()
        self._plugins.set_up(
            lambda given: PluginDoor(store=self.store, clock=self.clock, settings=given, look=self.look),
            self.settings.plugins,
            self._masker,
        )
        self.model = await open_model(stack, self.settings, self.store.usage, self.clock)
        self._build_channels()
        self.out = WayOut(
            self.settings,
            self.home,
            store=self.store,
            post=self.post,
            directory=self.directory,
            clock=self.clock,
            zone=self.zone,
        )
        self.keeping = Keeping(
            self.settings,
            self.home,
            rooms=self._rooms,
            store=self.store,
            post=self.post,
            directory=self.directory,
            clock=self.clock,
            zone=self.zone,
            spool=self.out.spool,
            poke=self.out.delivery.poke,
        )
        self._build_agents()
        self._build_way_in()
        await self._start_core(stack)
        await self._plugins.start(stack)
        stack.push_async_callback(self.gate.stop)
        await self.asks.start()
        stack.push_async_callback(self.asks.stop)
        stack.push_async_callback(self.post.stop)
        if self.whatsapp:
            stack.push_async_callback(self.link_desk.stop)
        self._plugins.problems += await self.post.start(self.gate)
        self.out.watch.start()
        stack.push_async_callback(self.out.watch.stop)
        self.recorder.log_event("system", None, {"version": __version__}, "The service has started")
        for problem in self._plugins.problems:
            await self.out.notices.tell_main(f"plugin:{problem}", problem)
        self._up = True

    async def _start_core(self, stack: AsyncExitStack) -> None:
        self.recorder.start()
        stack.push_async_callback(self.recorder.stop)
        stack.push_async_callback(self._end_tasks)
        await self.out.delivery.start()
        stack.push_async_callback(self.out.delivery.stop)
        stack.push_async_callback(self.out.live.stop)
        stack.push_async_callback(self.out.presence.stop)
        stack.push_async_callback(self.image.stop)
        await self.launcher.sweep([record.id for record in self._kept])
        await self.keeping.tidy()
        stack.push_async_callback(self.keeping.attachments.stop)
        await self._take_over()
        self.orchestrator.start()
        stack.push_async_callback(self.orchestrator.stop)
        self.disk_guard.start()
        stack.push_async_callback(self.disk_guard.stop)
        await self.scheduler.start()
        stack.push_async_callback(self.scheduler.stop)

    async def _open_store(self, stack: AsyncExitStack) -> None:
        self.store = await stack.enter_async_context(
            Store(
                self.home.database,
                backups=self.home.backups,
                clock=self.clock,
                mask=self._masker.mask,
                plugin_migrations=self._plugins.migrations,
                task_rules=self._task_rules,
                ask_rules=AskRules(
                    expires_after_s=self.settings.asks.expires_after_s, reachable=self.post.reachable
                ),
            )
        )
        self._plugins.refuse(self.store.refused)
        templates = MemoryTemplates(room_of=self._rooms.made, assistant_name=self.settings.assistant.name)
        self.directory = Directory(self.store.people, joined=templates.ensure)
        self.recorder = Recorder(sink=self.store, clock=self.clock)

    async def _choose_runtime(self, stack: AsyncExitStack) -> None:
        """Also finds the agents that outlived the last host; what nobody serves any more waits for another try."""
        quarters = await self._quarters()
        self.runtime = quarters.runtime
        if quarters.networks:
            stack.push_async_callback(quarters.networks.stop)
        self._adopted = await self.runtime.adopt()
        live = {record.id: record for record in await self.store.runs.live()}
        self._kept = [live[run_id] for run_id in self._adopted if run_id in live]
        recovered = await self.store.recover([record.id for record in self._kept])
        log.info("store.open", applied=len(self.store.applied), recovered=str(recovered))

    async def _quarters(self) -> Quarters:
        return await choose_quarters(self.settings, self.home, self.store, self.clock, self._warn)

    async def _register_terminal(self) -> None:
        main = Group(
            chat_id=TERMINAL, name="Terminal", folder=Folder("main"), trigger=f"@{self.settings.assistant.name}",
            requires_trigger=False, is_main=True, added_at=self.clock.now(), is_group=False,
        )  # fmt: skip
        await self.store.people.ensure_main(main, TERMINAL_OWNER, "owner", "local", self.clock.now())
        await self.directory.reload()

    def _build_channels(self) -> None:
        settings, store, clock = self.settings, self.store, self.clock
        self.workflows = self._workflow_desk()
        if settings.whatsapp.enabled:
            self.whatsapp = post.whatsapp(
                settings,
                self.home,
                clock,
                on_up=lambda: self._up_again("whatsapp"),
                tell=self._tell_of_whatsapp,
            )
        self.post.add(
            post.local(
                settings,
                self.home,
                store,
                clock,
                make_code=self.make_pairing_code,
                on_reachable=lambda chat_id: self.out.delivery.reachable(chat_id),  # noqa: PLW0108 - built later
                link_whatsapp=self.whatsapp.link if self.whatsapp else None,
            )
        )
        if settings.telegram.token:
            self.post.add(
                post.telegram(
                    settings, store, clock, menu=self._menu(), on_up=lambda: self._up_again("telegram")
                )
            )
        if settings.slack.bot_token or settings.slack.app_token:
            self.post.add(
                post.slack(
                    settings,
                    store,
                    clock,
                    groups=self.directory.groups,
                    on_up=lambda: self._up_again("slack"),
                )
            )
        if self.whatsapp:
            self.post.add(self.whatsapp)
            self.link_desk = post.link_desk(
                self.whatsapp,
                clock,
                put=lambda entry: self.out.put(entry),  # noqa: PLW0108 - built later
                spool=lambda data, suffix: self.out.spool.add(data, suffix),  # noqa: PLW0108 - likewise
                shows_pictures=self._shows_pictures,
            )
        for channel in (channel for offers in self._plugins.offers for channel in offers.channels):
            self.post.add(channel)

    async def _tell_of_whatsapp(self, text: str) -> None:
        key = f"whatsapp:{self.clock.now().isoformat()}"
        owns = self.post.channels["whatsapp"].owns
        await self.out.notices.tell_main(key, text, avoid=owns)

    def _shows_pictures(self, chat_id: ChatId) -> bool:
        channel = self.post.of(chat_id)
        return channel is not None and channel.capabilities.max_file_bytes > 0

    def _menu(self) -> list[tuple[str, str]]:
        rows = commands.table(self._deps()).values()
        return [(row.name, row.help) for row in rows if row.where != "anywhere"]

    def _up_again(self, channel: str) -> None:
        self.out.delivery.back(self.post.channels[channel].owns)

    def _build_agents(self) -> None:
        settings = self.settings
        self.image = image_keeper(
            settings,
            self.runtime,
            self.clock,
            lambda chat_id, text: self.out.notices.tell(chat_id, f"image:{new_id()}", text),
        )
        self._plain_tools = {
            tool.name: tool
            for tool in (
                *host_tools.core_tools(
                    zone=self.zone,
                    min_interval_s=settings.tasks.min_interval_s,
                    max_per_group=settings.tasks.max_per_group,
                    shell=self.runtime.shell,
                ),
                inspect_tool(self._deps()),
                *group_tools(Reports(self.store.reader, self.store.slow_reader)),
                *workflow_tools(self.workflows),
                *self.keeping.tools(),
                *(tool for offers in self._plugins.offers for tool in offers.host_tools),
            )
        }
        self._tools = {name: with_asks(tool) for name, tool in self._plain_tools.items()}
        self.extra_mounts = ExtraMounts(
            settings.mount_allowlist,
            ours=(self.home.root, Path((settings.docker.socket or DEFAULT_SOCKET).removeprefix("unix://"))),
            tell=lambda text: self._warn("mounts", text),
        )
        self.launcher = Launcher(
            runtime=self.runtime,
            proxy=self.model.proxy,
            store=self.store.runs,
            tools=self._tools.get,
            clock=self.clock,
            group_dir=lambda folder: self.home.groups / folder,
            run_dir=self.home.run_dir,
            runs_dir=self.home.runs,
            timezone=self.zone.key,
            host_called=self._host_called,
            extras=lambda group: self.extra_mounts.extras(group, possible=self.runtime.name == "docker"),
            admit=lambda: self.disk_guard.admit(),  # noqa: PLW0108 - built later
            said=self.out.live.said,
        )

    def _workflow_desk(self) -> Desk:
        def abilities(group: Group) -> set[str]:
            tools = {name for name, tool in self._tools.items() if group.is_main or not tool.main_only}
            return tools | ({"web"} if self.settings.model.offers_web_tools else set())

        return Desk(
            read=WorkflowFiles(self.home.workflows).read,
            abilities=abilities,
            rules=Rules(
                zone=self.zone,
                min_interval_s=self.settings.tasks.min_interval_s,
                max_tasks=self.settings.tasks.max_per_group,
            ),
        )

    def _build_way_in(self) -> None:
        settings = self.settings
        self.allowlist = AllowlistFile(
            self.home.root / "sender-allowlist.json",
            broken=lambda text: self._warn("allowlist", text),
        )
        self.orchestrator = self._orchestrator()
        self.disk_guard = DiskGuard(
            runs=self.orchestrator.queue.runs,
            directory=self.directory,
            measure=lambda folder, limit: fill_of(self.home.groups, folder, limit),
            free_share=lambda: free_share(self.home.root),
            notices=self.out.notices,
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
            kinds={kind.name: kind for offers in self._plugins.offers for kind in offers.task_kinds},
            housekeeping=self.prune,
            housekeeping_interval_s=settings.trace.prune_interval_s,
        )
        self.asks = self._asks()
        extra = [command for offers in self._plugins.offers for command in offers.commands]
        self.gate = Gate(
            mailbox=self.store.mailbox,
            directory=self.directory,
            commands=commands.table(self._deps(), extra),
            admission=Admission(stores=self._may_be_stored, asks=self._may_ask),
            assistant_name=settings.assistant.name,
            clock=self.clock,
            stored=self.orchestrator.stored,
            poke=self.out.delivery.poke,
            changed=self.look,
            channel_of=self.post.of,
            stop_all=self.orchestrator.stop_all,
            asks=self.asks,
            leaving=self.orchestrator.vacate,
            arrived=self._arrived,
        )

    def _asks(self) -> Asks:
        held_back = ToolAsks(tools=lambda: self._plain_tools, group_of=self.directory.group)
        return Asks(
            store=self.store.asks,
            change=self.store.change,
            kinds=[
                register_kind(self.settings.assistant.name),
                held_back.kind(),
                *(kind for offers in self._plugins.offers for kind in offers.ask_kinds),
            ],
            max_held=self.settings.asks.max_held,
            clock=self.clock,
            receive=lambda inbound: self.gate.receive(inbound),  # noqa: PLW0108 - built later
            look=self.look,
            poll_s=1.0 if self.settings.test_clock else POLL_S,
        )

    def _orchestrator(self) -> Orchestrator:
        store, agents = self.store, self.settings.agents
        return Orchestrator(
            mailbox=store.mailbox,
            turns=store.turns,
            tasks=store.tasks,
            directory=self.directory,
            may_ask=self._may_ask,
            launch=self.launcher.launch,
            dismiss=self.launcher.dismiss,
            leave=self.launcher.leave,
            memory=lambda folder: memory_of(self.home.groups, folder),
            host_tools=lambda group: [t for t in self._tools.values() if group.is_main or not t.main_only],
            notices=self.out.notices,
            presence=self.out.presence,
            live=self.out.live,
            brief=WorkflowPrompts(
                desk=self.workflows,
                facts=Reports(self.store.reader, self.store.slow_reader),
                group_of=self.directory.group,
                clock=self.clock,
            ).text,
            task_rules=self._task_rules,
            compactor=self.keeping.compactor,
            ready=self.keeping.attachments.ready,
            show=self.keeping.exhibits.show,
            poke=self.out.delivery.poke,
            look=self.look,
            clock=self.clock,
            settings=self._turn_settings(),
            queue_settings=QueueSettings(
                max_runs=agents.max_concurrent,
                idle_timeout_s=agents.idle_timeout_s,
                retry_delays_s=agents.retry_delays_s,
                outage_retry_s=agents.outage_retry_s,
                outage_retry_max_s=agents.outage_retry_max_s,
            ),
        )

    def _turn_settings(self) -> TurnSettings:
        settings = self.settings
        return TurnSettings(
            assistant_name=settings.assistant.name,
            zone=self.zone,
            model=self.model.name,
            max_tokens=settings.model.max_tokens,
            max_model_calls=settings.model.max_calls_per_turn,
            turn_timeout_s=settings.agents.turn_timeout_s,
            web_tools=settings.model.offers_web_tools,
            shell=self.runtime.shell,
            max_messages_per_prompt=settings.agents.max_messages_per_prompt,
            poll_interval_s=settings.orchestrator.poll_interval_s,
            interrupt_grace_s=settings.agents.interrupt_grace_s,
            prewarm=settings.docker.prewarm and self.runtime.name == "docker",
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
            channels=self.post.views,
            groups=self.directory.groups,
            model_line=lambda: self.model.line(),  # noqa: PLW0108 - built later
            trace_lost=lambda: self.recorder.lost,
            memory_bytes=resident_bytes,
            pair=pairing(self.directory, self.settings.assistant.name),
            stop=self._stop,
            wake=self._wake,
            groups_changed=self._groups_changed,
            asks=_Late(lambda: self.asks),
            workflows=self.workflows,
            default_model=lambda: self.model.name,
            compact_at_tokens=self.settings.model.compact_at_tokens,
            why_not_compact="the offline model is no AI" if self.settings.model.offline else "",
            exports=_Late(lambda: self.keeping.exporter),
            finish_forgetting=lambda: self.keeping.forgetter.finish(),  # noqa: PLW0108 - built later
            min_interval_s=self.settings.tasks.min_interval_s,
            max_tasks=self.settings.tasks.max_per_group,
            whatsapp=_Late(lambda: self.link_desk) if self.whatsapp else None,
            tools=lambda: list(self._plain_tools),
            tasks_changed=self._tasks_changed,
        )

    async def _host_called(self, _: HostCall) -> None:
        """A host tool was carried out: it may have put something into the outbox, or ended what runs."""
        await self.look()
        await self.orchestrator.drop_cancelled()

    async def look(self) -> None:
        """Something may have been put into the outbox or on the schedule: see to it now."""
        for chat_id, lane in await self.store.outbox.unsent_lanes():
            self.out.delivery.poke(chat_id, lane)
        await self.scheduler.tick()

    async def prune(self) -> None:
        """Hourly: the trace keeps to its retention, and so does what was settled long ago."""
        if self._pruning.locked():
            return
        async with self._pruning:
            try:
                deleted = await self.store.prune_trace(self.settings.trace.retention_days)
                deleted += await self.store.prune_settled(self.settings.store.keep_days)
            except StoreUnavailableError as error:
                log.error("prune.failed", reason=str(error))
            else:
                log.info("prune.done", rows=deleted)

    def _may_ask(self, chat_id: ChatId, sender: str) -> bool:
        return self.directory.is_owner(sender) or self.allowlist.current().rule(chat_id).admits(sender)

    def _may_be_stored(self, chat_id: ChatId, sender: str) -> bool:
        rule = self.allowlist.current().rule(chat_id)
        return rule.mode == "trigger" or rule.admits(sender)

    def _warn(self, about: str, text: str) -> None:
        """Says it in main; if we are not up yet, at the end of the start."""
        if self._up:
            self._own(self.out.notices.tell_main(f"{about}:{self.clock.now().isoformat()}", text))
        else:
            self._plugins.problems.append(text)

    async def _stop(self, chats: Sequence[ChatId], turns: Sequence[TurnId]) -> None:
        here = [run.turn.id for run in self.orchestrator.queue.runs() if run.turn and run.chat_id in chats]
        await self.orchestrator.interrupt([*turns, *here])

    async def _wake(self, chat_id: ChatId) -> None:
        self.orchestrator.queue.forgive(chat_id)
        self.orchestrator.wake(chat_id)

    async def _tasks_changed(self) -> None:
        await self.orchestrator.drop_cancelled()
        await self.scheduler.tick()

    async def _groups_changed(self) -> None:
        """A chat that is no group any more has no agent either."""
        before = {group.chat_id for group in self.directory.groups()}
        await self.directory.reload()
        for chat_id in before - {group.chat_id for group in self.directory.groups()}:
            self.orchestrator.queue.release(chat_id)

    async def _arrived(self, old: ChatId, new: ChatId) -> None:
        """A chat has another id: what is in hand ends under the old one, what waits begins under the new one."""
        self.out.delivery.moved(old, new)
        await self.orchestrator.vacated(new)

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
