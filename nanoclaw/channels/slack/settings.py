"""What can be set about Slack; needs nothing else, so that the configuration can be checked without the library."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackSettings:
    """One app in one workspace, reached through Socket Mode."""

    bot_token: str = field(repr=False)
    app_token: str = field(repr=False)
    base_url: str = "https://slack.com"
    """The root of the Web API server, without `/api`."""
    ping_interval_s: float = 10.0
    """How often a quiet connection is asked whether it still lives; without an answer in half that time it is given up."""
    connect_timeout_s: float = 15.0
    """For all steps to a new connection, each."""
    send_timeout_s: float = 20.0
    """Without an answer to a send for so long, its fate is uncertain."""
    upload_timeout_s: float = 120.0
    """For the bytes of a file that we send."""
    fetch_timeout_s: float = 120.0
    """For one file that somebody sent, all in all."""
    presence_timeout_s: float = 3.0
    lookup_timeout_s: float = 1.0
    """For a name; Slack wants each event acknowledged within 3 s."""
    order_wait_s: float = 2.0
    """After a reconnect, so long at most a new message waits for those that were missed before it."""
    first_try_s: float = 0.8
    """How long the start waits for Slack's first answer before it goes on in the background."""
    retry_first_s: float = 1.0
    """First pause after trouble with the network; doubled each time."""
    retry_most_s: float = 30.0
    refused_retry_s: float = 60.0
    """Pause before refused tokens are tried again."""
    store_pause_s: float = 1.0
    """Pause of the catch-up while nothing can be stored."""
    history_days: float = 7.0
    """How far back a reconnect looks for messages that were missed, and for threads that they may be in."""
    chat_per_min: float = 55.0
    """Messages to one channel, in the long run: Slack wants no more than one a second."""
    burst: int = 3
    """Messages to one channel that leave at once after a silence."""
    live_threads: bool = False
    """Show answers in threads while they are written, by editing a message."""
