"""An agent that answers at once, without a model: what is left of a turn is the host's own time.

As a program (started by path, with `nanoclaw.wire` alone) it is the agent of the process runtime; as a class it is the
agent of a runtime double without processes. Its answer names the numbers (`#17`) that it was asked with, and the time
on the monotonic clock, which all processes share, at which it read the prompt.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

from nanoclaw.wire import (
    WIRE_VERSION,
    Ack,
    Close,
    Frame,
    Hello,
    ModelEnd,
    ModelStart,
    ToolEnd,
    ToolStart,
    TurnEnd,
    TurnStart,
    decode,
    encode,
    encode_ack,
)

MODEL = "instant"
_NUMBERS = re.compile(r"#(\d+)")


class InstantAgent:
    """Lines of the host in, lines for the host out. It never accepts a follow-up: that starts the next turn."""

    def __init__(self, *, tools: int = 0) -> None:
        """`tools`: calls of a tool, each with a model call before it, that a turn pretends to make."""
        self._tools = tools
        self._sent = 0
        self.over = False

    def hello(self) -> bytes:
        return self._line(Hello(wire=WIRE_VERSION, program="bench", pid=os.getpid()))

    def take(self, line: bytes) -> bytes:
        """What there is to say to one line; empty if nothing."""
        read_at = time.monotonic_ns()
        got = decode(line)
        if got is None or isinstance(got, Ack):
            return b""
        n, frame = got
        said = encode_ack(Ack(upto=n))
        if isinstance(frame, TurnStart):
            said += b"".join(map(self._line, self._answer(frame, read_at)))
        self.over = isinstance(frame, Close)
        return said

    def _answer(self, start: TurnStart, read_at: int) -> Iterator[Frame]:
        for n in range(1, self._tools + 1):
            use: dict[str, Any] = {
                "type": "tool_use",
                "id": f"{start.turn}-{n}",
                "name": "read",
                "input": {"path": "notes.md"},
            }
            yield from self._model_call(start, n, use)
            yield ToolStart(turn=start.turn, call=use["id"], name="read", input=use["input"])
            yield ToolEnd(turn=start.turn, call=use["id"], name="read", ok=True, content="nothing new")
        text = f"{' '.join(f'#{number}' for number in asked(start))} read at {read_at}"
        yield from self._model_call(start, self._tools + 1, {"type": "text", "text": text})
        yield TurnEnd(turn=start.turn, status="done", text=text, model_calls=self._tools + 1)

    def _model_call(self, start: TurnStart, n: int, block: dict[str, Any]) -> Iterator[Frame]:
        yield ModelStart(turn=start.turn, call=n, model=MODEL)
        stop = "tool_use" if block["type"] == "tool_use" else "end_turn"
        yield ModelEnd(turn=start.turn, call=n, model=MODEL, ok=True, content=[block], stop_reason=stop)

    def _line(self, frame: Frame) -> bytes:
        self._sent += 1
        return encode(frame, self._sent)


def asked(start: TurnStart) -> list[int]:
    """The numbers in the newest user message of a prompt, in their order."""
    content = start.messages[-1]["content"]
    return asked_in(
        content if isinstance(content, str) else " ".join(block.get("text", "") for block in content)
    )


def asked_in(text: str) -> list[int]:
    """The numbers in a text, in their order."""
    return [int(number) for number in _NUMBERS.findall(text)]


def read_at_ns(answer: str) -> int:
    """When the agent had read the prompt that it answers."""
    return int(answer.rpartition(" ")[2])


def main() -> None:
    agent, out = InstantAgent(), sys.stdout.buffer
    out.write(agent.hello())
    out.flush()
    while not agent.over and (line := sys.stdin.buffer.readline()):
        out.write(agent.take(line))
        out.flush()


if __name__ == "__main__":
    main()
