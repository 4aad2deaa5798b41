"""Files on their way through turns: what the agent is sent, what the conversation keeps, and what a crash changes."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from PIL import Image

from nanoclaw.agent_run import AgentRun
from nanoclaw.directory import Directory
from nanoclaw.domain import Group, RunId, new_id
from nanoclaw.errors import FetchError
from nanoclaw.group_queue import QueueSettings
from nanoclaw.notices import Notices
from nanoclaw.orchestrator import Orchestrator
from nanoclaw.presence import Presence, PresenceSettings
from nanoclaw.stores import LiveRun
from nanoclaw.testing.messages_rules import check
from nanoclaw.turn_making import TurnSettings
from nanoclaw.wire import Accepted, AgentError, FollowUp, TurnEnd, TurnStart
from tests.core.attachment_stage import Stage, file, staged
from tests.core.test_agent_run import HELLO, Puppet
from tests.sqlite.vault import FAMILY, MAIN, inbound

WITHIN_S = 60.0
PHOTO = file("photo", kind="image", name="cat.png")
OTHER = file("other", kind="image")


def drawn(color: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), color).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Office:
    """The orchestrator at work, with agents that say what a test lets them say."""

    stage: Stage
    orchestrator: Orchestrator = field(init=False)
    agents: list[Puppet] = field(default_factory=list)
    records: list[LiveRun] = field(default_factory=list)
    runs: list[AgentRun] = field(default_factory=list)
    written: int = 0

    async def open(self) -> None:
        vault = self.stage.vault
        directory = Directory(vault.store.people)
        await directory.reload()

        async def nothing(*_: object) -> None:
            return

        async def dismiss(run: AgentRun, reason: str, grace_s: float) -> None:
            await run.stop(grace_s)

        async def leave(run: AgentRun) -> None:
            await run.stop(0)

        async def memory(_: object) -> tuple[None, None]:
            return None, None

        self.orchestrator = Orchestrator(
            mailbox=vault.store.mailbox,
            turns=vault.store.turns,
            tasks=vault.store.tasks,
            directory=directory,
            may_ask=lambda *_: True,
            launch=self.launch,
            dismiss=dismiss,
            leave=leave,
            memory=memory,
            host_tools=lambda _: [],
            notices=Notices(
                outbox=vault.store.outbox,
                directory=directory,
                clock=vault.clock,
                reachable=lambda _: True,
                poke=lambda *_: None,
            ),
            presence=Presence(channel_of=lambda _: None, settings=PresenceSettings()),
            poke=lambda *_: None,
            look=nothing,
            clock=vault.clock,
            settings=TurnSettings(
                assistant_name="Andy", zone=ZoneInfo("Europe/Berlin"), model="m", poll_interval_s=600
            ),
            queue_settings=QueueSettings(retry_delays_s=(0.01, 0.01), idle_timeout_s=600),
            ready=self.stage.attachments.ready,
            show=self.stage.exhibits.show,
        )
        self.orchestrator.start()

    async def launch(self, group: Group) -> AgentRun:
        puppet = Puppet()
        record = LiveRun(
            id=RunId(new_id()), chat_id=group.chat_id, folder=group.folder, runtime="process", handle="4711", image=None,
            token_hash=new_id(),
        )  # fmt: skip
        await self.stage.vault.store.runs.open(record, self.stage.vault.clock.now())
        run = AgentRun(
            run_id=record.id, chat_id=group.chat_id, store=self.stage.vault.store.runs,
            process=puppet,  # type: ignore[arg-type]
            tools=lambda _: None, clock=self.stage.vault.clock,
        )  # fmt: skip
        puppet.say(HELLO)
        await run.start()
        self.agents.append(puppet)
        self.records.append(record)
        self.runs.append(run)
        return run

    async def write(self, text: str, *files: Any, group: Group = MAIN) -> None:
        """Somebody writes, and the orchestrator is woken."""
        self.written += 1
        told = inbound(text, group, message_id=f"w{self.written}", attachments=files)
        await self.stage.vault.store.mailbox.store(told, owner=False, now=self.stage.vault.clock.now())
        self.orchestrator.stored(told)

    async def heard(self, kind: Any, nth: int = 1) -> Any:
        """The `nth` frame of this kind that any agent was sent; with the agent that got it."""

        def found() -> list[tuple[Puppet, int, Any]]:
            return [
                (agent, got[0], got[1])
                for agent in self.agents
                for got in agent.heard
                if isinstance(got, tuple) and isinstance(got[1], kind)
            ]

        await self.stage.until(lambda: len(found()) >= nth)
        return found()[nth - 1]

    async def turn(self, nth: int = 1) -> tuple[Puppet, TurnStart]:
        agent, _, start = await self.heard(TurnStart, nth)
        return agent, start

    async def finish(self, agent: Puppet, start: TurnStart, text: str = "ok") -> None:
        agent.say(TurnEnd(turn=start.turn, status="done", text=text))
        await self.outcome(start, "answered")

    async def outcome(self, start: TurnStart, state: str) -> None:
        sql = "SELECT state FROM turns WHERE id = ?"
        await self.stage.until(lambda: self.stage.vault.value(sql, start.turn) == state)

    def rows(self) -> list[list[dict[str, Any]]]:
        """The conversation as it is stored."""
        return [
            json.loads(row[0]) for row in self.stage.vault.rows("SELECT content FROM transcript ORDER BY id")
        ]


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    async with staged() as stage:
        (stage.root / "groups" / MAIN.folder).mkdir()
        stage.service.files = {"photo": drawn("red"), "other": drawn("blue")}
        office = Office(stage)
        await office.open()
        try:
            yield office
        finally:
            await office.orchestrator.stop()


def blocks(start: TurnStart) -> list[dict[str, Any]]:
    """What the last message of the conversation holds; the API takes all of it."""
    request = {"model": "m", "max_tokens": 1, "messages": start.messages}
    assert check(request, version="2026-10-21", beta=False)
    content: list[dict[str, Any]] = start.messages[-1]["content"]
    return content


def path_of(office: Office, seq: int) -> str:
    return str(office.stage.vault.value("SELECT path FROM attachments WHERE seq = ?", seq))


async def test_a_photo_is_shown_to_the_agent_and_only_named_in_the_conversation(office: Office) -> None:
    await office.write("[photo] what is this?", PHOTO)
    agent, start = await office.turn()
    image, text = blocks(start)

    assert (image["type"], image["source"]["media_type"]) == ("image", "image/png")
    path = path_of(office, 1)
    assert f'<attachment kind="image" name="cat.png" path="{path}" image="1" />' in text["text"]
    assert (office.stage.root / "groups" / MAIN.folder / path).read_bytes() == drawn("red")
    assert office.rows() == [[{"type": "nanoclaw_image", "path": path}, text]]
    await office.finish(agent, start)


async def test_the_next_turn_knows_that_there_was_a_photo_and_is_not_shown_it_again(office: Office) -> None:
    await office.write("[photo] what is this?", PHOTO)
    agent, start = await office.turn()
    await office.finish(agent, start)
    await office.write("and now?")
    agent, start = await office.turn(2)

    earlier = start.messages[0]["content"]
    assert earlier[0] == {"type": "text", "text": f"[image {path_of(office, 1)}, shown earlier]"}
    assert "image" not in [block["type"] for message in start.messages for block in message["content"]]
    await office.finish(agent, start)


async def test_a_turn_goes_on_without_a_file_that_cannot_be_had(office: Office) -> None:
    office.stage.service.files["photo"] = FetchError("404", final=True, safe="it is gone")
    await office.write("[photo] what is this?", PHOTO)
    agent, start = await office.turn()

    (text,) = blocks(start)
    assert 'problem="could not be fetched: it is gone"' in text["text"]
    await office.finish(agent, start)


async def test_a_turn_that_is_tried_again_shows_its_photo_again(office: Office) -> None:
    await office.write("[photo] what is this?", PHOTO)
    agent, first = await office.turn()
    agent.die("killed by SIGKILL")
    agent, again = await office.turn(2)

    assert again.turn == first.turn
    assert blocks(again) == blocks(first)
    assert office.stage.service.asked == ["photo"]
    await office.finish(agent, again)


async def test_a_photo_that_is_gone_by_the_second_try_is_said_to_be(office: Office) -> None:
    await office.write("[photo] what is this?", PHOTO)
    agent, _ = await office.turn()
    path = path_of(office, 1)
    (office.stage.root / "groups" / MAIN.folder / path).unlink()
    agent.die("killed by SIGKILL")
    agent, again = await office.turn(2)

    assert blocks(again)[0]["text"] == f"[image {path} is not shown: the file is not there any more]"
    await office.finish(agent, again)


async def test_a_photo_in_a_follow_up_reaches_the_running_turn(office: Office) -> None:
    await office.write("hello")
    agent, start = await office.turn()
    await office.write("[photo] look", PHOTO)
    _, n, offer = await office.heard(FollowUp)

    assert [block["type"] for block in offer.blocks] == ["image"]
    assert 'image="1"' in offer.text
    agent.say(Accepted(turn=start.turn, frame=n))
    await office.finish(agent, start)
    assert office.rows()[1] == [
        {"type": "nanoclaw_image", "path": path_of(office, 2)}, {"type": "text", "text": offer.text},
    ]  # fmt: skip


async def test_an_accepted_photo_is_shown_again_when_its_turn_is_tried_again(office: Office) -> None:
    await office.write("hello")
    agent, start = await office.turn()
    await office.write("[photo] look", PHOTO)
    _, n, offer = await office.heard(FollowUp)
    accepted = agent.say(Accepted(turn=start.turn, frame=n))
    await office.stage.until(lambda: agent.acked >= accepted)
    agent.die("killed by SIGKILL")
    agent, again = await office.turn(2)

    _, image, text = blocks(again)
    assert [image] == offer.blocks
    assert text["text"] == offer.text
    await office.finish(agent, again)


async def test_nothing_overtakes_a_follow_up_whose_file_takes_its_time_and_other_chats_go_on(
    office: Office,
) -> None:
    await office.write("hello")
    agent, _ = await office.turn()
    office.stage.service.held = asyncio.Event()
    await office.write("[photo] first", PHOTO)
    await office.stage.service.waiting.wait()
    await office.write("second")
    await office.write("@Andy hi", group=FAMILY)
    _, elsewhere = await office.turn(2)
    assert "@Andy hi" in elsewhere.messages[-1]["content"][0]["text"]
    assert agent.frames(FollowUp) == []

    office.stage.service.held.set()
    await office.heard(FollowUp, 2)
    assert ["first" in offer.text for offer in agent.frames(FollowUp)] == [True, False]
    assert "second" in agent.frames(FollowUp)[1].text


async def test_a_follow_up_whose_turn_ends_before_its_file_is_there_starts_the_next_one(
    office: Office,
) -> None:
    await office.write("hello")
    agent, start = await office.turn()
    office.stage.service.held = asyncio.Event()
    await office.write("[photo] look", PHOTO)
    await office.stage.service.waiting.wait()
    await office.finish(agent, start)
    office.stage.service.held.set()
    agent, following = await office.turn(2)

    assert [block["type"] for block in blocks(following)] == ["text", "image", "text"]
    assert office.stage.service.asked == ["photo"]
    await office.finish(agent, following)


async def test_a_photo_that_the_model_refuses_does_not_poison_the_conversation(office: Office) -> None:
    await office.write("[photo] what is this?", PHOTO)
    agent, start = await office.turn()
    agent.say(
        AgentError(turn=start.turn, kind="session", cause="invalid_request_error", detail="image", status=400)
    )
    await office.outcome(start, "failed")
    assert office.rows() == []

    await office.write("hello?")
    agent, start = await office.turn(2)
    assert [block["type"] for block in blocks(start)] == ["text"]
    await office.finish(agent, start)


async def test_pictures_before_a_mention_are_shown_with_it(office: Office) -> None:
    await office.write("[photo] my cat", PHOTO, group=FAMILY)
    await office.write("[photo] @Andy and this?", OTHER, group=FAMILY)
    agent, start = await office.turn()

    first, second, text = blocks(start)
    assert (first["type"], second["type"]) == ("image", "image")
    assert first != second
    assert text["text"].index('image="1"') < text["text"].index("@Andy") < text["text"].index('image="2"')
    await office.finish(agent, start)


async def test_an_adopted_run_gets_the_pictures_of_a_follow_up_that_it_may_have_missed(
    office: Office,
) -> None:
    await office.write("hello")
    _, start = await office.turn()
    await office.write("[photo] look", PHOTO)
    _, n, offer = await office.heard(FollowUp)
    vault = office.stage.vault
    await office.orchestrator.stop()

    heir = Puppet()
    run = AgentRun(
        run_id=office.records[0].id, chat_id=MAIN.chat_id, store=vault.store.runs,
        process=heir,  # type: ignore[arg-type]
        tools=lambda _: None, clock=vault.clock,
    )  # fmt: skip
    office.agents.clear()
    await office.open()
    heir.say(HELLO)
    office.agents.append(heir)
    async with asyncio.timeout(WITHIN_S):
        (record,) = await vault.store.runs.live()
        await office.orchestrator.adopt(MAIN, run, record)
    _, again, resent = await office.heard(FollowUp)
    assert (again, resent) == (n, offer)

    heir.say(Accepted(turn=start.turn, frame=n))
    await office.finish(heir, start)
