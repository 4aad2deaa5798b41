"""A container with a network reaches the world, not this machine; and what `/status` says was tried from inside."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from nanoclaw.app import SystemClock
from nanoclaw.domain import Folder
from nanoclaw.runtimes.docker.engine import Engine as Client
from nanoclaw.runtimes.docker.firewall import Firewall, FirewallError
from nanoclaw.runtimes.docker.open_network import OpenNetworks
from nanoclaw.testing.messages_api import Hang, Reply, say, use
from nanoclaw.testing.scripts import Body, tool_results
from tests.engine import Engine
from tests.service.house import House, open_house

pytestmark = pytest.mark.service

FAMILY = Folder("family")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may set firewall rules")


class NoFirewall(Firewall):
    """What a service has that is not root."""

    def install(self) -> None:
        raise FirewallError("the service is not root")

    def remove(self) -> None:
        return


def rules() -> str:
    return subprocess.run(["iptables", "-w", "-S"], check=True, capture_output=True, text=True).stdout


@asynccontextmanager
async def opened(engine: Engine, *, wall: bool, told: list[str]) -> AsyncIterator[OpenNetworks]:
    home = str(uuid.uuid4())
    networks = OpenNetworks(
        engine=Client(engine.socket),
        image=engine.image,
        home_id=home,
        user="10001:10001",
        clock=SystemClock(),
        firewall=None if wall else NoFirewall(name=home[:8], prefix=f"nc{home[:6]}"),
        reachable=told.append,
    )
    try:
        yield networks
    finally:
        await networks.stop()


def names(engine: Engine) -> list[str]:
    with contextlib.closing(engine.client()) as api:
        return [network["Name"] for network in api.networks()]


@needs_root
async def test_behind_the_firewall_host_ports_are_closed_and_status_says_so(engine: Engine) -> None:
    told: list[str] = []
    async with opened(engine, wall=True, told=told) as networks:
        assert networks.line() == ""
        name = await networks.attach(FAMILY)
        await networks.check(FAMILY)

        assert name in names(engine)
        assert networks.line().startswith("open network, host ports closed (checked ")
        networks.release(FAMILY)
    assert told == []
    assert name not in names(engine)
    assert f"NANOCLAW-{name.split('-')[1]}" not in rules()


async def test_without_a_firewall_the_hole_is_seen_and_told_with_the_commands_that_close_it(
    engine: Engine,
) -> None:
    told: list[str] = []
    async with opened(engine, wall=False, told=told) as networks:
        await networks.attach(FAMILY)
        await networks.check(FAMILY)
        await networks.check(FAMILY)

        assert (
            "host ports REACHABLE: the service is not root. As root, run: iptables -N NANOCLAW-"
            in networks.line()
        )
        assert len(told) == 1
        assert "can reach ports of this server" in told[0]
        networks.release(FAMILY)


@needs_root
async def test_the_commands_that_an_owner_is_given_do_what_the_service_does(engine: Engine) -> None:
    async with opened(engine, wall=False, told=[]) as networks:
        name = await networks.attach(FAMILY)
        firewall = Firewall(name=name.split("-")[1], prefix=f"nc{name.split('-')[1][:6]}")
        try:
            for command in firewall.commands():
                subprocess.run(command.split(), check=True)
            await networks.check(FAMILY)
            assert "host ports closed" in networks.line()
        finally:
            firewall.remove()
        networks.release(FAMILY)


@needs_root
def test_the_firewall_may_be_set_up_again_and_again_and_leaves_nothing_behind() -> None:
    firewall = Firewall(name="7e577e57", prefix="nc7e577e")
    before = rules()
    firewall.install()
    once = rules()
    firewall.install()
    try:
        assert rules() == once
        assert once.count("-j NANOCLAW-7e577e57") == 2
    finally:
        firewall.remove()
    assert rules() == before


@needs_root
async def test_a_network_stays_as_long_as_somebody_uses_it(engine: Engine) -> None:
    async with opened(engine, wall=True, told=[]) as networks:
        name = await networks.attach(FAMILY)
        assert await networks.attach(FAMILY) == name
        networks.release(FAMILY)
        await networks.sweep()
        assert name in names(engine)
        networks.release(FAMILY)
    assert name not in names(engine)


def listening(address: str) -> socket.socket:
    listener = socket.create_server((address, 0))
    listener.settimeout(0)
    return listener


async def shell(house: House, command: str) -> str:
    def tell(body: Body) -> Reply:
        return say(f"[{tool_results(body)[-1].text}]")

    house.says(use("bash", {"command": command}), tell)
    return await house.ask("run it")


@needs_root
async def test_an_agent_with_an_open_network_cannot_reach_this_machine(engine: Engine) -> None:
    walls = {
        "agents": {"runtime": "docker"},
        "docker": {"socket": engine.socket, "image": engine.image, "network": "open"},
    }
    async with open_house(walls) as house:
        await house.start()
        await house.pair()
        assert "open network, not used yet" in await house.ask("/status")
        with contextlib.closing(listening("0.0.0.0")) as listener:
            port = listener.getsockname()[1]
            program = (
                "import socket, struct; "
                "line = [row.split() for row in open('/proc/net/route')][1:]; "
                "gateway = next(row[2] for row in line if row[1] == '00000000'); "
                "address = socket.inet_ntoa(struct.pack('<L', int(gateway, 16))); "
                f"print(address); socket.create_connection((address, {port}), timeout=1)"
            )
            seen = await shell(house, f'python3 -c "{program}"')
            with pytest.raises(BlockingIOError):
                listener.accept()
        assert "TimeoutError" in seen or "timed out" in seen
        network = [name for name in names(engine) if name.endswith("-telegram_ada")]
        assert len(network) == 1
        assert await house.stop() == 0
        assert network[0] not in names(engine)
        assert f"NANOCLAW-{network[0].split('-')[1]}" not in rules()


@needs_root
async def test_an_agent_that_outlives_the_service_keeps_its_network_and_its_wall(engine: Engine) -> None:
    walls = {
        "agents": {"runtime": "docker"},
        "docker": {"socket": engine.socket, "image": engine.image, "network": "open"},
    }
    async with open_house(walls) as house:
        await house.start()
        await house.pair()
        house.says(say("At last."))
        house.fails(Hang())
        house.tell("a long one")
        await house.api.seen(1)
        assert await house.stop() == 0
        network = next(name for name in names(engine) if name.endswith("-telegram_ada"))
        chain = f"NANOCLAW-{network.split('-')[1]}"
        assert rules().count(f"-j {chain}") == 2

        house.api.release()
        await house.start()
        assert await house.heard("At last.")
        assert house.value("SELECT count(*) FROM runs") == 1
        await house.stop()
        assert network not in names(engine)
        assert chain not in rules()


@pytest.fixture
def nothing_comes_in() -> Iterator[None]:
    """Whatever comes from any interface but loopback and the way out is dropped: what a strict INPUT chain does."""
    route = subprocess.run(
        ["ip", "-o", "route", "get", "192.0.2.1"], capture_output=True, text=True, check=False
    ).stdout
    words = route.split()
    out = [words[words.index("dev") + 1]] if "dev" in words else []
    chain = "NC-TEST-DENY"
    commands = [["-N", chain], *(["-A", chain, "-i", name, "-j", "RETURN"] for name in ("lo", *out))]
    commands += [["-A", chain, "-j", "DROP"], ["-I", "INPUT", "1", "-j", chain]]
    try:
        for command in commands:
            subprocess.run(["iptables", "-w", *command], check=True)
        yield
    finally:
        for command in (["-D", "INPUT", "-j", chain], ["-F", chain], ["-X", chain]):
            subprocess.run(["iptables", "-w", *command], check=False)


@needs_root
@pytest.mark.parametrize("network", ["none", "open"])
async def test_the_way_to_the_model_needs_no_network_and_no_open_port(
    engine: Engine, nothing_comes_in: None, network: str
) -> None:
    walls = {
        "agents": {"runtime": "docker"},
        "docker": {"socket": engine.socket, "image": engine.image, "network": network},
    }
    async with open_house(walls) as house:
        await house.start()
        await house.pair()
        house.says(say("Through the socket."))
        assert await house.ask("hello") == "Through the socket."
        await house.stop()
