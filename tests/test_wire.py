"""The frames between host and agent survive the wire, and nothing that arrives can do more than be refused."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.wire import (
    AGENT_FRAMES,
    HOST_FRAMES,
    Ack,
    EndStatus,
    ErrorKind,
    Frame,
    HostResult,
    Interrupt,
    ModelEnd,
    Text,
    WireError,
    decode,
    encode,
    encode_ack,
)

# Text as JSON carries it: lone surrogates cannot be encoded and become question marks, on purpose.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
numbers = st.integers(0, 2**53)
floats = st.floats(allow_nan=False, allow_infinity=False)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, values, max_size=3)
OF_ANNOTATION: dict[str, st.SearchStrategy[Any]] = {
    "str": texts,
    "int": numbers,
    "bool": st.booleans(),
    "float": floats,
    "str | None": st.none() | texts,
    "int | None": st.none() | numbers,
    "dict[str, Any]": objects,
    "list[dict[str, Any]]": st.lists(objects, max_size=3),
    "str | list[dict[str, Any]]": texts | st.lists(objects, max_size=3),
    "ErrorKind": st.sampled_from(get_args(ErrorKind)),
    "EndStatus": st.sampled_from(get_args(EndStatus)),
}


def frames_of(kind: type[Frame]) -> st.SearchStrategy[Frame]:
    return st.builds(kind, **{field.name: OF_ANNOTATION[str(field.type)] for field in fields(kind)})


frames = st.sampled_from([*HOST_FRAMES, *AGENT_FRAMES]).flatmap(frames_of)


@given(frames, numbers)
def test_every_frame_comes_back_as_it_was_from_one_line(frame: Frame, n: int) -> None:
    line = encode(frame, n)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode(line) == (n, frame)


@given(numbers)
def test_an_acknowledgement_comes_back_as_it_was(n: int) -> None:
    assert decode(encode_ack(Ack(upto=n))) == Ack(upto=n)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_a_wire_error(line: bytes) -> None:
    try:
        item = decode(line)
    except WireError:
        return
    assert item is None or isinstance(item, tuple | Ack)


@given(values, st.sampled_from([frame.type for frame in (*HOST_FRAMES, *AGENT_FRAMES)]), objects)
def test_arbitrary_json_raises_nothing_but_a_wire_error(value: Any, name: str, extra: dict[str, Any]) -> None:
    for body in (
        value,
        {"n": 1, "t": name, **extra},
        {"n": value, "t": name},
        {"ack": value},
        {"n": 1, "t": value},
    ):
        try:
            decode(json.dumps(body).encode())
        except WireError:
            continue


@given(frames, st.data())
def test_a_missing_or_ill_typed_field_is_refused(frame: Frame, data: st.DataObject) -> None:
    body = json.loads(encode(frame, 1))
    candidates = list(fields(frame))
    if not candidates:
        return
    field = data.draw(st.sampled_from(candidates))
    if data.draw(st.booleans()) and field.default is MISSING and field.default_factory is MISSING:
        del body[field.name]
    else:
        body[field.name] = [7]  # no field is a list of numbers
    with pytest.raises(WireError, match=field.name):
        decode(json.dumps(body).encode())


def test_an_unknown_field_of_a_later_version_is_dropped() -> None:
    assert decode(b'{"n":3,"t":"interrupt","turn":"x","later":1}') == (3, Interrupt(turn="x"))


def test_missing_optional_fields_take_their_defaults() -> None:
    line = b'{"n":1,"t":"model_end","turn":"t","call":1,"model":"m","ok":true}'
    assert decode(line) == (1, ModelEnd(turn="t", call=1, model="m", ok=True))


def test_text_that_is_no_unicode_travels_with_question_marks() -> None:
    line = encode(HostResult(turn="t", call="c", ok=True, content="a\ud800b"), 1)
    assert decode(line) == (1, HostResult(turn="t", call="c", ok=True, content="a?b"))


def test_half_a_surrogate_pair_that_was_escaped_becomes_a_question_mark_and_a_whole_pair_is_kept() -> None:
    line = rb'{"n":1,"t":"text","turn":"t","call":1,"text":"a\ud83db \uD83D\uDE00"}'
    assert decode(line) == (1, Text(turn="t", call=1, text="a?b 😀"))


@pytest.mark.parametrize("line", [b"", b"\n", b"  \r\n"])
def test_an_empty_line_is_nothing(line: bytes) -> None:
    assert decode(line) is None


@pytest.mark.parametrize("n", [-1, 1.5, True, "1", None])
def test_a_number_that_is_none_is_refused(n: Any) -> None:
    with pytest.raises(WireError, match="number"):
        decode(json.dumps({"n": n, "t": "close"}).encode())
    with pytest.raises(WireError, match="number"):
        decode(json.dumps({"ack": n}).encode())


def test_json_nested_deeper_than_the_stack_is_refused() -> None:
    with pytest.raises(WireError):
        decode(b"[" * 100_000)
