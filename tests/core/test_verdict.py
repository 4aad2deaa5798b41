"""What becomes of a turn: one closed decision for each way in which an agent can be done."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.domain import ActionId, EventId, SessionId, Turn, TurnId
from nanoclaw.verdict import OUTAGE_TEXT, Verdict, judge_end, judge_error, strip_internal, too_long
from nanoclaw.wire import NOTHING_TO_DO, AgentError, TurnEnd
from tests.sqlite.vault import FAMILY, NOW

TURN = Turn(
    id=TurnId("t"), kind="messages", chat_id=FAMILY.chat_id, folder=FAMILY.folder, session_id=SessionId("s"),
    action_id=ActionId("a"), event_id=EventId("e"), state="running", tries=0, started_at=NOW,
)  # fmt: skip


def ended(text: str, status: Any = "done", *, turn: Turn = TURN, empty_before: bool = False) -> Verdict:
    return judge_end(
        turn, TurnEnd(turn="t", status=status, text=text, model_calls=7), empty_before=empty_before
    )


def test_an_answer_is_an_answer() -> None:
    assert ended(" **42** \n") == Verdict(state="answered", reply="**42**")
    assert ended("<internal>hm</internal>42") == Verdict(state="answered", reply="42")


def test_silence_has_to_be_chosen() -> None:
    assert ended("<internal>nothing to say</internal>").state == "silent"
    assert ended("<internal>nothing to say").state == "silent"
    assert ended("", turn=replace(TURN, silent_by_tool=True)).state == "silent"


def test_a_script_that_found_nothing_is_the_reason_for_the_silence() -> None:
    assert ended(f"<internal>{NOTHING_TO_DO}</internal>").reason == "script: nothing to do"
    assert ended("<internal>a secret thought</internal>").reason == "the agent chose to say nothing"


@pytest.mark.parametrize("text", ["", "  \n", "<internal></internal>", "<internal>  ", "</internal>"])
def test_an_empty_answer_is_tried_once_more_and_then_it_failed(text: str) -> None:
    assert (ended(text).state, ended(text).again) == (None, "empty")
    assert ended(text, empty_before=True).state == "failed"
    assert "twice" in ended(text, empty_before=True).reason


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("max_turns", "I stopped after 7 model calls"),
        ("repeated", "repeating the same step"),
        ("time_limit", "ran out of time"),
        ("refused", "declined"),
    ],
)
def test_an_end_before_the_end_is_told_with_what_there_is(status: str, why: str) -> None:
    told = ended("So far: 4<internal>x</internal>", status)
    assert told.state == "answered"
    assert told.reply.startswith("So far: 4\n\n(")
    assert why in told.reply
    assert why in told.reason
    silent = ended("<internal>x</internal>", status)
    assert (silent.state, silent.reply) == ("failed", "")
    assert why in silent.reason


def test_an_interrupted_turn_is_decided_by_who_interrupted_it() -> None:
    told = ended("half an ans", "interrupted")
    assert (told.state, told.again, told.reply) == (None, "interrupted", "")


@pytest.mark.parametrize(
    ("cause", "meant"),
    [
        ("credentials", "credentials"),
        ("proxy", "proxy"),
        ("network", "network"),
        ("model", "model"),
        ("overloaded", "model"),
    ],
)
def test_an_outage_is_nobodys_fault_and_says_what_is_broken(cause: str, meant: str) -> None:
    told = judge_error(AgentError(turn="t", kind="outage", cause=cause, detail="HTTP 529 secret detail"))
    assert (told.state, told.again, told.cause) == (None, "outage", meant)
    assert told.reason == OUTAGE_TEXT[meant]


def test_a_model_that_nobody_knows_is_an_outage_only_if_the_settings_name_it() -> None:
    unknown = AgentError(turn="t", kind="outage", cause="model", detail="HTTP 404", status=404)
    assert judge_error(unknown).again == "outage"
    told = judge_error(unknown, chosen="opus-99, the model that this task was given")
    assert (told.state, told.again) == ("failed", None)
    assert "opus-99" in told.reason
    busy = AgentError(turn="t", kind="outage", cause="model", detail="HTTP 529", status=529)
    assert judge_error(busy, chosen="opus-99").again == "outage"


def test_a_conversation_that_the_api_refuses_goes_back_to_before_the_turn() -> None:
    told = judge_error(AgentError(turn="t", kind="session", cause="invalid_request_error", detail="x" * 1000))
    assert (told.state, told.roll_back, told.again) == ("failed", True, None)
    assert len(told.reason) < 400


@pytest.mark.parametrize(("detail", "reason"), [("boom", "boom"), ("", "KeyError"), ("y" * 1000, "y" * 300)])
def test_a_fault_is_tried_again_with_its_reason(detail: str, reason: str) -> None:
    told = judge_error(AgentError(turn="t", kind="fault", cause="KeyError", detail=detail))
    assert (told.state, told.again, told.reason) == (None, "fault", reason)


@pytest.mark.parametrize(
    ("text", "visible", "internal"),
    [
        ("a<internal>b</internal>c", "ac", "b"),
        ("a<INTERNAL>b</Internal>c", "ac", "b"),
        ("<internal>a</internal>b<internal>c</internal>", "b", "a\nc"),
        ("a<internal>b", "a", "b"),
        ("<internal>a<internal>b</internal>c</internal>d", "d", "a\nb\nc"),
        ("<internal>a<internal>b</internal>c", "", "a\nb\nc"),
        ("a</internal>b", "ab", ""),
        ("a<internal >b</internal >c", "ac", "b"),
        ("1 < 2 <internally> </internals>", "1 < 2 <internally> </internals>", ""),
    ],
)
def test_what_is_internal_stays_inside(text: str, visible: str, internal: str) -> None:
    assert strip_internal(text) == (visible, internal)


pieces = st.lists(st.sampled_from(["<internal>", "</internal>", "<Internal>", "said", "\n"]), max_size=12)


@given(pieces)
def test_no_internal_word_is_ever_visible(given_pieces: list[str]) -> None:
    depth, shown, words = 0, [], []
    for n, piece in enumerate(given_pieces):
        if piece.lower() == "<internal>":
            depth += 1
        elif piece == "</internal>":
            depth = max(0, depth - 1)
        else:
            words.append(f"{piece}{n}")
            shown += [] if depth else [words[-1]]
    text = "".join(p if p.endswith("nternal>") else f"{p}{n}" for n, p in enumerate(given_pieces))

    visible, _ = strip_internal(text)

    for word in words:
        assert (word.strip() in visible) == (word in shown) or word.strip() in "".join(shown)
    assert "nternal>" not in visible


@pytest.mark.parametrize(
    ("kind", "cause", "detail", "long"),
    [
        ("session", "invalid_request_error", "HTTP 400: prompt is too long: 201000 tokens", True),
        ("session", "request_too_large", "HTTP 413: Request exceeds the maximum size", True),
        ("session", "invalid_request_error", "HTTP 400: maximum context length is 32768 tokens", True),
        ("session", "invalid_request_error", "HTTP 400: messages.3: roles must alternate", False),
        ("fault", "KeyError", "the name is too long", False),
    ],
)
def test_a_conversation_that_is_too_long_is_told_from_one_that_is_malformed(
    kind: Any, cause: str, detail: str, long: bool
) -> None:
    assert too_long(AgentError(turn="t", kind=kind, cause=cause, detail=detail)) is long
