"""`/whatsapp`: how WhatsApp stands, and linking or unlinking its account from another chat."""

from __future__ import annotations

from nanoclaw.commands.deps import Deps, WhatsAppControl
from nanoclaw.commands.wording import usage_line
from nanoclaw.ports import Answer, ChannelHealth, Invocation, Where
from nanoclaw.reports import ago

_OFF = (
    "WhatsApp is not switched on. In nanoclaw.toml: [whatsapp] enabled = true. Then start the service again."
)
_ELSEWHERE = "Say that in another chat: this one is on WhatsApp itself, and you would not see how it goes on."
_NO_PICTURES = "This chat shows no pictures, so give the phone number of the account, with its country code: /whatsapp link +49…"
_HOW = "on the phone: WhatsApp, Settings, Linked devices, Link a device"


class WhatsApp:
    """Looks, or begins what takes a while and is told here when it is done."""

    name = "whatsapp"
    usage = "/whatsapp [status|link [phone]|logout]"
    help = "WhatsApp's account: how it stands; link it by a QR code or by phone number; unlink it"
    where: Where = "main"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        control = self._deps.whatsapp
        word, _, rest = invocation.args.partition(" ")
        if word.lower() not in {"", "status", "link", "logout"} or (rest and word.lower() != "link"):
            return Answer(text=usage_line(self.usage))
        if control is None:
            return Answer(text=_OFF)
        if word.lower() in {"", "status"}:
            return Answer(text=self._status(control.health()))
        if control.owns(invocation.inbound.chat_id):
            return Answer(text=_ELSEWHERE)
        if word.lower() == "logout":
            return self._logout(control, invocation)
        return self._link(control, invocation, rest.strip() or None)

    def _status(self, health: ChannelHealth) -> str:
        up = f"WhatsApp is up as {health.account}."
        proven = health.last_proven_at
        lines = [up if health.state == "up" else health.reason or f"WhatsApp is {health.state}."]
        if proven is not None:
            lines.append(f"It answered last {ago(proven, self._deps.clock.now())}.")
        return "\n".join([*lines, *health.notes])

    def _link(self, control: WhatsAppControl, invocation: Invocation, phone: str | None) -> Answer:
        chat_id = invocation.inbound.chat_id
        if phone is None and not control.shows_codes(chat_id):
            return Answer(text=_NO_PICTURES)

        async def begin() -> None:
            control.begin_link(chat_id, phone)

        what = "a picture with a code comes; scan it" if phone is None else "a code comes; type it"
        return Answer(text=f"Linking WhatsApp: {what} {_HOW}.", after=begin)

    def _logout(self, control: WhatsAppControl, invocation: Invocation) -> Answer:
        async def begin() -> None:
            control.begin_logout(invocation.inbound.chat_id)

        return Answer(text="Unlinking WhatsApp; the end is told here.", after=begin)
