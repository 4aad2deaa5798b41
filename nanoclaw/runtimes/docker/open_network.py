"""Networks for agents that may use one: a bridge for each group, walled off from this machine and from other networks.

A rule in the firewall makes the wall if we may set one. Whether it stands is not believed but tried from inside.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import structlog

from nanoclaw.domain import Folder
from nanoclaw.ports import Clock
from nanoclaw.reports import ago
from nanoclaw.runtimes.docker.engine import Engine
from nanoclaw.runtimes.docker.firewall import Firewall, FirewallError
from nanoclaw.runtimes.docker.reach import NotCheckedError, Reach, try_reach

HOME_LABEL = "nanoclaw.home"
CHECK_EVERY = timedelta(minutes=10)

log = structlog.get_logger()


class OpenNetworks:
    """Owns the networks of one home, their firewall, and what is known of how far they reach."""

    def __init__(
        self,
        *,
        engine: Engine,
        image: str,
        home_id: str,
        user: str,
        clock: Clock,
        firewall: Firewall | None = None,
        reachable: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`user`: who the probe is in its container. `reachable` is told, once, that the wall does not stand."""
        self._engine = engine
        self._image = image
        self._home_id = home_id
        self._user = user
        self._clock = clock
        self._prefix = f"nc{home_id.replace('-', '')[:6]}"
        self._firewall = firewall or Firewall(name=home_id[:8], prefix=self._prefix)
        self._reachable = reachable
        self._users: Counter[Folder] = Counter()
        self._lock = asyncio.Lock()
        self._checking = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._used = False
        self._closing = asyncio.Event()
        self._watching = False
        self._no_rule: str | None = None
        self._reach: Reach | None = None
        self._checked_at: datetime | None = None
        self._not_checked = "not checked yet"

    def line(self) -> str:
        """For `/status`; empty as long as no agent has had a network."""
        if not self._used:
            return ""
        if self._reach is None or self._checked_at is None:
            state = f"host ports {self._not_checked}"
        elif self._reach.host:
            state = f"host ports REACHABLE: {self._what_to_do()}"
        else:
            state = f"host ports closed (checked {ago(self._checked_at, self._clock.now())})"
        outside = "" if self._reach is None or self._reach.outside else ", nothing outside was reached"
        return f"open network, {state}{outside}"

    async def attach(self, folder: Folder) -> str:
        """The name of the group's network, which is there now. Raises what the engine raises."""
        self._users[folder] += 1
        try:
            async with self._lock:
                await self._wall()
                name = await asyncio.to_thread(self._make, folder)
        except BaseException:
            self._users[folder] -= 1
            raise
        self._watch()
        return name

    def adopted(self, folder: Folder) -> None:
        """A container of a former life uses its network; its wall is set up again, should it be gone."""
        self._users[folder] += 1
        self._watch()

    def release(self, folder: Folder) -> None:
        """One container less uses it; with the last one the network goes."""
        self._users[folder] -= 1
        self._own(self._drop(folder))

    def _watch(self) -> None:
        self._used = True
        if not self._watching:
            self._watching = True
            self._own(self._keep_checking())

    async def _keep_checking(self) -> None:
        """As long as anybody uses a network: others change firewalls, too."""
        try:
            while (
                folder := next((folder for folder, count in self._users.items() if count > 0), None)
            ) is not None:
                async with self._lock:
                    await self._wall()
                await self.check(folder)
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_EVERY.total_seconds()):
                        await self._closing.wait()
                        return
        finally:
            self._watching = False

    async def check(self, folder: Folder) -> None:
        """Tries from inside of this group's network how far one gets. Never raises: what stays unknown is said."""
        async with self._checking:
            self._users[folder] += 1
            before = self._reach
            try:
                self._reach = await asyncio.to_thread(self._try, self._name(folder))
                self._checked_at = self._clock.now()
            except NotCheckedError as error:
                self._reach, self._not_checked = None, f"not checked ({error})"
            except Exception as error:  # noqa: BLE001 - whatever the engine does: unknown is an answer, too
                self._reach, self._not_checked = None, "not checked (the engine refused)"
                log.warning("network.not_checked", reason=str(error))
            finally:
                self.release(folder)
            if self._reach and self._reach.host and not (before and before.host):
                log.error("network.host_reachable", why=self._no_rule, commands=self._firewall.commands())
                self._reachable(
                    f"Agents with an open network can reach ports of this server: {self._what_to_do()}"
                )

    async def stop(self) -> None:
        """The service ends: what nobody uses any more is removed. Agents that run on keep network and wall."""
        self._closing.set()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self._used:
            return
        self._users.clear()  # who still has a container there keeps the network by that
        try:
            left = await asyncio.to_thread(self._sweep)
        except Exception as error:  # noqa: BLE001 - the engine may be away; the next start sweeps
            log.warning("network.not_removed", reason=str(error))
            return
        if not left:
            await asyncio.to_thread(self._firewall.remove)

    async def sweep(self) -> None:
        """At the start: networks that a crash has left and nobody uses. Raises what the engine raises."""
        async with self._lock:
            await asyncio.to_thread(self._sweep)

    def _what_to_do(self) -> str:
        if self._no_rule is None:
            return "the firewall rule is there but does not hold; look at iptables -L INPUT"
        return f"{self._no_rule}. As root, run: {'; '.join(self._firewall.commands())}"

    async def _wall(self) -> None:
        try:
            await asyncio.to_thread(self._firewall.install)
        except FirewallError as error:
            if self._no_rule is None:
                log.warning("network.no_firewall", reason=str(error), commands=self._firewall.commands())
            self._no_rule = str(error)
        else:
            self._no_rule = None

    async def _drop(self, folder: Folder) -> None:
        async with self._lock:
            if self._users[folder] > 0:
                return
            try:
                await asyncio.to_thread(self._engine.api().remove_network, self._name(folder))
            except Exception as error:  # noqa: BLE001 - still in use, or gone, or the engine is: swept later
                log.debug("network.kept", group=folder, reason=str(error))

    def _own(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- in worker threads ---------------------------------------------------------------------------------

    def _name(self, folder: Folder) -> str:
        return f"nanoclaw-{self._home_id[:8]}-{folder}"

    def _make(self, folder: Folder) -> str:
        name, api = self._name(folder), self._engine.api()
        if not any(network["Name"] == name for network in self._ours()):
            bridge = self._prefix + hashlib.sha256(folder.encode()).hexdigest()[: 15 - len(self._prefix)]
            api.create_network(
                name,
                driver="bridge",
                check_duplicate=True,
                labels={HOME_LABEL: self._home_id, "nanoclaw.group": folder},
                options={
                    "com.docker.network.bridge.name": bridge,
                    "com.docker.network.bridge.enable_icc": "false",
                },
            )
        return name

    def _ours(self) -> list[dict[str, Any]]:
        label = {"label": [f"{HOME_LABEL}={self._home_id}"]}
        found: list[dict[str, Any]] = self._engine.api().networks(filters=label)
        return found

    def _sweep(self) -> int:
        """How many stay, because a container uses them."""
        api, left = self._engine.api(), 0
        for network in self._ours():
            if api.inspect_network(network["Id"]).get("Containers"):
                left += 1
            elif not self._users[network.get("Labels", {}).get("nanoclaw.group", "")]:
                api.remove_network(network["Id"])
        return left

    def _try(self, network: str) -> Reach:
        return try_reach(
            self._engine,
            image=self._image,
            network=network,
            labels={HOME_LABEL: self._home_id},
            user=self._user,
        )
