"""The parameters of a call of the played Bot API, from a form, from JSON, or from a form with files in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

from nanoclaw.testing.telegram_faults import bad

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file as it was handed in."""

    name: str
    mime: str
    data: bytes = field(repr=False)


async def read(request: web.BaseRequest) -> dict[str, Any]:
    params: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        raw = await request.content.read()
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            body = {}
        return params | (body if isinstance(body, dict) else {})
    if request.content_type == "multipart/form-data":
        return params | await _parts(request)
    return params | {name: value for name, value in (await request.post()).items() if isinstance(value, str)}


async def _parts(request: web.BaseRequest) -> dict[str, Any]:
    found: dict[str, Any] = {}
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            continue
        data = bytearray()
        while piece := await part.read_chunk(1 << 20):  # `read` stops at a megabyte
            data += piece
        if part.filename is None:
            found[part.name] = data.decode()
        else:
            mime = part.headers.get("Content-Type", "application/octet-stream")
            found[part.name] = Upload(name=part.filename, mime=mime, data=bytes(data))
    return found


def whole(params: Params, name: str) -> int | None:
    """A whole number, from a form or from JSON."""
    value = params.get(name)
    if value is None or value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def structure(params: Params, name: str, kind: type[Any]) -> Any:
    """A list or an object: forms carry them as JSON text. None if it is missing."""
    value = params.get(name)
    if isinstance(value, str) and value:
        try:
            value = json.loads(value)
        except ValueError:
            raise bad(f"can't parse {name} JSON object") from None
    if value is None or value == "":
        return None
    if not isinstance(value, kind):
        raise bad(f"can't parse {name}: expected {'an array' if kind is list else 'an object'}")
    return value
