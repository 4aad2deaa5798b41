"""The way in: who may do what, each message once, and a word to the owner even when nothing can be stored."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.directory import Directory
from nanoclaw.domain import ChatId, Group, Inbound, OutboxEntry
from nanoclaw.errors import BadInputError, SendRetryError, StoreUnavailableError
from nanoclaw.gate import Admission, Gate
from nanoclaw.ports import Answer, Invocation, PartToSend, Tx, Where
from nanoclaw.sqlite.mailbox import Mailbox
from tests.sqlite.vault import FAMILY, MAIN, NOW, OWNER, Vault, entry, inbound, opened

STRANGERS = replace(FAMILY, chat_id=ChatId("tg:55"), name="Strangers")


class Say:
    """A command that answers its own name, and notes who asked."""

    usage = help = ""

    def __init__(self, name: str, where: Where, **answer: Any) -> None:
        self.name = name
        self.where = where
        self.asked: list[Invocation] = []
        self._answer = answer
        self.error: Exception | None = None

    async def run(self, invocation: Invocation) -> Answer:
        self.asked.append(invocation)
        if self.error:
            raise self.error
        return Answer(**({"text": f"this is {self.name}"} | self._answer))


class Shaky:
    """The mailbox, away when a test wants it."""

    def __init__(self, real: Mailbox) -> None:
        self._real = real
        self.away = False

    def __getattr__(self, name: str) -> Any:
        if self.away:
            raise StoreUnavailableError("full", safe="The store cannot be used right now (disk full).")
        return getattr(self._real, name)


class Speaker:
    """What the gate uses of a channel."""

    def __init__(self) -> None:
        self.sent: list[PartToSend] = []
        self.error: Exception | None = None

    def split(self, text: str) -> list[str]:
        return [text[:40], text[40:]]

    async def send_part(self, part: PartToSend) -> str:
        self.sent.append(part)
        if self.error:
            raise self.error
        return "1"


@dataclass(slots=True)
class House:
    vault: Vault
    gate: Gate
    mailbox: Shaky
    speaker: Speaker
    commands: dict[str, Say]
    stored: list[Inbound] = field(default_factory=list)
    poked: list[tuple[ChatId, str]] = field(default_factory=list)
    did: list[str] = field(default_factory=list)
    drops: set[str] = field(default_factory=set)
    """Senders that the allowlist drops."""
    denies: set[str] = field(default_factory=set)
    """Senders that may not ask."""

    async def receive(self, text: str, group: Group = FAMILY, **changes: Any) -> None:
        await self.gate.receive(inbound(text, group, **changes))
        await asyncio.gather(*self.gate._tasks)

    def answers(self) -> list[str]:
        return [row[0] for row in self.vault.rows("SELECT text FROM outbox ORDER BY ord")]

    def events(self) -> list[tuple[Any, ...]]:
        return self.vault.rows("SELECT disposition, summary FROM event_log ORDER BY rowid")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with opened(tmp_path) as vault:
        directory = Directory(vault.store.people)
        await directory.reload()
        house: House
        stored: list[Inbound] = []

        async def did(what: str) -> None:
            house.did.append(what)

        commands = {
            command.name: command
            for command in (
                Say("status", "group"), Say("help", "main"), Say("stop", "main", change=lambda tx: "stopped"),
                Say("pair", "anywhere"), Say("task", "main", change=_change, after=lambda: did("after")),
            )
        }  # fmt: skip
        mailbox, speaker = Shaky(vault.store.mailbox), Speaker()
        gate = Gate(
            mailbox=mailbox,
            directory=directory,
            commands=commands,
            admission=Admission(
                stores=lambda chat, sender: sender not in house.drops,
                asks=lambda chat, sender: sender not in house.drops | house.denies,
            ),
            assistant_name="Andy",
            clock=vault.clock,
            stored=stored.append,
            poke=lambda chat, lane: house.poked.append((chat, lane)),
            changed=lambda: did("changed"),
            channel_of=lambda chat: speaker,  # type: ignore[arg-type,return-value]  # what the gate uses of one
            stop_all=lambda: did("stopped all"),
        )
        house = House(vault, gate, mailbox, speaker, commands, stored)
        yield house
        await gate.stop()


def _change(tx: Tx) -> str:
    tx.execute(
        "INSERT INTO router_state (key, value) VALUES ('n', '1') ON CONFLICT DO UPDATE SET value = value + 1"
    )
    return "changed"


# --- who may do what ---------------------------------------------------------------------------------------

ANSWERED, NOTED, STORED, UNREGISTERED = "answered", "command", "stored", "unregistered"


@pytest.mark.parametrize(
    ("text", "group", "sender", "what"),
    [
        ("/status", MAIN, OWNER, ANSWERED),
        ("/status", MAIN, "tg:7", NOTED),
        ("/status", FAMILY, "tg:7", ANSWERED),
        ("/status", FAMILY, OWNER, ANSWERED),
        ("/status", FAMILY, "denied", NOTED),
        ("/status", FAMILY, "dropped", NOTED),
        ("/status", STRANGERS, OWNER, UNREGISTERED),
        ("@Andy /status", FAMILY, "tg:7", ANSWERED),
        ("/help", MAIN, OWNER, ANSWERED),
        ("/help", FAMILY, OWNER, NOTED),
        ("/help", FAMILY, "tg:7", NOTED),
        ("/stop", MAIN, "tg:7", NOTED),
        ("/pair 123456", STRANGERS, "tg:7", ANSWERED),
        ("/pair 123456", FAMILY, "dropped", ANSWERED),
        ("/unknown", MAIN, OWNER, STORED),
        ("hello", FAMILY, "tg:7", STORED),
        ("hello", FAMILY, "denied", STORED),
        ("hello", FAMILY, "dropped", "dropped"),
        ("hello", STRANGERS, "tg:7", UNREGISTERED),
        ("hello", STRANGERS, OWNER, UNREGISTERED),
        ("hello", MAIN, "tg:7", STORED),
    ],
)
async def test_who_may_do_what_where(house: House, text: str, group: Group, sender: str, what: str) -> None:
    house.drops, house.denies = {"dropped"}, {"denied"}

    await house.receive(text, group, sender=sender)

    (disposition,) = [event[0] for event in house.events()]
    assert disposition == (what if what != ANSWERED else "command")
    assert len(house.answers()) == (what == ANSWERED)
    assert len(house.stored) == (what == STORED)
    assert house.vault.value("SELECT count(*) FROM messages") == (what == STORED)
    assert sum(len(command.asked) for command in house.commands.values()) == (what == ANSWERED)
    assert len(house.poked) == (what == ANSWERED)


async def test_an_owner_and_our_own_messages_are_never_dropped(house: House) -> None:
    house.drops = {OWNER, "us"}
    await house.receive("hello", sender=OWNER)
    await house.receive("hello", sender="us", from_me=True)

    assert [told.sender for told in house.stored] == [OWNER, "us"]


@pytest.mark.parametrize("whose", ["from_me", "from_bot"])
async def test_our_own_messages_and_other_bots_are_never_parsed_as_commands(house: House, whose: str) -> None:
    await house.receive("/stop", MAIN, sender=OWNER, **{whose: True})

    assert house.commands["stop"].asked == []
    assert [told.text for told in house.stored] == ["/stop"]
    assert house.answers() == []


async def test_what_a_stranger_says_is_kept_nowhere(house: House) -> None:
    await house.receive("my secret diary", STRANGERS)
    await house.receive("/task my secret plan", STRANGERS)

    dump = "".join(
        str(house.vault.rows(f"SELECT * FROM {table}"))
        for table in ("event_log", "messages", "chats", "outbox")
    )
    assert "secret" not in dump
    assert "Strangers" in dump


async def test_a_pairing_code_is_not_written_down(house: House) -> None:
    await house.receive("/pair 482913", STRANGERS)

    assert "482913" not in str(house.vault.rows("SELECT * FROM event_log"))
    assert house.commands["pair"].asked[0].args == "482913"


# --- once --------------------------------------------------------------------------------------------------


async def test_a_message_that_comes_again_is_a_duplicate_and_wakes_nobody(house: House) -> None:
    for _ in range(2):
        await house.receive("hello")

    assert len(house.stored) == 1
    assert [event[0] for event in house.events()] == ["stored", "duplicate"]


async def test_a_command_that_comes_again_has_one_effect_one_answer_and_one_aftermath(house: House) -> None:
    for _ in range(2):
        await house.receive("/task", MAIN, sender=OWNER)

    assert house.vault.value("SELECT value FROM router_state WHERE key = 'n'") == "1"
    assert house.answers() == ["changed"]
    assert house.did == ["after", "changed"]
    assert house.poked == [(MAIN.chat_id, "command")]


async def test_what_follows_a_command_happens_after_its_answer_is_durable(house: House) -> None:
    seen: list[list[str]] = []

    async def after() -> None:
        seen.append(house.answers())

    house.commands["task"]._answer["after"] = after
    await house.receive("/task", MAIN, sender=OWNER)

    assert seen == [["changed"]]


# --- commands that fail ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (BadInputError("/home/x/secret", safe="That folder is taken."), "That folder is taken."),
        (StoreUnavailableError("/home/x", safe="The store cannot be read."), "The store cannot be read."),
        (KeyError("inside"), "/help failed inside the program (reference "),
    ],
)
async def test_a_command_that_fails_is_answered_all_the_same(
    house: House, error: Exception, answer: str
) -> None:
    house.commands["help"].error = error
    await house.receive("/help", MAIN, sender=OWNER)

    (said,) = house.answers()
    assert said.startswith(answer)
    assert "inside'" not in said


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (BadInputError("x", safe="That folder is taken."), "That folder is taken."),
        (ValueError("inside"), "/task x failed inside"),
    ],
)
async def test_an_effect_that_fails_leaves_nothing_and_nothing_follows_it(
    house: House, error: Exception, answer: str
) -> None:
    def change(tx: Tx) -> str:
        tx.put(entry("half"))
        raise error

    house.commands["task"]._answer["change"] = change
    await house.receive("/task x", MAIN, sender=OWNER)

    (said,) = house.answers()
    assert said.startswith(answer)
    assert house.did == []


async def test_a_mistake_in_a_commands_sql_does_not_stop_the_channel(house: House) -> None:
    house.commands["task"]._answer["change"] = lambda tx: str(tx.execute("SELECT * FROM nowhere"))

    await house.receive("/task", MAIN, sender=OWNER)

    assert house.answers()[0].startswith("/task failed inside the program; nothing was changed")


async def test_what_fails_after_a_command_does_not_hurt_its_answer(house: House) -> None:
    async def after() -> None:
        raise RuntimeError("late")

    house.commands["task"]._answer["after"] = after
    await house.receive("/task", MAIN, sender=OWNER)
    await house.receive("hello")

    assert house.answers() == ["changed"]
    assert len(house.stored) == 1


# --- nothing can be stored ---------------------------------------------------------------------------------


async def test_without_a_store_nothing_is_acknowledged(house: House) -> None:
    house.mailbox.away = True
    for text, group in (("hello", FAMILY), ("hello", STRANGERS), ("/task", MAIN), ("/status", MAIN)):
        with pytest.raises(StoreUnavailableError):
            await house.receive(text, group, sender=OWNER)

    assert house.stored == []
    assert house.did == []


async def test_without_a_store_an_owner_is_answered_once_however_often_the_message_comes(
    house: House,
) -> None:
    house.mailbox.away = True
    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            await house.receive("/status", MAIN, sender=OWNER)

    whole = "".join(part.text for part in house.speaker.sent)
    assert whole.count("this is status") == 1
    assert "The store cannot be used right now (disk full)." in whole
    assert len({part.key for part in house.speaker.sent}) == len(house.speaker.sent)

    house.mailbox.away = False
    await house.receive("/status", MAIN, sender=OWNER)
    assert house.answers() == [], "answered already"
    assert [event[0] for event in house.events()] == ["command"]
    await house.receive("/status", MAIN, sender=OWNER, message_id="m2")
    assert house.answers() == ["this is status"]


async def test_what_was_stopped_without_a_store_is_stopped_for_good_when_the_message_comes_again(
    house: House,
) -> None:
    house.mailbox.away = True
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            await house.receive("/stop", MAIN, sender=OWNER)
    assert house.did == ["stopped all"], "told and done once, however often the message comes"

    house.mailbox.away = False
    for _ in range(2):
        await house.receive("/stop", MAIN, sender=OWNER)
    assert house.answers() == ["stopped"]


async def test_without_a_store_stop_stops_everything(house: House) -> None:
    house.mailbox.away = True
    with pytest.raises(StoreUnavailableError):
        await house.receive("/stop", MAIN, sender=OWNER)

    assert house.did == ["stopped all"]
    assert "Every running agent was stopped." in "".join(part.text for part in house.speaker.sent)


@pytest.mark.parametrize(("text", "sender"), [("/task", OWNER), ("/stop", "tg:7"), ("/status", "tg:7")])
async def test_without_a_store_no_other_command_and_nobody_else_is_answered(
    house: House, text: str, sender: str
) -> None:
    house.mailbox.away = True
    with pytest.raises(StoreUnavailableError):
        await house.receive(text, MAIN, sender=sender)

    assert house.speaker.sent == []
    assert house.did == []


async def test_without_a_store_and_without_a_service_nothing_worse_happens(house: House) -> None:
    house.mailbox.away = True
    house.speaker.error = SendRetryError("no network")
    with pytest.raises(StoreUnavailableError):
        await house.receive("/status", MAIN, sender=OWNER)


async def test_an_answer_knows_its_thread_and_overtakes(house: House) -> None:
    await house.receive("/status", FAMILY, thread="5")

    head = await house.vault.store.outbox.head(FAMILY.chat_id, "command")
    assert head
    stored: OutboxEntry = head.entry
    assert (stored.thread, stored.lane) == ("5", "command")
    assert head.created_at == NOW


async def test_a_group_calls_commands_with_its_own_name(house: House) -> None:
    await house.vault.sql(
        "UPDATE registered_groups SET trigger_pattern = '@Claude' WHERE jid = ?", FAMILY.chat_id
    )
    await house.gate._directory.reload()
    await house.receive("@Claude /status")
    await house.receive("@Andy /status", message_id="m2")
    await house.receive("@Bob /status", message_id="m3")

    assert len(house.commands["status"].asked) == 2


# --- captions and edits --------------------------------------------------------------------------------------


async def test_a_command_in_a_caption_is_a_command(house: House) -> None:
    await house.receive("/status now [photo]", MAIN, sender=OWNER, caption="/status now")

    assert house.commands["status"].asked[0].args == "now"
    assert house.stored == []


async def test_a_file_named_like_a_command_is_no_command(house: House) -> None:
    await house.receive("/stop", MAIN, sender=OWNER, caption="")

    assert house.commands["stop"].asked == []
    assert [told.text for told in house.stored] == ["/stop"]


@pytest.mark.parametrize(
    ("text", "group", "noted", "answers"),
    [
        ("/task", MAIN, "/task (an edit; commands are not run again)", 1),
        ("/pair 482913", STRANGERS, "/pair (an edit; commands are not run again)", 0),
    ],
)
async def test_a_command_in_an_edit_is_noted_and_not_run_and_its_writer_told_so(
    house: House, text: str, group: Group, noted: str, answers: int
) -> None:
    for _ in range(2):
        await house.receive(text, group, sender=OWNER, message_id="m1:edit:2", edit_of="m1")

    assert house.commands[text.split(maxsplit=1)[0][1:]].asked == []
    assert house.events()[0] == ("command", f"Ada: {noted}")
    assert sum("Send it as a new message" in said for said in house.answers()) == answers
    assert house.stored == []


async def test_an_edit_of_a_message_is_news_once(house: House) -> None:
    await house.receive("helo")
    for _ in range(2):
        await house.receive("hello", message_id="m1:edit:2", edit_of="m1")

    assert [told.text for told in house.stored] == ["helo", "hello"]
    assert house.vault.rows("SELECT id, content FROM messages") == [("m1", "hello")]
    assert [event[0] for event in house.events()] == ["stored", "stored", "duplicate"]


async def test_an_owner_who_calls_us_by_name_is_told_where_a_command_works(house: House) -> None:
    await house.receive("/task", sender=OWNER)
    assert house.answers() == []
    await house.receive("/task", sender=OWNER, mentions_me=True, message_id="called")
    assert house.answers() == ["/task works in a control panel only (a chat that was paired)."]
    await house.receive("/task", mentions_me=True, message_id="by somebody")
    assert len(house.answers()) == 1
