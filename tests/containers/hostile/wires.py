"""Attacks on the proxy's socket."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import Any

from .common import attempt
from .program import GROUP, Box

SOCKET = os.environ.get("NANOCLAW_API_SOCKET", "/run/nanoclaw/api.sock")
TOKEN = os.environ.get("NANOCLAW_RUN_TOKEN", "")
_BODY = json.dumps(
    {"model": "claude-opus-5", "max_tokens": 8, "messages": [{"role": "user", "content": "stolen"}]}
)


def _send(data: bytes) -> str:
    """The status line and the beginning of the answer."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(SOCKET)
        sock.sendall(data)
        answer = b""
        while b"\r\n\r\n" not in answer and (piece := sock.recv(65536)):
            answer += piece
    return answer.split(b"\r\n", 1)[0].decode("latin-1")


def _request(
    path: str, *, method: str = "POST", token: str = TOKEN, more: str = "", body: str = _BODY
) -> str:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        "anthropic-version: 2023-06-01\r\n"
        f"{more}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return attempt(lambda: _send((head + body).encode("latin-1")))


def other_paths(_: Box) -> dict[str, str]:
    """Whatever else the model's service offers, in every spelling."""
    paths = [
        "/", "/v1", "/v1/models", "/v1/files", "/v1/messages/batches", "/v1/organizations/me", "/v1/messages/", "//v1/messages",
        "/v1//messages", "/v1/./messages", "/v1/x/../messages", "/v1/messages/../files", "/v1/messages/%2e%2e/files",
        "/v1/messages%2f..%2ffiles", "/v1/messages;x", "/V1/MESSAGES", "/v1/messages%00", "/v1/messages\\..\\files",
        "http://169.254.169.254/latest/meta-data", "http://x/v1/files", "https://api.anthropic.com/v1/files", "*",
        "/v1/messages/count_tokens/../batches", "/v1/messages%3f/../files",
    ]  # fmt: skip
    seen = {path: _request(path) for path in paths}
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"):
        seen[f"{method} /v1/messages"] = _request("/v1/messages", method=method)
    seen["CONNECT"] = attempt(lambda: _send(b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n"))
    return seen


def other_tokens(_: Box, token: str) -> dict[str, str]:
    """Another run's token, and what looks like one."""
    return {
        "other run": _request("/v1/messages", token=token),
        "none": _request("/v1/messages", token=""),
        "prefix": _request("/v1/messages", token=TOKEN[:-1]),
        "longer": _request("/v1/messages", token=TOKEN + "x"),
        "hash": _request("/v1/messages", token="0" * 64),
        "basic": attempt(
            lambda: _send(
                b"POST /v1/messages HTTP/1.1\r\nAuthorization: Basic eDp4\r\nContent-Length: 0\r\n\r\n"
            )
        ),
        "null": _request("/v1/messages", token="\x00"),
    }


def smuggle(_: Box) -> dict[str, str]:
    """Two requests in what looks like one, and headers that are meant for somebody else."""
    inner = (
        f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n\r\n"
    )
    auth = f"Host: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    return {
        "both lengths": attempt(
            lambda: _send(
                f"POST /v1/messages HTTP/1.1\r\n{auth}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
                f"0\r\n\r\n{inner}".encode()
            )
        ),
        "two lengths": attempt(
            lambda: _send(
                f"POST /v1/messages HTTP/1.1\r\n{auth}Content-Length: 0\r\nContent-Length: {len(inner)}\r\n\r\n{inner}".encode()
            )
        ),
        "upgrade": _request("/v1/messages", more="Upgrade: websocket\r\nConnection: Upgrade\r\n", body="{}"),
        "other key": _request("/v1/messages", more="x-api-key: sk-ant-mine\r\nX-Forwarded-Host: evil\r\n"),
    }


def late_request(_: Box) -> str:
    """Asks the model when this turn is over; the answer is left in the folder."""

    def wait_and_ask() -> None:
        while not (GROUP / "over").exists():
            threading.Event().wait(0.02)
        (GROUP / "late.new").write_text(_request("/v1/messages"))
        (GROUP / "late.new").rename(GROUP / "late")

    threading.Thread(target=wait_and_ask, daemon=True).start()
    return "waiting"


def own_token(_: Box) -> str:
    return TOKEN


def ask_model(_: Box) -> str:
    """An honest request."""
    return _request("/v1/messages")


def many_connections(_: Box) -> dict[str, Any]:
    """Every connection that we can open, all held."""
    held = []
    failed = ""
    for _i in range(3000):
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(2)
            sock.connect(SOCKET)
        except OSError as error:
            failed = str(error)
            break
        held.append(sock)
    threading.Event().wait(1.0)  # the host takes them in one by one
    open_still = sum(_still_open(sock) for sock in held)
    return {"made": len(held), "open": open_still, "failed": failed}


def _still_open(sock: socket.socket) -> bool:
    sock.settimeout(0.0)
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
