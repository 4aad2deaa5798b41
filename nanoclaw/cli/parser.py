"""What can be typed after `nanoclaw`, as data for argparse."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Final

from nanoclaw import __version__

MODULES: Final[Mapping[str, str]] = {
    "run": "nanoclaw.cli.run",
    "chat": "nanoclaw.cli.chat",
    "pair": "nanoclaw.cli.pair",
    "image": "nanoclaw.cli.image",
    "whatsapp": "nanoclaw.cli.whatsapp",
}
"""Sub-command -> the module whose `main(arguments, environ)` carries it out; imported when it is called."""

_RUN = """Runs the assistant until SIGTERM or Ctrl-C. The log goes to standard output, as JSON when that is no
terminal, and with it one line with a pairing code for Telegram."""

_CHAT = """Talks to the assistant in this terminal. If the service runs on this home folder, the chat joins it; else
it starts one for as long as you chat. Ctrl-D or Ctrl-C ends it. Only warnings are logged, to standard error, so that
the conversation stays readable; `nanoclaw run` logs everything. Without a terminal each line of standard input is one
message, the replies go to standard output, and it ends when the last one is answered."""

_PAIR = """Makes a new pairing code and prints it alone. Send it to the bot as "/pair CODE": that chat becomes a
control panel, and its sender an owner. A code works once, for 10 minutes."""


_IMAGE = """Says how the image is that agents in containers run in; with "build", builds it and shows each step. The
first time it fetches a small Debian with Python, a few tools and libraries (some minutes); later builds take seconds.
A running service uses the new image for every agent that starts from then on."""


_WHATSAPP = """Links WhatsApp with an account: draws a code in this terminal, to be scanned with the phone; with --phone,
prints a code to be typed on the phone with that number. The service must be running, with WhatsApp switched on."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nanoclaw",
        description="A personal assistant that lives on your own machine and in your chat apps.",
    )
    parser.add_argument("--version", action="version", version=f"nanoclaw {__version__}")
    _add_home(parser, default=None)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text, brief in (
        ("run", _RUN, "run the assistant as a service"),
        ("chat", _CHAT, "talk to it in this terminal"),
        ("pair", _PAIR, "make a code that claims a chat app for you"),
        ("image", _IMAGE, "look at the image that agents run in, or build it"),
        ("whatsapp", _WHATSAPP, "link WhatsApp with an account"),
    ):
        command = commands.add_parser(name, help=brief, description=text)
        # Without SUPPRESS the sub-command's default would overwrite what stood before it.
        _add_home(command, default=argparse.SUPPRESS)
        if name == "chat":
            command.add_argument(
                "--name", default="main", type=_chat_name, help="which terminal chat to enter (default: main)"
            )
        elif name == "image":
            command.add_argument("action", nargs="?", choices=("build",), help="build: make it anew")
        elif name == "whatsapp":
            command.add_argument("action", choices=("link",), help="link: connect it with an account")
            command.add_argument("--phone", metavar="NUMBER", help="with the country code: +49 151 1234567")
    return parser


def _add_home(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    parser.add_argument(
        "--home",
        metavar="DIR",
        default=default,
        help="the home folder (default: NANOCLAW_HOME, else ~/.nanoclaw)",
    )


def _chat_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9_-]{1,32}", text):
        raise argparse.ArgumentTypeError("a name has 1 to 32 characters of a-z, 0-9, _ and -")
    return text
