"""From stored messages to turns: decides who asks for an answer, and sees each turn to its end.

It keeps nothing of its own that matters: what is open is asked of the store, at once when woken, and every few
seconds in any case.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from nanoclaw import prompt, routing, transcript, verdict
from nanoclaw.agent_run import AgentRun, Died, Ended
from nanoclaw.compaction import Compactor
from nanoclaw.directory import Directory
from nanoclaw.domain import (
    ChatId,
    Folder,
    Group,
    Inbound,
    Lane,
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
    LiveRun,
    MailboxStore,
    Started,
    TaskStore,
    TurnStore,
)
from nanoclaw.task_turns import Brief, TaskGoneError, TaskTurns
from nanoclaw.tasks import TaskRules
from nanoclaw.turn_endings import TurnEndings
from nanoclaw.turn_making import Memory, Show, TurnMaking, TurnSettings, batch_of
from nanoclaw.wire import TurnEnd

log = structlog.get_logger()


Ready = Callable[[Folder, Sequence[StoredMessage]], Awaitable[list[StoredMessage]]]
"""Gives each message its files, and what they say."""


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
        self._notices = notices
        self._presence = presence
        self._poke = poke
        self._look = look
        self._live = live
        self._compactor = compactor
        self._ready = ready or _as_they_are
        self._clock = clock
        self._settings = settings
        self._making = TurnMaking(
            memory=memory,
            host_tools=host_tools,
            task_turns=self._task_turns,
            compactor=compactor,
            show=show,
            settings=settings,
        )
        self._endings = TurnEndings(
            turns=turns,
            task_turns=self._task_turns,
            compactor=compactor,
            clock=clock,
            poke=poke,
            look=look,
            retry_delays_s=queue_settings.retry_delays_s,
        )
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
        blocks = await self._making.pictures(turn.folder, images)
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
            frame = await self._making.frame(group, started, await self._making.messages(group, started))

        async def show(images: Sequence[transcript.Block]) -> Sequence[transcript.Block]:
            return await self._making.pictures(group.folder, images)

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
        messages = await self._making.messages(group, started)
        if started.resumed and transcript.needs_user(messages):
            # Everything was said before the crash, only the turn's end was not noted.
            await run.void(started.frame, turn.id)
            end = TurnEnd(turn=turn.id, status="done", text=_last_text(messages))
            served, _ = await self._endings.conclude(group, run, turn, (0, end))
            return served
        frame = await self._making.frame(group, started, messages)
        return await self._to_the_end(
            group, run, turn, run.serve(turn, started.frame, frame), resumed=started.resumed
        )

    async def _to_the_end(
        self, group: Group, run: AgentRun, turn: Turn, serving: Awaitable[Ended], *, resumed: bool
    ) -> Served:
        """Waits for the agent's last word and makes it durable; one line in the log for each turn."""
        began = time.perf_counter()
        ended = await self._watched(group, run, turn, serving)
        if (self._closing or run.id in self._vacated) and isinstance(ended, Died):
            # The turn stays open: it goes on at the next start, or under the chat's new id.
            return Served(what="nothing", run_lives=False)
        served, outcome = await self._endings.conclude(group, run, turn, ended)
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
                await self._endings.end(group, turn, failed, run=run, n=None)
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
        batch = await self._ready(group.folder, batch_of(seen, asked, limit))
        started = await self._turns.begin(self._making.new_turn(group, asked, batch), run.id, now)
        for message in asked:
            self._presence.taken(message.chat_id, message.message_id)
        return started

    async def _next_compaction(self, group: Group, turn: Turn, run: AgentRun) -> Started | None:
        content = await self._compactor.prepare(group, turn) if self._compactor else "nobody can"
        if isinstance(content, str):
            failed = verdict.Verdict(state="failed", reason=content)
            await self._endings.end(group, turn, failed, run=run, n=None)
            return None
        return await self._turns.resume(turn.id, run.id, content, self._clock.now())


async def _as_they_are(_: Folder, messages: Sequence[StoredMessage]) -> list[StoredMessage]:
    return list(messages)


def _last_text(messages: Sequence[transcript.Message]) -> str:
    blocks = messages[-1]["content"] if messages else []
    return "\n".join(block.get("text", "") for block in blocks if block.get("type") == "text")
