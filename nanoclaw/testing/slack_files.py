"""Files in the played Slack: how they are uploaded in three steps, told of, and read."""

from __future__ import annotations

import mimetypes
from typing import Any

from nanoclaw.testing.slack_faults import RefusedError
from nanoclaw.testing.slack_methods import Params
from nanoclaw.testing.slack_rules import structure
from nanoclaw.testing.slack_world import File, World, said


class Files:
    """The methods about files, in one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._lengths: dict[str, int] = {}
        self.table = {
            "files.completeUploadExternal": self._complete,
            "files.getUploadURLExternal": self._address,
            "files.info": self._info,
        }

    def add(self, file: File) -> File:
        self.world.files[file.id] = file
        return file

    def new_id(self) -> str:
        return f"F{len(self.world.files) + 1:07d}"

    def uploaded(self, file_id: str, content: bytes) -> bool:
        """Whether these bytes are what was announced."""
        file = self.world.files.get(file_id)
        if file is None or self._lengths.get(file_id) != len(content):
            return False
        file.content = content
        return True

    def _address(self, params: Params) -> dict[str, Any]:
        name, length = str(params.get("filename") or ""), int(params.get("length") or 0)
        if not name or length <= 0:
            raise RefusedError("invalid_arguments")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        file = self.add(
            File(id=self.new_id(), name=name, mimetype=kind, content=None, user=self.world.bot.id)
        )
        self._lengths[file.id] = length
        return {"upload_url": f"{self.world.root}/upload/{file.id}", "file_id": file.id}

    def _complete(self, params: Params) -> dict[str, Any]:
        named = structure(params, "files") or []
        files = [self.world.files.get(str(item.get("id"))) for item in named]
        if not files or any(file is None or file.content is None for file in files):
            raise RefusedError("file_not_found")
        found = [file for file in files if file is not None]
        for file, item in zip(found, named, strict=True):
            file.title = str(item.get("title") or file.name)
        if params.get("channel_id"):
            self._share(found, params)
        return {"files": [{"id": file.id, "title": file.title} for file in found]}

    def _share(self, files: list[File], params: Params) -> None:
        where = self.world.conversation(params.get("channel_id"), member=True)
        thread = params.get("thread_ts")
        if thread is not None and self.world.message(where.id, thread) is None:
            raise RefusedError("invalid_arguments")
        ts = self.world.new_ts()
        shown = [self.world.shown(file) for file in files]
        comment = str(params.get("initial_comment") or "")
        self.world.add(where.id, said(self.world.bot, comment, ts, thread=thread, files=shown))
        for file in files:
            file.shared_in.append((where.id, ts))

    def _info(self, params: Params) -> dict[str, Any]:
        file = self.world.files.get(str(params.get("file")))
        if file is None:
            raise RefusedError("file_not_found")
        shares: dict[str, list[dict[str, str]]] = {}
        for channel, ts in file.shared_in:
            shares.setdefault(channel, []).append({"ts": ts})
        return {"file": self.world.shown(file) | {"shares": {"private": shares} if shares else {}}}
