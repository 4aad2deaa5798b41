"""How a part of an outbox entry reads when it leaves: late, perhaps a repeat, with its file, in place of another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from nanoclaw.domain import OutboxEntry, OutboxPart
from nanoclaw.ports import Channel, PartToSend
from nanoclaw.spool import Spool

REPEAT_LABEL = "↻ may be a repeat\n"


@dataclass(slots=True, kw_only=True)
class Sending:
    """An entry that a lane has in hand."""

    entry: OutboxEntry
    channel: Channel
    meant_for: datetime
    """When it should have gone out."""
    expires: datetime
    replaces: str | None = None
    """The service's id of the message that its first part takes the place of."""
    file_refused: str = ""
    """Why the service does not take the entry's file, in words for a person."""


class Envelope:
    """Makes what a channel is given of what the outbox holds."""

    def __init__(
        self, *, spool: Spool | None = None, zone: tzinfo = UTC, late_after: timedelta = timedelta(minutes=10)
    ) -> None:
        """`zone`: the owner's, for the time that a late message was meant for."""
        self._spool = spool
        self._zone = zone
        self._late_after = late_after

    def seal(self, job: Sending, part: OutboxPart, *, last: bool, repeat: bool, now: datetime) -> PartToSend:
        """The part as it goes out now. A second edit changes nothing, so it needs no label."""
        entry, first = job.entry, part.index == 0
        text = (self._late(job.meant_for, now) if first else "") + part.text
        if repeat and not (first and job.replaces):
            text = REPEAT_LABEL + text
        name, cannot = self._file(job) if last else ("", "")
        return PartToSend(
            chat_id=entry.chat_id,
            text=f"{text}\n{cannot}".strip() if cannot else text,
            key=f"{entry.id}/{part.index}",
            thread=entry.thread,
            reply_to=entry.reply_to if first else None,
            repeat=repeat,
            file=self._spool.path(name) if name and self._spool else None,
            file_name=entry.file_name or name,
            mime=entry.mime or "application/octet-stream",
            picture=bool(name) and entry.kind == "picture",
            buttons=entry.buttons if last else (),
            first=first,
            replaces=job.replaces if first else None,
        )

    def _late(self, meant_for: datetime, now: datetime) -> str:
        if now - meant_for <= self._late_after:
            return ""
        then, today = meant_for.astimezone(self._zone), now.astimezone(self._zone)
        day = "" if then.date() == today.date() else f" on {then.day} {then:%b}"
        return f"⏱ from {then:%H:%M}{day}\n"

    def _file(self, job: Sending) -> tuple[str, str]:
        """The file's name in the spool if it goes out, and the sentence that stands in its place if it does not."""
        entry = job.entry
        if entry.spool_path is None:
            return "", ""
        what = entry.file_name or "without a name"
        if job.file_refused:
            return "", f"(a file, {what}, could not be sent: {job.file_refused.rstrip('.')})"
        size = self._spool.size(entry.spool_path) if self._spool else None
        if size is None:
            return "", f"(a file, {what}, is gone from the server and cannot be sent)"
        if size > job.channel.capabilities.max_file_bytes:
            return "", f"(a file, {what}, {megabytes(size)}, cannot be sent through {job.channel.name})"
        return entry.spool_path, ""


def megabytes(size: int) -> str:
    """`3 MB`, `0.2 MB`; of what is smaller, kilobytes."""
    if size < 100_000:
        return f"{max(1, round(size / 1000))} kB"
    return f"{size / 1_000_000:.1f}".removesuffix(".0") + " MB"
