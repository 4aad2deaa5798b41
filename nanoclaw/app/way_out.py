"""Everything that leaves: the outbox on its way, signs of life, what the program itself says, and silent channels."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from nanoclaw.app.post import Post
from nanoclaw.channel_watch import AlertSettings, ChannelWatch
from nanoclaw.config import Settings
from nanoclaw.delivery import Delivery, DeliverySettings
from nanoclaw.directory import Directory
from nanoclaw.domain import ChatId, OutboxEntry
from nanoclaw.envelope import Envelope
from nanoclaw.home import Home
from nanoclaw.live import Live, LiveSettings
from nanoclaw.notices import Notices
from nanoclaw.ports import Clock
from nanoclaw.presence import Presence, PresenceSettings
from nanoclaw.spool import Spool
from nanoclaw.sqlite.store import Store


class WayOut:
    """Built together, because each needs another one."""

    def __init__(
        self,
        settings: Settings,
        home: Home,
        *,
        store: Store,
        post: Post,
        directory: Directory,
        clock: Clock,
        zone: ZoneInfo,
    ) -> None:
        given, alerts = settings.delivery, settings.alerts
        self._store = store
        self._directory = directory
        self._clock = clock
        self.spool = Spool(home.spool)
        self.delivery = Delivery(
            store=store.outbox,
            channel_of=post.of,
            clock=clock,
            settings=DeliverySettings(
                retry_delays_s=given.retry_delays_s, expires_after_s=given.expires_after_s
            ),
            tell_main=self._tell_main,
            name_of=self._name_of,
            envelope=Envelope(spool=self.spool, zone=zone),
            spool=self.spool,
            hushed=lambda turn_id: self.live.hushed(turn_id),  # noqa: PLW0108 - built later
        )
        self.live = Live(
            channel_of=post.of,
            outbox=store.outbox,
            asked=store.turns.last_asked,
            poke=self.delivery.poke,
            clock=clock,
            settings=LiveSettings(),
        )
        self.notices = Notices(
            outbox=store.outbox,
            directory=directory,
            clock=clock,
            reachable=post.reachable,
            poke=self.delivery.poke,
            spool=self.spool,
        )
        self.presence = Presence(
            channel_of=post.of,
            settings=PresenceSettings(
                typing_renew_s=given.typing_renew_s, receipt_after_s=given.receipt_after_s
            ),
        )
        self.watch = ChannelWatch(
            channels=lambda: list(post.channels.values()),
            tell_main=self.notices.tell_main,
            memory=store,
            clock=clock,
            zone=zone,
            settings=AlertSettings(channel_down_s=alerts.channel_down_s, check_s=alerts.check_s),
            tells_itself=lambda channel: channel.name == "whatsapp",
        )

    async def put(self, entry: OutboxEntry) -> None:
        """Stores an entry and sees to it at once."""
        await self._store.outbox.put(entry, self._clock.now())
        self.delivery.poke(entry.chat_id, entry.lane)

    def _name_of(self, chat_id: ChatId) -> str:
        group = self._directory.group(chat_id)
        return group.name if group else chat_id

    async def _tell_main(self, key: str, text: str, *, not_in: ChatId | None = None) -> bool:
        return await self.notices.tell_main(key, text, not_in=not_in)
