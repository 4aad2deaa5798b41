"""A stored conversation as people read it: nothing that was said is cut or lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from nanoclaw import conversations, prompt
from nanoclaw.domain import EventId, KeptAttachment, Quote, StoredMessage, TurnId
from nanoclaw.stores import KeptRow
from tests.sqlite.vault import FAMILY, NOW

UTC = ZoneInfo("UTC")
TYPED = st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1).filter(
    lambda text: bool(prompt.escape(text).strip())
)


def message(text: str, **changes: Any) -> StoredMessage:
    given_: dict[str, Any] = {
        "seq": 1, "chat_id": FAMILY.chat_id, "message_id": "m1", "sender": "tg:7", "sender_name": "Ada", "text": text,
        "sent_at": NOW, "outcome": "answered", "event_id": EventId("e"),
    }  # fmt: skip
    return StoredMessage(**(given_ | changes))


def user(*messages: StoredMessage) -> KeptRow:
    return row("user", {"type": "text", "text": prompt.messages_xml(messages, UTC)})


def row(role: str, *blocks: dict[str, Any], at: int = 0) -> KeptRow:
    return KeptRow(id=1, turn_id=TurnId("t"), role=role, content=blocks, at=NOW + timedelta(minutes=at))


def spoken(*rows: KeptRow) -> list[conversations.Said]:
    return conversations.spoken(rows, assistant_name="Andy", zone=UTC)


@given(st.lists(TYPED, min_size=1, max_size=4))
def test_whatever_people_type_stands_whole_in_the_archive(texts: list[str]) -> None:
    said = spoken(user(*(message(text) for text in texts)))
    plain = [conversations_text(text) for text in texts]

    assert [each.text for each in said] == plain
    file = conversations.archive(said, title="T", zone=UTC)
    assert all(text in file for text in plain)


def conversations_text(text: str) -> str:
    """As far as XML can hold it."""
    return prompt._NOT_XML.sub("", text).strip()


def test_quotes_and_files_are_named_beside_the_words() -> None:
    file = KeptAttachment(
        id=1,
        kind="document",
        ref="r",
        name='a "b".txt',
        path="attachments/1.txt",
        state="kept",
        text="<inside>",
    )
    quote = Quote(message_id="q", text="at 5?", sender_name="Bo & Co")
    (said,) = spoken(user(message("yes", quote=quote, attachments=(file,))))

    assert said.who == "Ada"
    assert said.text == '> Bo & Co: at 5?\nyes\n[document a "b".txt attachments/1.txt]\n<inside>'


def test_tools_are_short_and_say_how_much_there_was() -> None:
    said = spoken(
        row("assistant", {"type": "thinking", "thinking": "hm"}),
        row("assistant", {"type": "tool_use", "id": "u", "name": "bash", "input": {"c": "x" * 900}}),
        row("user", {"type": "tool_result", "tool_use_id": "u", "content": "y" * 2000, "is_error": True}),
        row("assistant", {"type": "text", "text": "z" * 5000}),
    )  # fmt: skip

    tool, answer = said
    assert tool.text.startswith('`bash` {"c": "xxx')
    assert "… (909 characters) → (failed) yyy" in tool.text
    assert tool.text.endswith("… (2000 characters)")
    assert answer.text == "z" * 5000
    assert conversations.messages_in(said) == 1


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=30), st.integers(500, 20_000))
def test_what_is_summed_up_keeps_to_its_room_and_says_what_is_missing(sizes: list[int], budget: int) -> None:
    said = [
        conversations.Said(kind="answer", who="Andy", when="now", text=f"{n} " + "ü" * size, at=NOW)
        for n, size in enumerate(sizes)
    ]
    text = conversations.for_summary(said, budget)
    whole = conversations.for_summary(said, 1 << 30)

    assert len(text.encode()) <= budget + 100
    assert text == whole or "left out here" in text


def test_a_file_is_named_by_how_the_conversation_began() -> None:
    assert conversations.slug(spoken(user(message("Wann ist das Straßenfest, bitte? Ich möchte hin")))) == (
        "wann-ist-das-straenfest-bitte-ich"
    )
    assert conversations.slug(spoken(user(message("x" * 60)))) == "x" * 40
    assert conversations.slug(spoken(user(message("???")))) == "conversation"
    assert conversations.slug([]) == "conversation"
