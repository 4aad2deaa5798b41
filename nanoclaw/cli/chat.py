"""`nanoclaw chat`: a conversation in the terminal, or line by line through a pipe."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Literal

from nanoclaw import config, log
from nanoclaw.channels.local.client import LocalClient
from nanoclaw.channels.local.lines import Welcome
from nanoclaw.cli.attach import attach, soon
from nanoclaw.cli.conversation import DONE, converse_by_line, converse_by_terminal
from nanoclaw.cli.lines import in_thread, lines_of, typed_lines
from nanoclaw.cli.screen import PROMPT, PlainScreen, TerminalScreen, terminal_restored
from nanoclaw.cli.signals import stop_signal
from nanoclaw.config import Settings
from nanoclaw.errors import NanoclawError
from nanoclaw.home import Home
from nanoclaw.masking import Masker


def main(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    root = config.home_path(arguments.home, environ)
    settings = config.load(root, environ)
    return asyncio.run(_chat(settings, Home(root), environ, arguments.name))


async def _chat(settings: Settings, home: Home, environ: Mapping[str, str], name: str) -> int:
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    async with stop_signal() as stop, AsyncExitStack() as stack:
        joined = await attach(home.chat_socket)
        client = joined or await _own_client(stack, settings, home)
        stack.push_async_callback(client.close)
        async with soon():
            welcome = await client.hello(name)
        if not terminal:
            lines = in_thread(partial(lines_of, sys.stdin.fileno()))
            return await converse_by_line(client, PlainScreen(sys.stdout, sys.stderr), lines, stop)
        first = _joined_words(welcome, home) if joined else _first_words(settings, home)
        print(*first, "Type /help to see what it can do, Ctrl-D to leave.", "", sep="\n", flush=True)
        stack.enter_context(terminal_restored(sys.stdin.fileno()))
        screen = TerminalScreen(sys.stdout, assistant=welcome.assistant, environ=environ)
        code = await converse_by_terminal(client, screen, in_thread(partial(typed_lines, PROMPT)), stop)
        print("\nBye." if code == DONE else "", flush=True)
        return code


def _joined_words(welcome: Welcome, home: Home) -> list[str]:
    return [f"This is {welcome.assistant}, in the NanoClaw {welcome.version} that runs on {home.root}."]


def _first_words(settings: Settings, home: Home) -> list[str]:
    name, model = settings.assistant.name, settings.model
    if model.offline:
        who = f"{name} answers with the offline model, which is no AI: set ANTHROPIC_API_KEY in {home.env} for Claude."
    else:
        who = f"{name} answers with {model.name} at {model.url}."
    return [who, f"Everything it keeps lies in {home.root}."]


async def _own_client(stack: AsyncExitStack, settings: Settings, home: Home) -> LocalClient:
    await stack.enter_async_context(_own_service(settings, home))
    client = await attach(home.chat_socket)
    if client is None:
        raise NanoclawError("the chat's own service did not open its socket")
    return client


@asynccontextmanager
async def _own_service(settings: Settings, home: Home) -> AsyncIterator[None]:
    """A service of our own for as long as the chat lasts."""
    from nanoclaw.app import App  # noqa: PLC0415 - loads all the libraries; not needed to join a running service

    level: Literal["warning", "error"] = "error" if settings.log.level == "error" else "warning"
    masker = Masker(settings.secrets())
    log.configure(masker=masker, level=level, output=settings.log.format, stream=sys.stderr)
    with home.open():
        async with App.build(settings, home, masker=masker) as app:
            stop = asyncio.Event()
            running = asyncio.create_task(app.run_until(stop))
            try:
                yield
            finally:
                stop.set()
                await running
