"""What surrounds a service in a test: its secrets, its settings with short waits, its environment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import nanoclaw

ROOT: Final = Path(nanoclaw.__file__).parents[1]
API_KEY: Final = "sk-ant-api03-the-key-of-the-house-0123456789"
BOT_TOKEN: Final = "123456:the-bot-token-of-the-house"

Toml = Mapping[str, Mapping[str, Any]]

SHORT_WAITS: Final[Toml] = {
    "assistant": {"timezone": "Europe/Berlin"},
    "agents": {
        "retry_delays_s": [0.05, 0.05],
        "outage_retry_s": 0.1,
        "outage_retry_max_s": 0.2,
        "interrupt_grace_s": 0.5,
    },
    "orchestrator": {"poll_interval_s": 0.5},
    "delivery": {"retry_delays_s": [0.05, 0.1], "typing_renew_s": 1.0},
    "telegram": {
        "poll_timeout_s": 10,
        "private_per_min": 60_000,
        "group_per_min": 60_000,
        "refused_retry_s": 0.1,
    },
    "slack": {"chat_per_min": 60_000, "ping_interval_s": 5.0, "refused_retry_s": 0.1},
    "whatsapp": {"own_number": True, "per_min": 6000, "restart_delays_s": [0.05, 0.1]},
    "tasks": {"min_interval_s": 1},
    "asks": {"max_held": 0},  # what is asked in between would be taken for an answer; test_asks.py asks
    "alerts": {"check_s": 3600},  # likewise
}


PROCESS: Final[Toml] = {"agents": {"runtime": "process"}}
chosen: list[Toml] = [PROCESS]
"""Settings of the runtime that houses are opened with; the last one counts (the fixture `runtime` puts it there)."""


def write_settings(root: Path, *layers: Toml) -> None:
    """`nanoclaw.toml`, later layers over earlier ones."""
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, values in layer.items():
            merged.setdefault(section, {}).update(values)
    lines = []
    for section, values in merged.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
    (root / "nanoclaw.toml").write_text("\n".join(lines), encoding="utf-8")


def environment(root: Path, **more: str) -> dict[str, str]:
    """Nothing of this machine's but where programs are; `root` is the home of the user, not of NanoClaw."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return {**kept, "HOME": str(root), "PYTHONPATH": str(ROOT), **more}
