"""The process runtime, with real processes."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.errors import OutageError
from nanoclaw.runtimes.child import ChildProcess
from nanoclaw.runtimes.process import ProcessRuntime
from nanoclaw.wire import MAX_FRAME_BYTES, WireError
from tests.runtimes.agents import ECHO, STUBBORN, runtime, spec

CHECKOUT = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def running(tmp_path: Path, source: str, **settings: Any) -> AsyncIterator[ChildProcess]:
    process = await runtime(tmp_path, source, **settings).start(spec(tmp_path))
    try:
        async with asyncio.timeout(20):
            yield process
    finally:
        await process.stop(0)


async def report(tmp_path: Path, source: str, **settings: Any) -> Any:
    """What an agent prints as its one line of JSON."""
    async with running(tmp_path, source, **settings) as process:
        return json.loads(await anext(process.lines()))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def until_dead(*pids: int) -> None:
    async with asyncio.timeout(20):
        while any(alive(pid) for pid in pids):
            await asyncio.sleep(0.005)


async def test_what_is_written_comes_back_line_by_line(tmp_path: Path) -> None:
    async with running(tmp_path, ECHO) as process:
        lines = process.lines()
        await process.write(b"one\ntwo")
        assert await anext(lines) == b"one"
        await process.write(b" and a half\n")
        assert await anext(lines) == b"two and a half"


async def test_lines_far_larger_than_a_pipe_pass_whole_in_both_directions(tmp_path: Path) -> None:
    line = b"x" * 3_000_000
    async with running(tmp_path, ECHO) as process:
        writing = asyncio.create_task(process.write(line + b"\n"))
        assert await anext(process.lines()) == line
        await writing


async def test_the_lines_end_when_the_process_does_and_an_unfinished_one_is_dropped(tmp_path: Path) -> None:
    async with running(tmp_path, "print('whole'); print('unfinished', end='')") as process:
        assert [line async for line in process.lines()] == [b"whole"]
        assert await process.exited() == "exit 0"


async def test_a_line_above_the_limit_is_an_error_and_ends_the_process(tmp_path: Path) -> None:
    source = f"import sys, time; sys.stdout.write('x' * {MAX_FRAME_BYTES + 1}); sys.stdout.flush(); time.sleep(600)"
    async with running(tmp_path, source) as process:
        with pytest.raises(WireError):
            await anext(process.lines())
        assert await process.exited() == "killed by SIGKILL"


async def test_an_agent_sees_nothing_of_the_hosts_environment(tmp_path: Path) -> None:
    environment, cwd = await report(
        tmp_path, "import json, os; print(json.dumps([dict(os.environ), os.getcwd()]))"
    )
    group = str(tmp_path / "group")
    assert cwd == group
    assert set(environment) == {
        "PATH", "LANG", "LC_ALL", "TZ", "HOME", "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONNOUSERSITE",
        "NANOCLAW_API_SOCKET", "NANOCLAW_RUN_TOKEN", "NANOCLAW_GROUP_DIR",
    }  # fmt: skip
    assert environment["HOME"] == environment["NANOCLAW_GROUP_DIR"] == group
    assert environment["TZ"] == "Europe/Berlin"
    assert environment["NANOCLAW_API_SOCKET"].endswith("nc-run/api.sock")


async def test_modules_in_the_groups_folder_are_never_imported(tmp_path: Path) -> None:
    made = spec(tmp_path)
    trap = "raise SystemExit('the trap was imported')"
    site = (
        made.group_dir / f".local/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    )
    site.mkdir(parents=True)
    for name in ("json.py", "anthropic.py", "sitecustomize.py", "usercustomize.py", "nanoclaw.py"):
        (made.group_dir / name).write_text(trap)
        (site / name).write_text(trap)
    (site / "trap.pth").write_text("import sys; sys.exit('the trap was imported')")
    seen = await report(
        tmp_path, "import json, nanoclaw, sys; print(json.dumps([nanoclaw.__file__, sys.path]))"
    )
    file, path = seen
    assert file == str(CHECKOUT / "nanoclaw/__init__.py")
    theirs = [str(made.group_dir), str(CHECKOUT / "nanoclaw"), ""]
    assert not [entry for entry in path if entry in theirs or entry.startswith((theirs[0], theirs[1]))]


async def test_an_agent_is_tied_limited_and_alone_in_its_session(tmp_path: Path) -> None:
    source = """
import ctypes, json, os, resource
signal = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(signal), 0, 0, 0)
limits = [resource.getrlimit(x)[0] for x in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_DATA)]
try:
    open("big", "wb").write(b"x" * 70000)
    wrote = True
except OSError:
    wrote = False
print(json.dumps([signal.value, limits, wrote, os.getpid() == os.getsid(0) == os.getpgrp()]))
"""
    seen = await report(tmp_path, source, file_bytes=65536, memory_bytes=10**9)
    assert list(seen) == [int(signal.SIGKILL), [0, 65536, 10**9], False, True]


async def test_a_module_is_run_as_a_program_with_its_arguments(tmp_path: Path) -> None:
    run = ProcessRuntime(program=("-m", "json.tool", "--compact"))
    process = await run.start(spec(tmp_path))
    await process.write(b'{"a":   1}')
    stopping = asyncio.create_task(process.stop(20))
    assert [line async for line in process.lines()] == [b'{"a":1}']
    await stopping
    assert await process.exited() == "exit 0"


async def test_stop_lets_a_willing_agent_end_by_itself(tmp_path: Path) -> None:
    async with running(tmp_path, ECHO) as process:
        await process.write(b"up\n")
        await anext(process.lines())
        await process.stop(20)
        assert await process.exited() == "exit 0"


async def test_stop_kills_an_agent_that_does_not_end_and_all_that_it_started(tmp_path: Path) -> None:
    source = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {STUBBORN!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""
    async with running(tmp_path, source) as process:
        grandchild = int(await anext(process.lines()))
        await process.stop(0)
        assert await process.exited() == "killed by SIGKILL"
        await until_dead(int(process.handle), grandchild)


async def test_what_an_agent_leaves_behind_when_it_ends_is_killed(tmp_path: Path) -> None:
    source = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {STUBBORN!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
"""
    async with running(tmp_path, source) as process:
        grandchild = int(await anext(process.lines()))
        assert await process.exited() == "exit 0"
        await until_dead(grandchild)


async def test_stop_may_be_called_twice_at_once_and_again_later(tmp_path: Path) -> None:
    async with running(tmp_path, STUBBORN) as process:
        await anext(process.lines())
        await asyncio.gather(process.stop(0), process.stop(0))
        await process.stop(5)
        assert not alive(int(process.handle))


async def test_a_stop_that_is_cancelled_still_kills(tmp_path: Path) -> None:
    async with running(tmp_path, STUBBORN) as process:
        await anext(process.lines())
        stopping = asyncio.create_task(process.stop(600))
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert await process.exited() == "killed by SIGKILL"


async def test_stop_ends_an_agent_whose_output_nobody_reads(tmp_path: Path) -> None:
    async with running(tmp_path, "while True: print('x' * 1000)") as process:
        await process.stop(0)
        assert not alive(int(process.handle))


async def test_writing_to_an_agent_that_is_gone_is_a_connection_error(tmp_path: Path) -> None:
    async with running(tmp_path, "pass") as process:
        await process.exited()
        with pytest.raises(ConnectionError):
            await process.write(b"late\n")


async def test_a_write_that_waits_for_a_deaf_agent_fails_when_it_is_stopped(tmp_path: Path) -> None:
    async with running(tmp_path, STUBBORN) as process:
        await anext(process.lines())
        writing = asyncio.create_task(process.write(b"x" * 1_000_000))
        await asyncio.sleep(0)
        await process.stop(0)
        with pytest.raises(ConnectionError):
            await writing


async def test_the_end_is_told_in_words_with_what_was_said_last_and_without_the_token(tmp_path: Path) -> None:
    source = "import os, sys; print('noise', file=sys.stderr); sys.exit('no use for ' + os.environ['NANOCLAW_RUN_TOKEN'])"
    async with running(tmp_path, source) as process:
        assert await process.exited() == "exit 1: no use for ***"
        assert process.stderr_tail() == "noise\nno use for ***\n"


async def test_only_the_end_of_a_flood_on_stderr_is_kept(tmp_path: Path) -> None:
    source = "import sys; sys.stderr.write('x' * 1_000_000 + '\\nthe end'); sys.exit(3)"
    async with running(tmp_path, source) as process:
        assert await process.exited() == "exit 3: the end"
        assert len(process.stderr_tail()) == 8192


async def test_a_python_that_is_not_there_is_an_outage_of_the_engine(tmp_path: Path) -> None:
    before = open_descriptors()
    with pytest.raises(OutageError) as caught:
        await ProcessRuntime(python=tmp_path / "none").start(spec(tmp_path))
    assert caught.value.cause == "engine"
    assert str(tmp_path) not in caught.value.safe
    assert open_descriptors() == before


async def test_no_agent_is_adopted(tmp_path: Path) -> None:
    assert await runtime(tmp_path, ECHO).adopt() == {}


HOST = """
import asyncio, sys
from pathlib import Path
from tests.runtimes.agents import STUBBORN, runtime, spec

async def main():
    there = Path(sys.argv[1])
    agents = [await runtime(there, STUBBORN).start(spec(there)) for _ in range(2)]
    for agent in agents:
        await anext(agent.lines())
    print(*[agent.handle for agent in agents], flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_agents_die_with_a_host_that_is_killed(tmp_path: Path) -> None:
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(CHECKOUT)},
        cwd=CHECKOUT,
    )
    assert host.stdout is not None
    with host, host.stdout:
        agents = [int(pid) for pid in host.stdout.readline().split()]
        assert len(agents) == 2
        assert all(map(alive, agents))
        host.kill()
        host.wait()
    await until_dead(*agents)


def test_an_agent_whose_host_died_before_it_was_tied_ends_at_once() -> None:
    """Played by a parent that is not the host named on the command line."""
    tether = CHECKOUT / "nanoclaw/runtimes/tether.py"
    done = subprocess.run(
        [sys.executable, str(tether), "1", "1000", "1000000000", "-m", "this"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "the host is gone" in done.stderr
