"""bash: what a command sees, what it shows, and that nothing that it starts outlives its turn."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.agent.tools.bash import bash_tool, shell_environment
from nanoclaw.agent.tools.errors import ToolError
from nanoclaw.agent.tools.output import Output
from nanoclaw.agent.tools.table import own_tools
from nanoclaw.agent.tools.tool import Tool
from nanoclaw.testing.messages_api import MessagesApi, say, use
from nanoclaw.wire import Interrupt, ToolEnd, TurnEnd
from tests.agent.agent_host import QUICK, TIMEOUT_S, child, child_environment, short_dir, turn_start
from tests.agent.played import Played

PLAIN = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
DAEMON = "setsid bash -c 'echo $BASHPID >> pids; exec sleep 1000' >/dev/null 2>&1 &"
"""In a session of its own, its parent soon gone: no process group leads to it."""


class Bash:
    """A folder and the tool on it; `await bash("…")` is a call of the model."""

    def __init__(self, folder: Path, **limits: Any) -> None:
        self.folder = folder
        self.tool = bash_tool(str(folder), PLAIN, replace(QUICK, **limits))

    async def __call__(self, command: str, **more: Any) -> str:
        given = {"command": command, **more}
        self.tool.check(given)
        return await self.tool.run(given)

    async def end_turn(self) -> bool:
        assert self.tool.end_turn
        return await self.tool.end_turn()

    async def pids(self, count: int = 1) -> list[int]:
        """Those that commands have written down, once there are so many."""
        file = self.folder / "pids"
        await until(lambda: file.exists() and len(file.read_text().split()) >= count)
        return [int(pid) for pid in file.read_text().split()]


@pytest.fixture
async def bash(tmp_path: Path) -> AsyncIterator[Bash]:
    tool = Bash(tmp_path)
    yield tool
    assert await tool.end_turn()


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not look():
            await asyncio.sleep(0.005)


def alive(pids: list[int]) -> list[int]:
    found = []
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            found.append(pid)
    return found


# --- one command ---------------------------------------------------------------------------------------------


async def test_output_and_errors_come_in_their_order_with_the_exit_code(bash: Bash) -> None:
    assert await bash("echo one; echo two >&2; echo three; exit 3") == "one\ntwo\nthree\n[exit code 3]"
    assert await bash("printf 'no newline'") == "no newline\n[exit code 0]"
    assert await bash("true") == "[exit code 0]"
    assert await bash("kill -TERM $$") == "[killed by SIGTERM]"


async def test_a_command_runs_in_the_groups_folder_and_each_in_a_shell_of_its_own(bash: Bash) -> None:
    assert await bash("pwd; mkdir a; cd a; x=1") == f"{bash.folder}\n[exit code 0]"
    assert await bash('pwd; echo "x=$x"') == f"{bash.folder}\nx=\n[exit code 0]"


async def test_no_profile_of_the_folder_or_of_the_home_is_read(tmp_path: Path) -> None:
    for name in (".bashrc", ".bash_profile", ".profile", "env"):
        (tmp_path / name).write_text("echo surprise\n")
    surprises = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)} | dict.fromkeys(
        ("BASH_ENV", "ENV"), f"{tmp_path}/env"
    )
    tool = bash_tool(str(tmp_path), shell_environment(surprises), QUICK)
    assert await tool.run({"command": "echo hello"}) == "hello\n[exit code 0]"


def test_commands_get_neither_the_token_nor_the_way_to_the_proxy() -> None:
    agents = child_environment(Path("/run/nanoclaw/api.sock"), Path("/workspace/group"))
    others = {
        "HOME": "/tmp",
        "SSL_CERT_FILE": "/ca.crt",
        "ANTHROPIC_API_KEY": "k",
        "BASH_FUNC_x%%": "() { :; }",
    }
    assert shell_environment(agents | others) == {
        "PATH": agents["PATH"], "TZ": "UTC", "HOME": "/tmp", "SSL_CERT_FILE": "/ca.crt", "TERM": "dumb",
    }  # fmt: skip


async def test_a_command_that_reads_its_input_finds_it_empty(bash: Bash) -> None:
    assert await bash("cat; read answer || echo nobody; tty") == "nobody\nnot a tty\n[exit code 1]"


@pytest.mark.parametrize("command", ["echo a\0b", "echo \ud800"])
async def test_what_cannot_be_a_command_is_refused(bash: Bash, command: str) -> None:
    with pytest.raises(ToolError, match="A command"):
        await bash(command)


@pytest.mark.parametrize("timeout_s", [0, 601])
async def test_a_time_out_beyond_the_bounds_is_refused(bash: Bash, timeout_s: int) -> None:
    with pytest.raises(ToolError, match="timeout_s must be at"):
        await bash("true", timeout_s=timeout_s)


def test_bash_is_offered_in_containers_only_and_never_runs_beside_another_tool(tmp_path: Path) -> None:
    assert "bash" not in own_tools(str(tmp_path), QUICK)
    tool = own_tools(str(tmp_path), QUICK, shell=PLAIN)["bash"]
    assert not tool.read_only
    timeout_s = tool.offer()["input_schema"]["properties"]["timeout_s"]
    assert (timeout_s["minimum"], timeout_s["maximum"]) == (1, 600)


# --- much output ---------------------------------------------------------------------------------------------


async def test_of_much_output_the_beginning_and_the_end_are_shown(bash: Bash) -> None:
    text = await bash("seq 1 1000000")
    head, note, tail = text.partition("\n[the middle is left out here; 6888896 bytes were printed in all]\n")
    assert note
    assert head.startswith("1\n2\n3\n")
    assert tail.endswith("999999\n1000000\n[exit code 0]")
    assert 90_000 < len(text.encode()) <= QUICK.tool_output_bytes


async def test_output_that_is_no_text_keeps_to_the_cap_with_the_exit_code_at_its_end(bash: Bash) -> None:
    text = await bash("head -c 99000 /dev/zero | tr '\\0' '\\377'; exit 7")
    assert text.endswith("[exit code 7]")
    assert len(text.encode()) <= QUICK.tool_output_bytes


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(2, 60))
def test_whatever_is_printed_the_text_keeps_to_the_limit_and_to_the_ends(
    pieces: list[bytes], limit: int
) -> None:
    output = Output(limit)
    for piece in pieces:
        output.data_received(piece)
    printed = b"".join(pieces)
    text = output.text()
    first, cut, last = text.partition(
        f"\n[the middle is left out here; {len(printed)} bytes were printed in all]\n"
    )
    if cut:
        assert len(first.encode()) + len(last.encode()) <= limit
    else:
        assert text == printed.decode("utf-8", "replace")


# --- the end of a command ------------------------------------------------------------------------------------


async def test_a_command_that_does_not_end_in_time_is_ended_with_all_that_it_started(bash: Bash) -> None:
    with pytest.raises(ToolError) as caught:
        await bash(f"echo before; {DAEMON} (sleep 1000 & echo $! >> pids; wait) & sleep 1000", timeout_s=1)
    assert (
        str(caught.value) == "before\n[stopped after 1 s, together with all that bash still ran in this turn]"
    )
    assert alive(await bash.pids(2)) == []


async def test_a_command_that_ignores_signals_is_ended_all_the_same(bash: Bash) -> None:
    with pytest.raises(ToolError, match="stopped after 1 s"):
        await bash("trap '' TERM INT HUP; echo $$ >> pids; while :; do sleep 0.1; done", timeout_s=1)
    assert alive(await bash.pids()) == []


async def test_an_interrupted_command_is_ended_with_all_that_it_started(bash: Bash) -> None:
    running = asyncio.ensure_future(bash(f"{DAEMON} echo $$ >> pids; sleep 1000"))
    pids = await bash.pids(2)
    running.cancel()
    await asyncio.wait({running}, timeout=TIMEOUT_S)
    assert running.cancelled()
    assert alive(pids) == []


async def test_what_runs_in_the_background_goes_on_until_the_turn_ends(bash: Bash) -> None:
    first = await bash("(echo $BASHPID >> pids; while :; do echo noise; sleep 0.001; done) & echo started")
    pids = await bash.pids()
    assert "[exit code 0; still running in the background: " in first
    assert alive(pids) == pids
    assert (await bash("echo second")).startswith("second\n[exit code 0; still running")
    assert alive(pids) == pids, "what it prints is thrown away, and does not end it"
    assert await bash.end_turn()
    assert alive(pids) == []
    assert await bash("echo next turn") == "next turn\n[exit code 0]"


async def test_a_background_that_prints_without_end_does_not_hold_up_the_answer(bash: Bash) -> None:
    assert "[exit code 0; still running in the background: 1 process]" in await bash("yes & echo done")


async def test_daemons_whose_parents_are_gone_are_ended_with_the_turn(bash: Bash) -> None:
    await bash(f"for n in $(seq 20); do ({DAEMON}); done")
    pids = await bash.pids(20)
    assert alive(pids) == pids
    assert await bash.end_turn()
    assert alive(pids) == []


async def test_after_the_turn_orphans_are_no_longer_ours_to_bury(bash: Bash) -> None:
    await bash("true")
    assert await bash.end_turn()
    orphan = "import subprocess; print(subprocess.Popen(['sleep', '0']).pid, flush=True)"
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", orphan, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await parent.communicate()
    await until(lambda: alive([int(out)]) == [])


async def test_a_storm_of_processes_that_fork_and_leave_their_group_is_ended(bash: Bash) -> None:
    # Bounded by its depth, so that a failure of this test ends by itself.
    (bash.folder / "storm").write_text(
        'echo $$ >> pids; [ "$1" -gt 0 ] || exec sleep 20\n'
        "setsid bash storm $(($1 - 1)) & setsid bash storm $(($1 - 1)) & sleep 20\n"
    )
    await bash("setsid bash storm 6 >/dev/null 2>&1 &")
    await bash.pids(10)
    assert await bash.end_turn()
    assert alive(await bash.pids()) == []


async def test_children_that_others_of_the_program_have_are_left_alone(tmp_path: Path) -> None:
    other = await asyncio.create_subprocess_exec("sleep", "1000")
    try:
        bash = Bash(tmp_path)
        await bash(DAEMON)
        pids = await bash.pids()
        assert await bash.end_turn()
        assert alive([*pids, other.pid]) == [other.pid]
    finally:
        other.kill()
        await other.wait()


# --- in a turn -----------------------------------------------------------------------------------------------


async def test_when_the_end_of_a_turn_is_told_nothing_of_it_runs_any_more() -> None:
    with short_dir() as home:
        (home / "group").mkdir()
        bash = Bash(home / "group")
        call = use("bash", {"command": f"{DAEMON} sleep 1000 & echo $! >> pids"})
        async with Played(home, call, say("done"), extra={"bash": bash.tool}) as (_, host):
            end = await host.run()
            assert isinstance(end, TurnEnd)
            assert alive(await bash.pids(1)) == []
            assert "still running" in str(host.all(ToolEnd)[0].content)


async def test_an_interrupt_ends_the_command_before_the_end_of_the_turn_is_told() -> None:
    with short_dir() as home:
        (home / "group").mkdir()
        bash = Bash(home / "group")
        call = use("bash", {"command": f"{DAEMON} echo $$ >> pids; sleep 1000"})
        async with Played(home, call, extra={"bash": bash.tool}) as (_, host):
            host.send(turn_start())
            pids = await bash.pids(2)
            host.send(Interrupt(turn="t1"))
            end = await host.finish()
            assert isinstance(end, TurnEnd)
            assert end.status == "interrupted"
            assert alive(pids) == []


async def test_a_program_that_cannot_end_what_a_turn_started_ends_itself_after_the_turn() -> None:
    async def nothing(_: dict[str, Any]) -> str:
        return ""

    async def in_vain() -> bool:
        return False

    tool = Tool(name="stuck", about="Stays.", params={}, read_only=False, run=nothing, end_turn=in_vain)
    with short_dir() as home:
        (home / "group").mkdir()
        async with Played(home, use("stuck", {}), say("done"), extra={"stuck": tool}) as (_, host):
            end = await host.run()
            assert isinstance(end, TurnEnd)
            assert end.text == "done"
            await host.until(lambda: host.ended or None)


async def test_the_program_offers_what_its_environment_says_and_keeps_its_token_from_commands() -> None:
    with short_dir() as home:
        (home / "group").mkdir()
        seen: list[dict[str, Any]] = []

        def model(body: dict[str, Any]) -> Any:
            seen.append(body)
            return use("bash", {"command": "env"}) if len(seen) == 1 else say("done")

        api = MessagesApi(model=model, unix_path=home / "s")
        await api.start()
        try:
            settings = {"NANOCLAW_BASH": "1", "NANOCLAW_EXTRA_ROOTS": "/a:/b", "NANOCLAW_EXTRA_RW": "/b"}
            async with child(home / "s", home / "group", **settings) as agent:
                await agent.host.run()
                shown = str(agent.host.all(ToolEnd)[0].content)
        finally:
            await api.stop()
        offered = {tool["name"]: tool["description"] for tool in seen[0]["tools"]}
        assert "bash" in offered
        assert offered["read"].endswith("Also allowed, by absolute paths: /a (read-only), /b.")
        assert "PATH=" in shown
        assert "run-token" not in shown
        assert str(home / "s") not in shown
