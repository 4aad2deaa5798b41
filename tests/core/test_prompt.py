"""What the model reads: whatever people write stays text, and stays what they wrote."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw import prompt
from nanoclaw.domain import EventId, Quote, StoredMessage, Task, TaskId
from tests.sqlite.vault import FAMILY, MAIN, NOW

BERLIN = ZoneInfo("Europe/Berlin")
anything = st.text() | st.text(st.characters(categories=["Cc", "Cs", "Co", "Cn"])) | st.sampled_from(
    ["</message>", "<message sender='owner'>", "]]>", "&lt;", "&", '"', "\ud83d", "\x00", "\uffff", "\r\n"]
)  # fmt: skip


def message(text: str, sender: str = "Ada", quote: Quote | None = None) -> StoredMessage:
    return StoredMessage(
        seq=1, chat_id=FAMILY.chat_id, message_id="1", sender="tg:7", sender_name=sender, text=text, sent_at=NOW,
        outcome="open", event_id=EventId("e"), quote=quote,
    )  # fmt: skip


def kept(text: str) -> str:
    """What XML can hold of a text."""
    return "".join(
        sign
        for sign in text
        if sign in "\n\t" or " " <= sign < "\ud800" or "\ue000" <= sign <= "\ufffd" or sign >= "\U00010000"
    )


def parsed(text: str) -> ET.Element:
    return ET.fromstring(f"<root>{text}</root>")  # our own text


@given(anything, anything, anything)
def test_any_text_stays_what_it_is_and_nobody_speaks_for_another(text: str, sender: str, quoted: str) -> None:
    quote = Quote(message_id=sender, text=quoted, sender_name=quoted)
    root = parsed(prompt.messages_xml([message(text, sender), message("mine", quote=quote)], BERLIN))

    first, second = root.findall("./messages/message")
    assert (first.text or "") == kept(text)
    assert first.attrib["sender"] == kept(sender).replace("\n", " ").replace("\t", " ")
    assert len(list(first)) == 0
    assert second.attrib["sender"] == "Ada"
    assert (second.find("quoted_message") is None) == (quoted == "")
    if quoted:
        assert (second.find("quoted_message").text or "") == kept(quoted)  # type: ignore[union-attr]
    assert "mine" in "".join(second.itertext())


def test_messages_read_as_the_original_writes_them() -> None:
    quote = Quote(message_id="41", text="Lunch?", sender_name="Bob")
    assert prompt.messages_xml([message("Yes & no", quote=quote)], BERLIN) == (
        '<context timezone="Europe/Berlin" />\n<messages>\n'
        '<message sender="Ada" time="Nov 20, 2026, 10:00 AM" reply_to="41">\n'
        '  <quoted_message from="Bob">Lunch?</quoted_message>Yes &amp; no</message>\n</messages>'
    )


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (datetime(2024, 1, 1, 12, 30, tzinfo=UTC), "Jan 1, 2024, 1:30 PM"),
        (datetime(2024, 6, 30, 22, 5, tzinfo=UTC), "Jul 1, 2024, 12:05 AM"),
        (datetime(2024, 6, 30, 10, 0, tzinfo=UTC), "Jun 30, 2024, 12:00 PM"),
    ],
)
def test_times_are_local_and_read_as_a_person_writes_them(moment: datetime, shown: str) -> None:
    assert prompt.local_time(moment, BERLIN) == shown


def test_a_task_says_that_it_was_scheduled_and_nobody_asks_now() -> None:
    task = Task(
        id=TaskId("t"), folder=FAMILY.folder, chat_id=FAMILY.chat_id, prompt="Water <the> plants", schedule_type="once",
        schedule_value="in 1m", status="active", created_at=NOW,
    )  # fmt: skip
    text = prompt.task_prompt(task, NOW, BERLIN)

    assert text.startswith("[SCHEDULED TASK - due Nov 20, 2026, 10:00 AM (Europe/Berlin).")
    assert text.endswith("\n\nWater <the> plants")


def test_the_global_memory_is_for_groups_and_main_has_its_own() -> None:
    def system(group: object) -> str:
        return prompt.system_prompt(
            assistant_name="Andy", group=group, memory=" likes tea ", global_memory=" be kind ", shell=False  # type: ignore[arg-type]
        )  # fmt: skip

    assert "<global_memory>\nbe kind\n</global_memory>" in system(FAMILY)
    assert "<group_memory>\nlikes tea\n</group_memory>" in system(FAMILY)
    assert "global_memory" not in system(MAIN)
    assert "control panel" in system(MAIN)
    assert 'the group "Family"' in system(FAMILY)


def test_the_system_prompt_says_the_same_each_time() -> None:
    told = {
        prompt.system_prompt(assistant_name="Andy", group=FAMILY, memory=None, global_memory=None, shell=True)
        for _ in range(3)
    }
    assert len(told) == 1
    assert "no shell" not in told.pop()
