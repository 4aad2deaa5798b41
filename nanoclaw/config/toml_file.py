"""`nanoclaw.toml`: read once, every section and key known, every value checked."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from nanoclaw.config.env_file import NAMES
from nanoclaw.config.settings import SECTIONS, names_a_secret
from nanoclaw.config.values import show
from nanoclaw.errors import BadInputError
from nanoclaw.masking import Masker

FILE = "nanoclaw.toml"
_PLUGINS = "plugins"


def read_toml(path: Path) -> dict[str, Any]:
    """The file as it stands; nothing if there is none."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadInputError(f"{FILE}: cannot be read ({error.strerror})") from error
    except RecursionError:
        raise BadInputError(f"{FILE}: is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise BadInputError(f"{FILE}: is not UTF-8 text (byte {error.start})") from None
    except ValueError as error:  # TOMLDecodeError, and what int() says to a number of thousands of digits
        raise BadInputError(f"{FILE}: is not valid TOML: {Masker().mask(str(error))}") from None


def values_of(document: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """(section, key) -> checked value, for each key in the file except the plugins' own."""
    values: dict[tuple[str, str], Any] = {}
    for section, table in document.items():
        if section == _PLUGINS:
            continue
        if section not in SECTIONS:
            _refuse_unknown_section(section, table)
        if not isinstance(table, dict):
            raise BadInputError(f"{FILE}: {section} must be a section, [{section}], not {show(table)}")
        for key, value in table.items():
            values[section, key] = _checked(section, key, value)
    return values


def plugin_tables(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """`[plugins.<name>]`: free tables."""
    tables = document.get(_PLUGINS, {})
    if not isinstance(tables, dict):
        raise BadInputError(f"{FILE}: {_PLUGINS} must hold sections, [{_PLUGINS}.<name>], not {show(tables)}")
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise BadInputError(f"{FILE}: [{_PLUGINS}] {show(name)} must be a section, [{_PLUGINS}.<name>]")
    return tables


def _checked(section: str, key: str, value: object) -> object:
    known = {f.name: f for f in fields(SECTIONS[section]) if not f.metadata.get("secret")}
    _refuse_secret(section, key, value, known=key in known)
    if key not in known:
        raise BadInputError(
            f"{FILE}: [{section}] has no key {show(key)}{_did_you_mean(key, section, list(known))}"
        )
    try:
        return known[key].metadata["rule"].check(value)
    except ValueError as error:
        raise BadInputError(f"{FILE}: [{section}] {key} {error}") from None


def _did_you_mean(key: str, section: str, known: list[str]) -> str:
    if near := difflib.get_close_matches(key, known, n=1, cutoff=0.6):
        return f'; did you mean "{near[0]}"?'
    for other, kind in SECTIONS.items():
        if other != section and key in {f.name for f in fields(kind)}:
            return f"; it belongs to [{other}]"
    return f"; its keys are {', '.join(known)}"


def _refuse_unknown_section(section: str, table: object) -> None:
    if section.upper() in {row.name for row in NAMES}:
        raise BadInputError(f"{FILE}: {section} is a name for .env or the environment, not for this file")
    if not isinstance(table, dict):
        homes = [name for name, kind in SECTIONS.items() if section in {f.name for f in fields(kind)}]
        hint = f"; put it below [{homes[0]}]" if homes else ""
        raise BadInputError(f"{FILE}: {show(section)} stands outside of any section{hint}")
    near = difflib.get_close_matches(section, [*SECTIONS, _PLUGINS], n=1, cutoff=0.6)
    hint = f"did you mean [{near[0]}]?" if near else f"there are {', '.join([*SECTIONS, _PLUGINS])}"
    raise BadInputError(f"{FILE}: there is no section {show(section)}; {hint}")


def _refuse_secret(section: str, key: str, value: object, *, known: bool) -> None:
    named_so = not known and names_a_secret(key)
    looks_so = isinstance(value, str) and Masker().mask(value) != value
    if not named_so and not looks_so:
        return
    ours = [
        row.name for row in NAMES if row.section == section and "secret" in _metadata(row.section, row.key)
    ]
    name = f" as {' or '.join(ours)}" if ours else ""
    what = f"[{section}] {key}" if named_so or known else f"[{section}] {show(key)}"
    raise BadInputError(
        f"{FILE}: {what} is a secret, and this file is no place for one; put it into .env{name}"
    )


def _metadata(section: str, key: str) -> Mapping[Any, Any]:
    return next(f.metadata for f in fields(SECTIONS[section]) if f.name == key)
