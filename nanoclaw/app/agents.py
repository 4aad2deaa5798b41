"""Where this home's agents run, and the image that they run in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nanoclaw.config import Settings
from nanoclaw.domain import ChatId, new_id
from nanoclaw.home import Home
from nanoclaw.ports import AgentRuntime, Clock
from nanoclaw.runtimes.choice import choose
from nanoclaw.runtimes.docker.engine import ANSWER_TIMEOUT_S, DEFAULT_SOCKET, Engine
from nanoclaw.runtimes.docker.image import Images
from nanoclaw.runtimes.docker.keeper import ImageKeeper
from nanoclaw.runtimes.docker.open_network import OpenNetworks
from nanoclaw.runtimes.docker.runtime import AGENT_UID, DockerRuntime, DockerSettings
from nanoclaw.runtimes.process import ProcessRuntime
from nanoclaw.sqlite.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarters:
    """A runtime, with the networks that it has to give back at the end."""

    runtime: AgentRuntime
    networks: OpenNetworks | None = None


async def choose_quarters(
    settings: Settings, home: Home, store: Store, clock: Clock, warn: Callable[[str, str], None]
) -> Quarters:
    """The runtime of this home. Docker's library is loaded only where there is an engine to talk to."""
    docker = settings.docker
    engine = Engine(docker.socket or DEFAULT_SOCKET)
    choice = await choose(
        settings.agents.runtime,
        await store.recall("runtime"),
        engine_answers=lambda: engine.exists() and engine.answers(),
        image_exists=lambda: engine.has_image(docker.image),
    )
    if choice.record:
        await store.remember("runtime", choice.name)
    if choice.name == "process":
        return Quarters(runtime=ProcessRuntime(why=choice.why))
    home_id = await store.remember("home_id", new_id())
    owner_uid = home.root.stat().st_uid
    networks = OpenNetworks(
        engine=engine,
        image=docker.image,
        home_id=home_id,
        user=f"{owner_uid or AGENT_UID}:{owner_uid or AGENT_UID}",
        clock=clock,
        reachable=lambda text: warn("network", text),
    )
    runtime = DockerRuntime(
        engine=engine,
        networks=networks,
        settings=DockerSettings(
            image=docker.image,
            memory_mb=docker.memory_mb,
            cpus=docker.cpus,
            pids=docker.pids,
            file_size_mb=docker.file_size_mb,
            output_mb=docker.output_mb,
            network=docker.network,
        ),
        home_id=home_id,
        owner_uid=owner_uid,
        why=choice.why,
    )
    return Quarters(runtime=runtime, networks=networks)


def image_keeper(
    settings: Settings, runtime: AgentRuntime, clock: Clock, tell: Callable[[ChatId, str], Awaitable[object]]
) -> ImageKeeper:
    docker = settings.docker
    engine = Engine(docker.socket or DEFAULT_SOCKET)
    if runtime.name == "docker":
        then = "Agents that start from now on use it."
    elif settings.agents.runtime == "auto":
        then = "From its next start on the service runs agents in containers."
    else:
        then = "Agents go on without it, because the settings say so ([agents] runtime)."
    return ImageKeeper(
        Images(
            lambda: engine.new_client(ANSWER_TIMEOUT_S),
            image=docker.image,
            base_image=docker.base_image,
            ca_bundle=docker.ca_bundle,
        ),
        clock=clock,
        tell=tell,
        then=then,
    )
