"""Slack: `SlackChannel` and its settings. The library behind it is imported at the channel's start."""

from nanoclaw.channels.slack.channel import SlackChannel
from nanoclaw.channels.slack.settings import SlackSettings

__all__ = ["SlackChannel", "SlackSettings"]
