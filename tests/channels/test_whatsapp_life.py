"""Every way in which WhatsApp's part can fail, each with its state, its sentence, and one word to the owner."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from nanoclaw.channels.whatsapp.standing import MISSING, Standing
from nanoclaw.domain import ChatId
from tests.channels.channel_doubles import part
from tests.channels.whatsapp_house import ANNA, FAMILY, Clock, alive, until, whatsapp


async def test_a_linked_account_connects_and_says_who_it_is() -> None:
    async with whatsapp() as house:
        await house.up()
        health = house.channel.health()
        assert (health.state, health.reason, health.account) == ("up", None, "+4915100000001")
        assert health.last_proven_at is not None
        assert house.ups == 1
        assert house.told == []
        assert house.channel.reachable(ChatId(FAMILY))


async def test_it_owns_whatsapp_s_chats_and_no_others() -> None:
    async with whatsapp(linked=False) as house:
        mine = [FAMILY, ANNA, "123@lid"]
        others = ["tg:1", "sl:C1", "local:main", "status@broadcast", "123@newsletter"]
        assert [house.channel.owns(ChatId(chat)) for chat in (*mine, *others)] == [True] * 3 + [False] * 5


async def test_groups_are_known_by_name_and_by_each_new_name() -> None:
    async with whatsapp() as house:
        house.world.groups[FAMILY] = "Family"
        await house.up()
        await house.gate.until(lambda: house.gate.names.get(FAMILY) == "Family")
        chat = {"User": FAMILY.partition("@")[0], "Server": "g.us"}
        house.world.push(22, {"JID": chat, "Name": {"Name": "The whole family"}})
        await house.gate.until(lambda: house.gate.names.get(FAMILY) == "The whole family")
        house.world.push(21, {"GroupInfo": {"JID": chat, "GroupName": {"Name": "Joined anew"}}})
        await house.gate.until(lambda: house.gate.names.get(FAMILY) == "Joined anew")
        house.world.say(FAMILY, "hello")
        await house.gate.until(lambda: house.gate.stored)
        assert house.gate.stored[0].chat_name == "Joined anew"


# --- no account, no library -------------------------------------------------------------------------------------------


async def test_without_an_account_there_is_no_process_and_the_owner_is_told_how_to_link_one() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        assert house.channel.health().state == "down"
        assert "nanoclaw whatsapp link" in house.reason()
        assert house.channel.child_pid is None
        await until(lambda: house.told)
        assert house.told == [house.reason()]


async def test_without_the_extra_one_line_says_what_to_install() -> None:
    async with whatsapp() as house:
        house.options["installed"] = lambda: False
        await house.start()
        assert (house.channel.health().state, house.reason()) == ("down", MISSING)
        assert house.channel.child_pid is None
        steps = [step async for step in house.channel.link(None)]
        assert [(step.kind, step.text) for step in steps] == [("failed", MISSING)]


async def test_a_library_that_does_not_load_is_as_good_as_missing() -> None:
    async with whatsapp(restart_delays_s=(60.0,)) as house:
        shadow = house.folder / "shadow" / "neonize"
        shadow.mkdir(parents=True)
        (shadow / "__init__.py").write_text("raise ImportError('failed to find libmagic')")
        house.environ["PYTHONPATH"] = str(shadow.parent)
        await house.start()
        await house.until_state("missing")
        assert house.reason() == MISSING


async def test_the_service_itself_never_loads_the_library(tmp_path: Path) -> None:
    program = "import sys, nanoclaw.channels.whatsapp.channel, nanoclaw.channels.whatsapp.desk\nprint('neonize' in sys.modules)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    out, _ = await process.communicate()
    assert out == b"False\n"


async def test_a_python_that_cannot_be_started_is_told() -> None:
    async with whatsapp(restart_delays_s=(60.0,)) as house:
        house.options["python"] = "/nonexistent/python"
        await house.start()
        await house.until_state("crashed")
        assert "could not be started" in house.reason()


# --- what WhatsApp does -------------------------------------------------------------------------------------------------


async def test_a_connection_that_breaks_comes_back_by_itself() -> None:
    async with whatsapp() as house:
        await house.up()
        pid = house.channel.child_pid
        house.world.faults.mute = True
        house.world.hang_up()
        await house.until_state("disconnected")
        assert house.channel.health().state == "retrying"
        assert not house.channel.reachable(ChatId(FAMILY))
        house.world.faults.mute = False
        house.world.hang_up()
        await house.until_state("up")
        assert (house.channel.child_pid, house.ups, house.told) == (pid, 2, [])


async def test_a_first_connect_that_fails_is_told_in_the_library_s_words() -> None:
    async with whatsapp(restart_delays_s=(3600.0,)) as house:
        house.world.faults.refuse = "noise handshake failed: timed out waiting for handshake response"
        await house.start()
        await house.until_state("failed")
        assert house.channel.health().state == "retrying"
        assert "handshake" in house.reason()


async def test_a_refused_connection_is_told_in_whatsapp_s_words() -> None:
    async with whatsapp(restart_delays_s=(3600.0,)) as house:
        await house.up()
        house.world.push(
            9, {"Reason": "SERVICE_UNAVAILABLE", "Message": "come back later", "Raw": {"Tag": "failure"}}
        )
        await house.until_state("failed")
        assert "WhatsApp refused the connection (come back later)" in house.reason()


async def test_a_first_connect_that_fails_is_tried_again() -> None:
    """The library tries it once."""
    async with whatsapp() as house:
        house.world.faults.refuse = "no route to host"
        await house.start()
        await house.world.until(lambda: house.world.connections > 1)
        house.world.faults.refuse = None
        await house.until_state("up")


async def test_a_connection_that_never_comes_up_is_made_anew() -> None:
    async with whatsapp(connect_timeout_s=2.0, ping_interval_s=0.1) as house:
        house.world.faults.mute = True
        await house.start()
        await house.world.until(lambda: house.world.connections > 1)
        house.world.faults.mute = False
        await house.until_state("up")


async def test_a_missing_sign_of_life_is_shown_until_whatsapp_answers_again() -> None:
    async with whatsapp(probe_interval_s=0.1) as house:
        await house.up()
        house.world.faults.probes_fail = True
        house.world.push(4, {"ErrorCount": 3, "LastSuccess": 0})
        await house.until_state("shaky")
        assert house.channel.health().state == "retrying"
        house.world.faults.probes_fail = False
        await house.until_state("up")
        assert house.told == []


async def test_whatsapp_is_asked_for_an_answer_even_if_nothing_happens() -> None:
    async with whatsapp(probe_interval_s=0.1) as house:
        await house.up()
        first = house.channel.health().last_proven_at
        await until(lambda: house.channel.health().last_proven_at != first)
        assert house.world.named("GetBlocklist")


async def test_a_connection_that_the_library_gave_up_in_silence_is_found_out() -> None:
    async with whatsapp(probe_interval_s=0.1, restart_delays_s=(3600.0,)) as house:
        await house.up()
        house.world.fall_silent()
        await house.until_state("lost")
        assert house.channel.health().state == "retrying"


async def test_a_logout_is_final_and_told_once() -> None:
    async with whatsapp() as house:
        await house.up()
        pid = house.channel.child_pid
        house.world.log_out()
        await house.until_state("logged_out")
        assert house.channel.health().state == "down"
        assert house.channel.health().account is None
        assert "logged WhatsApp out" in house.reason()
        await until(lambda: pid is not None and not alive(pid))
        assert house.told == [house.reason()]


async def test_an_account_that_was_logged_out_meanwhile_is_noticed_at_the_start() -> None:
    async with whatsapp() as house:
        house.world._linked = False
        await house.start()
        await house.until_state("logged_out")


async def test_a_ban_says_until_when_and_ends() -> None:
    async with whatsapp() as house:
        await house.up()
        house.world.ban(1)
        await until(lambda: house.told)
        assert "banned this number until 20" in house.told[0]
        assert "sent too many same message" in house.told[0]
        await until(lambda: house.ups == 2)
        assert len(house.told) == 1


async def test_during_a_ban_nothing_is_tried() -> None:
    async with whatsapp() as house:
        await house.up()
        house.world.ban(3600)
        await house.until_state("banned")
        assert house.channel.health().state == "down"
        assert house.channel.child_pid is None


async def test_a_replaced_stream_is_let_go_without_killing_the_process_under_us() -> None:
    """The library's Go half would die of handing that event over."""
    async with whatsapp(restart_delays_s=(0.05, 3600.0)) as house:
        await house.up()
        house.world.replace()
        await house.until_state("replaced")
        assert house.channel.health().state == "down"
        await until(lambda: house.told)
        assert "Another program" in house.told[0]
        assert house.channel.child_pid is None


async def test_a_version_that_whatsapp_no_longer_takes_is_named() -> None:
    async with whatsapp(restart_delays_s=(3600.0,)) as house:
        await house.up()
        house.world.outdate()
        await house.until_state("outdated")
        assert "pip install -U" in house.reason()


# --- what the process does ----------------------------------------------------------------------------------------------


async def test_a_panic_of_the_library_is_told_with_its_reason_and_the_process_started_again() -> None:
    async with whatsapp() as house:
        await house.up()
        first = house.channel.child_pid
        house.world.panic()
        await until(lambda: house.ups == 2)
        assert house.channel.child_pid != first
        assert len(house.told) == 1
        assert "assignment to entry in nil map" in house.told[0]


async def test_a_process_that_stands_still_is_killed_and_started_again() -> None:
    async with whatsapp(ping_interval_s=0.1, answer_timeout_s=1.5) as house:
        await house.up()
        first = house.channel.child_pid
        assert first is not None
        house.world.freeze()
        await until(lambda: house.ups == 2)
        assert not alive(first)
        assert "did not answer" in house.told[0]


async def test_a_process_that_is_only_quiet_is_left_alone() -> None:
    """Also when it is given less time for an answer than lies between two pings."""
    async with whatsapp(ping_interval_s=3.0, answer_timeout_s=2.0) as house:
        await house.up()
        life = house.channel._supervisor.life
        assert life is not None
        began = life._now()
        await until(lambda: house.told or life._heard_at > began + 3.0)
        assert house.told == []


async def test_the_pauses_between_starts_grow() -> None:
    async with whatsapp(restart_delays_s=(0.01, 0.02, 3600.0)) as house:
        house.world.faults.refuse = "no"
        await house.start()
        await until(lambda: house.channel._supervisor._failures == 3)
        assert house.world.connections == 3
        await house.until_state("failed")
        assert house.channel.child_pid is None


async def test_a_second_process_on_the_same_session_is_turned_away() -> None:
    async with whatsapp(restart_delays_s=(3600.0,)) as house:
        await house.up()
        other = house.new_channel()
        await other.start(house.gate)
        try:
            await until(
                lambda: (
                    other.health().state == "retrying" and "Another process" in (other.health().reason or "")
                )
            )
        finally:
            await other.stop()
        assert house.channel.health().state == "up"


async def test_the_process_dies_with_its_service(tmp_path: Path) -> None:
    async with whatsapp() as house:
        host = tmp_path / "host.py"
        host.write_text(
            textwrap.dedent(
                f"""
                import asyncio, os, sys, structlog
                from pathlib import Path
                from tests.channels.whatsapp_house import Clock, WhatsAppGate
                from nanoclaw.channels.whatsapp.channel import WhatsAppChannel
                from nanoclaw.channels.whatsapp.settings import WhatsAppSettings

                async def main():
                    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
                    channel = WhatsAppChannel(
                        settings=WhatsAppSettings(), folder=Path({str(house.folder)!r}), assistant_name="Andy",
                        clock=Clock(), environ=os.environ,
                    )
                    await channel.start(WhatsAppGate())
                    while channel.health().state != "up":
                        await asyncio.sleep(0.01)
                    print(channel.child_pid, flush=True)
                    await asyncio.sleep(3600)

                asyncio.run(main())
                """
            )
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(host),
            env=house.environ | {"PYTHONPATH": str(Path.cwd())},
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        pid = int(await process.stdout.readline())
        assert alive(pid)
        process.kill()
        await process.wait()
        await until(lambda: not alive(pid))
        await house.up()


async def test_stopping_leaves_no_process_and_no_task() -> None:
    before = asyncio.all_tasks()
    async with whatsapp() as house:
        await house.up()
        pid = house.channel.child_pid
        assert pid is not None
        await house.channel.stop()
        assert not alive(pid)
        assert house.channel.health().state == "stopped"
    assert asyncio.all_tasks() == before


async def test_stopping_does_not_wait_for_a_process_that_stands_still() -> None:
    async with whatsapp(stop_grace_s=0.3) as house:
        await house.up()
        pid = house.channel.child_pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await house.channel.stop()
        assert not alive(pid)


async def test_stopping_while_it_is_still_starting_leaves_nothing() -> None:
    async with whatsapp(first_try_s=0.0) as house:
        await house.start()
        await house.channel.stop()
        assert house.channel.child_pid is None


async def test_a_start_that_brings_no_news_goes_on_in_the_background() -> None:
    async with whatsapp() as house:
        house.world.faults.mute = True
        await house.start()
        assert house.channel.health().state == "retrying"


async def test_secrets_of_the_service_do_not_reach_the_process() -> None:
    async with whatsapp() as house:
        house.environ |= {"ANTHROPIC_API_KEY": "sk-secret", "TELEGRAM_BOT_TOKEN": "1:secret"}
        await house.up()
        seen = Path(f"/proc/{house.channel.child_pid}/environ").read_bytes()
        assert b"secret" not in seen


# --- telling ---------------------------------------------------------------------------------------------------------------


async def test_a_state_is_told_once_until_whatsapp_was_up_again() -> None:
    told: list[str] = []

    async def tell(text: str) -> None:
        told.append(text)

    standing = Standing(clock=Clock(), on_up=None, tell=tell)
    for _ in range(3):
        standing.become("crashed", "It crashed.")
        standing.become("connecting", "Connecting.")
    standing.up()
    standing.become("crashed", "It crashed again.")
    await until(lambda: len(told) == 2)
    await standing.stop()
    assert told == ["It crashed.", "It crashed again."]


async def test_an_owner_who_cannot_be_told_does_not_stop_the_channel() -> None:
    async with whatsapp(linked=False) as house:

        async def broken(text: str) -> None:
            raise OSError("no main")

        house.tell = broken
        await house.start()
        await house.until_state("unlinked")


@pytest.mark.parametrize("chat", [FAMILY, ANNA])
async def test_messages_that_came_while_we_were_away_are_taken_in_order(chat: str) -> None:
    async with whatsapp() as house:
        for n in range(200):
            house.world.say(chat, f"message {n}")
        await house.up()
        await house.gate.until(lambda: len(house.gate.stored) == 200)
        assert house.gate.texts == [f"message {n}" for n in range(200)]


async def test_an_answer_goes_out_while_the_gate_is_stuck() -> None:
    async with whatsapp() as house:
        await house.up()
        house.gate.stuck = asyncio.Event()
        for n in range(100):
            house.world.say(FAMILY, f"message {n}")
        await house.gate.until(lambda: house.gate.offered)
        await house.channel.send_part(part(FAMILY, "at once"))
        house.gate.stuck.set()
        await house.gate.until(lambda: len(house.gate.stored) == 100)
