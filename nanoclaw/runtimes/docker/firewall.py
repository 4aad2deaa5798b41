"""The rules that keep agents with a network away from this machine and from every private network. Blocking.

All bridges of a home have one prefix, so one chain, reached from two places, holds for networks that are yet to come.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

_PRIVATE = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
    "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip
"""Other containers, the networks around this machine, a cloud's own addresses, multicast."""
_RESOLV = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
_PLACES = (Path("/usr/sbin"), Path("/sbin"), Path("/usr/local/sbin"))
_WAIT_S = 30

log = structlog.get_logger()


class FirewallError(Exception):
    """The rules are not in place; its text says why."""


@dataclass(frozen=True, slots=True)
class _Table:
    """One of the two programs, and from where our chain is reached."""

    program: str
    hooks: tuple[str, ...]


class Firewall:
    """One chain for the bridges whose name begins with `prefix`."""

    def __init__(self, *, name: str, prefix: str, nameservers: Sequence[str] | None = None) -> None:
        """`nameservers`: whom the engine lets containers ask; found in the system's own files if not given."""
        self._chain = f"NANOCLAW-{name}"
        self._bridges = f"{prefix}+"
        self._nameservers = nameservers

    def install(self) -> None:
        """Whole or not at all, any number of times. Raises FirewallError."""
        if os.geteuid() != 0:
            raise FirewallError("the service is not root")
        for table in self._tables():
            self._run(table, "-restore", "-w", "--noflush", stdin=self._chain_text(table))
            for hook in table.hooks:
                jump = (hook, "-i", self._bridges, "-j", self._chain)
                if not self._holds(table, "-C", *jump):
                    self._run(table, "", "-w", "-I", hook, "1", *jump[1:])

    def remove(self) -> None:
        """Nothing is left of it. Never raises: what cannot be removed is logged."""
        if os.geteuid() != 0:
            return
        try:
            for table in self._tables():
                for hook in table.hooks:
                    while self._holds(table, "-D", hook, "-i", self._bridges, "-j", self._chain):
                        pass
                self._holds(table, "-F", self._chain)
                self._holds(table, "-X", self._chain)
        except FirewallError as error:
            log.warning("firewall.not_removed", reason=str(error))

    def commands(self) -> list[str]:
        """What an owner types, as root, where the service may not do it."""
        table = _Table("iptables", ("INPUT", "DOCKER-USER"))
        made = [f"iptables -N {self._chain}"]
        made += [f"iptables -A {self._chain} {rule}" for rule in self._rules(table)]
        return made + [f"iptables -I {hook} 1 -i {self._bridges} -j {self._chain}" for hook in table.hooks]

    def _tables(self) -> list[_Table]:
        """IPv4, and IPv6 where there is any: our networks have no addresses of that kind, so nothing passes there."""
        v4 = _Table("iptables", ("INPUT", "DOCKER-USER"))
        if not self._holds(v4, "-L", "DOCKER-USER", "-n"):
            v4 = _Table("iptables", ("INPUT", "FORWARD"))
        v6 = _Table("ip6tables", ("INPUT", "FORWARD"))
        return [v4, v6] if _program("ip6tables") and self._holds(v6, "-L", "INPUT", "-n") else [v4]

    def _chain_text(self, table: _Table) -> str:
        rules = [f"-A {self._chain} {rule}" for rule in self._rules(table)]
        return "\n".join(["*filter", f":{self._chain} - [0:0]", *rules, "COMMIT", ""])

    def _rules(self, table: _Table) -> list[str]:
        if table.program == "ip6tables":
            return ["-j DROP"]
        return [
            "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
            # The engine's name server asks these from inside of the container.
            *(
                f"-d {server} -p {protocol} --dport 53 -j RETURN"
                for server in self._name_servers()
                for protocol in ("udp", "tcp")
            ),
            "-m addrtype --dst-type LOCAL -j DROP",
            *(f"-d {net} -j DROP" for net in _PRIVATE),
        ]

    def _name_servers(self) -> list[str]:
        if self._nameservers is not None:
            return list(self._nameservers)
        for path in _RESOLV:
            if servers := _servers_in(path):
                return servers
        return []

    def _holds(self, table: _Table, *arguments: str) -> bool:
        return self._call(table, "", "-w", *arguments).returncode == 0

    def _run(self, table: _Table, suffix: str, *arguments: str, stdin: str = "") -> None:
        done = self._call(table, suffix, *arguments, stdin=stdin)
        if done.returncode != 0:
            why = done.stderr.strip().splitlines()
            raise FirewallError(f"{table.program}: {why[-1] if why else f'exit {done.returncode}'}")

    def _call(
        self, table: _Table, suffix: str, *arguments: str, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        program = _program(f"{table.program}{suffix}")
        if program is None:
            raise FirewallError(f"{table.program} is not installed")
        try:
            return subprocess.run(
                (program, *arguments),
                input=stdin,
                capture_output=True,
                text=True,
                timeout=_WAIT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise FirewallError(f"{table.program}: {error}") from error


def _program(name: str) -> str | None:
    """A service's PATH often lacks the folders of such programs."""
    return shutil.which(name) or next(
        (str(place / name) for place in _PLACES if (place / name).exists()), None
    )


def _servers_in(path: Path) -> list[str]:
    """IPv4 name servers beyond this machine; those on it (a local cache) the engine replaces for containers."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for words in (line.split() for line in lines):
        if len(words) > 1 and words[0] == "nameserver":
            try:
                address = ipaddress.ip_address(words[1])
            except ValueError:
                continue
            if address.version == 4 and not address.is_loopback:
                found.append(str(address))
    return found
