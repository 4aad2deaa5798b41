"""A file is fetched once, lies where its group's agent can read it, or says in words why it does not."""

import asyncio
import io
import os
from pathlib import Path

import pytest
from PIL import Image

from nanoclaw.errors import FetchError, StoreUnavailableError
from tests.core.attachment_stage import file, staged
from tests.sqlite.vault import FAMILY


def drawn(form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(buffer, form)
    return buffer.getvalue()


async def test_a_file_comes_into_its_groups_folder_under_a_name_of_our_own() -> None:
    async with staged() as stage:
        found = await stage.had(drawn("JPEG"), kind="image", name="../../etc/passwd")

        assert (found.state, found.problem) == ("kept", None)
        assert found.path == f"attachments/20261120-090000-{found.id:04x}.jpg"
        assert (stage.group / found.path).read_bytes() == drawn("JPEG")
        assert found.size_bytes == len(drawn("JPEG"))
        assert stage.vault.rows("SELECT state, path FROM attachments") == [("kept", found.path)]


@pytest.mark.parametrize(
    ("data", "name", "suffix"),
    [
        (drawn(), "photo.exe", "png"),
        (b"%PDF-1.7 and so on", "bill", "pdf"),
        (b"PK\x03\x04 and so on", "Letter.DOCX", "docx"),
        (b"PK\x03\x04 and so on", "letter.exe", "zip"),
        (b"OggS and so on", "voice.oga", "oga"),
        (b"\0\0\0\x18ftypisom", None, "mp4"),
        (b"print('hi')\n", "hello.py", "py"),
        (b"nothing but words", "picture.png", "txt"),
        (b"nothing but words", "a.tar/../x", "txt"),
        (b"\x7fELF\x01\x01\x00", "tool.py", "bin"),
        (b"", None, "txt"),
    ],
)
async def test_its_suffix_says_what_it_is_whatever_it_is_called(
    data: bytes, name: str | None, suffix: str
) -> None:
    async with staged() as stage:
        found = await stage.had(data, name=name, kind="video")
        assert Path(found.path or "").suffix == f".{suffix}"


async def test_all_files_of_a_batch_are_fetched_side_by_side_and_once() -> None:
    async with staged() as stage:
        stage.service.files = {ref: b"text " + ref.encode() for ref in ("a", "b", "c")}
        stage.service.held = asyncio.Event()
        one = await stage.message(file("a"), file("b"))
        two = await stage.message(file("c"))
        both = [asyncio.create_task(stage.ready(one, two)) for _ in range(2)]
        await stage.until(lambda: len(stage.service.asked) == 3)
        stage.service.held.set()
        first, second = [await task for task in both]

        assert [[a.text for a in m.attachments] for m in first] == [["text a", "text b"], ["text c"]]
        assert first == second
        await stage.ready(one, two)
        assert sorted(stage.service.asked) == ["a", "b", "c"]


async def test_messages_without_files_stay_as_they_are() -> None:
    async with staged() as stage:
        message = await stage.message()
        assert await stage.ready(message) == [message]


@pytest.mark.parametrize("size", [50_001, None])
async def test_a_file_that_is_too_large_is_refused_before_or_after(size: int | None) -> None:
    async with staged() as stage:
        found = await stage.had(b"x" * 50_001, size_bytes=size)

        assert found.problem == "could not be fetched: too large (0.1 MB, limit 0.1 MB)"
        assert stage.service.asked == ([] if size else ["f1"])
        assert stage.vault.rows("SELECT state, problem FROM attachments") == [("failed", found.problem)]
        ((event,),) = stage.vault.rows(
            "SELECT triggered_by FROM action_log WHERE action_type = 'attachment_failed'"
        )
        assert event == stage.vault.value("SELECT event_id FROM messages")


async def test_sizes_are_told_as_people_read_them() -> None:
    async with staged(max_bytes=20 * 1024 * 1024) as stage:
        found = await stage.had(b"", size_bytes=35 * 1024 * 1024)
        assert found.problem == "could not be fetched: too large (35 MB, limit 20 MB)"


async def test_a_failure_that_may_pass_is_tried_three_times() -> None:
    async with staged() as stage:
        found = await stage.had(FetchError("503", final=False, safe="the service is busy"))

        assert stage.service.asked == ["f1"] * 3
        assert found.problem == "could not be fetched: the service is busy"


async def test_a_channel_that_is_just_coming_up_is_waited_for() -> None:
    async with staged(retry_delays_s=()) as stage:
        stage.service.away_for = 3
        found = await stage.had(b"text")

        assert (found.state, stage.service.asked) == ("kept", ["f1"])
        assert stage.service.away_for < 0, "it was asked before it was up"


async def test_a_channel_that_stays_away_costs_the_file_and_not_the_message() -> None:
    async with staged(retry_delays_s=(), fetch_timeout_s=0.05) as stage:
        stage.service.away_for = 1000
        found = await stage.had(FetchError("gone", final=False, safe="it is not connected"))

        assert found.problem == "could not be fetched: it is not connected"


async def test_a_final_failure_is_not_tried_again() -> None:
    async with staged() as stage:
        found = await stage.had(FetchError("404", final=True, safe="it is gone"))

        assert stage.service.asked == ["f1"]
        assert found.problem == "could not be fetched: it is gone"


async def test_a_service_that_hangs_is_given_up() -> None:
    async with staged(fetch_timeout_s=0.01) as stage:
        stage.service.held = asyncio.Event()
        found = await stage.had(b"never")

        assert found.problem == "could not be fetched: the chat service did not hand it over in time"
        assert stage.service.asked == ["f1"] * 3
        assert list(stage.passage.iterdir()) == []


async def test_a_channel_with_a_fault_of_its_own_costs_one_file_only() -> None:
    async with staged() as stage:
        stage.service.files = {"bad": KeyError("secret detail"), "good": b"fine"}
        message = await stage.message(file("bad"), file("good"))
        (told,) = await stage.ready(message)

        assert [a.problem for a in told.attachments] == [
            "could not be fetched: something went wrong on the server", None,
        ]  # fmt: skip


async def test_a_chat_service_that_is_not_set_up_any_more_is_said() -> None:
    async with staged() as stage:
        stage.here = False
        found = await stage.had(b"x")
        assert found.problem == "could not be fetched: its chat service is not set up any more"


async def test_a_full_folder_takes_no_file() -> None:
    async with staged() as stage:
        stage.full.add(FAMILY.folder)
        found = await stage.had(b"x")

        assert found.problem == "could not be fetched: the folder of this chat is full"
        assert not (stage.group / "attachments").exists()


@pytest.mark.parametrize("where", ["attachments", "attachments/f"])
async def test_no_link_of_an_agent_leads_a_file_elsewhere(where: str) -> None:
    async with staged() as stage:
        elsewhere = stage.root / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "mine").write_text("mine")
        message = await stage.message(file(kind="video"))
        stage.service.files = {"f1": b"theirs"}
        if where == "attachments":
            (stage.group / "attachments").symlink_to(elsewhere)
        else:
            (stage.group / "attachments").mkdir()
            name = f"20261120-090000-{message.attachments[0].id:04x}.txt"
            (stage.group / "attachments" / name).symlink_to(elsewhere / "mine")
            (stage.group / "attachments" / f".{name}.part").symlink_to(elsewhere / "mine")
        ((found,),) = [told.attachments for told in await stage.ready(message)]

        assert sorted(path.name for path in elsewhere.iterdir()) == ["mine"]
        assert (elsewhere / "mine").read_text() == "mine"
        assert found.state == ("failed" if where == "attachments" else "kept")
        if found.path:
            assert not (stage.group / found.path).is_symlink()


async def test_what_a_stop_cuts_off_is_fetched_again_and_leaves_nothing() -> None:
    async with staged() as stage:
        stage.service.files = {"f1": b"whole"}
        stage.service.held = asyncio.Event()
        message = await stage.message(file())
        asking = asyncio.create_task(stage.ready(message))
        await stage.service.waiting.wait()
        await stage.attachments.stop()
        await asyncio.gather(asking, return_exceptions=True)
        assert list(stage.passage.iterdir()) == []
        assert stage.vault.rows("SELECT state FROM attachments") == [("waiting",)]

        stage.service.held = None
        stage.build()
        ((found,),) = [told.attachments for told in await stage.ready(message)]
        assert (stage.group / (found.path or "")).read_bytes() == b"whole"


async def test_a_file_that_was_put_away_before_a_crash_is_not_there_twice() -> None:
    async with staged() as stage:
        found = await stage.had(b"first")
        (stage.group / "attachments" / f".{Path(found.path or '').name}.part").write_bytes(b"half")
        await stage.vault.sql("UPDATE attachments SET state = 'waiting', path = NULL")
        (stage.passage / "1-left").write_bytes(b"left")
        await stage.attachments.sweep()
        assert list(stage.passage.iterdir()) == []

        (message,) = (await stage.vault.store.mailbox.open_messages(FAMILY.chat_id, context=0)).waiting
        ((again,),) = [told.attachments for told in await stage.ready(message)]
        assert again.path == found.path
        assert [path.name for path in (stage.group / "attachments").iterdir()] == [
            Path(found.path or "").name
        ]


async def test_somebody_who_stops_waiting_does_not_stop_the_fetch_of_another() -> None:
    async with staged() as stage:
        stage.service.files = {"f1": b"whole"}
        stage.service.held = asyncio.Event()
        message = await stage.message(file())
        leaves, stays = (asyncio.create_task(stage.ready(message)) for _ in range(2))
        await stage.service.waiting.wait()
        leaves.cancel()
        await asyncio.gather(leaves, return_exceptions=True)
        stage.service.held.set()

        assert [a.text for told in await stays for a in told.attachments] == ["whole"]


async def test_a_message_that_was_withdrawn_meanwhile_brings_nothing() -> None:
    async with staged() as stage:
        message = await stage.message(file())
        await stage.vault.sql("DELETE FROM messages")
        ((found,),) = [told.attachments for told in await stage.ready(message)]

        assert (found.state, found.problem) == ("failed", "it was withdrawn")
        assert stage.service.asked == []


async def test_a_store_that_is_away_is_an_outage_and_no_fault_of_the_file() -> None:
    async with staged() as stage:
        message = await stage.message(file())
        stage.service.files = {"f1": b"x"}
        await stage.vault.store.writer.stop()
        with pytest.raises(StoreUnavailableError):
            await stage.ready(message)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
async def test_an_agent_owns_the_files_that_we_bring_it() -> None:
    async with staged() as stage:
        os.chown(stage.group, 4711, 4712)
        found = await stage.had(b"x")
        for path in (stage.group / "attachments", stage.group / (found.path or "")):
            assert (path.stat().st_uid, path.stat().st_gid) == (4711, 4712)


# --- what documents say ------------------------------------------------------------------------------------


async def test_documents_share_what_room_there_is_for_their_text() -> None:
    async with staged() as stage:
        stage.service.files = {"a": b"a" * 700, "b": b"b" * 700, "c": b"c" * 700}
        (told,) = await stage.ready(await stage.message(*(file(ref) for ref in "abc")))
        first, second, third = told.attachments

        assert (first.text, first.text_cut) == ("a" * 700, False)
        assert (second.text, second.text_cut) == ("b" * 300, True)
        assert (third.text, third.problem) == (
            None, "its text is not shown: there is too much of it beside the others",
        )  # fmt: skip
        assert third.state == "kept"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"%PDF-1.7 and no more", "its text cannot be shown: it is damaged, or not what it says it is"),
        (b"  \n", "there is no text in it"),
    ],
)
async def test_a_document_without_text_is_kept_all_the_same(data: bytes, problem: str) -> None:
    async with staged() as stage:
        found = await stage.had(data)
        assert (found.state, found.text, found.problem) == ("kept", None, problem)
        assert (stage.group / (found.path or "")).read_bytes() == data
        assert stage.vault.rows("SELECT state, problem FROM attachments") == [("kept", None)]


@pytest.mark.parametrize(
    ("data", "kind"), [(b"OggS", "voice"), (drawn(), "image"), (drawn(), "document"), (b"\0\1\2", "document")]
)
async def test_only_documents_are_searched_for_text(data: bytes, kind: str) -> None:
    async with staged() as stage:
        found = await stage.had(data, kind=kind)
        assert (found.state, found.text, found.problem) == ("kept", None, None)
