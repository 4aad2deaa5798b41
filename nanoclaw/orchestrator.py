"""From stored messages to turns: decides who asks for an answer, and what becomes of a turn when its agent is done.

It keeps nothing of its own that matters: what is open is asked of the store, at once when woken, and every few
seconds in any case.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import structlog

from nanoclaw import prompt, routing, transcript, verdict
from nanoclaw.agent_run import AgentRun, Died, Ended
from nanoclaw.compaction import SYSTEM as SUMMARY_SYSTEM
from nanoclaw.compaction import Compactor
from nanoclaw.directory import Directory
from nanoclaw.domain import (
    Action,
    ChatId,
    Folder,
    Group,
    Inbound,
    Lane,
    OutboxEntry,
    Outcome,
    RunId,
    StoredMessage,
    Turn,
    TurnId,
)
from nanoclaw.errors import BadInputError, OutageCause, StoreUnavailableError
from nanoclaw.group_queue import GroupQueue, QueueSettings, Served
from nanoclaw.live import Live
from nanoclaw.notices import Notices
from nanoclaw.ports import Clock, HostTool
from nanoclaw.presence import Presence
from nanoclaw.stores import (
    Ending,
    LiveRun,
    MailboxStore,
    NewTurn,
    OpenMessages,
    Started,
    TaskStore,
    TurnStore,
)
from nanoclaw.task_turns import Brief, TaskGoneError, TaskTurns
from nanoclaw.tasks import TaskRules
from nanoclaw.wire import AgentError, TurnEnd, TurnStart

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSettings:
    """What every turn is given."""

    assistant_name: str
    zone: ZoneInfo
    model: str
    max_tokens: int = 8192
    max_model_calls: int = 50
    turn_timeout_s: float = 1800.0
    web_tools: bool = False
    shell: bool = False
    max_messages_per_prompt: int = 10
    poll_interval_s: float = 2.0
    interrupt_grace_s: float = 5.0
    prewarm: bool = False
    """The main that an owner used last has a run before it needs one, if a slot is free."""


Memory = Callable[[Folder], Awaitable[tuple[str | None, str | None]]]
"""CLAUDE.md of a group, and the global one."""
Ready = Callable[[Folder, Sequence[StoredMessage]], Awaitable[list[StoredMessage]]]
"""Gives each message its files, and what they say."""
Show = Callable[[Folder, transcript.Rows, Sequence[bool]], Awaitable[transcript.Rows]]
"""Puts pictures in the place of their names, in the rows of the turn that is marked as its own."""


class Orchestrator:
    """Implements `group_queue.Worker`. Owns the loop that looks for open messages."""

    def __init__(
        self,
        *,
        mailbox: MailboxStore,
        turns: TurnStore,
        tasks: TaskStore,
        directory: Directory,
        may_ask: Callable[[ChatId, str], bool],
        launch: Callable[[Group], Awaitable[AgentRun]],
        dismiss: Callable[[AgentRun, str, float], Awaitable[None]],
        leave: Callable[[AgentRun], Awaitable[None]],
        memory: Memory,
        host_tools: Callable[[Group], Sequence[HostTool]],
        notices: Notices,
        presence: Presence,
        poke: Callable[[ChatId, Lane], None],
        look: Callable[[], Awaitable[None]],
        clock: Clock,
        settings: TurnSettings,
        queue_settings: QueueSettings,
        live: Live | None = None,
        compactor: Compactor | None = None,
        ready: Ready | None = None,
        show: Show | None = None,
        task_rules: TaskRules | None = None,
        brief: Brief | None = None,
    ) -> None:
        self._mailbox = mailbox
        self._turns = turns
        self._task_turns = TaskTurns(
            store=tasks, clock=clock, rules=task_rules or TaskRules(zone=settings.zone), brief=brief
        )
        self._directory = directory
        self._may_ask = may_ask
        self._launch = launch
        self._dismiss = dismiss
        self._leave = leave
        self._memory = memory
        self._host_tools = host_tools
        self._notices = notices
        self._presence = presence
        self._poke = poke
        self._look = look
        self._live = live
        self._compactor = compactor
        self._ready = ready or _as_they_are
        self._show = show or _as_it_is
        self._clock = clock
        self._settings = settings
        self._retry_delays_s = queue_settings.retry_delays_s
        self.queue: GroupQueue[AgentRun] = GroupQueue(settings=queue_settings, worker=self)
        self._wanted: dict[ChatId, None] = {}
        self._wake = asyncio.Event()
        self._warming: set[ChatId] = set()
        self._offering: set[ChatId] = set()
        """Chats whose follow-up is being made ready; what comes meanwhile waits behind it."""
        self._closing = False
        self._vacated: set[RunId] = set()
        self._loop: asyncio.Task[None] | None = None
        self._offers: set[asyncio.Task[None]] = set()

    # --- looking -------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run(), name="orchestrator")

    async def stop(self) -> None:
        self._closing = True
        self._wake.set()
        if self._loop:
            await self._loop
        await self.queue.stop()
        for task in self._offers:
            task.cancel()
        await asyncio.gather(*self._offers, return_exceptions=True)

    def stored(self, inbound: Inbound) -> None:
        """The gate has stored a message."""
        self._presence.may_wait(inbound.chat_id, inbound.message_id)
        self.wake(inbound.chat_id)

    def wake(self, chat_id: ChatId) -> None:
        """There may be something to do in this chat: look now, not at the next poll."""
        self._wanted[chat_id] = None
        self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_poll = loop.time()
        while not self._closing:
            if loop.time() >= next_poll:  # also under a load that never lets the wake-up rest
                await self._supervised(self._poll)
                next_poll = loop.time() + self._settings.poll_interval_s
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_poll):
                    await self._wake.wait()
            self._wake.clear()
            wanted, self._wanted = list(self._wanted), {}
            for chat_id in wanted:
                await self._supervised(lambda chat_id=chat_id: self._examine(chat_id))  # type: ignore[misc]

    async def _supervised(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except StoreUnavailableError as error:
            log.error("orchestrator.store", reason=str(error))
        except Exception:  # the loop outlives any chat
            log.exception("orchestrator.failed")

    async def _poll(self) -> None:
        """The safety net: everything that a wake-up could have missed."""
        await self.drop_cancelled()
        runs = self.queue.runs()
        if await self._turns.strand([run.id for run in runs]):
            log.warning("orchestrator.stranded_turns")
        for chat_id in {*await self._mailbox.open_chats(), *await self._turns.waiting_chats()}:
            self._wanted[chat_id] = None
        if self._wanted:
            self._wake.set()
        elif self._settings.prewarm:
            await self._prewarm()
        await self._look()

    async def _prewarm(self) -> None:
        mains = await self._directory.mains()
        if mains and self.queue.may_warm(mains[0].chat_id):
            self._warming.add(mains[0].chat_id)
            self.queue.warm(mains[0].chat_id)

    async def drop_cancelled(self) -> None:
        """Stops agents whose turn was ended from outside: `/stop`, a task that was paused or deleted."""
        serving = [run.turn.id for run in self.queue.runs() if run.turn]
        if serving and (ended := await self._turns.cancelled(serving)):
            self._own(self.interrupt(ended))

    async def _examine(self, chat_id: ChatId) -> None:
        """Settles what asks for nothing; hands the rest to the running turn, or to the queue."""
        group = self._directory.group(chat_id)
        if group is None:
            return
        tasks = sum(turn.kind == "occurrence" for turn in await self._turns.waiting(chat_id))
        seen = await self._mailbox.open_messages(chat_id, context=0)
        asked = await self._settle(group, seen.waiting)
        run = self.queue.run_of(chat_id)
        if asked and run and run.turn and run.turn.kind == "messages" and not run.dead:
            await self._offer(run, run.turn, asked)
        if asked or tasks or await self._turns.waiting(chat_id):
            self.queue.submit(chat_id, messages=bool(asked), tasks=tasks)

    async def _settle(self, group: Group, waiting: Sequence[StoredMessage]) -> list[StoredMessage]:
        """Those that ask; the others get their outcome, durably."""
        asked: list[StoredMessage] = []
        over: list[tuple[int, Outcome, str]] = []
        for message in waiting:
            if message.from_me or message.from_bot or not message.text.strip():
                over.append((message.seq, "ignored", "not a person's words"))
            elif not routing.triggers(group, message, self._settings.assistant_name):
                over.append((message.seq, "ignored", "no trigger"))
            elif not self._may_ask(message.chat_id, message.sender):
                over.append((message.seq, "refused", "not on the sender allowlist"))
            else:
                asked.append(message)
        if over:
            await self._mailbox.settle(over, self._clock.now())
            gone = {seq for seq, _, _ in over}
            for message in waiting:
                if message.seq in gone:
                    self._presence.taken(message.chat_id, message.message_id)
        return asked

    async def _offer(self, run: AgentRun, turn: Turn, asked: Sequence[StoredMessage]) -> None:
        """Offers messages of the same thread to the running turn; they stay open until the agent accepts them."""
        mine = [message for message in asked if message.thread == turn.thread]
        if not mine or turn.chat_id in self._offering:
            return
        if any(message.attachments for message in mine):  # that takes a while, and others wait for this loop
            self._offering.add(turn.chat_id)
            self._own(self._offer_files(run, turn, mine))
        else:
            await self._offer_now(run, turn, mine)

    async def _offer_files(self, run: AgentRun, turn: Turn, mine: Sequence[StoredMessage]) -> None:
        offered = False

        async def work() -> None:
            nonlocal offered
            offered = await self._offer_now(run, turn, await self._ready(turn.folder, mine))

        try:
            await self._supervised(work)
        finally:
            self._offering.discard(turn.chat_id)
        if offered:  # else the poll finds them: a look at once might fail at once, again and again
            self.wake(turn.chat_id)

    async def _offer_now(self, run: AgentRun, turn: Turn, mine: Sequence[StoredMessage]) -> bool:
        text = prompt.messages_xml(mine, self._settings.zone)
        images = [transcript.picture(path) for path in prompt.picture_paths(mine)]
        ((_, blocks),) = await self._show(turn.folder, [("user", images)], [True])
        seqs = [message.seq for message in mine]
        n = await self._turns.follow_up(turn.id, run.id, seqs, text, images)
        if n is None:
            return False
        for message in mine:
            self._presence.taken(message.chat_id, message.message_id)
        self._own(run.offer(n, turn.id, text, blocks))
        return True

    def _own(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._offers.add(task)
        task.add_done_callback(self._offers.discard)

    async def interrupt(self, turn_ids: Sequence[TurnId]) -> None:
        """Stops the agents that work on these turns."""
        runs = [run for run in self.queue.runs() if run.turn and run.turn.id in turn_ids]
        await asyncio.gather(*(run.interrupt(self._settings.interrupt_grace_s) for run in runs))

    async def vacate(self, chat_id: ChatId) -> None:
        """The chat is about to get another id: its agent is ended, and its turn goes on under the new one."""
        run = self.queue.run_of(chat_id)
        if run:
            self._vacated.add(run.id)
            await run.kill("its chat got another id")
        self.queue.release(chat_id)

    async def vacated(self, new: ChatId) -> None:
        """The chat has its new id."""
        living = [run.id for run in self.queue.runs() if run.id not in self._vacated]
        await self._turns.strand(living)
        self.wake(new)

    async def stop_all(self) -> None:
        """Stops every running turn, whatever the store says."""
        await self.interrupt([run.turn.id for run in self.queue.runs() if run.turn])

    # --- working: group_queue.Worker -----------------------------------------------------------------------

    async def open_run(self, chat_id: ChatId) -> AgentRun:
        group = self._directory.group(chat_id)
        if group is None:
            raise RuntimeError(f"{chat_id} is not registered")
        if chat_id in self._warming:
            self._warming.discard(chat_id)  # nobody is waiting: no signs of life
            return await self._launch(group)
        self._presence.working(chat_id)
        try:
            return await self._launch(group)
        except BaseException:
            self._presence.done(chat_id)
            raise

    async def close_run(self, chat_id: ChatId, run: AgentRun, reason: str) -> None:  # noqa: ARG002 - the port's form
        if self._closing:
            await self._leave(run)
        else:
            await self._dismiss(run, reason, 2.0)

    def alive(self, run: AgentRun) -> bool:
        return run.dead is None

    async def adopt(self, group: Group, run: AgentRun, record: LiveRun) -> None:
        """Takes over a run that outlived the host, with the turn that it has in hand. Raises OutageError."""
        started = await self._turns.running_in(run.id)
        frame = None
        if started and started.frame:
            frame = await self._turn_start(group, started, await self._messages(group, started))

        async def show(images: Sequence[transcript.Block]) -> Sequence[transcript.Block]:
            return (await self._show(group.folder, [("user", images)], [True]))[0][1]

        await run.adopt(record, started.turn if started else None, frame, show)
        self.queue.adopt(group.chat_id, run, serving=started is not None)
        if started:
            self.queue.serving(group.chat_id, task=started.turn.kind == "occurrence")

    async def carry_on(self, chat_id: ChatId, run: AgentRun) -> Served:
        """The turn that an adopted run has in hand goes on to its end."""
        group, turn = self._directory.group(chat_id), run.turn
        if group is None or turn is None:
            return Served(what="nothing")
        return await self._guarded(
            chat_id, turn.thread, self._to_the_end(group, run, turn, run.finish(), resumed=True)
        )

    async def outage(self, chat_id: ChatId, cause: OutageCause, sentence: str) -> None:
        """Says it once for each chat and what waits there, however often the program is started meanwhile."""
        seen = await self._mailbox.open_messages(chat_id, context=0)
        turns = await self._turns.waiting(chat_id)
        oldest = turns[0].id if turns else (str(seen.waiting[0].seq) if seen.waiting else None)
        if oldest:
            asked = seen.waiting or turns[0].kind == "messages"
            what = "Your message is kept" if asked else "What is due waits"
            text = f"{sentence} {what}; I go on by myself as soon as it works again."
            because = turns[0].event_id if turns else seen.waiting[0].event_id
            await self._notices.tell(chat_id, f"outage:{cause}:{chat_id}:{oldest}", text, because=because)

    async def serve(self, chat_id: ChatId, run: AgentRun) -> Served:
        """One turn: begun or resumed, handed over, and concluded."""
        group = self._directory.group(chat_id)
        if group is None:
            return Served(what="nothing")
        return await self._guarded(chat_id, None, self._serve(group, run))

    async def _guarded(self, chat_id: ChatId, thread: str | None, work: Awaitable[Served]) -> Served:
        """Typing while it lasts, a look at the chat afterwards; a store that cannot be used is an outage."""
        self._presence.working(chat_id, thread)
        try:
            return await work
        except StoreUnavailableError as error:
            log.error("turn.store", chat=chat_id, reason=str(error))
            return Served(what="outage", cause="store", sentence=error.safe, run_lives=False)
        finally:
            self._presence.done(chat_id)
            self.wake(chat_id)

    async def _serve(self, group: Group, run: AgentRun) -> Served:
        started = await self._next(group, run)
        if started is None:
            return Served(what="nothing", run_lives=run.dead is None)
        turn = started.turn
        self.queue.serving(group.chat_id, task=turn.kind == "occurrence")
        messages = await self._messages(group, started)
        if started.resumed and transcript.needs_user(messages):
            # Everything was said before the crash, only the turn's end was not noted.
            await run.void(started.frame, turn.id)
            end = TurnEnd(turn=turn.id, status="done", text=_last_text(messages))
            served, _ = await self._conclude(group, run, turn, (0, end))
            return served
        frame = await self._turn_start(group, started, messages)
        return await self._to_the_end(
            group, run, turn, run.serve(turn, started.frame, frame), resumed=started.resumed
        )

    async def _messages(self, group: Group, started: Started) -> list[transcript.Message]:
        if started.turn.kind == "compaction" and self._compactor:
            return await self._compactor.messages(started)
        hosted = {tool.name for tool in self._host_tools(group)}
        rows = await self._show(group.folder, started.transcript, started.own)
        return transcript.assemble(rows, started.results, hosted)

    async def _to_the_end(
        self, group: Group, run: AgentRun, turn: Turn, serving: Awaitable[Ended], *, resumed: bool
    ) -> Served:
        """Waits for the agent's last word and makes it durable; one line in the log for each turn."""
        began = time.perf_counter()
        ended = await self._watched(group, run, turn, serving)
        if (self._closing or run.id in self._vacated) and isinstance(ended, Died):
            # The turn stays open: it goes on at the next start, or under the chat's new id.
            return Served(what="nothing", run_lives=False)
        served, outcome = await self._conclude(group, run, turn, ended)
        if self._compactor and outcome in ("answered", "silent"):
            await self._compactor.after(group, turn)
        log.info(
            "turn.ended", turn=turn.id, chat=turn.chat_id, group=turn.folder, kind=turn.kind, outcome=outcome,
            resumed=resumed, tries=turn.tries, run=run.id, ms=round((time.perf_counter() - began) * 1000), **run.account,
        )  # fmt: skip
        return served

    async def _watched(self, group: Group, run: AgentRun, turn: Turn, serving: Awaitable[Ended]) -> Ended:
        """What the agent writes can be read while it does, until it is done."""
        if self._live is None:
            return await self._in_time(run, turn, serving)
        self._live.begin(turn, is_group=group.is_group)
        try:
            return await self._in_time(run, turn, serving)
        finally:
            self._live.end(turn.id)

    async def _in_time(self, run: AgentRun, turn: Turn, serving: Awaitable[Ended]) -> Ended:
        """The agent minds the time itself; one that does not is ended here."""
        settings = self._settings
        limit = asyncio.timeout(settings.turn_timeout_s * 1.1 + 2 * settings.interrupt_grace_s)
        try:
            async with limit:
                return await serving
        except TimeoutError:
            if not limit.expired():
                raise
        await run.kill("it did not end its turn in time")
        return 0, TurnEnd(turn=turn.id, status="time_limit")

    async def _next(self, group: Group, run: AgentRun) -> Started | None:
        """The turn that is to go on, tasks first; else a new one of what was asked."""
        now = self._clock.now()
        for turn in await self._turns.waiting(group.chat_id):
            if turn.kind == "compaction":
                if started := await self._next_compaction(group, turn, run):
                    return started
                continue
            try:
                content = await self._task_turns.content(turn) if turn.kind == "occurrence" else None
            except (TaskGoneError, BadInputError) as error:
                reason = error.safe if isinstance(error, BadInputError) else "its task is gone"
                failed = verdict.Verdict(state="failed", reason=reason)
                await self._end(group, turn, failed, run=run, n=None)
                continue
            started = await self._turns.resume(turn.id, run.id, content, now)
            if started:
                return started
        limit = self._settings.max_messages_per_prompt
        seen = await self._mailbox.open_messages(group.chat_id, context=limit)
        asked = await self._settle(group, seen.waiting)
        if not asked:
            return None
        asked = [message for message in asked if message.thread == asked[0].thread][:limit]
        batch = await self._ready(group.folder, _batch(seen, asked, limit))
        started = await self._turns.begin(self._new_turn(group, asked, batch), run.id, now)
        for message in asked:
            self._presence.taken(message.chat_id, message.message_id)
        return started

    async def _next_compaction(self, group: Group, turn: Turn, run: AgentRun) -> Started | None:
        content = await self._compactor.prepare(group, turn) if self._compactor else "nobody can"
        if isinstance(content, str):
            failed = verdict.Verdict(state="failed", reason=content)
            await self._end(group, turn, failed, run=run, n=None)
            return None
        return await self._turns.resume(turn.id, run.id, content, self._clock.now())

    def _new_turn(
        self, group: Group, asked: Sequence[StoredMessage], batch: Sequence[StoredMessage]
    ) -> NewTurn:
        mine = {message.seq for message in asked}
        text = {"type": "text", "text": prompt.messages_xml(batch, self._settings.zone)}
        return NewTurn(
            chat_id=group.chat_id,
            folder=group.folder,
            asked=[message.seq for message in asked],
            context=[message.seq for message in batch if message.seq not in mine],
            content=[*(transcript.picture(path) for path in prompt.picture_paths(batch)), text],
            trigger_event=asked[-1].event_id,
            thread=asked[0].thread,
            summary=f"Processing {len(batch)} message(s) for {group.name}",
        )

    async def _turn_start(
        self, group: Group, started: Started, messages: list[transcript.Message]
    ) -> TurnStart:
        turn = started.turn
        if turn.kind == "compaction":
            return self._summary_start(group, turn, messages)
        memory, global_memory = await self._memory(group.folder)
        task = await self._task_turns.setup(started)
        settings = self._settings
        system = prompt.system_prompt(
            assistant_name=settings.assistant_name,
            group=group,
            memory=memory,
            global_memory=global_memory,
            shell=settings.shell,
        )
        tools = [
            {"name": tool.name, "description": tool.description, "input_schema": dict(tool.input_schema)}
            for tool in self._host_tools(group)
        ]
        return TurnStart(
            turn=turn.id,
            model=task.model or group.model or settings.model,
            system=system,
            messages=messages,
            host_tools=tools,
            max_turns=settings.max_model_calls,
            max_tokens=settings.max_tokens,
            wall_clock_s=settings.turn_timeout_s,
            web_tools=settings.web_tools,
            script=task.script,
        )

    def _summary_start(self, group: Group, turn: Turn, messages: list[transcript.Message]) -> TurnStart:
        settings = self._settings
        return TurnStart(
            turn=turn.id,
            model=group.model or settings.model,
            system=SUMMARY_SYSTEM,
            messages=messages,
            max_turns=2,
            max_tokens=settings.max_tokens,
            wall_clock_s=settings.turn_timeout_s,
            own_tools=False,
        )

    async def _conclude(self, group: Group, run: AgentRun, turn: Turn, ended: Ended) -> tuple[Served, str]:
        """Makes the end of a turn durable; says what the queue does next."""
        if isinstance(ended, Died) and ended.outage:
            await self._put_off(turn, ended.reason, fault=False, empty=False, frame=None)
            return Served(what="outage", cause=ended.outage, sentence=ended.reason, run_lives=False), "open"
        if isinstance(ended, Died) and ended.final:
            await self._end(
                group, turn, verdict.Verdict(state="failed", reason=ended.reason), run=run, n=None
            )
            return Served(what="done", run_lives=False), "failed"
        if isinstance(ended, Died):
            return await self._fault(group, turn, ended.reason, run_lives=False, n=None, run=run)
        n, word = ended
        if isinstance(word, AgentError):
            if verdict.too_long(word) and self._compactor and await self._compactor.rescue(group, turn):
                why = "the conversation is too long"
                await self._put_off(turn, why, fault=False, empty=False, frame=(run.id, n))
                await run.acknowledge(n)
                return Served(what="retry", run_lives=run.dead is None), "too long"
            judged = verdict.judge_error(word)
        else:
            judged = verdict.judge_end(turn, word, empty_before=await self._turns.empty_before(turn.id))
        if judged.state is not None:
            await self._end(group, turn, judged, run=run, n=n)
            return Served(what="done", run_lives=run.dead is None), judged.state
        if judged.again == "fault":
            return await self._fault(group, turn, judged.reason, run_lives=run.dead is None, n=n, run=run)
        empty = judged.again == "empty"
        await self._put_off(turn, judged.reason, fault=False, empty=empty, frame=(run.id, n))
        await run.acknowledge(n)
        if judged.again == "outage":
            log.warning("turn.outage", turn=turn.id, cause=judged.cause, detail=getattr(word, "detail", ""))
            return Served(what="outage", cause=judged.cause, sentence=judged.reason), "open"
        return Served(what="done" if judged.again == "interrupted" else "retry"), str(judged.again)

    async def _fault(
        self, group: Group, turn: Turn, reason: str, *, run_lives: bool, n: int | None, run: AgentRun
    ) -> tuple[Served, str]:
        """A try that failed: another one after a while, or the end. Nothing if the turn was cancelled meanwhile.

        An occurrence's turn is one attempt; the store plans the next one.
        """
        if turn.kind == "occurrence":
            log.warning("turn.fault", turn=turn.id, chat=turn.chat_id, reason=reason)
            failed = verdict.Verdict(state="failed", reason=reason)
            await self._end(group, turn, failed, run=run, n=n)
            return Served(what="done", run_lives=run_lives), "failed"
        frame = (run.id, n) if n else None
        tries = await self._put_off(turn, reason, fault=True, empty=False, frame=frame)
        log.warning("turn.fault", turn=turn.id, chat=turn.chat_id, tries=tries, reason=reason)
        if n:
            await run.acknowledge(n)
        if tries < 0:
            return Served(what="done", run_lives=run_lives), "cancelled"
        if tries <= len(self._retry_delays_s):
            delay_s = self._retry_delays_s[tries - 1]
            return Served(what="retry", retry_in_s=delay_s, run_lives=run_lives), f"fault {tries}"
        judged = verdict.Verdict(state="failed", reason=f"{reason} ({tries} tries)")
        await self._end(group, turn, judged, run=run, n=None)
        return Served(what="done", run_lives=run_lives), "failed"

    async def _put_off(
        self, turn: Turn, reason: str, *, fault: bool, empty: bool, frame: tuple[RunId, int] | None
    ) -> int:
        action = Action(
            action_type="try_failed", triggered_by=turn.event_id, target=turn.chat_id, content=reason, turn_id=turn.id,
            failed=True,
        )  # fmt: skip
        return await self._turns.put_off(
            turn,
            reason=reason,
            fault=fault,
            empty=empty,
            notice=None,
            action=action,
            now=self._clock.now(),
            frame=frame,
        )

    async def _end(
        self, group: Group, turn: Turn, judged: verdict.Verdict, *, run: AgentRun, n: int | None
    ) -> None:
        if turn.kind == "compaction" and self._compactor:
            await self._compactor.end(turn, judged, (run.id, n) if n else None)
            if n:
                await run.acknowledge(n)
            self._poke(turn.chat_id, "conversation")
            return
        asked = await self._turns.last_asked(turn.id)
        failed = judged.state == "failed"
        text = self._failure_text(group, judged.reason, asked) if failed else judged.reply
        entry = None
        if turn.kind == "occurrence":  # of its failures the store speaks
            entry = await self._task_turns.reply(turn, text) if text and not failed else None
        elif text:
            entry = OutboxEntry(
                key=f"turn:{turn.id}:{'failed' if failed else 'reply'}", chat_id=turn.chat_id, text=text, thread=turn.thread,
                reply_to=asked[1] if asked and group.is_group else None, turn_id=turn.id, action_id=turn.action_id,
            )  # fmt: skip
        action_type = {"failed": "turn_failed", "silent": "turn_silent", "cancelled": "turn_cancelled"}
        ending = Ending(
            state=judged.state or "failed",
            reason=judged.reason,
            entry=entry,
            roll_back=judged.roll_back,
            action_type=action_type.get(judged.state or "failed", "message_sent"),
            failed=failed,
        )
        await self._turns.end(turn, ending, self._clock.now(), frame=(run.id, n) if n else None)
        if n:
            await run.acknowledge(n)
        if turn.kind == "occurrence":
            await self._look()  # what the store said of it, and when the next attempt is due
        elif entry:
            self._poke(turn.chat_id, entry.lane)

    def _failure_text(self, group: Group, reason: str, asked: tuple[int, str] | None) -> str:
        if asked is None:
            return f"I could not do this: {reason}."
        again = f"/retry {asked[0]} tries it again."
        if not group.is_main:
            again = f"Ask again, or the owner sends /retry {asked[0]} in the main chat."
        return f"I could not answer this: {reason}. {again}"


async def _as_they_are(_: Folder, messages: Sequence[StoredMessage]) -> list[StoredMessage]:
    return list(messages)


async def _as_it_is(_: Folder, rows: transcript.Rows, __: Sequence[bool]) -> transcript.Rows:
    return rows


def _batch(seen: OpenMessages, asked: Sequence[StoredMessage], limit: int) -> list[StoredMessage]:
    """What the agent reads: all that was asked, and as much of what was said before as the limit leaves room for."""
    mine = {message.seq for message in asked}
    last = max(mine)
    others = [
        m
        for m in (*seen.earlier, *seen.waiting)
        if m.seq not in mine and m.seq < last and m.thread == asked[0].thread and m.text.strip()
    ]
    room = max(0, limit - len(asked))
    return sorted([*asked, *(others[-room:] if room else [])], key=lambda message: message.seq)


def _last_text(messages: Sequence[transcript.Message]) -> str:
    blocks = messages[-1]["content"] if messages else []
    return "\n".join(block.get("text", "") for block in blocks if block.get("type") == "text")
