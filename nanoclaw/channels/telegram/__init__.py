"""Telegram: `TelegramChannel` and its settings. The library behind it is imported at the channel's start."""

from nanoclaw.channels.telegram.channel import TelegramChannel
from nanoclaw.channels.telegram.settings import TelegramSettings, looks_like_token

__all__ = ["TelegramChannel", "TelegramSettings", "looks_like_token"]
