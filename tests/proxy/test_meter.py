"""Meter: the same reading, however the answer is cut; nothing read is None; nothing makes it raise."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.ports import RequestUsage
from nanoclaw.proxy import meter as meter_module
from nanoclaw.proxy.meter import Meter, Reading

START = {
    "type": "message_start",
    "message": {
        "type": "message",
        "model": "claude-sonnet-5-5",
        "content": [],
        "usage": {
            "input_tokens": 25,
            "output_tokens": 1,
            "cache_read_input_tokens": 300,
            "cache_creation_input_tokens": 40,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 30},
        },
    },
}
TEXT = {
    "type": "content_block_delta",
    "delta": {"type": "text_delta", "text": 'é€😀 "usage": {"output_tokens": 9999}'},
}
DELTA = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn"},
    "usage": {"output_tokens": 77, "server_tool_use": {"web_search_requests": 2}},
}
AT_START = RequestUsage(
    input_tokens=25,
    output_tokens=1,
    cache_read_tokens=300,
    cache_creation_tokens=40,
    cache_creation_1h_tokens=30,
    model="claude-sonnet-5-5",
)
AT_END = RequestUsage(
    input_tokens=25,
    output_tokens=77,
    cache_read_tokens=300,
    cache_creation_tokens=40,
    cache_creation_1h_tokens=30,
    model="claude-sonnet-5-5",
)


def stream(*events: dict[str, Any], newline: str = "\n") -> bytes:
    text = "".join(
        f"event: {e['type']}{newline}data: {json.dumps(e, ensure_ascii=False)}{newline}{newline}"
        for e in events
    )
    return text.encode()


def read(
    *pieces: bytes, content_type: str = "text/event-stream; charset=utf-8", finish: bool = True
) -> Reading | None:
    meter = Meter(content_type=content_type)
    for piece in pieces:
        meter.feed(piece)
    if finish:
        meter.finish()
    return meter.reading()


@given(
    newline=st.sampled_from(["\n", "\r\n"]),
    cuts=st.lists(st.integers(0, 1500), max_size=60),
)
def test_a_stream_reads_the_same_at_any_chunking(newline: str, cuts: list[int]) -> None:
    whole = stream(START, {"type": "ping"}, TEXT, TEXT, DELTA, {"type": "message_stop"}, newline=newline)
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[a:b] for a, b in itertools.pairwise(edges)]
    assert read(*pieces) == Reading(usage=AT_END, web_searches=2)


def test_a_stream_byte_by_byte_reads_the_same() -> None:
    whole = stream(START, TEXT, DELTA)
    assert read(*(bytes([byte]) for byte in whole)) == Reading(usage=AT_END, web_searches=2)


@given(cut=st.integers(0, len(stream(START, TEXT, DELTA))))
def test_a_cut_stream_gives_what_it_had_said_in_full_until_then(cut: int) -> None:
    whole = stream(START, TEXT, DELTA)
    got = read(whole[:cut], finish=False)
    if cut < len(stream(START)):
        assert got is None
    elif cut < len(whole):
        assert got == Reading(usage=AT_START)
    else:
        assert got == Reading(usage=AT_END, web_searches=2)


def test_an_event_of_several_data_lines_is_one() -> None:
    pretty = json.dumps(DELTA, indent=1).replace("\n", "\ndata: ")
    got = read(stream(START), f"event: message_delta\ndata: {pretty}\n\n".encode())
    assert got == Reading(usage=AT_END, web_searches=2)


def test_a_last_event_without_its_empty_line_counts_when_the_answer_is_complete() -> None:
    assert read(stream(START, DELTA).rstrip(b"\n")) == Reading(usage=AT_END, web_searches=2)


def test_totals_never_shrink_whichever_place_a_gateway_leaves_empty() -> None:
    zeros: dict[str, Any] = {
        "type": "message",
        "model": "m",
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
    late = {"type": "message_delta", "usage": {"input_tokens": 50, "output_tokens": 5}}
    last = {
        "type": "message_delta",
        "usage": {"input_tokens": 0, "output_tokens": 8, "cache_read_input_tokens": None},
    }
    got = read(stream({"type": "message_start", "message": zeros}, late, last))
    assert got == Reading(usage=RequestUsage(input_tokens=50, output_tokens=8, model="m"))


def test_a_whole_json_answer_is_read_at_its_end() -> None:
    body = json.dumps({**START["message"], "usage": {"input_tokens": 3, "output_tokens": 4}}).encode()  # type: ignore[dict-item]
    expected = Reading(usage=RequestUsage(input_tokens=3, output_tokens=4, model="claude-sonnet-5-5"))
    assert read(body[:50], body[50:], content_type="application/json") == expected
    assert read(body[:50], content_type="application/json", finish=False) is None


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        "x",
        {},
        {"input_tokens": -1},
        {"input_tokens": True},
        {"input_tokens": 1.5},
        {"input_tokens": "9"},
    ],
)
def test_figures_that_are_none_say_nothing(usage: object) -> None:
    body = json.dumps({"type": "message", "model": "m", "usage": usage}).encode()
    assert read(body, content_type="application/json") is None


def test_what_speaks_of_use_without_being_a_message_says_nothing() -> None:
    assert (
        read(stream({"type": "error", "usage": {"input_tokens": 5}}, {"type": "message_start", "message": 3}))
        is None
    )


def test_an_event_of_monstrous_size_is_skipped_and_the_next_one_read() -> None:
    monster = (
        b'data: {"type":"message_delta","usage":{"output_tokens":5},"x":"'
        + b"y" * (3 * 1024 * 1024)
        + b'"}\n\n'
    )
    many = b'data: {"usage"\n' * 200_000 + b"\n"
    pieces = [monster[at : at + 65536] for at in range(0, len(monster), 65536)]
    assert read(stream(START), *pieces, many, stream(DELTA)) == Reading(usage=AT_END, web_searches=2)


def test_a_json_answer_of_monstrous_size_is_not_kept() -> None:
    meter = Meter(content_type="application/json")
    for _ in range(meter_module._MAX_JSON_BYTES // (1024 * 1024) + 1):
        meter.feed(b" " * 1024 * 1024)
    meter.feed(b'{"type":"message","usage":{"input_tokens":1}}')
    meter.finish()
    assert meter.reading() is None


@given(
    pieces=st.lists(
        st.binary(max_size=40) | st.sampled_from([b"data:", b'{"usage":', b"\n", b"\n\n", b"}", b"[" * 9])
    )
)
def test_arbitrary_bytes_never_raise(pieces: list[bytes]) -> None:
    for content_type in ("text/event-stream", "application/json", ""):
        read(*pieces, content_type=content_type)
