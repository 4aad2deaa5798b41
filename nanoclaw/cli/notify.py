"""Tells systemd how the service is, over the socket named in NOTIFY_SOCKET; nothing happens without one."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import structlog

_log = structlog.get_logger()


def notify(state: str, environ: Mapping[str, str]) -> None:
    """Sends `READY=1`, `STOPPING=1`, … Trouble is logged and never stops the service."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract sockets have no file
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect(address)
            channel.sendall(state.encode())
    except OSError as error:
        _log.warning("notify_failed", state=state, reason=str(error))
