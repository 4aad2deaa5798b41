"""LineBuffer: the same lines, however the stream is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.runtimes.lines import LineBuffer
from nanoclaw.wire import WireError


def drain(buffer: LineBuffer) -> list[bytes]:
    lines = []
    while (line := buffer.take()) is not None:
        lines.append(line)
    return lines


@given(
    lines=st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b" "))),
    rest=st.binary(max_size=30).map(lambda b: b.replace(b"\n", b" ")),
    sizes=st.lists(st.integers(1, 17), min_size=1),
)
def test_any_cutting_of_the_stream_gives_the_same_lines(
    lines: list[bytes], rest: bytes, sizes: list[int]
) -> None:
    stream = b"".join(line + b"\n" for line in lines) + rest
    buffer, got, at, turn = LineBuffer(30), [], 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        buffer.feed(stream[at : at + size])
        got += drain(buffer)
        at, turn = at + size, turn + 1
    assert got == lines


def test_a_line_of_exactly_the_limit_passes_and_one_byte_more_does_not() -> None:
    buffer = LineBuffer(4)
    buffer.feed(b"1234\n12345\n")
    assert buffer.take() == b"1234"
    with pytest.raises(WireError):
        buffer.take()


def test_a_line_that_is_too_long_is_refused_before_it_is_complete() -> None:
    buffer = LineBuffer(4)
    buffer.feed(b"12345")
    with pytest.raises(WireError):
        buffer.take()
