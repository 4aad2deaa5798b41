"""Owns who is who: WhatsApp names a person by a phone number or by a LID (an id that hides it), and changes between them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nanoclaw.channels.whatsapp.child.spool import Spool


def bare(jid: Any) -> str:
    """A JID as text, without the device that it names; "" for an empty one."""
    return f"{jid.User}@{jid.Server}" if jid.User else ""


class People:
    """One id for each person, for ever: the phone number where it is known at first sight, else the LID."""

    def __init__(self, spool: Spool, *, phone_of: Callable[[str], Awaitable[str | None]]) -> None:
        """`phone_of` asks the library's own table for the phone number behind a LID."""
        self._spool = spool
        self._phone_of = phone_of

    async def id_of(self, jid: Any, other: Any) -> str:
        """`other` is the same person's other JID, if WhatsApp told it."""
        lid, phone = _sorted(bare(jid), bare(other))
        if lid is None:
            return (phone and self._spool.shown_as(phone)) or phone or ""
        known = self._spool.person(lid)
        if known is not None:
            known_phone, shown = known
            if phone and not known_phone:
                self._spool.set_person(lid, phone, shown)
            return shown
        phone = phone or await self._phone_of(lid)
        shown = (phone and self._spool.shown_as(phone)) or phone or lid
        self._spool.set_person(lid, phone, shown)
        return shown


def _sorted(*ids: str) -> tuple[str | None, str | None]:
    """(LID, phone) of those given."""
    lid = next((one for one in ids if one.endswith("@lid")), None)
    phone = next((one for one in ids if one and not one.endswith("@lid")), None)
    return lid, phone
