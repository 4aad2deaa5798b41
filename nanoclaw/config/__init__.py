"""Settings: `nanoclaw.toml`, `.env` and the environment, read once and checked; the only place that reads them.

The environment wins over `.env`, `.env` over the file. Whatever is wrong is one BadInputError with one line, and
nothing is written.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nanoclaw.config.env_file import HOME_NAME, overrides, read_env_file
from nanoclaw.config.settings import (
    ANTHROPIC_URL,
    SECTIONS,
    AgentSettings,
    AssistantSettings,
    DeliverySettings,
    DockerSettings,
    LogSettings,
    ModelSettings,
    OrchestratorSettings,
    Settings,
    TaskSettings,
    TelegramSettings,
    TraceSettings,
)
from nanoclaw.config.toml_file import FILE, plugin_tables, read_toml, values_of
from nanoclaw.config.values import Secret
from nanoclaw.config.zone import system_zone
from nanoclaw.errors import BadInputError

_ENGINE_ADDRESS = "unix:///var/run/docker.sock"

__all__ = [
    "ANTHROPIC_URL",
    "AgentSettings",
    "AssistantSettings",
    "DeliverySettings",
    "DockerSettings",
    "LogSettings",
    "ModelSettings",
    "OrchestratorSettings",
    "Secret",
    "Settings",
    "TaskSettings",
    "TelegramSettings",
    "TraceSettings",
    "home_path",
    "load",
]


def home_path(named: str | None, environ: Mapping[str, str]) -> Path:
    """The home folder: `--home`, else NANOCLAW_HOME, else `~/.nanoclaw`; absolute, not touched."""
    text = named if named is not None else environ.get(HOME_NAME, "").strip() or "~/.nanoclaw"
    if not text.strip() or "\0" in text:
        raise BadInputError("the home folder's name is empty; use --home DIR")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise BadInputError("the home folder cannot be found out; name it with --home DIR") from None


def load(home: Path, environ: Mapping[str, str]) -> Settings:
    """All settings of a home folder, which need not exist. Raises BadInputError."""
    if home.exists() and not home.is_dir():
        raise BadInputError(
            f"the home folder cannot be {home}: that is no folder; name another one with --home"
        )
    document = read_toml(home / FILE)
    env_file = home / ".env"
    values = {**values_of(document), **overrides(environ, read_env_file(env_file))}
    if not values.get(("assistant", "timezone")):
        values["assistant", "timezone"] = system_zone()
    if not values.get(("docker", "socket")):
        values["docker", "socket"] = environ.get("DOCKER_HOST", "").strip() or _ENGINE_ADDRESS
    sections: dict[str, Any] = {
        name: kind(**{key: value for (section, key), value in values.items() if section == name})
        for name, kind in SECTIONS.items()
    }
    settings = Settings(
        **sections,
        plugins=plugin_tables(document),
        test_clock=values.get(("", "test_clock")),
        mount_allowlist=_config_folder(environ) / "mount-allowlist.json",
    )
    _check_together(settings)
    return replace(settings, warnings=tuple(_warnings(env_file)))


def _config_folder(environ: Mapping[str, str]) -> Path:
    """The owner's own, outside of the home and of anything that an agent can see."""
    named = environ.get("XDG_CONFIG_HOME", "").strip()
    if named.startswith("/"):
        return Path(named) / "nanoclaw"
    home = environ.get("HOME", "").strip()
    return (Path(home) if home.startswith("/") else Path("~").expanduser()) / ".config" / "nanoclaw"


def _check_together(settings: Settings) -> None:
    agents = settings.agents
    if agents.outage_retry_max_s < agents.outage_retry_s:
        raise BadInputError(
            f"{FILE}: [agents] outage_retry_max_s ({agents.outage_retry_max_s:g}) must not be less than "
            f"outage_retry_s ({agents.outage_retry_s:g})"
        )
    if agents.runtime == "docker" and not settings.docker.socket.startswith("unix://"):
        raise BadInputError(
            "DOCKER_HOST in the environment names an engine elsewhere, and agents need one on this machine; "
            f"name its socket in {FILE}, [docker] socket"
        )


def _warnings(env_file: Path) -> list[str]:
    try:
        mode = env_file.stat().st_mode
    except OSError:
        return []
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        return ["other users of this machine can read .env, which holds secrets; run: chmod 600 .env"]
    return []
