"""The plugins of this service: what each receives, what they offer together, and what becomes of one that fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import structlog

from nanoclaw.domain import OutboxEntry
from nanoclaw.masking import Masker
from nanoclaw.ports import Clock, Migration, Plugin, PluginHost, PluginOffers, Tx
from nanoclaw.sqlite.store import Store

T = TypeVar("T")
log = structlog.get_logger()


class PluginDoor:
    """What one plugin receives; implements `ports.PluginHost`."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        settings: Mapping[str, Any],
        look: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._look = look
        self.clock = clock
        self.settings = settings

    async def write(self, change: Callable[[Tx], T]) -> T:
        result = await self._store.change(change)
        await self._look()
        return result

    async def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return await self._store.read(sql, parameters)

    async def send(self, entry: OutboxEntry) -> None:
        await self._store.outbox.put(entry, self.clock.now())
        await self._look()


class PluginHouse:
    """Foreign code: a plugin that fails is logged, told and left out; the program goes on without it."""

    def __init__(self, plugins: Sequence[Plugin], problems: Sequence[str]) -> None:
        self._plugins = list(plugins)
        self.problems = list(problems)
        """Sentences for main."""
        self.offers: list[PluginOffers] = []

    @property
    def migrations(self) -> list[Migration]:
        return [step for plugin in self._plugins for step in plugin.migrations]

    def refuse(self, components: Mapping[str, str]) -> None:
        """Those whose tables cannot be made, each with the reason."""
        for name, why in components.items():
            self.problems.append(f'The plugin "{name}" was left out: its tables cannot be made ({why}).')
        self._plugins = [plugin for plugin in self._plugins if plugin.name not in components]

    def set_up(
        self,
        door: Callable[[Mapping[str, Any]], PluginHost],
        settings: Mapping[str, Mapping[str, Any]],
        masker: Masker,
    ) -> None:
        for plugin in list(self._plugins):
            given = settings.get(plugin.name, {})
            try:
                offers = plugin.setup(door(given))
                masker.add([str(given[name]) for name in offers.secrets if given.get(name)])
                self.offers.append(offers)
            except Exception as error:  # noqa: BLE001 - foreign code; it is logged, told and left out
                self._leave_out(plugin, error)

    async def start(self, stack: AsyncExitStack) -> None:
        for plugin in list(self._plugins):
            try:
                await plugin.start()
            except Exception as error:  # noqa: BLE001 - foreign code; it is logged, told and left out
                self._leave_out(plugin, error)
            else:
                stack.push_async_callback(self._stop, plugin)

    async def _stop(self, plugin: Plugin) -> None:
        try:
            await plugin.stop()
        except Exception:  # foreign code must not keep the program from ending
            log.exception("plugin.stop_failed", plugin=plugin.name)

    def _leave_out(self, plugin: Plugin, error: Exception) -> None:
        log.error("plugin.failed", plugin=plugin.name, exc_info=error)
        self.problems.append(f'The plugin "{plugin.name}" was left out: {type(error).__name__}: {error}')
        self._plugins.remove(plugin)
