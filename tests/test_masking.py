"""Masking: no secret stays, and nothing else goes."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.masking import MASK, Masker

KEY = "a1B2" * 10
KNOWN = [
    f"sk-ant-{KEY}",
    f"sk-proj-{KEY}",
    f"123456789:AAH{KEY}",
    f"123456789%3AAAH{KEY}",
    f"xoxb-{KEY}",
    f"xoxa-2-{KEY}",
    f"xapp-1-{KEY}",
    f"ghp_{KEY}",
    f"github_pat_{KEY}",
    "AKIAABCDEFGHIJKLMNOP",
    f"aws_secret_access_key = {KEY}",
    f'"AWS_SECRET_ACCESS_KEY": "{KEY}"',
    f"AIza{KEY}",
    f"Bearer {KEY}",
    f"authorization: bearer {KEY}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{KEY}\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY-----\n{KEY} cut off",
]
INNOCENT = [
    "a task-force-of-many-people-who-ask",
    "at 12:30:45 on 2026-03-01T10:11:12.123Z",
    "the bearer of bad news, the bearer certificate-of-origin",
    "https://example.org:8080/a/b?c=d",
    "4f0c9f3e-8a57-4f63-9f0e-0b8e2f3c1d22",
    "-----BEGIN CERTIFICATE-----",
    "BASKIAABCDEFGHIJKLMNOP",
]


@pytest.mark.parametrize("text", KNOWN)
def test_known_kinds_of_keys_are_masked_in_any_surroundings(text: str) -> None:
    for around in ("{}", "see {} there", "({})", '{{"k": "{}"}}', "k={}&", "\n{}\n", "\\n{}\\n"):
        masked = Masker().mask(around.format(text))
        assert KEY not in masked
        assert "ABCDEFGHIJKLMNOP" not in masked
        assert MASK in masked


def test_a_telegram_token_in_a_url_is_masked() -> None:
    url = f"https://api.telegram.org/bot123456789:AAH{KEY}/getMe"
    assert Masker().mask(url) == "https://api.telegram.org/bot***/getMe"


@pytest.mark.parametrize("text", INNOCENT)
def test_what_only_resembles_a_key_stays(text: str) -> None:
    assert Masker(["other-secret"]).mask(text) == text


@given(
    secret=st.text(min_size=6, max_size=40).filter(lambda text: len(text.strip()) >= 6 and "*" not in text),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
)
def test_a_configured_secret_never_survives_plain_in_json_or_in_a_url(
    secret: str, before: str, after: str
) -> None:
    masker = Masker([secret])
    assert secret not in masker.mask(before + secret + after)
    assert masker.mask(json.dumps(secret)) == f'"{MASK}"'
    assert masker.mask(f"https://h/{quote(secret, safe='')}/x") == f"https://h/{MASK}/x"


@given(text=st.one_of(st.text(), st.sampled_from(KNOWN)), secrets=st.lists(st.text(min_size=6), max_size=3))
def test_masking_twice_changes_nothing_more(text: str, secrets: list[str]) -> None:
    masker = Masker(secret for secret in secrets if MASK not in secret and secret not in MASK)
    once = masker.mask(text)
    assert masker.mask(once) == once


def test_of_two_secrets_the_longer_one_goes_first() -> None:
    assert Masker(["secret-a", "secret-a-and-more"]).mask("x secret-a-and-more y secret-a") == "x *** y ***"


def test_secrets_can_be_added_later() -> None:
    masker = Masker()
    assert masker.mask("plugin-secret") == "plugin-secret"
    masker.add(["plugin-secret"])
    assert masker.mask("plugin-secret") == MASK


def test_placeholders_too_short_to_be_secrets_do_not_eat_the_text() -> None:
    assert Masker(["none", "", " "]).mask("none of it") == "none of it"
