"""`python -m nanoclaw.media image EDGE_PX MAX_BYTES | text MAX_BYTES`: one file from stdin, what is shown of it to stdout.

A line of JSON, then the bytes. Whatever a hostile file does to a library happens here, within limits, and ends here.
"""

from __future__ import annotations

import io
import json
import resource
import signal
import sys
from typing import Any, BinaryIO

from nanoclaw.media.damage import UnreadableError

MEMORY_BYTES = 768 * 1024 * 1024
CPU_S = 20
WALL_S = 60


def main(arguments: list[str]) -> int:
    """Exit code 0 whenever there is an answer, also if that is a sentence about the file."""
    _limit()
    output = sys.stdout.buffer
    sys.stdout = io.TextIOWrapper(io.BytesIO())  # a library that prints must not speak for us
    data = b""
    try:
        header, data = _read(arguments, sys.stdin.buffer)
    except UnreadableError as error:
        header = {"problem": str(error)}
    except MemoryError:
        header = {"problem": "it would need too much memory"}
    except Exception as error:  # noqa: BLE001 - one file is supervised here; the host logs what is told
        header = {
            "problem": "it is damaged, or not what it says it is",
            "detail": f"{type(error).__name__}: {error}"[:200],
        }
    output.write(json.dumps(header).encode() + b"\n")
    output.write(data)
    output.flush()
    return 0


def _read(arguments: list[str], file: BinaryIO) -> tuple[dict[str, Any], bytes]:
    if arguments[0] == "image":
        from nanoclaw.media.images import scaled  # noqa: PLC0415 - Pillow, only for pictures

        media_type, data = scaled(file, edge_px=int(arguments[1]), max_bytes=int(arguments[2]))
        return {"media_type": media_type}, data
    from nanoclaw.media.words import words_of  # noqa: PLC0415 - pypdf, only for documents

    text, cut = words_of(file, max_bytes=int(arguments[1]))
    return {"cut": cut}, text.encode("utf-8", "replace")


def _limit() -> None:
    """Also without a host that watches: it may have died."""
    signal.alarm(WALL_S)
    for which, amount in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
    ):
        hard = resource.getrlimit(which)[1]
        least = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(which, (least, least))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
