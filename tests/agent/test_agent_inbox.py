"""Whatever the pipe does to the bytes, each host frame is taken once and in order."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.agent.inbox import Inbox
from nanoclaw.wire import Ack, FollowUp, Hello, Interrupt, encode, encode_ack

Piece = tuple[int, bytes]


def frame_line(n: int) -> bytes:
    return encode(FollowUp(turn="t", text=f"é{n}"), n)


@st.composite
def streams(draw: st.DrawFn) -> tuple[int, bytes]:
    """How many frames there are, and bytes in which each comes at least once after its predecessor.

    In between: repetitions, frames that come too early, torn lines, rubbish, acknowledgements.
    """
    count = draw(st.integers(0, 6))
    noise: st.SearchStrategy[bytes] = st.one_of(
        st.integers(0, count).map(frame_line),
        st.integers(1, 9).map(lambda n: encode_ack(Ack(upto=n))),
        st.binary(max_size=20).map(lambda junk: junk.replace(b"\n", b"") + b"\n"),
        st.integers(1, 30).map(lambda size: frame_line(1)[:size] + b"\n"),
        st.just(b"\n"),
    )
    out = b""
    for n in range(1, count + 1):
        # Frames beyond the next one are dropped until it comes, so they may appear anywhere before it as well.
        early = st.integers(n + 1, count + 2).map(frame_line)
        out += b"".join(draw(st.lists(st.one_of(noise, early).filter(frame_line(n).__ne__), max_size=4)))
        out += b"\n" + frame_line(n)
    return count, out + b"".join(draw(st.lists(noise, max_size=4)))


@given(streams(), st.data())
def test_any_chopping_repetition_and_rubbish_leaves_each_frame_once_and_in_order(
    stream: tuple[int, bytes], data: st.DataObject
) -> None:
    count, whole = stream
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    inbox = Inbox(lambda _: None)
    taken = []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        taken += [item for item in inbox.feed(whole[start:end]) if not isinstance(item, Ack)]
    assert [n for n, _ in taken] == list(range(1, count + 1))
    assert [frame for _, frame in taken] == [FollowUp(turn="t", text=f"é{n}") for n in range(1, count + 1)]
    assert inbox.last == count


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_no_bytes_at_all_raise(pieces: list[bytes]) -> None:
    inbox = Inbox(lambda _: None, max_line_bytes=100)
    for piece in pieces:
        inbox.feed(piece)


def complaining() -> tuple[list[str], Callable[[str], None]]:
    said: list[str] = []
    return said, said.append


def test_a_frame_after_a_gap_is_taken_when_it_comes_again_after_the_missing_one() -> None:
    said, complain = complaining()
    inbox = Inbox(complain)
    assert inbox.feed(frame_line(2)) == []
    assert len(inbox.feed(frame_line(1) + frame_line(2))) == 2
    assert said == ["frame 2 came before 1: waiting for that one"]


def test_a_known_frame_is_noticed_so_that_it_can_be_acknowledged_again() -> None:
    inbox = Inbox(lambda _: None)
    inbox.feed(frame_line(1))
    assert not inbox.repeated
    assert inbox.feed(frame_line(1)) == []
    assert inbox.repeated


def test_a_line_longer_than_any_frame_is_dropped_whole_and_the_next_one_counts() -> None:
    said, complain = complaining()
    inbox = Inbox(complain, max_line_bytes=64)
    for _ in range(5):
        assert inbox.feed(b"x" * 50) == []
    assert inbox.feed(b"tail\n" + encode(Interrupt(turn="t"), 1)) == [(1, Interrupt(turn="t"))]
    assert said == ["dropped a line that is longer than any frame"]


def test_a_frame_that_only_agents_send_is_dropped() -> None:
    said, complain = complaining()
    assert Inbox(complain).feed(encode(Hello(wire=1, program="x", pid=1), 1)) == []
    assert said == ["dropped a hello frame: only agents send those"]
