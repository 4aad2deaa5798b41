"""The terminal's socket: real sockets, the real client, and raw lines where the client is too well-behaved."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.channels.local import LocalChannel, LocalClient
from nanoclaw.channels.local.lines import (
    MAX_LINE_BYTES,
    Code,
    Event,
    LineError,
    Receipt,
    Said,
    Settled,
    Stored,
    Trouble,
    Typing,
    Unavailable,
    Welcome,
    decode_event,
)
from nanoclaw.domain import ChatId
from nanoclaw.errors import BadInputError, SendRetryError, SendUncertainError, StoreUnavailableError
from tests.channels.channel_doubles import Gate, RealClock, eventually, part

MAIN = ChatId("local:main")


class Service:
    """A local channel with the rest of the service around it."""

    def __init__(self, path: Path, *, ack_timeout_s: float = 10.0) -> None:
        self.path = path
        self.gate = Gate()
        self.is_settled = True
        self.reachable: list[ChatId] = []
        self.code: str | Exception = "482913"
        self.channel = LocalChannel(
            socket_path=path,
            assistant_name="Andy",
            version="1.2",
            clock=RealClock(),
            settled=self._settled,
            make_code=self._make_code,
            on_reachable=self.reachable.append,
            ack_timeout_s=ack_timeout_s,
        )

    async def _settled(self, chat_id: ChatId) -> bool:
        assert chat_id == MAIN
        return self.is_settled

    async def _make_code(self) -> str:
        if isinstance(self.code, Exception):
            raise self.code
        return self.code


@asynccontextmanager
async def serving(path: Path, **changes: Any) -> AsyncIterator[Service]:
    before = asyncio.all_tasks()
    service = Service(path, **changes)
    await service.channel.start(service.gate)
    try:
        yield service
    finally:
        await service.channel.stop()
    assert not {task for task in asyncio.all_tasks() - before if task.get_name().startswith("local-")}
    assert service.channel.health().state == "stopped"


@asynccontextmanager
async def attached(path: Path, chat: str = "main") -> AsyncIterator[LocalClient]:
    async with LocalClient(path) as client:
        await client.hello(chat)
        yield client


async def first(client: LocalClient, kind: type[Event]) -> Any:
    async with asyncio.timeout(10):
        async for event in client.events():
            if isinstance(event, kind):
                return event
    raise AssertionError(f"the connection ended before {kind.__name__}")


class Raw:
    """A client that writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def put(self, line: dict[str, Any] | str) -> None:
        self.writer.write((line if isinstance(line, str) else json.dumps(line)).encode() + b"\n")

    async def get(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            got: dict[str, Any] = json.loads(await self.reader.readline())
            return got


@asynccontextmanager
async def raw(path: Path) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.fixture
def path() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="nc"))
    yield folder / "nanoclaw.sock"
    shutil.rmtree(folder)


async def test_a_hello_is_welcomed_and_tells_that_the_chat_can_be_reached(path: Path) -> None:
    async with serving(path) as service, LocalClient(path) as client:
        assert not service.channel.reachable(MAIN)

        assert await client.hello() == Welcome(assistant="Andy", version="1.2")

        assert service.channel.reachable(MAIN)
        assert service.reachable == [MAIN]
    assert not service.channel.reachable(MAIN)


async def test_a_message_reaches_the_gate_and_is_reported_stored(path: Path) -> None:
    async with serving(path) as service, attached(path) as client:
        message_id = await client.send("hello")

        assert await first(client, Stored) == Stored(id=message_id)
        got = service.gate.stored[0]
        assert (got.channel, got.chat_id, got.sender, got.is_group) == ("local", MAIN, "local:owner", False)
        assert (got.message_id, got.text) == (message_id, "hello")
        assert got.sender_name
        assert service.channel.health().last_proven_at is not None


async def test_another_chat_has_a_name_of_its_own(path: Path) -> None:
    async with serving(path) as service, attached(path, "notes-2") as client:
        await client.send("hello")
        await first(client, Stored)

        assert service.gate.stored[0].chat_id == "local:notes-2"
        assert not service.channel.reachable(MAIN)


@pytest.mark.parametrize("name", ["Main", "a b", "", "x" * 33, "../etc", 7, None])
async def test_a_chat_needs_a_plain_name(path: Path, name: object) -> None:
    async with serving(path) as service, raw(path) as client:
        client.put({"t": "hello", "chat": name})

        assert (await client.get())["t"] == "error"
        assert service.reachable == []


async def test_a_message_that_cannot_be_stored_is_said_to_be_so(path: Path) -> None:
    async with serving(path) as service, attached(path) as client:
        service.gate.broken = True

        message_id = await client.send("hello")

        assert await first(client, Unavailable) == Unavailable(
            id=message_id, text="I cannot write to my disk."
        )


async def test_a_gate_that_fails_otherwise_ends_nothing(path: Path) -> None:
    async with serving(path) as service, attached(path) as client:
        service.gate.raises = [RuntimeError("bug")]
        await client.send("one")
        await first(client, Trouble)
        await client.send("two")
        await first(client, Stored)

        assert service.gate.texts == ["two"]


async def test_a_part_is_sent_when_a_terminal_has_acknowledged_it(path: Path) -> None:
    async with serving(path) as service, raw(path) as client:
        client.put({"t": "hello"})
        await client.get()
        sending = asyncio.create_task(service.channel.send_part(part(MAIN, "Hello\nyou", key="k7")))

        assert await client.get() == {"t": "message", "key": "k7", "text": "Hello\nyou", "repeat": False}
        client.put({"t": "ack", "key": "another"})
        client.put({"t": "message", "id": "1", "text": "meanwhile"})
        await client.get()
        assert not sending.done(), "written is not yet sent"

        client.put({"t": "ack", "key": "k7"})
        assert await sending == "k7"


async def test_the_client_acknowledges_what_was_shown(path: Path) -> None:
    async with serving(path) as service, attached(path) as client:
        sending = asyncio.create_task(service.channel.send_part(part(MAIN, "Hello", key="k7")))
        events = client.events()

        assert await anext(events) == Said(key="k7", text="Hello", repeat=False)
        after = asyncio.ensure_future(anext(events))
        await sending

        await service.channel.typing(MAIN, None)
        assert await after == Typing()


async def test_without_a_terminal_a_part_waits(path: Path) -> None:
    async with serving(path) as service, attached(path, "other"):
        with pytest.raises(SendRetryError):
            await service.channel.send_part(part(MAIN, "Hello"))


async def test_a_terminal_that_leaves_before_its_ack_leaves_doubt(path: Path) -> None:
    async with serving(path) as service:
        async with raw(path) as client:
            client.put({"t": "hello"})
            await client.get()
            sending = asyncio.create_task(service.channel.send_part(part(MAIN, "Hello")))
            await client.get()

        with pytest.raises(SendUncertainError):
            await sending
        await eventually(lambda: not service.channel.reachable(MAIN))


async def test_a_terminal_that_stays_mute_is_given_up(path: Path) -> None:
    async with serving(path, ack_timeout_s=0.02) as service, raw(path) as client:
        client.put({"t": "hello"})
        await client.get()

        with pytest.raises(SendUncertainError):
            await service.channel.send_part(part(MAIN, "Hello"))

        assert not service.channel.reachable(MAIN)


async def test_one_ack_of_two_terminals_is_enough_even_if_the_other_leaves(path: Path) -> None:
    async with serving(path) as service, raw(path) as one:
        one.put({"t": "hello"})
        await one.get()
        async with raw(path) as two:
            two.put({"t": "hello"})
            await two.get()
            sending = asyncio.create_task(service.channel.send_part(part(MAIN, "Hello")))
            assert await one.get() == await two.get()
        one.put({"t": "ack", "key": "k1"})

        assert await sending == "k1"


async def test_typing_and_receipts_go_to_their_chat_alone(path: Path) -> None:
    async with serving(path) as service, attached(path) as client, attached(path, "other") as other:
        await service.channel.typing(MAIN, None)
        await service.channel.receipt(MAIN, "m1")
        await service.channel.receipt(ChatId("local:other"), "m2")

        assert await first(client, Typing) == Typing()
        assert await first(client, Receipt) == Receipt(id="m1")
        assert await anext(other.events()) == Receipt(id="m2")
        await service.channel.typing(ChatId("local:nobody"), None)


async def test_after_eof_settled_comes_when_nothing_is_open_any_more(path: Path) -> None:
    async with serving(path) as service, attached(path) as client:
        service.is_settled = False
        await client.eof()
        events = client.events()
        sending = asyncio.create_task(service.channel.send_part(part(MAIN, "the answer")))
        assert isinstance(await anext(events), Said)
        following = asyncio.ensure_future(anext(events))
        await sending
        assert not following.done()

        service.is_settled = True
        async with asyncio.timeout(10):
            assert await following == Settled()


async def test_a_code_is_made_without_attaching(path: Path) -> None:
    async with serving(path) as service, LocalClient(path) as client:
        await client.pair()

        assert await first(client, Code) == Code(code="482913")
        assert service.reachable == []


async def test_a_code_that_cannot_be_made_is_said_to_be_so(path: Path) -> None:
    async with serving(path) as service, LocalClient(path) as client:
        service.code = StoreUnavailableError("locked", safe="The database is busy.")
        await client.pair()

        assert await first(client, Trouble) == Trouble(text="The database is busy.")


@pytest.mark.parametrize(
    "line",
    ["no json", "[1]", "{}", '{"t":7}', '{"t":"fly"}', '{"t":"message","id":"1"}', '{"t":"message","id":"1","text":"  "}',
     '{"t":"message","id":5,"text":"x"}', '{"t":"ack"}', '{"t":"hello"}', "\\xff", "9" * 5000],
)  # fmt: skip
async def test_a_bad_line_is_answered_and_the_connection_stays(path: Path, line: str) -> None:
    async with serving(path) as service, raw(path) as client:
        client.put({"t": "hello"})
        await client.get()
        client.put(line)
        assert (await client.get())["t"] == "error"

        client.put({"t": "message", "id": "2", "text": "still here"})
        assert (await client.get())["t"] == "stored"
        assert service.gate.texts == ["still here"]


async def test_nothing_is_taken_before_the_hello(path: Path) -> None:
    async with serving(path) as service, raw(path) as client:
        for line in ({"t": "message", "id": "1", "text": "x"}, {"t": "eof"}):
            client.put(line)
            assert (await client.get())["t"] == "error"
        assert service.gate.offered == []


async def test_a_line_over_the_limit_ends_that_connection_alone(path: Path) -> None:
    async with serving(path) as service, attached(path) as other, raw(path) as client:
        client.put({"t": "hello", "chat": "big"})
        await client.get()
        client.put({"t": "message", "id": "1", "text": "x" * MAX_LINE_BYTES})
        assert "1 MiB" in (await client.get())["text"]
        assert await client.reader.read() == b""

        await other.send("hello")
        await first(other, Stored)
        assert service.gate.texts == ["hello"]


async def test_the_client_refuses_a_message_over_the_limit_itself(path: Path) -> None:
    async with serving(path), attached(path) as client:
        with pytest.raises(LineError):
            await client.send("x" * MAX_LINE_BYTES)


async def test_a_large_message_passes_both_ways(path: Path) -> None:
    text = "ü" * 300_000
    async with serving(path) as service, attached(path) as client:
        await client.send(text)
        await first(client, Stored)
        assert service.gate.texts == [text]

        parts = service.channel.split(text)
        sending = asyncio.create_task(service.channel.send_part(part(MAIN, parts[0])))
        assert (await first(client, Said)).text == parts[0]
        sending.cancel()
        await asyncio.wait({sending})


async def test_the_socket_is_for_this_user_alone_and_removed_at_the_end(path: Path) -> None:
    async with serving(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == []


async def test_a_socket_left_behind_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(path), attached(path):
        pass


async def test_a_socket_that_answers_is_another_services(path: Path) -> None:
    async with serving(path) as service:
        with pytest.raises(BadInputError, match="another NanoClaw uses this socket"):
            await Service(path).channel.start(Gate())

        async with attached(path) as client:
            await client.send("still there")
            await first(client, Stored)
        assert service.gate.texts == ["still there"]


async def test_a_file_in_the_way_is_said_plainly(path: Path) -> None:
    path.write_text("not a socket")
    with pytest.raises(BadInputError, match="is no socket"):
        await Service(path).channel.start(Gate())
    assert path.read_text() == "not a socket"


async def test_a_folder_deeper_than_a_socket_address_serves_all_the_same(path: Path) -> None:
    deep = path.parent / ("x" * 120)
    deep.mkdir()
    service = Service(deep / "chat.sock")
    await service.channel.start(Gate())
    try:
        async with LocalClient(deep / "chat.sock") as client:
            assert (await client.hello()).assistant
    finally:
        await service.channel.stop()


async def test_stop_finishes_the_message_in_hand(path: Path) -> None:
    async with serving(path) as service, raw(path) as client:
        service.gate.stuck = asyncio.Event()
        client.put({"t": "hello"})
        await client.get()
        client.put({"t": "message", "id": "1", "text": "one"})
        client.put({"t": "message", "id": "2", "text": "two"})
        await service.gate.until(lambda: service.gate.offered)
        stopping = asyncio.create_task(service.channel.stop())
        await asyncio.sleep(0)
        service.gate.stuck.set()
        await stopping

        assert service.gate.texts == ["one"]
        assert await client.get() == {"t": "stored", "id": "1"}
        assert await client.reader.read() == b""


async def test_no_service_is_a_plain_connection_error(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await LocalClient(path).connect()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(ConnectionRefusedError):
        await LocalClient(path).connect()


async def test_half_a_surrogate_pair_reaches_nobody(path: Path) -> None:
    async with serving(path) as service, raw(path) as client:
        client.put({"t": "hello"})
        await client.get()
        client.put({"t": "message", "id": "1", "text": "a\ud800b"})
        await client.get()

        assert service.gate.texts == ["a\ufffdb"]


def test_a_newer_server_is_understood_as_far_as_possible() -> None:
    assert decode_event(b'{"t":"stored","id":"1","at":"now"}') == Stored(id="1")
    assert decode_event(b'{"t":"sparkle"}') is None
    with pytest.raises(LineError):
        decode_event(b'{"t":"stored"}')
