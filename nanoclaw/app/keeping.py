"""What groups keep: their folders, files from the chat, conversations that are made shorter, searched, exported, forgotten."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

from nanoclaw.app.post import Post
from nanoclaw.app.surroundings import fill_of
from nanoclaw.attachments import Attachments, FileLimits
from nanoclaw.compaction import CompactionSettings, Compactor
from nanoclaw.config import Settings
from nanoclaw.directory import Directory
from nanoclaw.domain import ChatId, Folder, Lane
from nanoclaw.exhibits import Exhibits
from nanoclaw.export import Exporter
from nanoclaw.file_tools import SendFile
from nanoclaw.forget import Forgetter
from nanoclaw.home import Home
from nanoclaw.media.reader import MediaReader
from nanoclaw.memory_tools import ConversationSearch, GlobalMemory
from nanoclaw.ports import Clock, HostTool
from nanoclaw.rooms import Room
from nanoclaw.spool import Spool
from nanoclaw.sqlite.store import Store

MIB = 1024 * 1024


class GroupRooms:
    """The folders of groups, reached without following links."""

    def __init__(self, home: Home) -> None:
        self._groups = home.groups

    def room(self, folder: Folder) -> Room:
        return Room(self._groups / folder)

    def made(self, folder: Folder) -> Room:
        """A folder that is there from now on."""
        (self._groups / folder).mkdir(mode=0o700, exist_ok=True)
        return self.room(folder)


class Keeping:
    """Built together: all of them work in the groups' folders."""

    def __init__(
        self,
        settings: Settings,
        home: Home,
        *,
        rooms: GroupRooms,
        store: Store,
        post: Post,
        directory: Directory,
        clock: Clock,
        zone: ZoneInfo,
        spool: Spool,
        poke: Callable[[ChatId, Lane], None],
    ) -> None:
        files, quota = settings.attachments, settings.docker.folder_quota_mb * MIB
        name, model = settings.assistant.name, settings.model
        self.exhibits = Exhibits(
            room_of=rooms.room,
            reader=MediaReader(edge_px=files.image_edge_px),
            text_bytes=files.text_kb * 1024,
        )
        self.attachments = Attachments(
            store=store.attachments,
            channel_of=post.of,
            room_of=rooms.room,
            fits=lambda folder, size: fill_of(home.groups, folder, max(0, quota - size)).why is None,
            with_words=self.exhibits.with_words,
            passage=home.attachments,
            clock=clock,
            limits=FileLimits(
                max_bytes=files.max_mb * MIB,
                fetch_timeout_s=files.fetch_timeout_s,
                retry_delays_s=files.retry_delays_s,
            ),
        )
        self.compactor = Compactor(
            store=store.compactions,
            turns=store.turns,
            room_of=rooms.made,
            clock=clock,
            settings=CompactionSettings(
                assistant_name=name,
                zone=zone,
                limit_tokens=model.compact_at_tokens,
                model_sums_up=not model.offline,
            ),
        )
        self.forgetter = Forgetter(store=store, room_of=rooms.made)
        self.exporter = Exporter(
            store=store.exports,
            values=store,
            spool=spool,
            room_of=rooms.made,
            group_of=directory.group,
            channel_of=post.of,
            poke=poke,
            clock=clock,
            assistant_name=name,
            zone=zone,
        )
        self._search = ConversationSearch(
            store=store.compactions, room_of=rooms.made, assistant_name=name, zone=zone
        )
        self._global = GlobalMemory(room_of=rooms.made)
        self._send_file = SendFile(
            open_file=lambda folder, path: rooms.room(folder).open_file(path),
            spool=spool,
            groups=directory.groups,
            channel_of=post.of,
            max_bytes=files.max_mb * MIB,
        )

    def tools(self) -> list[HostTool]:
        return [self._send_file.tool(), self._search.tool(), self._global.tool()]

    async def tidy(self) -> None:
        """At the start: what a crash has left half done is finished, what nobody needs is removed."""
        await self.attachments.sweep()
        await self.forgetter.finish()
        await self.exporter.finish()
