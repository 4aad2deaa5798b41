"""What can be set about Telegram; needs nothing else, so that the configuration can be checked without the library."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_FILE_BYTES = 50_000_000
"""Of a file that a bot sends."""
_TOKEN = re.compile(r"[0-9]+:[A-Za-z0-9_-]{8,}")


def looks_like_token(text: str) -> bool:
    """Whether `text` has the shape of a bot token. Telegram's own have 35 characters behind the colon, test servers less."""
    return _TOKEN.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class TelegramSettings:
    """One bot on one Bot API server."""

    token: str = field(repr=False)
    base_url: str = "https://api.telegram.org"
    """The root of the Bot API server, without `/bot`."""
    poll_timeout_s: int = 50
    """How long Telegram holds a read open when there is nothing new."""
    send_timeout_s: float = 20.0
    """Without an answer to a send for so long, its fate is uncertain."""
    upload_timeout_s: float = 120.0
    """The same for a file."""
    fetch_timeout_s: float = 120.0
    """For one file that somebody sent, all in all."""
    presence_timeout_s: float = 3.0
    first_try_s: float = 0.8
    """How long the start waits for Telegram's first answer before it goes on in the background."""
    retry_first_s: float = 1.0
    """First pause after trouble with the network; doubled each time."""
    retry_most_s: float = 30.0
    refused_retry_s: float = 60.0
    """Pause before a refused token is tried again."""
    conflict_quiet_s: float = 90.0
    """For so long nobody else must have read with our token, once three reads were ended that way, until all is well."""
    breath_s: float = 0.015
    """Pause after a read that brought something: that is worked on first, and what comes meanwhile comes in one read."""
    store_pause_s: float = 1.0
    """Pause between reads while nothing can be stored."""
    private_per_min: float = 60.0
    """Messages to one private chat, in the long run."""
    group_per_min: float = 17.0
    """Messages to one group; with the burst this stays below Telegram's 20."""
    burst: int = 3
    """Messages to one chat that leave at once after a silence."""
    live_private: bool = True
    """Show answers in private chats while they are written, as drafts."""
    live_groups: bool = False
    """Show answers in groups while they are written, by editing a message."""
