"""Questions to the owners, from the stranger's message to what a yes does; over a real store and the real gate."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.asks import Asks
from nanoclaw.commands.asks import No, Yes
from nanoclaw.directory import Directory
from nanoclaw.domain import Ask, Attachment, ChatId, EventId, Inbound, Quote, ToolCall
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.gate import Admission, Gate
from nanoclaw.ports import (
    AskKind,
    HostTool,
    HostToolCall,
    HostToolRefusedError,
    HostToolRequest,
    Tx,
)
from nanoclaw.registration import register_kind
from nanoclaw.tool_asks import HOST_TOOL, MAX_OPEN, ToolAsks, with_asks
from nanoclaw.wire import HostCall
from tests.sqlite.vault import FAMILY, MAIN, NOW, OWNER, RUN, Vault, inbound, opened

CLUB = replace(FAMILY, chat_id=ChatId("tg:-5"), name="Book club")
ADA = replace(FAMILY, chat_id=ChatId("tg:7"), name="Ada", is_group=False)


@dataclass(slots=True)
class House:
    vault: Vault
    asks: Asks
    gate: Gate
    directory: Directory
    stored: list[Inbound] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)
    denies: set[str] = field(default_factory=set)
    carried: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    """So many times nothing can be replayed."""
    told: int = 0

    async def hears(self, text: str, group: Any = CLUB, **changes: Any) -> None:
        self.told += 1
        await self.gate.receive(inbound(text, group, **{"message_id": f"h{self.told}", **changes}))
        while self.gate._tasks:
            await asyncio.gather(*self.gate._tasks)

    async def owner(self, text: str, **changes: Any) -> str:
        """What the owner is answered in main."""
        before = len(self.texts(MAIN.chat_id))
        await self.hears(text, MAIN, sender=OWNER, sender_name="Ada", **changes)
        said = self.texts(MAIN.chat_id)[before:]
        return said[0] if said else ""

    def texts(self, chat_id: str) -> list[str]:
        sql = "SELECT text FROM outbox WHERE chat_jid = ? ORDER BY ord"
        return [row[0] for row in self.vault.rows(sql, chat_id)]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not true():
                await asyncio.sleep(0.005)


def core_kinds(house: Callable[[], House]) -> list[AskKind]:
    def yes(_tx: Tx, ask: Ask, _event: EventId) -> str:
        house().carried.append(f"yes {ask.payload}")
        return "Raised."

    def no(_tx: Tx, ask: Ask, _event: EventId) -> str:
        house().carried.append(f"no {ask.payload}")
        return "Not raised."

    def fails(_tx: Tx, _ask: Ask, _event: EventId) -> str:
        raise KeyError("inside")

    def fails_late(_tx: Tx, _ask: Ask) -> None:
        raise KeyError("inside")

    return [
        register_kind("Andy"), AskKind(name="budget", yes=yes, no=no),
        AskKind(name="broken", yes=fails, no=fails, expired=fails_late),
    ]  # fmt: skip


@asynccontextmanager
async def housed(
    folder: Path, *, max_held: int = 20, more_kinds: Callable[[Directory], list[AskKind]] = lambda _: []
) -> AsyncIterator[House]:
    async with opened(folder) as vault:
        directory = Directory(vault.store.people)
        await directory.reload()
        house: House
        stored: list[Inbound] = []

        async def receive(told: Inbound) -> None:
            if house.refusals:
                house.refusals.pop()
                raise StoreUnavailableError("full")
            await house.gate.receive(told)

        async def look() -> None:
            house.looked.append("looked")

        async def stop_all() -> None: ...

        asks = Asks(
            store=vault.store.asks,
            change=vault.store.change,
            kinds=[*core_kinds(lambda: house), *more_kinds(directory)],
            max_held=max_held,
            clock=vault.clock,
            receive=receive,
            look=look,
            poll_s=0.01,
        )
        gate = Gate(
            mailbox=vault.store.mailbox,
            directory=directory,
            commands={"yes": Yes(asks), "no": No(asks)},
            admission=Admission(stores=lambda *_: True, asks=lambda _, sender: sender not in house.denies),
            assistant_name="Andy",
            clock=vault.clock,
            stored=stored.append,
            poke=lambda *_: None,
            changed=look,
            channel_of=lambda _: None,
            stop_all=stop_all,
            asks=asks,
        )
        house = House(vault, asks, gate, directory, stored)
        yield house
        await asks.stop()
        await gate.stop()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with housed(tmp_path) as house:
        yield house


async def budget(house: House, amount: int = 5) -> Ask:
    return await house.vault.store.change(
        lambda tx: tx.ask("budget", f"Raise the budget to ${amount}?", {"usd": amount})
    )


# --- an unknown chat -------------------------------------------------------------------------------------------


async def test_an_owner_is_asked_about_an_unknown_chat_once_and_the_chat_hears_nothing(house: House) -> None:
    await house.hears("Hello Andy,\nare you there? " + "x" * 100)
    await house.hears("anybody?")

    (question,) = house.texts(MAIN.chat_id)
    assert question == "Book club (Telegram group) wrote to me. Add it?\n/yes 1 · /no 1"
    assert house.texts(CLUB.chat_id) == []
    assert house.stored == []
    assert house.looked, "somebody sees to its sending"
    assert {row[0] for row in house.vault.rows("SELECT disposition FROM event_log")} == {"unregistered"}


async def test_what_is_said_to_the_owner_on_a_shared_account_is_nobody_s_question(house: House) -> None:
    await house.hears("see you at eight", ADA, overheard=True)
    assert house.texts(MAIN.chat_id) == []
    assert house.vault.value("SELECT count(*) FROM held_messages") == 0

    await house.hears("@Andy see you at eight", ADA, overheard=True, mentions_me=True)
    assert house.texts(MAIN.chat_id)[0].startswith("Ada (Telegram) wrote to me.")


async def test_a_private_chat_is_called_by_its_person(house: House) -> None:
    await house.hears("", ADA)

    assert house.texts(MAIN.chat_id)[0].startswith("Ada (Telegram) wrote to me. Add it?")


async def test_a_yes_adds_the_chat_and_lets_its_message_in_as_if_it_had_just_come(house: House) -> None:
    photo = Attachment(kind="image", ref="file-1", size_bytes=9)
    await house.hears("@Andy hello [photo]", mentions_me=True, attachments=(photo,), message_id="m9")

    said = await house.owner("/yes 1")

    assert said.startswith("Registered: Book club\nFolder: telegram_book-club\n")
    (told,) = house.stored
    assert told == inbound(
        "@Andy hello [photo]", CLUB, mentions_me=True, attachments=(photo,), message_id="m9"
    )
    assert house.vault.rows("SELECT chat_jid, content, outcome FROM messages") == [
        (CLUB.chat_id, "@Andy hello [photo]", "open")
    ]
    assert house.vault.value("SELECT count(*) FROM held_messages") == 0
    chain = "SELECT e.source, a.content FROM action_log a JOIN event_log e ON e.id = a.triggered_by WHERE action_type = ?"
    assert house.vault.rows(chain, "ask_answered") == [
        (
            "command",
            "yes to question 1: Book club (Telegram group) wrote to me. Add it?",
        )
    ]


async def test_a_private_chat_that_is_added_needs_no_trigger(house: House) -> None:
    await house.hears("hello", ADA)
    await house.owner("/yes")

    group = house.directory.group(ADA.chat_id)
    assert group
    assert (group.requires_trigger, group.is_group, group.is_main) == (False, False, False)


async def test_a_no_deletes_what_was_held_and_the_chat_is_not_asked_about_again(house: House) -> None:
    await house.hears("my secret")
    assert "not added" in await house.owner("/no 1")
    await house.hears("my secret, again")

    assert house.vault.value("SELECT count(*) FROM held_messages") == 0
    assert house.directory.group(CLUB.chat_id) is None
    assert len(house.texts(MAIN.chat_id)) == 2, "the question and the answer"


@pytest.mark.parametrize("changes", [{"from_me": True}, {"from_bot": True}, {"sender": "denied"}])
async def test_nobody_is_asked_because_of_bots_ourselves_or_who_may_not_ask(
    house: House, changes: dict[str, Any]
) -> None:
    house.denies = {"denied"}
    await house.hears("hello", **changes)

    assert house.texts(MAIN.chat_id) == []
    assert house.vault.value("SELECT count(*) FROM held_messages") == 0
    assert house.vault.rows("SELECT disposition FROM event_log") == [("unregistered",)]


async def test_what_a_stranger_says_is_kept_in_the_question_and_until_the_answer_alone(house: House) -> None:
    await house.hears("x" * 90 + " my secret diary")
    tables = ("event_log", "action_log", "messages", "chats", "outbox", "asks")

    def dump() -> str:
        return "".join(str(house.vault.rows(f"SELECT * FROM {table}")) for table in tables)

    assert "secret" not in dump()
    assert "secret" in house.vault.value("SELECT body FROM held_messages")
    await house.owner("/no 1")
    assert "secret" not in dump() + str(house.vault.rows("SELECT * FROM held_messages"))


async def test_a_message_that_meets_a_registration_goes_in(house: House) -> None:
    await house.vault.store.change(lambda tx: tx.add_group(replace(CLUB, folder="club")))  # type: ignore[arg-type]

    await house.hears("hello")

    assert [told.text for told in house.stored] == ["hello"]


async def test_what_a_crash_kept_from_being_replayed_is_replayed_at_the_next_start(tmp_path: Path) -> None:
    async with housed(tmp_path) as house:
        await house.hears("hello")
        answer = await house.asks.answer("yes", "1", "Ada")
        assert answer.change
        await house.vault.store.change(answer.change)  # and the process dies before what comes after

    async with housed(tmp_path) as house:
        await house.asks.start()
        await house.until(lambda: house.vault.value("SELECT count(*) FROM held_messages") == 0)
        assert [told.text for told in house.stored] == ["hello"]


async def test_a_message_that_cannot_be_replayed_now_is_tried_again(house: House) -> None:
    await house.hears("hello")
    house.refusals = ["once", "twice"]
    await house.owner("/yes 1")
    assert house.stored == []
    await house.asks.start()
    await house.until(lambda: len(house.stored) == 1)
    assert house.refusals == []


# --- answers ---------------------------------------------------------------------------------------------------


async def test_a_question_is_answered_once_and_the_second_hears_who_was_first(house: House) -> None:
    await budget(house)

    assert await house.owner("/yes 1") == "Raised."
    house.vault.clock.advance(300)
    assert await house.owner("/no 1") == "Question 1 was answered with yes by Ada 5m ago."
    assert house.carried == ["yes {'usd': 5}"]


async def test_two_answers_at_once_have_one_effect(house: House) -> None:
    await budget(house)

    await asyncio.gather(house.owner("/yes 1"), house.owner("/no 1"), house.owner("/yes 1"))

    assert len(house.carried) == 1


async def test_without_a_number_the_one_open_question_is_meant(house: House) -> None:
    assert await house.owner("/yes") == "No question is open."
    await budget(house)
    assert await house.owner("/no") == "Not raised."
    await budget(house, 6)
    await budget(house, 7)
    assert (await house.owner("/yes")).splitlines() == [
        "2 questions are open; which one?",
        "/yes 2: Raise the budget to $6?",
        "/yes 3: Raise the budget to $7?",
    ]
    assert house.carried == ["no {'usd': 5}"]


@pytest.mark.parametrize(
    ("line", "said"),
    [("/yes 7", "There is no question 7."), ("/no maybe", "Usage: /no <number"), ("/yes #1", "Raised.")],
)
async def test_what_was_typed_is_read_kindly_and_never_guessed(house: House, line: str, said: str) -> None:
    await budget(house)
    assert (await house.owner(line)).startswith(said)


@pytest.mark.parametrize(
    ("text", "carried"),
    [
        ("yes", ["yes"]), ("Yes!", ["yes"]), (" OK. ", ["yes"]), ("Ja", ["yes"]), ("👍🏽", ["yes"]), ("✅", ["yes"]),
        ("no", ["no"]), ("Nein.", ["no"]), ("👎", ["no"]),
        ("yes, but not today", []), ("maybe", []), ("", []),
    ],
)  # fmt: skip
async def test_a_reply_to_the_question_answers_it(house: House, text: str, carried: list[str]) -> None:
    await budget(house)
    await _sent(house, "901")
    quote = Quote(message_id="901", text="Raise the budget to $5?", sender_name="Andy")

    await house.owner(text, quote=quote)

    assert [line.split()[0] for line in house.carried] == carried
    assert [told.text for told in house.stored] == ([] if carried else [text])


async def test_a_reply_that_comes_before_the_question_is_noted_as_sent_is_known_by_its_words(
    house: House,
) -> None:
    ask = await budget(house)
    quote = Quote(message_id="not known yet", text=house.texts(MAIN.chat_id)[0], sender_name="Andy")

    await house.owner("yes", quote=quote)

    assert len(house.carried) == 1, ask


@pytest.mark.parametrize(
    "changes",
    [
        {"quote": None},
        {"quote": Quote(message_id="902", text="else", sender_name="Andy")},
        {"group": FAMILY},
        {"sender": "tg:7"},
        {"from_me": True},
    ],
)
async def test_a_yes_to_something_else_or_of_somebody_else_is_a_message(
    house: House, changes: dict[str, Any]
) -> None:
    await budget(house)
    await _sent(house, "901")
    quote = Quote(message_id="901", text="Raise the budget to $5?", sender_name="Andy")

    await house.hears("yes", **({"group": MAIN, "sender": OWNER, "quote": quote} | changes))

    assert house.carried == []
    assert [told.text for told in house.stored] == ["yes"]


async def test_an_answer_whose_effect_fails_leaves_the_question_open(house: House) -> None:
    await house.vault.store.change(lambda tx: tx.ask("broken", "Break?", {}))

    assert "nothing was changed" in await house.owner("/yes 1")
    assert [ask.id for ask in await house.asks.open()] == [1]


async def test_a_question_of_a_plugin_that_is_gone_can_be_closed(house: House) -> None:
    await house.vault.store.change(lambda tx: tx.ask("gone", "Launch?", {}))

    assert "not installed any more, so nothing was done" in await house.owner("/yes 1")
    assert await house.asks.open() == []


async def test_a_question_that_was_settled_otherwise_says_so(house: House) -> None:
    await house.hears("hello")
    await house.vault.store.change(lambda tx: tx.add_group(replace(CLUB, folder="club")))  # type: ignore[arg-type]

    assert "settled otherwise" in await house.owner("/yes 1")


# --- nobody answers --------------------------------------------------------------------------------------------


async def test_a_question_that_nobody_answers_expires_is_told_once_and_has_no_effect(house: House) -> None:
    await house.hears("hello")
    await house.asks.start()
    house.vault.clock.advance(86_400)

    await house.until(lambda: house.vault.value("SELECT state FROM asks") == "expired")

    told = "Question 1 expired: Book club (Telegram group) wrote to me. Add it?"
    assert house.texts(MAIN.chat_id)[1:] == [told]
    assert house.vault.value("SELECT count(*) FROM held_messages") == 0
    assert (await house.owner("/yes 1")).startswith("Question 1 expired")
    assert house.directory.group(CLUB.chat_id) is None


async def test_an_answer_that_comes_too_late_has_no_effect_before_the_expiry_was_seen(house: House) -> None:
    await budget(house)
    house.vault.clock.advance(86_400)

    assert await house.owner("/yes 1") == "Question 1 has expired."
    assert house.carried == []


async def test_a_kind_that_fails_at_expiry_does_not_keep_its_question_open(house: House) -> None:
    await house.vault.store.change(lambda tx: tx.ask("broken", "Break?", {}))
    await budget(house)
    await house.asks.start()
    house.vault.clock.advance(86_400)

    await house.until(lambda: house.vault.rows("SELECT state FROM asks") == [("expired",), ("expired",)])
    assert house.texts(MAIN.chat_id)[2:] == [
        "Question 1 expired: Break?", "Question 2 expired: Raise the budget to $5?",
    ]  # fmt: skip


# --- host tools that ask -----------------------------------------------------------------------------------------


class Tools:
    """A tool with a look-up before it, and what became of it."""

    def __init__(self) -> None:
        self.ran: list[HostToolCall] = []
        self.prepared: list[HostToolRequest] = []
        self.error: Exception | None = None
        tool = HostTool(name="post", description="", input_schema={}, run=self._run, prepare=self._prepare)
        self.rows = {tool.name: tool}
        self.asking = with_asks(tool)

    async def _prepare(self, request: HostToolRequest) -> str:
        self.prepared.append(request)
        return "ready"

    def _run(self, tx: Tx, call: HostToolCall) -> str:
        tx.tell_main(f"posted:{call.call_id}", "posted")
        if self.error:
            raise self.error
        self.ran.append(call)
        return f"Posted {call.input['what']}, {call.prepared}."

    async def called(self, vault: Vault, call: str = "c1", what: str = "a poem") -> tuple[bool, str]:
        """An agent of Family asks for it."""
        if vault.value("SELECT 1 FROM turns") is None:
            self.turn = (await vault.turn()).turn
        frame = HostCall(turn=self.turn.id, call=call, name="post", input={"what": what})
        _, result = await vault.store.runs.host_call(RUN, int(call[1:]), frame, self.turn, self.asking, NOW)
        return result.ok, result.content


@pytest.fixture
async def tools() -> Tools:
    return Tools()


@pytest.fixture
async def policy(tmp_path: Path, tools: Tools) -> AsyncIterator[House]:
    """Family must ask before it posts."""

    def kinds(directory: Directory) -> list[AskKind]:
        return [ToolAsks(tools=lambda: tools.rows, group_of=directory.group).kind()]

    async with housed(tmp_path, more_kinds=kinds) as house:
        await house.vault.store.change(lambda tx: tx.change_group(replace(FAMILY, ask_tools=("post",))))
        await house.directory.reload()
        yield house


async def test_a_tool_that_no_policy_names_just_runs(policy: House, tools: Tools) -> None:
    await policy.vault.store.change(lambda tx: tx.change_group(FAMILY))

    assert await tools.called(policy.vault) == (True, "Posted a poem, ready.")
    assert await policy.asks.open() == []


async def test_a_tool_that_needs_a_yes_becomes_a_question_and_nothing_is_prepared(
    policy: House, tools: Tools
) -> None:
    ok, said = await tools.called(policy.vault)

    assert (ok, said) == (True, "An owner was asked (question 1); it is carried out when the answer is yes.")
    assert policy.texts(MAIN.chat_id) == [
        "Family wants to use post (what: a poem). Allow it?\n/yes 1 · /no 1"
    ]
    assert (tools.ran, tools.prepared) == ([], [])
    chain = "SELECT e.source FROM action_log a JOIN event_log e ON e.id = a.triggered_by WHERE action_type = 'owner_asked'"
    assert policy.vault.rows(chain) == [("ipc",)]


async def test_after_a_yes_it_runs_as_the_agent_asked_and_the_group_is_told(
    policy: House, tools: Tools
) -> None:
    await tools.called(policy.vault)

    assert await policy.owner("/yes 1") == "posted"
    assert policy.texts(MAIN.chat_id)[-1] == "post in Family: Posted a poem, ready."
    assert policy.texts(FAMILY.chat_id) == ["The owner said yes to post: Posted a poem, ready."]
    (call,) = tools.ran
    assert (call.group.chat_id, call.turn, call.call_id) == (FAMILY.chat_id, tools.turn, "c1")
    assert policy.vault.value("SELECT source FROM event_log WHERE id = ?", call.event_id) == "command"


async def test_after_a_no_it_does_not_run_and_the_group_is_told(policy: House, tools: Tools) -> None:
    await tools.called(policy.vault)

    assert await policy.owner("/no 1") == "post is not carried out."
    assert policy.texts(FAMILY.chat_id) == ["The owner said no to post."]
    assert (tools.ran, tools.prepared) == ([], [])


async def test_a_tool_that_is_refused_after_a_yes_leaves_nothing_but_the_reason(
    policy: House, tools: Tools
) -> None:
    await tools.called(policy.vault)
    tools.error = HostToolRefusedError("the poem is too long")

    said = "post was allowed and could not be carried out: the poem is too long"
    assert await policy.owner("/yes 1") == said
    assert policy.texts(FAMILY.chat_id) == [said]
    assert "posted" not in policy.texts(MAIN.chat_id)
    assert await policy.asks.open() == []


async def test_a_tool_that_is_gone_or_a_group_that_is_gone_is_said(policy: House, tools: Tools) -> None:
    await tools.called(policy.vault)
    rows = tools.rows.copy()
    tools.rows.clear()
    assert "is not installed any more" in await policy.owner("/yes 1")

    tools.rows.update(rows)
    await tools.called(policy.vault, "c2")
    await policy.vault.store.change(lambda tx: tx.remove_group(FAMILY.chat_id))
    assert "settled otherwise" in await policy.owner("/yes 2")
    assert tools.ran == []


async def test_a_group_hears_that_nobody_answered_in_time(policy: House, tools: Tools) -> None:
    await tools.called(policy.vault)
    await policy.asks.start()
    policy.vault.clock.advance(86_400)

    await policy.until(lambda: policy.vault.value("SELECT state FROM asks") == "expired")
    assert policy.texts(FAMILY.chat_id) == ["The owner did not answer in time: post is not carried out."]


async def test_an_agent_cannot_flood_its_owner_with_questions(policy: House, tools: Tools) -> None:
    answers = [await tools.called(policy.vault, f"c{n}") for n in range(1, MAX_OPEN + 3)]

    assert [ok for ok, _ in answers] == [True] * MAX_OPEN + [False] * 2
    assert len(await policy.asks.open()) == MAX_OPEN


async def test_the_same_call_asks_once(policy: House, tools: Tools) -> None:
    first, second = await tools.called(policy.vault), await tools.called(policy.vault)

    assert first == second
    assert [ask.kind for ask in await policy.asks.open()] == [HOST_TOOL]


async def test_a_policy_that_changes_in_mid_call_never_lets_an_unprepared_tool_run(
    policy: House, tools: Tools
) -> None:
    prepare = tools.asking.prepare
    assert prepare

    async def changed_meanwhile(request: HostToolRequest) -> object:
        value = await prepare(request)
        await policy.vault.store.change(lambda tx: tx.change_group(FAMILY))
        return value

    tools.asking = replace(tools.asking, prepare=changed_meanwhile)

    ok, said = await tools.called(policy.vault)
    assert (ok, "call it again" in said) == (False, True)
    assert tools.ran == []


async def _sent(house: House, platform_id: str) -> None:
    """The question that waits in main is sent, under this id of the service."""
    outbox = house.vault.store.outbox
    head = await outbox.head(MAIN.chat_id, "command")
    assert head
    await outbox.begin(head.entry.id, [head.entry.text])
    head = await outbox.head(MAIN.chat_id, "command")
    assert head
    call = ToolCall(action_id=None, tool_name="send", started_at=NOW, duration_ms=1, success=True)
    await outbox.sent(head.entry, head.parts[0], platform_id, call, then="end", now=NOW)
