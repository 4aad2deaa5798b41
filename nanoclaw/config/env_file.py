"""The environment and the `.env` file: which names are settings, and how a `.env` is read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from nanoclaw.config.settings import SECTIONS
from nanoclaw.config.values import File, Rule, Seconds
from nanoclaw.errors import BadInputError

_MILLISECONDS = Seconds(unit="milliseconds", unit_s=0.001)
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "$": "$"}


@dataclass(frozen=True, slots=True)
class EnvName:
    """A variable that sets `section.key`; with a rule of its own where its unit differs from the key's."""

    name: str
    section: str
    key: str
    rule: Rule | None = None


NAMES: tuple[EnvName, ...] = (
    EnvName("ASSISTANT_NAME", "assistant", "name"),
    EnvName("TZ", "assistant", "timezone"),
    EnvName("ANTHROPIC_API_KEY", "model", "api_key"),
    EnvName("ANTHROPIC_AUTH_TOKEN", "model", "auth_token"),
    EnvName("ANTHROPIC_BASE_URL", "model", "base_url"),
    EnvName("NANOCLAW_MODEL", "model", "name"),
    EnvName("NANOCLAW_RUNTIME", "agents", "runtime"),
    EnvName("MAX_CONCURRENT_CONTAINERS", "agents", "max_concurrent"),
    EnvName("MAX_MESSAGES_PER_PROMPT", "agents", "max_messages_per_prompt"),
    EnvName("IDLE_TIMEOUT", "agents", "idle_timeout_s", _MILLISECONDS),
    EnvName("CONTAINER_TIMEOUT", "agents", "turn_timeout_s", _MILLISECONDS),
    EnvName("EVENT_LOG_RETENTION_DAYS", "trace", "retention_days"),
    EnvName("LOG_LEVEL", "log", "level"),
    EnvName("TELEGRAM_BOT_TOKEN", "telegram", "token"),
    EnvName("TELEGRAM_BASE_URL", "telegram", "base_url"),
    EnvName("SLACK_BOT_TOKEN", "slack", "bot_token"),
    EnvName("SLACK_APP_TOKEN", "slack", "app_token"),
    EnvName("SLACK_BASE_URL", "slack", "base_url"),
    EnvName("NANOCLAW_TEST_CLOCK", "", "test_clock", File()),
)
HOME_NAME = "NANOCLAW_HOME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A value and where it stands, in words for an error."""

    text: str
    place: str


def read_env_file(path: Path) -> dict[str, Variable]:
    """What `.env` sets; nothing if there is no such file. Raises BadInputError, which never shows a value."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise BadInputError(f".env: is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise BadInputError(f".env: cannot be read ({error.strerror})") from error
    return {name: Variable(text=value, place=f".env (line {line})") for line, name, value in _parse(text)}


def overrides(environ: Mapping[str, str], env_file: Mapping[str, Variable]) -> dict[tuple[str, str], Any]:
    """(section, key) -> checked value, for each name that is set; the environment wins, an empty value is not set."""
    _refuse_near_misses(environ, env_file)
    values: dict[tuple[str, str], Any] = {}
    for row in NAMES:
        variable = _variable(row.name, environ, env_file)
        if variable is None:
            continue
        rule = row.rule or _rule_of(row)
        try:
            values[row.section, row.key] = rule.check(rule.parse(variable.text))
        except ValueError as error:
            raise BadInputError(f"{row.name} in {variable.place} {error}") from None
    return values


def _variable(name: str, environ: Mapping[str, str], env_file: Mapping[str, Variable]) -> Variable | None:
    if environ.get(name, "").strip():
        return Variable(text=environ[name], place="the environment")
    found = env_file.get(name)
    return found if found is not None and found.text.strip() else None


def _rule_of(row: EnvName) -> Rule:
    rule: Rule = next(f.metadata["rule"] for f in fields(SECTIONS[row.section]) if f.name == row.key)
    return rule


def _refuse_near_misses(environ: Mapping[str, str], env_file: Mapping[str, Variable]) -> None:
    """A `.env` may hold what other programs read; a name that is nearly one of ours is a slip of the pen."""
    if HOME_NAME in env_file:
        place = env_file[HOME_NAME].place
        raise BadInputError(
            f"{HOME_NAME} in {place} comes too late: set it in the environment, or use --home"
        )
    ours = [row.name for row in NAMES]
    for name, variable in env_file.items():
        near = difflib.get_close_matches(name, ours, n=1, cutoff=0.88)
        if name in ours or not near or _variable(near[0], environ, env_file):
            continue
        raise BadInputError(f"{name} in {variable.place} is no setting; did you mean {near[0]}?")


def _parse(text: str) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _ASSIGNMENT.fullmatch(stripped)
        if not match:
            raise BadInputError(f".env: line {number} is broken; a line reads NAME=value")
        value = _unquote(match[2])
        if value is None or "\0" in value:
            raise BadInputError(
                f".env: line {number} is broken; check the quotes around the value of {match[1]}"
            )
        yield number, match[1], value


def _unquote(raw: str) -> str | None:
    """The value of the right-hand side: quoted, or up to a ` #`. None if a quote has no end or something follows it."""
    if not raw or raw[0] not in "'\"":
        return re.split(r"(?:^|\s)#", raw, maxsplit=1)[0].strip()
    pattern = r"'([^']*)'" if raw[0] == "'" else r'"((?:[^"\\]|\\.)*)"'
    match = re.fullmatch(pattern + r"\s*(?:#.*)?", raw)
    if match is None:
        return None
    if raw[0] == "'":
        return match[1]
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), match[1])
