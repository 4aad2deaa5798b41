"""Home folders to measure on: chats that are registered already, settings that do not slow the measurement down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from nanoclaw.domain import ChatId, Folder, Group
from nanoclaw.home import Home
from nanoclaw.ports import Tx
from nanoclaw.sqlite.store import Store


class SystemClock:
    """The machine's own."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def chats(prefix: str, ids: Sequence[int]) -> list[Group]:
    """Private chats that need no trigger: every message in them asks."""
    return [
        Group(
            chat_id=ChatId(f"{prefix}:{n}"), name=f"Chat {n}", folder=Folder(f"chat-{n}"), trigger="@Andy",
            requires_trigger=False, is_main=False, added_at=datetime.now(UTC), is_group=False,
        )
        for n in ids
    ]  # fmt: skip


async def make_home(root: Path, groups: Sequence[Group], *, max_runs: int) -> Home:
    """A home with these chats, and as many slots as the measurement is about."""
    home = Home(root)
    with home.open():
        home.toml.write_text(
            f'[agents]\nmax_concurrent = {max_runs}\nruntime = "process"\n', encoding="utf-8"
        )

        def register(tx: Tx) -> None:
            for group in groups:
                tx.add_group(group)

        async with Store(home.database, backups=home.backups, clock=SystemClock()) as store:
            await store.change(register)
    return home
