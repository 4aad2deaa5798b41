"""The way to a service that runs on this home folder already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from nanoclaw.channels.local.client import LocalClient
from nanoclaw.errors import BadInputError, NanoclawError

ANSWER_WITHIN_S = 15.0


async def attach(socket_path: Path) -> LocalClient | None:
    """A connection, or None when no service is there. The caller closes it."""
    client = LocalClient(socket_path)
    try:
        await client.connect()
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return None
    except OSError as error:
        raise BadInputError(f"{socket_path} cannot be used: {error.strerror or error}") from error
    return client


@asynccontextmanager
async def soon() -> AsyncIterator[None]:
    """What is in here is answered soon, or told as trouble: a service that hangs must not hang its visitors."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            yield
    except TimeoutError:
        raise NanoclawError("the service that runs on this home folder does not answer") from None
    except ConnectionError:
        raise NanoclawError("the service that runs on this home folder closed the connection") from None
