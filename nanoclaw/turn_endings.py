"""What becomes of a turn when its agent is done with it, or is gone: made durable, and what the queue does next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import structlog

from nanoclaw import verdict
from nanoclaw.agent_run import AgentRun, Died, Ended
from nanoclaw.compaction import Compactor
from nanoclaw.domain import Action, ChatId, Group, Lane, OutboxEntry, RunId, Turn
from nanoclaw.group_queue import Served
from nanoclaw.ports import Clock
from nanoclaw.stores import Ending, TurnStore
from nanoclaw.task_turns import TaskTurns
from nanoclaw.wire import AgentError

log = structlog.get_logger()


class TurnEndings:
    """The judgement is `verdict`'s; this carries it out."""

    def __init__(
        self,
        *,
        turns: TurnStore,
        task_turns: TaskTurns,
        compactor: Compactor | None,
        clock: Clock,
        poke: Callable[[ChatId, Lane], None],
        look: Callable[[], Awaitable[None]],
        retry_delays_s: Sequence[float],
    ) -> None:
        self._turns = turns
        self._task_turns = task_turns
        self._compactor = compactor
        self._clock = clock
        self._poke = poke
        self._look = look
        self._retry_delays_s = retry_delays_s

    async def conclude(self, group: Group, run: AgentRun, turn: Turn, ended: Ended) -> tuple[Served, str]:
        """Makes the end of a turn durable; says what the queue does next."""
        if isinstance(ended, Died) and ended.outage:
            await self._put_off(turn, ended.reason, fault=False, empty=False, frame=None)
            return Served(what="outage", cause=ended.outage, sentence=ended.reason, run_lives=False), "open"
        if isinstance(ended, Died) and ended.final:
            await self.end(group, turn, verdict.Verdict(state="failed", reason=ended.reason), run=run, n=None)
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
            judged = verdict.judge_error(word, chosen=await self._chosen_model(group, turn))
        else:
            judged = verdict.judge_end(turn, word, empty_before=await self._turns.empty_before(turn.id))
        if judged.state is not None:
            await self.end(group, turn, judged, run=run, n=n)
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

    async def _chosen_model(self, group: Group, turn: Turn) -> str:
        """In words, for a sentence; empty: it was asked the one that the settings name."""
        if mine := await self._task_turns.model(turn):
            return f"{mine}, the model that this task was given"
        return (
            f"{group.model}, the model that this chat was given; /model default goes back"
            if group.model
            else ""
        )

    async def _fault(
        self, group: Group, turn: Turn, reason: str, *, run_lives: bool, n: int | None, run: AgentRun
    ) -> tuple[Served, str]:
        """A try that failed: another one after a while, or the end. Nothing if the turn was cancelled meanwhile.

        An occurrence's turn is one attempt; the store plans the next one.
        """
        if turn.kind == "occurrence":
            log.warning("turn.fault", turn=turn.id, chat=turn.chat_id, reason=reason)
            failed = verdict.Verdict(state="failed", reason=reason)
            await self.end(group, turn, failed, run=run, n=n)
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
        await self.end(group, turn, judged, run=run, n=None)
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

    async def end(
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
        text = _failure_text(group, judged.reason, asked) if failed else judged.reply
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


def _failure_text(group: Group, reason: str, asked: tuple[int, str] | None) -> str:
    if asked is None:
        return f"I could not do this: {reason}."
    again = f"/retry {asked[0]} tries it again."
    if not group.is_main:
        again = f"Ask again, or the owner sends /retry {asked[0]} in the main chat."
    return f"I could not answer this: {reason}. {again}"
