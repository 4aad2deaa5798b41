"""Attacks by asking the host."""

from __future__ import annotations

from typing import Any

from .program import Box

_WORDS: list[Any] = [
    None, True, 0, -1, 1e308, [], {}, [[]], {"text": "x"}, "", " ", "\x00", "../../etc/passwd", "/", "%", "____", "*",
    "'; DROP TABLE messages; --", "x" * 100_000, "\u202e", "\ud83d", "{{system}}", "<internal>", "main", "global",
]  # fmt: skip


def fuzz(box: Box, tools: str) -> list[dict[str, Any]]:
    """Every tool with every kind of nonsense in each of its places."""
    seen = []
    places = ("text", "chat", "prompt", "schedule_type", "schedule_value", "task_id", "reason", "what", "id")
    for tool in tools.split(","):
        for i, word in enumerate(_WORDS):
            given = dict.fromkeys(places, word)
            seen.append({"tool": tool, "given": repr(word)[:40], **box.call(tool, given, call=f"f{tool}{i}")})
    return seen


def unknown_tools(box: Box) -> list[dict[str, Any]]:
    names = [
        "",
        "exec",
        "register_group",
        "bash",
        "__class__",
        "send_message ",
        "SEND_MESSAGE",
        "x" * 50_000,
        "\x1b[2J",
    ]
    return [{"tool": name[:20], **box.call(name, {}, call=f"u{i}")} for i, name in enumerate(names)]


def meddle(box: Box, chat: str, folder: str, name: str, task: str) -> dict[str, Any]:
    """At another group: its chat, its tasks, and the main chat's tools."""
    targets = {
        "chat": chat,
        "folder": folder,
        "name": name.replace("_", " "),
        "path": f"../{folder}",
        "main": "main",
    }
    said = {
        what: box.call("send_message", {"text": "forged", "chat": target}, call=f"m{what}")
        for what, target in targets.items()
    }
    return {
        **said,
        "list": box.call("list_tasks", {"group": folder, "folder": folder}, call="ml"),
        "cancel": box.call("cancel_task", {"task_id": task}, call="mc"),
        "cancel prefix": box.call("cancel_task", {"task_id": task[:6]}, call="mp"),
        "inspect": box.call("inspect", {"what": "messages", "group": folder}, call="mi"),
    }


def pose(box: Box, chat: str, folder: str) -> dict[str, Any]:
    """Says of itself that it is somebody else."""
    claims: dict[str, Any] = {
        "chat": chat, "chat_id": chat, "chat_jid": chat, "group": folder, "folder": folder, "is_main": True, "from": "owner",
        "run": "x", "event_id": "x",
    }  # fmt: skip
    box.frame("hello", wire=1, program="nanoclaw", pid=1, **claims)
    said = box.call(
        "send_message",
        {"text": "it is me", **{k: v for k, v in claims.items() if k != "chat"}},
        call="p",
        **claims,
    )
    task = {"prompt": "attack:nothing", "schedule_type": "interval", "schedule_value": "1h", **claims}
    return {"said": said, "task": box.call("schedule_task", task, call="pt", **claims)}


def schedule(box: Box) -> dict[str, Any]:
    task = {"prompt": "water the flowers", "schedule_type": "interval", "schedule_value": "1h"}
    return box.call("schedule_task", task, call="s")


def nag(box: Box) -> None:
    """More requests than anybody needs."""
    for i in range(100_000):
        box.say("host_call", call=f"n{i}", name="stay_silent", input={"reason": "x"})
    box.next()
