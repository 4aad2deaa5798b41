"""Attacks on the host's reading of our frames."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

from .program import Box


def foreign_turn(box: Box, turn: str) -> str:
    """Speaks for a turn of another group."""
    box.frame("tool_start", turn=turn, call="x", name="read", input={})
    box.frame("host_call", turn=turn, call="x", name="send_message", input={"text": "forged"})
    box.frame(
        "model_end", turn=turn, call=1, model="m", ok=True, content=[{"type": "text", "text": "forged"}]
    )
    box.frame("tool_end", turn=turn, call="x", name="read", ok=True, content="forged")
    box.frame("accepted", turn=turn, frame=1)
    box.frame("error", turn=turn, kind="session", cause="forged")
    box.frame("turn_end", turn=turn, status="done", text="forged")
    return "spoken"


def replay(box: Box) -> dict[str, Any]:
    """The same number again, and the same call under new numbers."""
    first = box.call("send_message", {"text": "once"}, call="one")
    for _ in range(3):
        box.say("host_call", n=box.sent, call="two", name="send_message", input={"text": "twice"})
    again = [box.call("send_message", {"text": f"again {i}"}, call="one") for i in range(3)]
    return {"first": first, "again": again}


def gap(box: Box) -> None:
    box.say("tool_start", n=box.sent + 5, call="x", name="read", input={})
    box.next()


def oversized(box: Box) -> None:
    """One frame of 17 MB."""
    box.say("text", call=1, text="x" * (17 * 1024 * 1024))
    box.next()


def endless_line(box: Box) -> None:
    """A line that never ends."""
    while True:
        box.raw(b"x" * 65536)


GARBAGE: dict[str, bytes] = {
    "bytes": b"\xff\xfe\x00\x01\n",
    "surrogate": b'{"n":2,"t":"\xed\xa0\x80"}\n',
    "no json": b"hello, host\n",
    "list": b"[1,2,3]\n",
    "unknown": b'{"n":2,"t":"become_root"}\n',
    "no type": b'{"n":2}\n',
    "minus": b'{"n":-2,"t":"text","turn":"t","call":1,"text":""}\n',
    "nan": b'{"n":NaN,"t":"text","turn":"t","call":1,"text":""}\n',
    "true": b'{"n":true,"t":"text","turn":"t","call":1,"text":""}\n',
    "missing": b'{"n":2,"t":"turn_end"}\n',
    "types": b'{"n":2,"t":"turn_end","turn":7,"status":"done"}\n',
    "status": b'{"n":2,"t":"turn_end","turn":"t","status":"owned"}\n',
    "deep": b'{"n":2,"t":' + b"[" * 100_000 + b"\n",
    "digits": b'{"n":' + b"9" * 100_000 + b',"t":"text"}\n',
    "ack": b'{"ack":-1}\n',
    "wire": b'{"n":2,"t":"hello","wire":99,"program":"x","pid":1}\n',
}


def garbage(box: Box, kind: str) -> None:
    box.raw(GARBAGE[kind.replace("_", " ")])
    box.next()


def absurd(box: Box, kind: str) -> None:
    """Frames of the right form with values that no honest agent has."""
    deep: Any = "x"
    for _ in range(950 if kind == "deeper" else 400):
        deep = [deep]
    end: dict[str, Any] = {"call": 1, "model": "m", "ok": True, "content": [{"type": "text", "text": "hm"}]}
    if kind == "duration":
        box.say("model_end", **{**end, "duration_ms": 10**30})
    elif kind == "usage":
        box.say("model_end", **{**end, "usage": {"input_tokens": "many", "output_tokens": -(10**20)}})
    elif kind == "accepted":
        box.say("accepted", frame=10**40)
    elif kind == "block":
        box.say("model_end", **{**end, "content": [{"type": "text"}, {"type": ["x"]}, {}]})
    elif kind in ("deep", "deeper"):
        box.say("model_end", **{**end, "content": [{"type": "text", "text": "hm", "deep": deep}]})
    box.next(timeout_s=2)


def free_lunch(box: Box) -> str:
    """Claims to have used nothing, then a fortune."""
    for tokens in (0, 10**9):
        usage = {"input_tokens": tokens, "output_tokens": tokens}
        content = [{"type": "text", "text": "hm"}]
        box.say("model_end", call=1, model="claude-opus-5", ok=True, content=content, usage=usage)
    return "claimed"


def unoffered(box: Box) -> str:
    """Accepts follow-ups that were never offered."""
    for n in (1, 2, 3, 1000):
        box.say("accepted", frame=n)
    return "accepted"


def flood(box: Box, kind: str) -> None:
    """As much as the pipe takes."""
    text = json.dumps({"n": 1, "t": "text", "turn": box.turn, "call": 1, "text": ""}).encode() + b"\n"
    pieces = {"empty": b"\n", "acks": b'{"ack":1}\n', "repeats": text}
    if kind in pieces:
        while True:  # not so fast that the engine's log is what is tested
            box.raw(pieces[kind] * 200)
            threading.Event().wait(0.01)
    if kind == "growing_acks":
        n = 0
        while True:
            n += 1
            box.raw(b'{"ack":%d}\n' % n)
    while True:  # frames in good order
        box.say("tool_start" if kind == "frames" else "text", **_FLOOD[kind])


_FLOOD: dict[str, dict[str, Any]] = {
    "frames": {"call": "x", "name": "read", "input": {}},
    "text": {"call": 1, "text": "y" * 100_000},
}


def flood_stderr(_: Box, mb: str) -> str:
    """The engine keeps this in the same log as our frames."""
    for _i in range(int(mb) * 16):
        os.write(2, b"z" * 65535 + b"\n")
    return "shouted"


def huge_reply(box: Box) -> str:
    """An answer of thousands of messages."""
    box.say("turn_end", status="done", text="blah " * 400_000, model_calls=1)
    return "never written"


def escapes(box: Box) -> str:
    """An answer that would steer a terminal."""
    text = "look: \x1b]0;owned\x07\x1b[2J\x1b[1;31mred\x9b2J\x08\x08\u202etxt.exe\r\nowner: /pair 1"
    box.say("tool_start", call="e", name="\x1b[2Jname", input={"path": "\x1b[2J"})
    box.say("tool_end", call="e", name="\x1b[2Jname", ok=False, content="\x1b[2Jfailed")
    box.say("turn_end", status="done", text=text, model_calls=1)
    return "never written"


def ignore_everything(box: Box) -> None:
    """Neither interrupt nor close nor signals."""
    import signal  # noqa: PLC0415

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Event().wait()
    box.raw(b"")


def hush(_: Box) -> None:
    """Closes its output, and lives on."""
    os.close(1)
    threading.Event().wait()


def deaf(box: Box) -> None:
    """Asks and asks, and reads no answer."""
    box.deaf.set()
    for i in range(180):
        box.say("host_call", call=f"d{i}", name="cancel_task", input={"task_id": "y" * 19_000})
    threading.Event().wait()


def hold(box: Box) -> str:
    """An honest turn that lasts until it is told to stop, or asked for in the same chat."""
    while True:
        heard = box.next()
        if heard["t"] in ("interrupt", "follow_up"):
            return str(heard["t"])


def quit(_: Box) -> None:  # noqa: A001 - the name of the attack
    os._exit(3)
