"""Linking an account, by a picture and by a code, from the channel itself, from another chat, and from the terminal."""

from __future__ import annotations

import asyncio
import fcntl
import io
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TextIO, cast

import pytest
from PIL import Image

from nanoclaw.channels.local import LocalChannel, LocalClient
from nanoclaw.channels.whatsapp.channel import WhatsAppChannel
from nanoclaw.channels.whatsapp.desk import LinkDesk
from nanoclaw.channels.whatsapp.session_file import linked_account
from nanoclaw.cli import main
from nanoclaw.cli.whatsapp import follow
from nanoclaw.domain import ChatId, OutboxEntry
from nanoclaw.errors import NanoclawError
from nanoclaw.ports import LinkStep
from tests.channels.channel_doubles import Gate
from tests.channels.whatsapp_house import ANNA, FAMILY, Clock, House, alive, until, whatsapp

TERMINAL = ChatId("local:main")
PHONE = ChatId("tg:1")


async def following(steps: AsyncGenerator[LinkStep], seen: list[LinkStep]) -> None:
    async with aclosing(steps):
        async for step in steps:
            seen.append(step)  # noqa: PERF401 - one by one, for those who look


def begin(house: House, phone: str | None = None) -> tuple[list[LinkStep], asyncio.Task[None]]:
    seen: list[LinkStep] = []
    return seen, asyncio.create_task(following(house.channel.link(phone), seen))


async def test_a_scanned_code_links_the_account_and_the_channel_goes_on_with_it() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        seen, linking = begin(house)
        await until(lambda: seen)
        assert seen == [LinkStep(kind="qr", text="2@first,code")]
        house.world.show_code("2@second,code")
        await until(lambda: len(seen) == 2)
        house.world.scan()
        await linking
        assert [step.kind for step in seen] == ["qr", "qr", "linked"]
        assert "+4915100000001" in seen[-1].text
        await house.until_state("up")
        house.world.say(FAMILY, "hello")
        await house.gate.until(lambda: house.gate.stored)


async def test_a_link_outlives_a_restart() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        seen, linking = begin(house)
        await until(lambda: seen)
        house.world.scan()
        await linking
        await house.channel.stop()
        await house.up()
        assert house.channel.health().account == "+4915100000001"


async def test_a_phone_number_gets_a_code_to_type_and_no_pictures() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        seen, linking = begin(house, "+49 151 0000-0001")
        await until(lambda: seen)
        assert seen == [LinkStep(kind="code", text="WXYZ-1234")]
        assert house.world.named("PairPhone")[0].arguments["params"]["phone"] == "4915100000001"
        house.world.show_code("2@second,code")
        house.world.scan()
        await linking
        assert [step.kind for step in seen] == ["code", "linked"]


async def test_what_was_said_during_the_link_is_told_after_it() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        seen, linking = begin(house)
        await until(lambda: seen)
        house.world.say(ANNA, "early")
        house.world.scan()
        await linking
        await house.gate.until(lambda: house.gate.texts == ["early"])


# --- when it does not work ---------------------------------------------------------------------------------------------


async def test_codes_that_run_out_are_told_and_leave_no_process() -> None:
    """The library says nothing then, polls for ever, and cannot be ended otherwise."""
    async with whatsapp(linked=False) as house:
        await house.start()
        seen, linking = begin(house)
        await until(lambda: seen)
        pid = house.channel.child_pid
        assert pid is not None
        house.world.codes_ran_out()
        await linking
        assert (seen[-1].kind, seen[-1].text[:30]) == ("failed", "Nobody used the code in time. ")
        await house.until_state("unlinked")
        assert not alive(pid)


async def test_a_link_that_whatsapp_refuses_is_told_with_its_word() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        seen, linking = begin(house)
        await until(lambda: seen)
        house.world.codes_ran_out("err-scanned-without-multidevice")
        await linking
        assert seen[-1].text == "WhatsApp did not link: err-scanned-without-multidevice."


async def test_the_library_s_own_go_half_fails_in_words_without_a_network() -> None:
    """Nothing is played here: the real library makes its session file, and finds no way to WhatsApp."""
    async with whatsapp(linked=False) as house:
        del house.environ["NANOCLAW_TEST_WHATSAPP"]
        house.environ |= {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
        await house.start()
        seen, linking = begin(house)
        await linking
        assert [step.text for step in seen] == ["WhatsApp did not link: the network may be down."]
        assert (house.folder / "session.db").exists()
        await house.until_state("unlinked")
        assert linked_account(house.folder) is None


async def test_a_link_ends_by_our_own_clock_if_the_library_says_nothing() -> None:
    async with whatsapp(linked=False, link_timeout_s=0.5) as house:
        await house.start()
        seen, linking = begin(house)
        await linking
        assert seen[-1].kind == "failed"
        assert "in time" in seen[-1].text
        await house.until_state("unlinked")


async def test_a_second_link_is_refused_while_one_is_under_way() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        seen, linking = begin(house)
        await until(lambda: seen)
        other, refused = begin(house)
        await refused
        assert [step.text for step in other] == ["A link is under way already."]
        house.world.scan()
        await linking
        assert seen[-1].kind == "linked"


async def test_a_linked_account_is_not_linked_over() -> None:
    async with whatsapp() as house:
        await house.up()
        seen, linking = begin(house)
        await linking
        assert (
            seen[0].text == "WhatsApp is linked as +4915100000001 already. To change that: /whatsapp logout"
        )


@pytest.mark.parametrize("phone", ["", "12", "not a number", "1" * 16])
async def test_what_is_no_phone_number_is_refused_before_anything_starts(phone: str) -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        seen, linking = begin(house, phone)
        await linking
        assert seen[0].kind == "failed"
        assert "country code" in seen[0].text
        assert house.world.connections == 0


async def test_a_connection_that_fails_ends_the_link_with_its_reason() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        house.world.faults.refuse = "no route to host"
        seen, linking = begin(house)
        await linking
        assert (seen[-1].kind, "no route to host" in seen[-1].text) == ("failed", True)


async def test_a_crash_ends_the_link_and_the_next_one_works() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        seen, linking = begin(house)
        await until(lambda: seen)
        house.world.panic()
        await linking
        assert (seen[-1].kind, "crashed" in seen[-1].text) == ("failed", True)
        again, linking = begin(house)
        await until(lambda: again)
        house.world.scan()
        await linking
        assert again[-1].kind == "linked"


async def test_who_gives_up_leaves_nothing_behind() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        steps = house.channel.link(None)
        assert (await anext(steps)).kind == "qr"
        pid = house.channel.child_pid
        assert pid is not None
        await steps.aclose()
        assert not alive(pid)
        await house.until_state("unlinked")


async def test_stopping_the_service_ends_a_link() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        seen, linking = begin(house)
        await until(lambda: seen)
        await house.channel.stop()
        await linking
        assert seen[-1] == LinkStep(kind="failed", text="The service is stopping.")


async def test_a_logged_out_account_can_be_linked_again() -> None:
    async with whatsapp() as house:
        await house.up()
        house.world.log_out()
        await house.until_state("logged_out")
        seen, linking = begin(house)
        await until(lambda: seen)
        house.world.scan()
        await linking
        await house.until_state("up")


async def test_unlinking_tells_whatsapp_and_forgets_the_account() -> None:
    async with whatsapp() as house:
        await house.up()
        await house.channel.logout()
        await house.until_state("unlinked")
        assert house.world.named("Logout")
        assert house.channel.health().account is None
        with pytest.raises(NanoclawError):
            await house.channel.logout()


@pytest.mark.parametrize("end", ["ban", "replace", "outdate"])
async def test_an_account_that_whatsapp_keeps_out_can_be_given_up_for_another_one(end: str) -> None:
    async with whatsapp(restart_delays_s=(3600.0,)) as house:
        await house.up()
        {
            "ban": lambda: house.world.ban(3600),
            "replace": house.world.replace,
            "outdate": house.world.outdate,
        }[end]()
        await house.until_state("banned", "replaced", "outdated")
        said = await house.channel.logout()
        assert "only forgotten the account here" in said
        assert "On the phone" in said
        await house.until_state("unlinked")
        assert house.channel.health().account is None
        seen, linking = begin(house)
        await until(lambda: seen)
        house.world.scan()
        await linking
        await house.until_state("up")


async def test_a_session_that_cannot_be_read_can_be_given_up() -> None:
    async with whatsapp(restart_delays_s=(3600.0,)) as house:
        (house.folder / "session.db").write_bytes(b"no database" * 1000)
        await house.start()
        await house.until_state("crashed", "failed")
        await house.channel.logout()
        await house.until_state("unlinked")


async def test_a_session_that_another_process_works_on_is_not_given_up() -> None:
    async with whatsapp(restart_delays_s=(3600.0,)) as house:
        await house.up()
        house.world.ban(3600)
        await house.until_state("banned")
        with (house.folder / "session.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(NanoclawError, match="Another process"):
                await house.channel.logout()
        assert linked_account(house.folder)


# --- from another chat -----------------------------------------------------------------------------------------------------


class Outbox:
    """What the desk puts there, and its pictures."""

    def __init__(self, channel: WhatsAppChannel) -> None:
        self.entries: list[OutboxEntry] = []
        self.pictures: dict[str, bytes] = {}
        self.desk = LinkDesk(
            channel=channel,
            put=self._put,
            spool=self._keep,
            shows_pictures=lambda chat_id: chat_id == PHONE,
            clock=Clock(),
        )

    async def _put(self, entry: OutboxEntry) -> None:
        self.entries.append(entry)

    def _keep(self, data: bytes, suffix: str) -> str:
        name = f"{len(self.pictures)}{suffix}"
        self.pictures[name] = data
        return name


async def test_another_chat_gets_each_code_as_a_picture_and_then_the_end() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        outbox = Outbox(house.channel)
        outbox.desk.begin_link(PHONE, None)
        await until(lambda: outbox.entries)
        house.world.show_code("2@second,code")
        await until(lambda: len(outbox.entries) == 2)
        house.world.scan()
        await until(lambda: len(outbox.entries) == 3)
        await outbox.desk.stop()
        first, second, end = outbox.entries
        assert (first.kind, first.spool_path, first.mime, first.chat_id) == (
            "picture",
            "0.png",
            "image/png",
            PHONE,
        )
        assert first.expires is not None
        assert "Scan this with the phone" in first.text
        assert outbox.pictures["0.png"] != outbox.pictures["1.png"]
        with Image.open(io.BytesIO(outbox.pictures["1.png"])) as picture:
            assert picture.format == "PNG"
        assert second.key != first.key
        assert (end.kind, end.text) == ("text", "WhatsApp is linked as +4915100000001.")


async def test_another_chat_gets_the_code_for_a_phone_as_text() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        outbox = Outbox(house.channel)
        outbox.desk.begin_link(TERMINAL, "+4915100000001")
        await until(lambda: outbox.entries)
        await outbox.desk.stop()
        assert outbox.entries[0].text == "Type this code on the phone: WXYZ-1234"
        await house.until_state("unlinked")


async def test_another_chat_hears_how_unlinking_ends() -> None:
    async with whatsapp() as house:
        await house.up()
        outbox = Outbox(house.channel)
        outbox.desk.begin_logout(PHONE)
        await until(lambda: outbox.entries)
        outbox.desk.begin_logout(PHONE)
        await until(lambda: len(outbox.entries) == 2)
        await outbox.desk.stop()
        texts = [entry.text for entry in outbox.entries]
        assert texts[0] == "WhatsApp is unlinked."
        assert "not linked" in texts[1]


class Broken:
    """A channel that fails as nobody has foreseen."""

    async def link(self, _phone: str | None) -> AsyncIterator[LinkStep]:
        yield LinkStep(kind="code", text="WXYZ-1234")
        raise RuntimeError

    async def logout(self) -> str:
        raise RuntimeError


async def test_another_chat_hears_of_a_failure_that_nobody_has_foreseen() -> None:
    outbox = Outbox(cast("WhatsAppChannel", Broken()))
    outbox.desk.begin_link(PHONE, "+4915100000001")
    await until(lambda: len(outbox.entries) == 2)
    outbox.desk.begin_logout(PHONE)
    await until(lambda: len(outbox.entries) == 3)
    await outbox.desk.stop()
    assert all("went wrong" in entry.text for entry in outbox.entries[1:])


# --- from the terminal ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def service(house: House, *, off: bool = False) -> AsyncIterator[LocalClient]:
    """The local socket of a service, and a terminal on it."""
    place = house.folder.parent / "chat.sock"
    local = LocalChannel(
        socket_path=place,
        assistant_name="Andy",
        version="1",
        clock=Clock(),
        settled=_true,
        make_code=_code,
        on_reachable=lambda _: None,
        link_whatsapp=None if off else house.channel.link,
    )
    await local.start(Gate())
    try:
        async with LocalClient(place) as client:
            yield client
    finally:
        await local.stop()


async def terminal(house: House, phone: str | None, out: TextIO, *, off: bool = False) -> str:
    """`nanoclaw whatsapp link`, over the service's real socket."""
    async with service(house, off=off) as client:
        return await follow(client, phone, out)


async def _true(_: ChatId) -> bool:
    return True


async def _code() -> str:
    return "482913"


async def test_the_terminal_draws_the_code_and_says_how_it_ended() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        out = io.StringIO()
        linking = asyncio.create_task(terminal(house, None, out))
        await until(lambda: "▀" in out.getvalue() or "█" in out.getvalue())
        house.world.scan()
        assert await linking == "WhatsApp is linked as +4915100000001."
        assert "Linked devices" in out.getvalue()


async def test_the_terminal_prints_the_code_for_a_phone() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        out = io.StringIO()
        linking = asyncio.create_task(terminal(house, "+4915100000001", out))
        await until(lambda: "WXYZ-1234" in out.getvalue())
        house.world.scan()
        await linking


async def test_the_terminal_says_why_it_failed() -> None:
    async with whatsapp() as house:
        await house.up()
        with pytest.raises(NanoclawError, match="already"):
            await terminal(house, None, io.StringIO())


async def test_the_terminal_says_that_whatsapp_is_switched_off() -> None:
    async with whatsapp(linked=False) as house:
        with pytest.raises(NanoclawError, match="enabled = true"):
            await terminal(house, None, io.StringIO(), off=True)


async def test_a_terminal_that_goes_away_ends_its_link() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        async with service(house) as client:
            await client.link_whatsapp(None)
            await house.world.until(lambda: house.world.connections)
            await client.close()
            await house.until_state("unlinked")
            assert house.channel.child_pid is None


async def test_a_terminal_is_turned_away_while_a_link_is_under_way() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        seen, linking = begin(house)
        await until(lambda: seen)
        with pytest.raises(NanoclawError, match="under way"):
            await terminal(house, None, io.StringIO())
        house.world.scan()
        await linking


def test_the_command_line_says_that_a_service_must_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["whatsapp", "link", "--home", str(tmp_path)]) == 2
    assert "start it first: nanoclaw run" in capsys.readouterr().err
