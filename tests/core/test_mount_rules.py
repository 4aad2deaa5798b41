"""What the owner wrote about extra folders: the original's formats, read strictly."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.mount_rules import (
    BLOCKED,
    ContainerConfig,
    MountAllowlist,
    MountRuleError,
    WantedMount,
    parse_allowlist,
    parse_container_config,
)


def test_the_original_s_allowlist_is_read() -> None:
    text = json.dumps(
        {
            "allowedRoots": [
                {"path": "~/projects", "allowReadWrite": True, "description": "mine"},
                {"path": "/srv"},
            ],
            "blockedPatterns": ["Password"],
            "nonMainReadOnly": False,
        }
    )

    read = parse_allowlist(text)

    assert [(root.path, root.writable) for root in read.roots] == [("~/projects", True), ("/srv", False)]
    assert read.blocked == (*BLOCKED, "password")
    assert not read.others_read_only


def test_the_17_default_patterns_cannot_be_taken_away() -> None:
    read = parse_allowlist('{"blockedPatterns": []}')

    assert len(BLOCKED) == 17
    assert all(read.blocks(f"my{pattern}.old") for pattern in BLOCKED)
    assert read.blocks("ID_RSA.pub")
    assert not read.blocks("notes.md")


def test_who_says_nothing_about_others_lets_them_only_read() -> None:
    assert parse_allowlist("{}") == MountAllowlist()
    assert MountAllowlist().others_read_only


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "not JSON"),
        ("[]", "an object"),
        ('{"roots": []}', "allowedRoots"),
        ('{"allowedRoots": {}}', "allowedRoots: a list"),
        ('{"allowedRoots": ["/srv"]}', "allowedRoots[0]"),
        ('{"allowedRoots": [{"path": "srv"}]}', "allowedRoots[0].path"),
        ('{"allowedRoots": [{"path": "/srv", "allowReadWrite": "yes"}]}', "allowReadWrite: true or false"),
        ('{"allowedRoots": [{"path": "/srv", "mode": "rw"}]}', "allowedRoots[0]"),
        ('{"blockedPatterns": [""]}', "blockedPatterns"),
        ('{"nonMainReadOnly": 1}', "nonMainReadOnly"),
    ],
)
def test_a_broken_allowlist_is_refused_as_a_whole(text: str, where: str) -> None:
    with pytest.raises(MountRuleError, match=where.replace("[", r"\[")):
        parse_allowlist(text)


def test_the_original_s_container_config_is_read() -> None:
    text = json.dumps(
        {
            "additionalMounts": [
                {"hostPath": "~/projects/webapp", "containerPath": "web/app", "readonly": False},
                {"hostPath": "/srv/music/"},
            ],
            "timeout": 600000,
        }
    )

    assert parse_container_config(text) == ContainerConfig(
        mounts=(
            WantedMount(host="~/projects/webapp", name="web/app", writable=True),
            WantedMount(host="/srv/music/", name="music"),
        )
    )


@pytest.mark.parametrize("text", [None, "", "  ", "{}", '{"network": null}'])
def test_a_group_without_configuration_gets_nothing(text: str | None) -> None:
    assert parse_container_config(text) == ContainerConfig()


def test_a_group_may_have_a_network_of_its_own_kind() -> None:
    assert parse_container_config('{"network": "open"}').network == "open"
    with pytest.raises(MountRuleError, match="none or open"):
        parse_container_config('{"network": "host"}')


@pytest.mark.parametrize("name", ["", "/etc", "..", "a/../b", "a//b", "./a", "a:ro", "a\nb", "a/", "x" * 201])
def test_no_container_path_leaves_its_place(name: str) -> None:
    with pytest.raises(MountRuleError, match="containerPath"):
        parse_container_config(
            json.dumps({"additionalMounts": [{"hostPath": "/srv", "containerPath": name}]})
        )


@pytest.mark.parametrize("path", [None, 7, "", "srv", "../srv", "~ada/x", "/srv\0/x"])
def test_a_path_on_the_server_is_absolute_or_from_the_owner_s_home(path: object) -> None:
    with pytest.raises(MountRuleError, match="hostPath"):
        parse_container_config(json.dumps({"additionalMounts": [{"hostPath": path, "containerPath": "x"}]}))


@pytest.mark.parametrize("other", ["music", "music/old"])
def test_two_folders_never_lie_in_one_another(other: str) -> None:
    both = [{"hostPath": "/a", "containerPath": "music"}, {"hostPath": "/b", "containerPath": other}]
    with pytest.raises(MountRuleError, match="one another"):
        parse_container_config(json.dumps({"additionalMounts": both}))


@given(st.text(max_size=30))
def test_whatever_name_is_accepted_is_a_plain_path_below(name: str) -> None:
    try:
        read = parse_container_config(
            json.dumps({"additionalMounts": [{"hostPath": "/srv", "containerPath": name}]})
        )
    except MountRuleError:
        return
    parts = read.mounts[0].name.split("/")
    assert all(part and part not in {".", ".."} and ":" not in part and "\0" not in part for part in parts)
