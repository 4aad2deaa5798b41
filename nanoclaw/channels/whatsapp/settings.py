"""What can be set about WhatsApp; needs nothing else, so that the configuration can be checked without the library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatsAppSettings:
    """One account."""

    own_number: bool = False
    """The assistant has a number of its own. Else it shares its owner's, and signs with its name."""
    per_min: float = 20.0
    """Messages to one chat, in the long run."""
    burst: int = 3
    """Messages to one chat that leave at once after a silence."""
    link_timeout_s: float = 160.0
    answer_timeout_s: float = 60.0
    """For the answer to a request, and for a sign of life of the process."""
    restart_delays_s: tuple[float, ...] = (1.0, 5.0, 30.0, 120.0, 600.0)
    """Before the process is started again; the last one repeats, and is the pause after another program took over."""
    start_timeout_s: float = 60.0
    """The process takes a second to load the library, more on a machine that is busy."""
    connect_timeout_s: float = 120.0
    """Not connected for so long: it is started again."""
    ping_interval_s: float = 10.0
    probe_interval_s: float = 60.0
    """How often WhatsApp itself is asked for an answer."""
    first_try_s: float = 0.8
    """How long the start waits for news before it goes on in the background."""
    store_pause_s: float = 1.0
    """Pause before a message is offered again when nothing can be stored."""
    stop_grace_s: float = 5.0
