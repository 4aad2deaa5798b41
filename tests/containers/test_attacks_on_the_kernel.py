"""Attacks on what is around the box: other processes, more rights, the network, everybody's memory and disk."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.containers.siege import Siege

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]

DONE = "DONE"


async def test_other_processes_and_the_host_s_kernel_are_out_of_sight(siege: Siege) -> None:
    core = Path("/proc/sys/kernel/core_pattern").read_text()
    seen = await siege.attack("look_around", siege.mallory)

    assert all("python" in program or "init" in program for program in seen["programs"].values())
    assert len(seen["programs"]) <= 3
    assert seen["disks"] == []
    assert seen["firmware"] == "DONE []"  # masked: an empty folder lies over it
    assert seen["keys"].replace("''", "") == DONE + " " or not seen["keys"].startswith(DONE)
    for wall in ("sysrq", "core", "swappiness", "uevent", "cgroup", "limit"):
        assert not seen[wall].startswith(DONE), wall
    assert seen["kcore"] in ("DONE b''", "DONE b'\\x00'") or not seen["kcore"].startswith(DONE)
    assert Path("/proc/sys/kernel/core_pattern").read_text() == core


async def test_no_right_can_be_gained(siege: Siege) -> None:
    name = socket.gethostname()
    seen = await siege.attack("climb", siege.mallory)

    status = seen.pop("status")
    assert int(status["Uid"].split()[0]) != 0
    assert {int(status[key], 16) for key in ("CapEff", "CapPrm", "CapBnd")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    ptrace = seen.pop("ptrace")  # its own init, which has the same rights as it has
    assert ptrace in (DONE, "Operation not permitted")
    assert not {what: how for what, how in seen.items() if how.startswith(DONE)}
    assert socket.gethostname() == name


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Ports of this machine that are open, and a socket in the abstract name space."""

    port: int
    abstract: str
    addresses: list[str]
    visits: list[object]


@pytest.fixture
def doors() -> Iterator[Doors]:
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("0.0.0.0", 0)))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        name = f"nanoclaw-test-{os.getpid()}"
        unix.bind(f"\0{name}")
        unix.listen()
        tcp.setblocking(False)
        own = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        addresses = sorted({"127.0.0.1", "172.17.0.1", *map(str, own)})
        yield Doors(port=tcp.getsockname()[1], abstract=name, addresses=addresses, visits=[tcp])


async def test_without_a_network_nothing_is_reached(siege: Siege, doors: Doors) -> None:
    hosts = ",".join(doors.addresses)
    seen = await siege.attack(
        "reach_out", siege.mallory, hosts=hosts, port=doors.port, abstract=doors.abstract
    )

    assert seen.pop("interfaces") == ["lo"]
    assert set(doors.addresses) <= set(seen)
    assert not {what: how for what, how in seen.items() if how.startswith(DONE)}
    listening = doors.visits[0]
    assert isinstance(listening, socket.socket)
    with pytest.raises(BlockingIOError):
        listening.accept()


async def test_a_fork_bomb_ends_at_the_limit_and_others_work_on(siege: Siege) -> None:
    before = len(list(Path("/proc").iterdir()))
    text, _ = siege.order("fork_bomb", siege.mallory)
    await siege.family_is_well()

    assert await siege.house.outcome(text) == "answered"
    report = next(siege.folder(siege.mallory).glob("report-*.json")).read_text()
    assert "Resource temporarily unavailable" in report
    assert '"forked": 6' in report or '"forked": 5' in report  # the limit is 64
    assert len(list(Path("/proc").iterdir())) < before + 100


async def test_an_agent_that_eats_memory_is_ended_and_the_chat_is_told(siege: Siege) -> None:
    reason = await siege.doomed("memory_bomb", siege.mallory)

    assert "out of memory (limit 192 MB)" in reason
    assert "out of memory" in await siege.house.heard("out of memory", chat=siege.mallory)
    await siege.house.until(lambda: any("out of memory" in reason for reason in siege.exits()))
    await siege.family_is_well()


async def test_files_end_at_their_limit_in_every_place_that_can_be_written(siege: Siege) -> None:
    seen = await siege.attack("fill_disk", siege.mallory)

    assert seen.pop("group").startswith(("64 MB: File too large", "stopped after 64 MB"))
    assert seen.pop("tmp").startswith(("64 MB: File too large", "stopped after 64 MB"))
    assert seen.pop("shm").startswith(("64 MB", "stopped after 6"))
    assert not {place: how for place, how in seen.items() if how.startswith(DONE)}


async def test_descriptors_end_at_their_limit(siege: Siege) -> None:
    seen = await siege.attack("many_descriptors", siege.mallory)

    assert seen["opened"] < 4096
    assert "Too many open files" in seen["error"]
    await siege.family_is_well()


async def test_an_agent_that_takes_all_processors_gets_its_share(siege: Siege) -> None:
    text, _ = siege.order("spin", siege.mallory, seconds=1.5)
    turn = await siege.running(siege.mallory)
    await siege.family_is_well()
    assert "Uptime" in await siege.house.ask("/status")

    assert siege.house.value("SELECT state FROM turns WHERE id = ?", turn) == "running"
    assert await siege.house.outcome(text) == "answered"


async def test_what_an_agent_leaves_running_ends_with_its_container(siege: Siege) -> None:
    marker = f"left-behind-{os.getpid()}"
    await siege.attack("stay_behind", siege.mallory, marker=marker)
    assert _running(marker) >= 1

    await siege.house.stop()
    assert _running(marker) == 0
    assert siege.containers() == []
    await siege.house.start()


def _running(marker: str) -> int:
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        found += marker.encode() in words and words.startswith(b"sh\0")
    return found
