"""Runs and what their frames do: the number of a frame is stored in the transaction of its effects."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from nanoclaw.domain import RunId, ToolCall, Turn, TurnId, stamp
from nanoclaw.ports import HostTool
from nanoclaw.sqlite import compactions, host_calls, rows
from nanoclaw.sqlite.asks import DEFAULT_RULES, AskRules
from nanoclaw.sqlite.connection import Connection
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.sqlite.turns import append, next_frame, take_frame
from nanoclaw.sqlite.writer import Writer
from nanoclaw.stores import KeptFrame, LiveRun
from nanoclaw.wire import SCRIPT, SCRIPT_OUTPUT, Accepted, HostCall, HostResult, ModelEnd, ToolEnd


class Runs:
    """The store of agent processes and the effects of what they say."""

    def __init__(
        self,
        *,
        writer: Writer,
        reader: Connection,
        trace: TraceWriter,
        ask_rules: AskRules = DEFAULT_RULES,
        prepare_limit_s: float = host_calls.PREPARE_S,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._trace = trace
        self._ask_rules = ask_rules
        self._prepare_limit_s = prepare_limit_s

    async def open(self, run: LiveRun, now: datetime) -> None:
        """The process has started; from now on it is adopted or ended, never forgotten."""
        values = (
            run.id,
            run.chat_id,
            run.folder,
            run.runtime,
            run.token_hash,
            run.handle,
            run.image,
            stamp(now),
        )
        await self._writer.do(
            lambda c: (
                c.execute(
                    "INSERT INTO runs (id, chat_jid, group_folder, runtime, token_hash, handle, image, state, started_at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, 'live', ?)",
                    values,
                )
                and None
            )
        )

    async def live(self) -> list[LiveRun]:
        """Runs that had not ended when they were last heard of."""
        sql = (
            "SELECT id, chat_jid, group_folder, runtime, coalesce(handle, ''), image, token_hash, last_frame,"
            " last_host_frame FROM runs"
            " WHERE state = 'live'"
        )
        return await self._reader.call(
            lambda c: [
                LiveRun(
                    id=r[0],
                    chat_id=r[1],
                    folder=r[2],
                    runtime=r[3],
                    handle=r[4],
                    image=r[5],
                    token_hash=r[6],
                    last_frame=r[7],
                    last_host_frame=r[8],
                )
                for r in c.execute(sql)
            ]
        )

    async def end(self, run_id: RunId, reason: str, now: datetime) -> None:
        def work(c: sqlite3.Connection) -> None:
            c.execute(
                "UPDATE runs SET state = 'ended', ended_at = ?, exit_reason = ? WHERE id = ? AND state = 'live'",
                (stamp(now), reason, run_id),
            )
            c.execute("DELETE FROM frames_out WHERE run_id = ?", (run_id,))

        await self._writer.do(work)

    async def acknowledged(self, run_id: RunId, upto: int) -> None:
        """The agent has these host frames; the offer of a follow-up is kept until it is accepted or over."""
        await self._writer.spare(
            lambda c: (
                c.execute(
                    "DELETE FROM frames_out WHERE run_id = ? AND n <= ? AND (type != 'follow_up'"
                    " OR turn_id NOT IN (SELECT id FROM turns WHERE state = 'running'))",
                    (run_id, upto),
                )
                and None
            )
        )

    async def kept_frames(self, run_id: RunId) -> list[KeptFrame]:
        def work(c: sqlite3.Connection) -> list[KeptFrame]:
            found = c.execute(
                "SELECT n, type, turn_id, body FROM frames_out WHERE run_id = ? ORDER BY n", (run_id,)
            )
            return [
                KeptFrame(n=n, type=t, turn_id=turn, body=json.loads(b) if b else None)
                for n, t, turn, b in found
            ]

        return await self._reader.call(work)

    async def reserve(self, run_id: RunId, kind: str, turn_id: TurnId | None) -> int:
        """The number of a host frame that has no body worth keeping (interrupt, close)."""
        return await self._writer.do(lambda c: next_frame(c, run_id, kind, turn_id, "{}"))

    async def accepted(self, run_id: RunId, n: int, frame: Accepted, turn: Turn, now: datetime) -> None:
        """A follow-up is part of the turn now, and of its conversation."""

        def work(c: sqlite3.Connection) -> None:
            if not take_frame(c, run_id, n):
                return
            body = rows.one(c, "SELECT body FROM frames_out WHERE run_id = ? AND n = ?", run_id, frame.frame)
            taken = c.execute(
                "UPDATE turn_messages SET accepted = 1 WHERE turn_id = ? AND frame = ?",
                (turn.id, frame.frame),
            ).rowcount
            if body is None or not taken:
                return
            c.execute("DELETE FROM frames_out WHERE run_id = ? AND n = ?", (run_id, frame.frame))
            c.execute(
                "UPDATE registered_groups SET cursor_seq = max(cursor_seq, (SELECT max(seq) FROM turn_messages"
                " WHERE turn_id = ? AND frame = ?)) WHERE jid = ?",
                (turn.id, frame.frame, turn.chat_id),
            )
            said = json.loads(body)
            content = [*said.get("images", ()), {"type": "text", "text": said["text"]}]
            append(c, turn.session_id, turn.id, "user", content, now)

        await self._writer.do(work)

    async def model_end(self, run_id: RunId, n: int, frame: ModelEnd, turn: Turn, now: datetime) -> None:
        """A complete assistant message belongs to the conversation; a failed call leaves its trace."""

        def work(c: sqlite3.Connection) -> None:
            if not take_frame(c, run_id, n):
                return
            c.execute("UPDATE turns SET model = ? WHERE id = ?", (frame.model, turn.id))
            if frame.ok and frame.content:
                append(c, turn.session_id, turn.id, "assistant", frame.content, now)
            if frame.ok and (tokens := _length(frame)):
                compactions.measured(c, turn, tokens)
            call = ToolCall(
                action_id=turn.action_id, tool_name=frame.model, started_at=now - timedelta(milliseconds=frame.duration_ms),
                duration_ms=frame.duration_ms, success=frame.ok, input={"call": frame.call, "first_token_ms": frame.first_token_ms},
                output=_said(frame) if frame.ok else frame.error, kind="model", turn_id=turn.id,
            )  # fmt: skip
            self._trace.with_fact(c, [call, *_server_tools(frame, turn, now)], now)

        await self._writer.do(work)

    async def tool_end(
        self,
        run_id: RunId,
        n: int,
        frame: ToolEnd,
        turn: Turn,
        given: dict[str, Any],
        kind: str,
        now: datetime,
    ) -> None:
        """A tool's result belongs to the conversation; `given` is the input that its `tool_start` told."""

        def work(c: sqlite3.Connection) -> None:
            if not take_frame(c, run_id, n):
                return
            if block := _result_block(frame):
                append(c, turn.session_id, turn.id, "user", [block], now)
            call = ToolCall(
                action_id=turn.action_id, tool_name=frame.name, started_at=now - timedelta(milliseconds=frame.duration_ms),
                duration_ms=frame.duration_ms, success=frame.ok, input=given, output=frame.content, kind=kind, turn_id=turn.id,
            )  # fmt: skip
            self._trace.with_fact(c, [call], now)

        await self._writer.do(work)

    async def host_call(
        self, run_id: RunId, n: int, frame: HostCall, turn: Turn, tool: HostTool | None, now: datetime
    ) -> tuple[int, HostResult]:
        """Carries out a request of the agent, once: effect, record, event and answer in one transaction."""
        ready = await host_calls.prepared(self._reader, frame, turn, tool, self._prepare_limit_s)

        def work(c: sqlite3.Connection) -> tuple[int, HostResult]:
            take_frame(c, run_id, n)
            known = host_calls.known(c, frame, turn)
            ok, content = known or host_calls.carry_out(
                c, self._trace, frame, turn, ready, now, self._ask_rules
            )
            result = HostResult(turn=frame.turn, call=frame.call, ok=ok, content=content)
            body = json.dumps({"turn": result.turn, "call": result.call, "ok": ok, "content": content})
            return next_frame(c, run_id, "host_result", turn.id, body), result

        return await self._writer.do(work)


def _length(frame: ModelEnd) -> int:
    """Tokens of the conversation, this answer included; 0 if the model did not say."""
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    figures = [frame.usage.get(name) for name in names]
    return sum(each for each in figures if isinstance(each, int) and 0 < each < 1 << 40)


def _result_block(frame: ToolEnd) -> dict[str, Any] | None:
    """What the conversation keeps of it. A task's script is nobody's tool call: what it found is said to the model."""
    if frame.name == SCRIPT:
        told = frame.ok and isinstance(frame.content, str) and frame.content.startswith(SCRIPT_OUTPUT)
        return {"type": "text", "text": frame.content} if told else None
    block = {"type": "tool_result", "tool_use_id": frame.call, "content": frame.content}
    return block if frame.ok else {**block, "is_error": True}


def _said(frame: ModelEnd) -> str:
    """What a model call brought, as a person reads it: the text, the tools that it wants, an unusual end."""
    texts = [block["text"] for block in frame.content if block.get("type") == "text"]
    wanted = [str(block.get("name")) for block in frame.content if block.get("type") == "tool_use"]
    parts = ["".join(texts).strip(), f"[wants {', '.join(wanted)}]" if wanted else ""]
    if frame.stop_reason not in ("end_turn", "tool_use"):
        parts.append(f"[ended: {frame.stop_reason}]")
    return " ".join(part for part in parts if part) or "[nothing]"


def _server_tools(frame: ModelEnd, turn: Turn, now: datetime) -> Sequence[ToolCall]:
    """The API's own tools (web search, web fetch), which ran inside of the model call."""
    results = {
        b.get("tool_use_id"): b for b in frame.content if str(b.get("type", "")).endswith("_tool_result")
    }
    calls = []
    for block in frame.content:
        if block.get("type") != "server_tool_use":
            continue
        result = results.get(block.get("id"))
        failed = isinstance(result, dict) and "error" in str(result.get("content", ""))[:200]
        calls.append(
            ToolCall(
                action_id=turn.action_id,
                tool_name=str(block.get("name", "server tool")),
                started_at=now,
                duration_ms=0,
                success=not failed,
                input=block.get("input"),
                output=result,
                kind="server_tool",
                turn_id=turn.id,
            )
        )
    return calls


def recover(c: sqlite3.Connection, kept: Sequence[RunId], now: datetime) -> int:
    """After a restart: runs that are not ours any more have ended."""
    marks = ",".join("?" * len(kept))
    gone = f"state = 'live' AND id NOT IN ({marks})"
    c.execute(f"DELETE FROM frames_out WHERE run_id IN (SELECT id FROM runs WHERE {gone})", list(kept))  # noqa: S608 - marks
    return c.execute(
        f"UPDATE runs SET state = 'ended', ended_at = ?, exit_reason = 'the host was stopped' WHERE {gone}",  # noqa: S608 - marks
        [stamp(now), *kept],
    ).rowcount
