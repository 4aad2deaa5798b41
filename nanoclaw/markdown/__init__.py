"""Owns how the model's Markdown reads on a chat service. Broken Markdown is shown as it stands: no text is ever lost."""

from nanoclaw.markdown.plain import plain
from nanoclaw.markdown.slack import to_slack_mrkdwn
from nanoclaw.markdown.telegram import to_telegram_html
from nanoclaw.markdown.whatsapp import to_whatsapp

__all__ = ["plain", "to_slack_mrkdwn", "to_telegram_html", "to_whatsapp"]
