"""What the played Messages API refuses, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from nanoclaw.testing.messages_rules import RefusedError, check
from nanoclaw.testing.messages_stream import signature

NEW = "2026-10-21"
OLD = "2023-06-01"


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def assistant(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def call(tool_id: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": tool_id, "name": "read", "input": {}}


def result(tool_id: str, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": tool_id, "content": "ok", **more}


def body(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 10, "messages": list(messages) or [user(text("hi"))], **more}


def marked(n: int) -> list[dict[str, Any]]:
    return [text("x", cache_control={"type": "ephemeral"}) for _ in range(n)]


GOOD: dict[str, dict[str, Any]] = {
    "plain": body({"role": "user", "content": "hi"}),
    "neighbours of one role": body(user(text("a")), user(text("b"))),
    "a result, then text": body(user(text("a")), assistant(call("1")), user(result("1"), text("b"))),
    "results over two messages": body(
        user(text("a")), assistant(call("1"), call("2")), user(result("1")), user(result("2"), text("b"))
    ),
    "an error result": body(user(text("a")), assistant(call("1")), user(result("1", is_error=True))),
    "a signed thought": body(
        user(text("a")),
        assistant({"type": "thinking", "thinking": "hm", "signature": signature("hm")}, text("b")),
        user(text("c")),
    ),
    "a server tool": body(tools=[{"type": "web_search_20260318", "name": "web_search", "max_uses": 3}]),
    "a server tool's result": body(
        user(text("a")),
        assistant({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}, text("b")),
        user(text("c")),
    ),
    "four marks": body(system=marked(4)),
}

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no messages": ({"model": "m", "max_tokens": 1, "messages": []}, "at least one message"),
    "no model": ({"max_tokens": 1, "messages": [user(text("a"))]}, "model: Field required"),
    "no limit": ({"model": "m", "messages": [user(text("a"))]}, "max_tokens"),
    "limit true": (body(max_tokens=True), "max_tokens"),
    "temperature": (body(temperature=1), "temperature: Extra inputs are not permitted"),
    "top_p": (body(top_p=1), "top_p: Extra inputs are not permitted"),
    "beta field without beta": (body(context_management={}), "context_management: Extra inputs"),
    "assistant first": (body(assistant(text("a")), user(text("b"))), 'must use the "user" role'),
    "assistant last": (body(user(text("a")), assistant(text("b"))), "prefill"),
    "unanswered call": (
        body(user(text("a")), assistant(call("7")), user(text("b"))),
        "`tool_use` ids were found without `tool_result` blocks immediately after: 7",
    ),
    "one of two unanswered": (
        body(user(text("a")), assistant(call("1"), call("2")), user(result("1"))),
        "immediately after: 2",
    ),
    "text before the result": (
        body(user(text("a")), assistant(call("7")), user(text("b"), result("7"))),
        "immediately after: 7",
    ),
    "text message before the result": (
        body(user(text("a")), assistant(call("7")), user(text("b")), user(result("7"))),
        "immediately after: 7",
    ),
    "result of nothing": (
        body(user(result("9"))),
        "unexpected `tool_use_id` found in `tool_result` blocks: 9",
    ),
    "result of an older call": (
        body(
            user(text("a")), assistant(call("1")), user(result("1")), assistant(text("b")), user(result("1"))
        ),
        "unexpected `tool_use_id`",
    ),
    "two results of one call": (
        body(user(text("a")), assistant(call("1")), user(result("1"), result("1"))),
        "must have a single result",
    ),
    "one id twice": (
        body(
            user(text("a")), assistant(call("1")), user(result("1")), assistant(call("1")), user(result("1"))
        ),
        "ids must be unique",
    ),
    "empty content": (body(user()), "non-empty content"),
    "empty text": (body(user(text(""))), "text content blocks must be non-empty"),
    "blank text": (body(user(text(" \n"))), "non-whitespace"),
    "blank string": (body({"role": "user", "content": " "}), "non-whitespace"),
    "blank system": (body(system=" "), "non-whitespace"),
    "blank in a result": (
        body(user(text("a")), assistant(call("1")), user(result("1", content=[text("")]))),
        "must be non-empty",
    ),
    "an error without words": (
        body(user(text("a")), assistant(call("1")), user(result("1", is_error=True, content=""))),
        "cannot be empty if `is_error`",
    ),
    "a field of ours in a block": (body(user(text("a", parsed_output=None))), "parsed_output: Extra inputs"),
    "a field of ours in a message": (
        body({"role": "user", "content": "a", "id": 1}),
        "messages.0.id: Extra inputs",
    ),
    "a thought that was changed": (
        body(
            user(text("a")),
            assistant({"type": "thinking", "thinking": "hm!", "signature": signature("hm")}, text("b")),
            user(text("c")),
        ),
        "Invalid `signature`",
    ),
    "a tool call by the user": (body(user(call("1"))), "does not match any of the expected tags"),
    "a result by the assistant": (
        body(user(text("a")), assistant(result("1")), user(text("b"))),
        "does not match any of the expected tags",
    ),
    "arguments that are no object": (
        body(user(text("a")), assistant(call("1") | {"input": "{}"}), user(result("1"))),
        "valid dictionary",
    ),
    "a tool without a schema": (body(tools=[{"name": "read"}]), "tools.0.custom.input_schema"),
    "a tool with a bad name": (
        body(tools=[{"name": "re ad", "input_schema": {"type": "object"}}]),
        "tools.0.name",
    ),
    "one tool twice": (
        body(tools=[{"name": "a", "input_schema": {"type": "object"}}] * 2),
        "Tool names must be unique",
    ),
    "five marks": (body(system=marked(5)), "maximum of 4 blocks with cache_control may be provided. Found 5"),
    "a mark of no kind": (body(cache_control={"type": "for ever"}), "cache_control"),
    "stream as a word": (body(stream="yes"), "stream"),
}


@pytest.mark.parametrize("name", GOOD)
def test_it_takes(name: str) -> None:
    assert check(GOOD[name], version=NEW, beta=False) is GOOD[name]


@pytest.mark.parametrize("name", BAD)
def test_it_refuses(name: str) -> None:
    request, words = BAD[name]
    with pytest.raises(RefusedError) as refusal:
        check(request, version=NEW, beta=False)
    assert words in str(refusal.value)


def test_older_versions_still_have_a_temperature() -> None:
    assert check(body(temperature=1, top_p=1), version=OLD, beta=False)


def test_beta_requests_may_carry_beta_fields() -> None:
    assert check(body(context_management={}), version=NEW, beta=True)


def test_a_version_is_required() -> None:
    with pytest.raises(RefusedError, match="anthropic-version: header is required"):
        check(body(), version=None, beta=False)


def test_counting_needs_no_limit_and_takes_none() -> None:
    request = body()
    with pytest.raises(RefusedError, match="max_tokens: Extra inputs"):
        check(request, version=NEW, beta=False, counting=True)
    del request["max_tokens"]
    assert check(request, version=NEW, beta=False, counting=True)


@pytest.mark.parametrize("nonsense", [None, [], "x", 1])
def test_a_body_that_is_no_object_is_refused(nonsense: Any) -> None:
    with pytest.raises(RefusedError, match="not valid JSON"):
        check(nonsense, version=NEW, beta=False)


@pytest.mark.parametrize("messages", [[None], ["hi"], [{}], [{"role": "user"}], [user(None)], [user({})]])
def test_malformed_messages_are_refused_in_words(messages: list[Any]) -> None:
    with pytest.raises(RefusedError):
        check(body(*messages), version=NEW, beta=False)
