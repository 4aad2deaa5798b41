"""Every number that bounds the agent program, in one place; tests make them small."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds end in `_s`, bytes in `_bytes`."""

    text_every_s: float = 0.1
    """A piece of streamed text waits at most so long for more…"""
    text_chars: int = 400
    """…or until there is so much of it."""
    tool_output_bytes: int = 100_000
    repeats_refused: int = 3
    """The same call for the so-many-th time in a row gets an error instead of a run."""
    repeats_ended: int = 6
    """The so-many-th time ends the turn."""
    model_retries_s: tuple[float, ...] = (0.5, 2.0)
    """Pauses before each repetition of a model call that failed without fault of ours."""
    retry_after_max_s: float = 30.0
    """A model that asks for a longer pause is out of service for now."""
    proxy_retry_s: float = 1.0
    proxy_patience_s: float = 600.0
    """So long a proxy may be away (the host restarts) before it counts as an outage."""
    connect_s: float = 5.0
    idle_s: float = 300.0
    """A model stream without a single byte for so long is dead. The API itself pings every few seconds."""
    search_s: float = 10.0
    """Wall clock of one glob or grep."""
    script_s: float = 30.0
    """Wall clock of a task's script."""
    script_output_bytes: int = 1024 * 1024
    shell_end_s: float = 3.0
    """How long ending what a turn's commands left running may take."""
    close_grace_s: float = 2.0
    """How long a closing agent waits for the acknowledgement of its last frames."""
