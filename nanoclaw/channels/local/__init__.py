"""The terminal: a Unix socket in the home folder (`LocalChannel`) and the client that speaks to it (`LocalClient`)."""

from nanoclaw.channels.local.channel import LocalChannel
from nanoclaw.channels.local.client import LocalClient

__all__ = ["LocalChannel", "LocalClient"]
