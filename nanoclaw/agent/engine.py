"""The loop of one turn: ask the model, carry out what it wants, until it answers or a limit is reached."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nanoclaw.agent.failures import Failure, ModelFailedError, fault
from nanoclaw.agent.gate import ScriptError, ScriptGate
from nanoclaw.agent.limits import Limits
from nanoclaw.agent.link import HostGoneError, Link, complain
from nanoclaw.agent.model import Answer, Model
from nanoclaw.agent.request import build_request
from nanoclaw.agent.rounds import Rounds
from nanoclaw.agent.texts import TextBatch
from nanoclaw.agent.tools.tool import Tool
from nanoclaw.agent.turn import Turn
from nanoclaw.wire import (
    NOTHING_TO_DO,
    SCRIPT,
    Accepted,
    AgentError,
    EndStatus,
    ModelEnd,
    ModelStart,
    Text,
    TurnEnd,
)

CUT_SHORT = frozenset({"max_tokens", "model_context_window_exceeded"})


class Engine:
    """Runs turns, one at a time. Every turn ends in one `turn_end` or one `error`, unless the host is gone."""

    def __init__(self, *, link: Link, model: Model, tools: Mapping[str, Tool], limits: Limits) -> None:
        self._link = link
        self._model = model
        self._limits = limits
        self._rounds = Rounds(link=link, tools=tools, limits=limits)
        self._gate = ScriptGate(link=link, tools=tools, limits=limits)
        self._own_offers = [tool.offer() for tool in tools.values()]
        self.spent = False
        """Something of a turn goes on after it and cannot be ended: only the end of the program ends that."""
        self._at_the_end = [tool.end_turn for tool in tools.values() if tool.end_turn]

    async def run(self, turn: Turn) -> None:
        """The whole turn, its last frame included. Raises HostGoneError."""
        if turn.interrupted.is_set():  # before it began
            await self._link.send(self._end(turn, "interrupted", ""))
            return
        work = asyncio.create_task(self._loop(turn))
        stop = asyncio.create_task(turn.interrupted.wait())
        try:
            await asyncio.wait(
                {work, stop}, timeout=turn.start.wall_clock_s, return_when=asyncio.FIRST_COMPLETED
            )
            in_time = work.done() or stop.done()
        finally:
            work.cancel()
            stop.cancel()
            await asyncio.gather(work, stop, return_exceptions=True)
            for end_turn in self._at_the_end:
                self.spent |= not await end_turn()
        if turn.interrupted.is_set():
            end: TurnEnd | AgentError = self._end(turn, "interrupted", "")
        elif not in_time:
            end = self._end(turn, "time_limit")
        else:
            end = self._outcome(turn, work)
        await self._link.send(end)

    def _outcome(self, turn: Turn, work: asyncio.Task[TurnEnd]) -> TurnEnd | AgentError:
        error = work.exception()
        if error is None:
            return work.result()
        if isinstance(error, HostGoneError) or not isinstance(error, Exception):
            raise error
        # supervised: one turn; whatever went wrong reaches the host, which logs it and tells the chat
        if isinstance(error, ModelFailedError):
            failure = error.failure
        elif isinstance(error, ScriptError):
            failure = Failure(kind="fault", cause=SCRIPT, detail=str(error))
        else:
            failure = fault(error)
            traceback.print_exception(error, file=sys.stderr)
        complain(f"turn {turn.id}: {failure.kind} {failure.cause}: {failure.detail}")
        return AgentError(
            turn=turn.id,
            kind=failure.kind,
            cause=failure.cause,
            detail=failure.detail,
            status=failure.status,
        )

    async def _loop(self, turn: Turn) -> TurnEnd:
        if turn.start.script and not await self._gate.lets_in(turn):
            return self._end(turn, "done", f"<internal>{NOTHING_TO_DO}</internal>")
        while True:
            answer = await self._ask(turn)
            uses = [block for block in answer.content if block.get("type") == "tool_use"]
            if answer.content:
                turn.messages.append({"role": "assistant", "content": answer.content})
            if answer.stop_reason == "refusal":
                return self._end(turn, "refused")
            if uses:
                await self._carry_out(turn, uses, answer.stop_reason)
                if turn.repeats >= self._limits.repeats_ended:
                    return self._end(turn, "repeated")
            elif answer.stop_reason != "pause_turn":
                return self._end(turn, "done", _final_text(turn, answer.stop_reason))
            if turn.answered >= turn.start.max_turns:
                return self._end(turn, "max_turns")
            if uses:
                await self._take_follow_ups(turn)

    async def _carry_out(self, turn: Turn, uses: list[dict[str, Any]], stop_reason: str) -> None:
        refusal = None
        if stop_reason in CUT_SHORT:  # the last call's input may be half of what was meant
            refusal = "Not run: your message was cut off at its limit. Take smaller steps."
        results = await self._rounds.run(turn, uses, refusal=refusal)
        turn.messages.append({"role": "user", "content": results})

    async def _take_follow_ups(self, turn: Turn) -> None:
        """They go after all tool results, in the same user message; the host is told before the model is."""
        for n, follow_up in turn.take_follow_ups():
            await self._link.send(Accepted(turn=turn.id, frame=n))
            said = {"type": "text", "text": follow_up.text}
            turn.messages[-1]["content"].extend([*follow_up.blocks, said])

    async def _ask(self, turn: Turn) -> Answer:
        """One answer, over as many tries as the limits allow. Raises ModelFailedError."""
        for pause_s in (*self._limits.model_retries_s, None):
            try:
                answer = await self._attempt(turn)
            except ModelFailedError as error:
                asked_s = error.failure.retry_after_s or 0.0
                if pause_s is None or not error.failure.again or asked_s > self._limits.retry_after_max_s:
                    raise
                await asyncio.sleep(max(pause_s, asked_s))
            else:
                turn.answered += 1
                texts = [block["text"] for block in answer.content if block.get("type") == "text"]
                turn.text = "".join(texts)
                return answer
        raise AssertionError("the last try either answers or raises")

    async def _attempt(self, turn: Turn) -> Answer:
        """One model call with its frames; also one that fails or is cancelled leaves its `model_end`."""
        turn.calls += 1
        call, asked = turn.calls, turn.start.model
        texts = TextBatch(
            lambda text: self._link.post(Text(turn=turn.id, call=call, text=text)),
            every_s=self._limits.text_every_s,
            chars=self._limits.text_chars,
        )
        await self._link.send(ModelStart(turn=turn.id, call=call, model=asked))
        began = time.monotonic()
        end = ModelEnd(turn=turn.id, call=call, model=asked, ok=False, error="cancelled")
        try:
            answer = await self._model.ask(build_request(turn, self._own_offers), texts.add)
            end = ModelEnd(
                turn=turn.id,
                call=call,
                model=answer.model,
                ok=True,
                content=answer.content,
                stop_reason=answer.stop_reason,
                usage=answer.usage,
                first_token_ms=answer.first_token_ms,
            )
        except ModelFailedError as error:
            end = replace(end, usage=error.usage, error=str(error))
            raise
        finally:
            texts.flush()
            self._link.post(replace(end, duration_ms=_ms_since(began)))
        return answer

    def _end(self, turn: Turn, status: EndStatus, text: str | None = None) -> TurnEnd:
        return TurnEnd(
            turn=turn.id,
            status=status,
            text=turn.text if text is None else text,
            model_calls=turn.calls,
        )


def _final_text(turn: Turn, stop_reason: str) -> str:
    if stop_reason not in CUT_SHORT or not turn.text.strip():
        return turn.text
    if stop_reason == "max_tokens":
        return f"{turn.text}\n\n(The answer is cut off here: it reached the limit of {turn.start.max_tokens} tokens.)"
    return f"{turn.text}\n\n(The answer is cut off here: the conversation is as long as the model can take.)"


def _ms_since(began: float) -> int:
    return int((time.monotonic() - began) * 1000)
