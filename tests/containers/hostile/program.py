"""Stands in for the agent program in a container, and does what nobody should: the attack that its message names.

    attack:NAME nonce=N key=value …        (no blanks in values)

What an attack sees is written to `report-N.json` in the group's folder, for the test to judge. Only the standard library
is used: nothing of ours is trusted here.
"""

from __future__ import annotations

import json
import os
import queue
import re
import sys
import threading
from pathlib import Path
from typing import Any

GROUP = Path("/workspace/group")
_ORDER = re.compile(r"attack:(\w+)((?: \w+=[^\s<]+)*)")


class Box:
    """The wire as an attacker holds it: any bytes may be written, and numbers are a matter of taste."""

    def __init__(self) -> None:
        self.sent = 0
        self.turn = ""
        self.start: dict[str, Any] = {}
        self.heard: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.deaf = threading.Event()
        """While set, nothing is read."""
        threading.Thread(target=self._listen, daemon=True).start()

    def raw(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]

    def frame(self, kind: str, /, *, n: int | None = None, **fields: Any) -> None:
        """An honest frame, unless `n` or the fields say otherwise."""
        if n is None:
            self.sent += 1
        body = {"n": self.sent if n is None else n, "t": kind, **fields}
        self.raw(json.dumps(body).encode() + b"\n")

    def say(self, kind: str, /, **fields: Any) -> None:
        """A frame of the running turn."""
        self.frame(kind, **{"turn": self.turn, **fields})

    def call(self, name: str, given: Any, /, *, call: str, **more: Any) -> dict[str, Any]:
        """A request to the host, and its answer."""
        self.say("host_call", **{"call": call, "name": name, "input": given, **more})
        while True:
            heard = self.next()
            if heard.get("t") == "host_result" and heard["call"] == call:
                return {"ok": heard["ok"], "content": heard["content"]}

    def next(self, timeout_s: float = 30.0) -> dict[str, Any]:
        heard = self.heard.get(timeout=timeout_s)
        if heard is None:
            sys.exit(0)
        return heard

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            while self.deaf.is_set():
                threading.Event().wait(0.05)
            heard = json.loads(line) if line.strip() else {}
            if "n" in heard:
                self.raw(b'{"ack":%d}\n' % heard["n"])
                self.heard.put(heard)
        self.heard.put(None)


def words_of(start: dict[str, Any]) -> str:
    content = start["messages"][-1]["content"]
    return content if isinstance(content, str) else " ".join(b.get("text", "") for b in content)


def order_of(words: str) -> tuple[str, dict[str, str]]:
    found = _ORDER.findall(words)
    if not found:
        return "nothing", {}
    name, rest = found[-1]
    return name, dict(pair.split("=", 1) for pair in rest.split())


def main() -> None:
    from .arsenal import ATTACKS  # noqa: PLC0415 - the attacks import this module

    box = Box()
    box.frame("hello", wire=1, program="hostile", pid=os.getpid())
    while True:
        heard = box.next(timeout_s=3600)
        if heard["t"] == "close":
            return
        if heard["t"] != "turn_start":
            continue
        box.start, box.turn = heard, heard["turn"]
        name, given = order_of(words_of(heard))
        nonce = given.pop("nonce", "0")
        try:
            seen = ATTACKS[name](box, **given)
        except Exception as error:  # noqa: BLE001 - the test reads what went wrong
            seen = {"error": repr(error)}
        report = GROUP / f"report-{nonce}.json"
        temporary = report.with_suffix(".new")
        try:
            temporary.write_text(json.dumps(seen))
            temporary.replace(report)
        except OSError as error:
            sys.stderr.write(f"no report: {error}\n")
        box.say("turn_end", status="done", text=f"did {name}", model_calls=1)
