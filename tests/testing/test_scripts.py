"""Scripts and rules, and how they read a request."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.testing.messages_api import Reply, say, use
from nanoclaw.testing.scripts import (
    NoRuleError,
    Rules,
    Script,
    ScriptEmptyError,
    after,
    last_user_text,
    spoken,
    this_turn,
    tool_results,
)

PROMPT = """<context timezone="Europe/Zurich" />
<messages>
<message sender="Ada &lt;3" time="Nov 20, 2026, 9:00 AM" reply_to="4">
  <quoted_message from="Bob">old &amp; quoted</quoted_message>tell &lt;b&gt; &amp;amp; &quot;all&quot;</message>
<message sender="Bob" time="Nov 20, 2026, 9:01 AM">second
  <attachment kind="image" name="a.jpg" path="attachments/a.jpg" image="1" />
  <document kind="document" path="attachments/b.txt">
not &lt;what&gt; Bob said
  </document></message>
</messages>"""


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


CALL = {
    "role": "assistant",
    "content": [{"type": "tool_use", "id": "t1", "name": "read", "input": {"path": "x"}}],
}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": [text("one"), text("two")], "is_error": True}


def asked(*messages: Any) -> dict[str, Any]:
    return {"messages": list(messages)}


def words(reply: Reply) -> str:
    return str(reply.content[0]["text"])


def test_chat_messages_are_unescaped_and_quotes_left_out() -> None:
    first, second = spoken(PROMPT)
    assert (first.sender, first.time) == ("Ada <3", "Nov 20, 2026, 9:00 AM")
    assert first.text == 'tell <b> &amp; "all"'
    assert second.text == "second"


def test_what_a_task_said_is_nobodys_message() -> None:
    said = '<task_result due="x" task="y">\nShall I?\n</task_result>'
    assert spoken(said) == []
    assert [message.text for message in spoken(f"{said} go on")] == ["go on"]


def test_plain_text_is_one_message_without_its_context_line() -> None:
    assert [said.text for said in spoken('<context timezone="UTC" />\n[SCHEDULED TASK]\n\nhello')] == [
        "[SCHEDULED TASK]\n\nhello"
    ]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_escaped_text_comes_back_as_it_was(said: str) -> None:
    escaped = said.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    read = spoken(f'<messages>\n<message sender="a" time="b">{escaped}</message>\n</messages>')
    assert [message.text for message in read] == [said.strip()]


def test_what_was_just_said_is_only_the_last_message() -> None:
    assert last_user_text(asked({"role": "user", "content": "old"}, user(text(PROMPT)))).endswith("second")
    assert last_user_text(asked(user(text("old")), CALL, user(RESULT))) == ""
    assert last_user_text(asked(user(text("old")), CALL, user(RESULT, text("more")))) == "more"


def test_results_know_their_call() -> None:
    (result,) = tool_results(asked(user(text("a")), CALL, user(RESULT)))
    assert (result.name, result.input, result.text, result.is_error) == (
        "read",
        {"path": "x"},
        "one\ntwo",
        True,
    )


def test_a_turn_begins_at_the_last_message_without_results() -> None:
    earlier = (user(text("before")), {"role": "assistant", "content": "ok"})
    texts, results = this_turn(asked(*earlier, user(text("now")), CALL, user(RESULT, text("and this"))))
    assert texts == ["now", "and this"]
    assert [result.id for result in results] == ["t1"]


def test_a_script_is_used_up_in_order() -> None:
    script = Script([say("one"), lambda body: say(last_user_text(body))])
    assert words(script(asked(user(text("x"))))) == "one"
    assert words(script(asked(user(text("echo"))))) == "echo"
    with pytest.raises(ScriptEmptyError):
        script(asked(user(text("x"))))
    script.add(say("more"))
    assert script.left == 1


def test_the_first_rule_that_fits_answers() -> None:
    rules = Rules([(after("read"), say("read it")), ("WEATHER", use("read", {})), (r"\bhi\b", say("hello"))])
    assert rules(asked(user(text("the weather")))).stop_reason == "tool_use"
    assert words(rules(asked(user(text("weather")), CALL, user(RESULT)))) == "read it"
    with pytest.raises(NoRuleError):
        rules(asked(user(text("this"))))


def test_rules_may_have_an_answer_for_everything_else() -> None:
    assert words(Rules([], otherwise=say("well"))(asked(user(text("x"))))) == "well"
