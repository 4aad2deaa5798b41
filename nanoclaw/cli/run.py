"""`nanoclaw run`: the service, from its start to a clean stop."""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import structlog

from nanoclaw import __version__, config, log
from nanoclaw.cli.notify import notify
from nanoclaw.cli.signals import stop_signal
from nanoclaw.errors import NanoclawError
from nanoclaw.home import Home
from nanoclaw.masking import Masker

_log = structlog.get_logger()


class Service(AbstractAsyncContextManager[Any], Protocol):
    """What running needs of the app."""

    async def run_until(self, stop: asyncio.Event) -> None: ...
    async def make_pairing_code(self) -> str: ...


def main(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    root = config.home_path(arguments.home, environ)
    settings = config.load(root, environ)
    home = Home(root)
    with home.open():
        from nanoclaw.app import App  # noqa: PLC0415 - a mistake is told before the libraries are loaded

        masker = Masker(settings.secrets())
        log.configure(masker=masker, level=settings.log.level, output=settings.log.format)
        _log.info("starting", version=__version__, home=str(root))
        for warning in settings.warnings:
            _log.warning("settings_warning", text=warning)
        try:
            asyncio.run(serve(lambda: App.build(settings, home, masker=masker), environ))
        except NanoclawError:
            raise
        except Exception:  # noqa: BLE001 - the last supervisor: logged, and the exit code says it
            _log.exception("service_failed")
            return 1
    return 0


async def serve(build: Callable[[], Service], environ: Mapping[str, str]) -> None:
    """Starts the service, says that it is ready, and stops it at SIGTERM or SIGINT; a second signal stops at once."""
    async with stop_signal() as stop, build() as service:
        code = await service.make_pairing_code()
        print(f'Pairing code: {code}  (send "/pair {code}" to the bot within 10 minutes)', flush=True)
        notify("READY=1", environ)
        _log.info("ready")
        settle_in()
        try:
            await service.run_until(stop)
        finally:
            notify("STOPPING=1", environ)
            _log.info("stopping")
    _log.info("stopped")


def settle_in() -> None:
    """For a process that runs for months and whose store has threads of its own; each was measured by `make bench`."""
    # What the program is made of stays: the garbage collector would look through it every few hundred messages, 30 ms each.
    gc.collect()
    gc.freeze()
    # Threads hand Python's lock on ten times sooner than by default: the slowest of a hundred answers comes a fifth earlier.
    sys.setswitchinterval(0.0005)
