"""A task's script: it runs before the model is asked, decides whether it is asked, and its failure is one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.agent.tools.bash import bash_tool
from nanoclaw.testing.messages_api import MessagesApi, Reply, say
from nanoclaw.wire import NOTHING_TO_DO, AgentError, Interrupt, ToolEnd, ToolStart, TurnEnd
from tests.agent.agent_host import QUICK, AgentHost, short_dir, turn_start
from tests.agent.played import Played, last_blocks
from tests.agent.test_agent_bash import PLAIN, alive, until

WAKE = """echo '{"wakeAgent": true, "data": {"mails": 2}}'"""


@asynccontextmanager
async def gated(
    *replies: Reply, shell: bool = True, **limits: Any
) -> AsyncIterator[tuple[MessagesApi, AgentHost, Path]]:
    with short_dir() as home:
        (home / "group").mkdir()
        bounds = replace(QUICK, **limits)
        extra = {"bash": bash_tool(str(home / "group"), PLAIN, bounds)} if shell else {}
        async with Played(home, *replies, extra=extra, limits=bounds) as (api, host):
            yield api, host, home / "group"


async def test_what_the_script_found_is_added_to_the_prompt() -> None:
    async with gated(say("Two mails.")) as (api, host, folder):
        (folder / "seen").write_text("x\n")
        end = await host.run(script=f"cat seen; echo >&2 noise\n{WAKE}\n\n")

        assert isinstance(end, TurnEnd)
        assert end.text == "Two mails."
        assert [block["text"] for block in last_blocks(api)] == ["hello", 'Script output:\n{"mails": 2}']
        (told,) = host.all(ToolEnd)
        assert (told.name, told.ok, told.content) == ("script", True, 'Script output:\n{"mails": 2}')
        assert host.all(ToolStart)[0].input["script"].startswith("cat seen")


async def test_a_script_that_finds_nothing_asks_no_model() -> None:
    async with gated() as (api, host, _):
        end = await host.run(script="""echo looked; echo '{"wakeAgent": false}'""")

        assert isinstance(end, TurnEnd)
        assert (end.status, end.text, end.model_calls) == ("done", f"<internal>{NOTHING_TO_DO}</internal>", 0)
        assert api.requests == []
        assert host.all(ToolEnd)[0].content == "wakeAgent: false"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo it broke >&2; exit 3", "the script ended with exit code 3: it broke"),
        ("kill -9 $$", "the script ended with exit code -9"),
        ("true", "the script's last line must be JSON"),
        ("echo hello", "not 'hello'"),
        (f"{WAKE}; echo done", "not 'done'"),
        ("echo '[1]'", "must be JSON"),
        ("""echo '{"wakeAgent": "yes"}'""", "must be JSON"),
        ("""printf '%0.s[' {1..100000}; echo""", "must be JSON"),
        ("echo a\0b", "cannot run"),
        ("sleep 1000", "was not done in time"),
    ],
)
async def test_a_script_that_does_not_say_what_it_should_fails_the_turn(script: str, why: str) -> None:
    slow = "sleep" in script
    async with gated(script_s=0.2 if slow else 30) as (api, host, _):
        end = await host.run(script=script)

        assert isinstance(end, AgentError)
        assert (end.kind, end.cause) == ("fault", "script")
        assert why in end.detail
        assert api.requests == []
        assert not host.all(ToolEnd)[0].ok


async def test_a_megabyte_of_output_does_not_hide_the_last_line() -> None:
    async with gated(say("ok")) as (api, host, _):
        end = await host.run(script=f"head -c 3000000 /dev/zero | tr '\\0' x; echo; {WAKE}")
        assert isinstance(end, TurnEnd)
        assert "mails" in last_blocks(api)[-1]["text"]


async def test_an_interrupt_ends_the_script() -> None:
    async with gated() as (_, host, folder):
        host.send(turn_start(script="echo $$ > .pid; mv .pid pid; sleep 1000"))
        await until((folder / "pid").exists)
        host.send(Interrupt(turn="t1"))
        end = await host.finish()
        assert isinstance(end, TurnEnd)
        assert end.status == "interrupted"
        assert alive([int((folder / "pid").read_text())]) == []


async def test_without_a_shell_the_turn_fails_with_the_reason() -> None:
    async with gated(shell=False) as (_, host, _folder):
        end = await host.run(script=WAKE)
        assert isinstance(end, AgentError)
        assert "agents have no shell here" in end.detail
