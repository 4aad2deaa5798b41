"""`send_file`: what an agent may send, to whom, and that it is sent as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.domain import ChatId, RunId
from nanoclaw.file_tools import SendFile
from nanoclaw.ports import Capabilities, Channel, PlainChannel
from nanoclaw.rooms import Room
from nanoclaw.spool import Spool
from nanoclaw.stores import Started
from nanoclaw.wire import HostCall
from tests.sqlite.vault import FAMILY, MAIN, RUN, Vault, opened

PNG = b"\x89PNG\r\n\x1a\n rest"


class Carrier(PlainChannel):
    name = "carrier"

    def __init__(self, limit_bytes: int) -> None:
        self.capabilities = Capabilities(guarantee="", keeps_for_us="", max_file_bytes=limit_bytes)


class Desk:
    """An agent at its desk: `await desk.send(path="a.txt")` gives (ok, what it was told)."""

    def __init__(self, vault: Vault, root: Path, started: Started) -> None:
        self.vault = vault
        self.root = root
        self.started = started
        self.carrier = Carrier(5000)
        self.spool = Spool(root / "spool")
        self.folder = root / FAMILY.folder
        self.folder.mkdir()
        self._calls = 0

    def _channel_of(self, chat_id: ChatId) -> Channel | None:
        assert chat_id
        return self.carrier  # type: ignore[return-value]  # what is used of one

    async def send(self, call: str | None = None, **given: Any) -> tuple[bool, str]:
        self._calls += 1
        tool = SendFile(
            open_file=lambda folder, path: Room(self.root / folder).open_file(path),
            spool=self.spool,
            groups=lambda: [MAIN, FAMILY],
            channel_of=self._channel_of,
            max_bytes=2_000_000,
        ).tool()
        frame = HostCall(
            turn=self.started.turn.id, call=call or f"c{self._calls}", name=tool.name, input=given
        )
        _, result = await self.vault.store.runs.host_call(
            RUN, self._calls, frame, self.started.turn, tool, self.vault.clock.now()
        )
        return result.ok, result.content

    def entries(self, columns: str) -> list[tuple[Any, ...]]:
        return self.vault.rows(f"SELECT {columns} FROM outbox ORDER BY ord")

    def left(self) -> int:
        return self.spool.used_bytes()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened(tmp_path) as vault:
        yield Desk(vault, tmp_path, await vault.turn())


async def test_a_file_is_sent_as_it_was_when_it_was_asked_for(desk: Desk) -> None:
    (desk.folder / "sub").mkdir()
    (desk.folder / "sub" / "report.pdf").write_bytes(b"%PDF-1")
    ok, told = await desk.send(path="sub/report.pdf", caption="Here you are")
    (desk.folder / "sub" / "report.pdf").write_bytes(b"changed")

    assert (ok, told) == (True, "report.pdf is on its way to Family.")
    ((kind, text, name, mime, chat, path),) = desk.entries(
        "kind, text, file_name, mime, chat_jid, spool_path"
    )
    assert (kind, text, name, mime) == ("file", "Here you are", "report.pdf", "application/pdf")
    assert chat == FAMILY.chat_id
    assert desk.spool.path(path).read_bytes() == b"%PDF-1"
    assert desk.vault.rows(
        "SELECT action_type, content FROM action_log WHERE action_type = 'message_sent'"
    ) == [("message_sent", "[file: report.pdf] Here you are")]


async def test_an_empty_file_is_refused_before_a_chat_service_does(desk: Desk) -> None:
    (desk.folder / "empty.txt").touch()

    ok, told = await desk.send(path="empty.txt")
    assert not ok
    assert "empty" in told
    assert (desk.entries("key"), desk.left()) == ([], 0)


async def test_the_path_of_a_container_is_understood_and_pictures_are_pictures(desk: Desk) -> None:
    (desk.folder / "cat").write_bytes(PNG)
    (desk.folder / "fake.png").write_bytes(b"text")
    assert (await desk.send(path="/workspace/group/cat"))[0]
    assert (await desk.send(path="./fake.png"))[0]
    assert desk.entries("kind, text") == [("picture", ""), ("file", "")]


async def test_the_same_call_sends_one_file(desk: Desk) -> None:
    (desk.folder / "a.txt").write_text("a")
    first = await desk.send(call="c", path="a.txt")
    assert await desk.send(call="c", path="a.txt") == first
    assert len(desk.entries("1")) == 1
    assert desk.left() == 1


@pytest.mark.parametrize(
    "path", ["link.txt", "door/secret.txt", "../secret.txt", "/etc/hostname", "pipe", "sub"]
)
async def test_nothing_outside_of_the_folder_is_sent_and_nothing_that_is_no_file(
    desk: Desk, path: str
) -> None:
    import os  # noqa: PLC0415 - for the pipe alone

    (desk.root / "secret.txt").write_text("secret")
    (desk.folder / "link.txt").symlink_to(desk.root / "secret.txt")
    (desk.folder / "door").symlink_to(desk.root)
    (desk.folder / "sub").mkdir()
    os.mkfifo(desk.folder / "pipe")
    ok, told = await desk.send(path=path)

    assert not ok
    assert "secret.txt" not in told.replace(path, "")
    assert (desk.entries("1"), desk.left()) == ([], 0)


async def test_what_cannot_be_sent_is_refused_with_a_reason(desk: Desk) -> None:
    (desk.folder / "large").write_bytes(bytes(5001))
    (desk.folder / "a.txt").write_text("a")
    assert await desk.send(path="none.txt") == (False, "there is no file none.txt in your folder")
    assert (await desk.send(path="large"))[1].startswith("the file is larger than")
    assert await desk.send(path="a.txt", caption="x" * 901) == (
        False,
        "caption must be at most 900 characters",
    )
    assert await desk.send(path="") == (False, "path is missing")
    assert await desk.send(path=7) == (False, "path must be a short text")
    desk.carrier = Carrier(0)
    assert await desk.send(path="a.txt") == (False, "no files can be sent to Family (through carrier)")
    assert (desk.entries("1"), desk.left()) == ([], 0)


async def test_another_chat_is_for_main_alone(desk: Desk, tmp_path: Path) -> None:
    (desk.folder / "a.txt").write_text("a")
    assert await desk.send(path="a.txt", chat="main") == (
        False,
        "only the main chat may send to another group",
    )
    assert (await desk.send(path="a.txt", chat=FAMILY.folder))[0]

    desk.started = await desk.vault.turn("hi", MAIN, run=RunId("run-2"))
    (tmp_path / MAIN.folder).mkdir()
    (tmp_path / MAIN.folder / "b.txt").write_text("b")
    assert await desk.send(path="b.txt", chat="nobody") == (False, "'nobody' names no registered groups")
    assert await desk.send(path="b.txt", chat=FAMILY.folder) == (True, "b.txt is on its way to Family.")
    assert desk.entries("chat_jid, file_name") == [(FAMILY.chat_id, "a.txt"), (FAMILY.chat_id, "b.txt")]
