"""Whatever a crash left of a conversation, the API takes what is made of it, and nothing that was said is missing."""

import itertools
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw.testing.messages_rules import check
from nanoclaw.testing.messages_stream import signature
from nanoclaw.transcript import (
    INTERRUPTED,
    NOT_CARRIED_OUT,
    assemble,
    needs_user,
    picture,
    pictures,
    with_pictures,
)

Block = dict[str, Any]
Row = tuple[str, list[Block]]


def text(words: str) -> Block:
    return {"type": "text", "text": words}


def use(call: str, name: str = "read") -> Block:
    return {"type": "tool_use", "id": call, "name": name, "input": {"path": "x"}}


def result(call: str, words: str = "ok") -> Block:
    return {"type": "tool_result", "tool_use_id": call, "content": words}


def thought(words: str) -> Block:
    return {"type": "thinking", "thinking": words, "signature": signature(words)}


class Scribe:
    """Writes a conversation as the host does: model call, results one by one, follow-ups, the next turn."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._n = 0
        self.rows: list[Row] = []

    def name(self, kind: str) -> str:
        self._n += 1
        return f"{kind}{self._n}"

    def turn(self) -> None:
        self.rows.append(("user", [text(self.name("asked"))]))
        for _ in range(self._draw(st.integers(0, 3))):
            self.step()
        if self._draw(st.booleans()):
            self.rows.append(("assistant", self.words() or [text(" ")]))

    def words(self) -> list[Block]:
        kinds = self._draw(st.lists(st.sampled_from(["thought", "said", "blank", "searched"]), max_size=3))
        blocks: list[Block] = []
        for kind in kinds:
            if kind == "thought":
                blocks.append(thought(self.name("thought")))
            elif kind == "said":
                blocks.append(text(self.name("said")))
            elif kind == "blank":
                blocks.append(text(self._draw(st.sampled_from(["", " ", "\n"]))))
            else:
                call = self.name("s")
                blocks += [
                    {"type": "server_tool_use", "id": call, "name": "web_search", "input": {}},
                    {"type": "web_search_tool_result", "tool_use_id": call, "content": []},
                ]
        return blocks

    def step(self) -> None:
        calls = [self.name("t") for _ in range(self._draw(st.integers(1, 3)))]
        names = [self._draw(st.sampled_from(["read", "send_message"])) for _ in calls]
        self.rows.append(("assistant", [*self.words(), *map(use, calls, names)]))
        for call in self._draw(st.permutations(calls)):
            self.rows.append(("user", [result(call, self.name("result"))]))
        if self._draw(st.booleans()):
            self.rows.append(("user", [text(self.name("follow_up"))]))


@st.composite
def conversations(draw: st.DrawFn) -> list[Row]:
    scribe = Scribe(draw)
    for _ in range(draw(st.integers(1, 3))):
        scribe.turn()
    return scribe.rows


@st.composite
def remains(draw: st.DrawFn) -> list[Row]:
    """What may be left of a conversation: cut anywhere at either end, rows missing in the middle, rows that are empty."""
    rows = draw(conversations())
    start = draw(st.integers(0, min(2, len(rows))))
    end = draw(st.integers(start, len(rows)))
    kept = [row for row in rows[start:end] if draw(st.integers(0, 9))]
    if draw(st.booleans()):
        kept.insert(draw(st.integers(0, len(kept))), (draw(st.sampled_from(["user", "assistant"])), []))
    return kept


def refused(messages: Sequence[dict[str, Any]]) -> None:
    """Raises what the API would say."""
    body = {"model": "m", "max_tokens": 10, "messages": list(messages)}
    check(body, version="2023-06-01", beta=False)


def blocks(messages: Sequence[dict[str, Any]], role: str) -> list[Block]:
    return [block for message in messages if message["role"] == role for block in message["content"]]


@given(
    remains(),
    st.dictionaries(st.sampled_from(["t2", "t3", "t4"]), st.tuples(st.booleans(), st.just("from the books"))),
)
@settings(deadline=None, max_examples=120)
def test_the_api_takes_whatever_is_left_of_a_conversation(
    rows: list[Row], known: dict[str, tuple[bool, str]]
) -> None:
    messages = assemble(rows, known, {"send_message"})
    if messages and needs_user(messages):
        messages.append({"role": "user", "content": [text("and now?")]})

    if messages:
        refused(messages)
    assert all(one["role"] != other["role"] for one, other in itertools.pairwise(messages))


@given(remains())
@settings(deadline=None, max_examples=120)
def test_nothing_that_was_said_is_lost_and_the_models_blocks_stay_as_they_were(rows: list[Row]) -> None:
    messages = assemble(rows)

    first = next(
        (n for n, (role, row) in enumerate(rows) if role == "user" and any(b["type"] == "text" for b in row)),
        None,
    )
    began = rows[first:] if first is not None else []
    said = [
        block for role, row in began if role == "assistant" for block in row if block.get("text", "x").strip()
    ]
    asked = [block for role, row in rows if role == "user" for block in row if block["type"] == "text"]
    assert blocks(messages, "assistant") == said
    assert [block for block in blocks(messages, "user") if block["type"] == "text"] == asked


@given(conversations())
@settings(deadline=None)
def test_a_whole_conversation_keeps_every_result(rows: list[Row]) -> None:
    given_results = [block for role, row in rows for block in row if block["type"] == "tool_result"]

    assert [
        block for block in blocks(assemble(rows), "user") if block["type"] == "tool_result"
    ] == given_results


@given(conversations())
@settings(deadline=None)
def test_assembling_changes_nothing_of_what_is_stored(rows: list[Row]) -> None:
    before = repr(rows)
    first = assemble(rows)
    first[0]["content"].append(text("added"))

    assert repr(rows) == before
    assert assemble(rows)[0]["content"][-1] != text("added")


def test_a_tool_that_was_cut_off_may_have_happened_and_one_of_the_host_did_not() -> None:
    rows: list[Row] = [
        ("user", [text("go")]),
        ("assistant", [use("t1"), use("t2", "send_message"), use("t3", "send_message"), use("t4")]),
        ("user", [result("t4", "done")]),
    ]
    messages = assemble(rows, {"t3": (True, "On its way."), "t1": (False, "no")}, {"send_message"})

    assert messages[-1]["content"] == [
        result("t4", "done"),
        {"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True},
        {"type": "tool_result", "tool_use_id": "t2", "content": NOT_CARRIED_OUT, "is_error": True},
        {"type": "tool_result", "tool_use_id": "t3", "content": "On its way."},
    ]
    assert assemble(rows)[-1]["content"][1]["content"] == INTERRUPTED


def test_what_a_follow_up_said_stands_after_all_results() -> None:
    rows: list[Row] = [
        ("user", [text("go")]),
        ("assistant", [use("t1")]),
        ("user", [text("and hurry"), result("t1")]),
    ]

    assert assemble(rows)[-1]["content"] == [result("t1"), text("and hurry")]


def test_a_conversation_needs_a_person_unless_one_spoke_last() -> None:
    assert needs_user([])
    assert needs_user(assemble([("user", [text("hi")]), ("assistant", [text("hello")])]))
    assert not needs_user(assemble([("user", [text("hi")])]))
    assert not needs_user(assemble([("user", [text("hi")]), ("assistant", [use("t1")])]))


LOOK = {"type": "image", "source": {"type": "url", "url": "x"}}


def test_a_picture_is_shown_in_its_own_turn_and_named_in_later_ones() -> None:
    rows: list[Row] = [
        ("user", [picture("attachments/a.jpg"), text("what is this?")]),
        ("assistant", [text("a cat")]),
        ("user", [picture("attachments/b.jpg"), text("and this?")]),
        ("user", [picture("attachments/c.jpg"), text("or this?")]),
    ]
    own = [False, False, True, True]

    assert pictures(rows, own) == ["attachments/b.jpg", "attachments/c.jpg"]
    shown = with_pictures(rows, own, {"attachments/b.jpg": LOOK, "attachments/a.jpg": LOOK})
    assert [block for _, blocks in shown for block in blocks] == [
        text("[image attachments/a.jpg, shown earlier]"),
        text("what is this?"),
        text("a cat"),
        LOOK,
        text("and this?"),
        text("[image attachments/c.jpg, shown earlier]"),
        text("or this?"),
    ]


def test_rows_that_nobody_calls_a_turns_own_show_nothing() -> None:
    rows: list[Row] = [("user", [picture("attachments/a.jpg")])]

    assert pictures(rows, []) == []
    assert with_pictures(rows, [], {"attachments/a.jpg": LOOK})[0][1] == [
        text("[image attachments/a.jpg, shown earlier]")
    ]


def test_pictures_of_a_follow_up_stand_after_the_results_of_the_tools() -> None:
    rows: list[Row] = [
        ("user", [text("go")]), ("assistant", [use("1"), use("2")]), ("user", [result("1")]),
        ("user", [LOOK, text("and this?")]), ("user", [result("2")]),
    ]  # fmt: skip
    kinds = [block["type"] for block in assemble(rows)[-1]["content"]]
    assert kinds[:2] == ["tool_result", "tool_result"]
    assert kinds[2:] == ["image", "text"]
