"""What the engine and the firewall are told, without either."""

from __future__ import annotations

from pathlib import Path

from nanoclaw.ports import ExtraMount
from nanoclaw.runtimes.docker.extra_mounts import environment_of, mounts_of
from nanoclaw.runtimes.docker.firewall import Firewall

WEB = ExtraMount(
    host=Path("/srv/web"),
    name="web",
    writable=True,
    masked_folders=("a/.ssh",),
    masked_files=(".env",),
)
NOTES = ExtraMount(host=Path("/srv/notes.md"), name="docs/notes.md", folder=False)


def test_what_is_blocked_below_a_folder_is_covered() -> None:
    told = [
        (mount["Type"], mount.get("Source"), mount["Target"], mount["ReadOnly"])
        for mount in mounts_of([WEB, NOTES])
    ]

    assert told == [
        ("bind", "/srv/web", "/workspace/extra/web", False),
        ("tmpfs", None, "/workspace/extra/web/a/.ssh", True),
        ("bind", "/dev/null", "/workspace/extra/web/.env", True),
        ("bind", "/srv/notes.md", "/workspace/extra/docs/notes.md", True),
    ]


def test_no_file_system_below_a_folder_comes_with_it() -> None:
    assert all(
        mount["BindOptions"]["NonRecursive"] for mount in mounts_of([WEB, NOTES]) if mount["Type"] == "bind"
    )


def test_the_agent_s_file_tools_hear_of_folders_alone() -> None:
    assert environment_of([WEB, NOTES]) == {
        "NANOCLAW_EXTRA_ROOTS": "/workspace/extra/web",
        "NANOCLAW_EXTRA_RW": "/workspace/extra/web",
    }
    assert environment_of([NOTES]) == {}


def test_name_servers_are_let_through_before_private_networks_are_closed() -> None:
    commands = Firewall(name="12345678", prefix="nc123456", nameservers=["10.0.0.2"]).commands()

    allowed = commands.index("iptables -A NANOCLAW-12345678 -d 10.0.0.2 -p udp --dport 53 -j RETURN")
    this_machine = commands.index("iptables -A NANOCLAW-12345678 -m addrtype --dst-type LOCAL -j DROP")
    private = commands.index("iptables -A NANOCLAW-12345678 -d 10.0.0.0/8 -j DROP")
    metadata = commands.index("iptables -A NANOCLAW-12345678 -d 169.254.0.0/16 -j DROP")
    assert allowed < this_machine < private < metadata
    assert commands[0] == "iptables -N NANOCLAW-12345678"
    assert commands[-2:] == [
        "iptables -I INPUT 1 -i nc123456+ -j NANOCLAW-12345678",
        "iptables -I DOCKER-USER 1 -i nc123456+ -j NANOCLAW-12345678",
    ]
