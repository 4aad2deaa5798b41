"""Owns the connections to one Slack and the calls that we make of it, each with its time-outs.

Imported at the channel's start: the library takes 6 MB. It has retry handlers; none is used, for they would repeat a
message by themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from yarl import URL

from nanoclaw.channels.slack.settings import SlackSettings

Message = Mapping[str, Any]
KEY_EVENT: Final = "nanoclaw_message"
"""Names the metadata in which each message of ours carries its key."""
_PAGE: Final = 200
_CONNECT_S: Final = 5.0
_CLOSE_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Me:
    """Who we are in the workspace."""

    user_id: str
    bot_id: str | None
    name: str
    team: str
    scopes: frozenset[str] | None
    """What the bot token may do; None if Slack did not say."""


class WebApi:
    """One app. Its calls raise what `refusals.CALL_ERRORS` names."""

    def __init__(self, settings: SlackSettings) -> None:
        """Needs the running loop."""
        self._settings = settings
        self._root = URL(settings.base_url)
        limits = aiohttp.ClientTimeout(total=settings.send_timeout_s, sock_connect=_CONNECT_S)
        self._session = aiohttp.ClientSession(timeout=limits, trust_env=True)
        logger = logging.getLogger("slack_sdk")
        logger.setLevel(max(logger.level, logging.INFO))  # else it spells out each request, for nobody
        self._web = AsyncWebClient(
            settings.bot_token,
            base_url=settings.base_url.rstrip("/") + "/api/",
            session=self._session,
            retry_handlers=[],
            logger=logger,
        )
        self._web.proxy = (
            None  # the session knows the proxies of the environment, and for which hosts there is none
        )

    async def close(self) -> None:
        await self._session.close()

    # --- who we are, and the way in --------------------------------------------------------------------------

    async def me(self) -> Me:
        reply = await self._web.auth_test()
        scopes = {str(k).lower(): v for k, v in reply.headers.items()}.get("x-oauth-scopes")
        return Me(
            user_id=str(reply["user_id"]),
            bot_id=reply.get("bot_id"),
            name=str(reply.get("user") or "the bot"),
            team=str(reply.get("team") or ""),
            scopes=None if scopes is None else frozenset(str(scopes).replace(" ", "").split(",")),
        )

    async def socket_address(self) -> str:
        """Good for one websocket."""
        reply = await self._web.apps_connections_open(app_token=self._settings.app_token)
        return str(reply["url"])

    async def websocket(self, address: str) -> aiohttp.ClientWebSocketResponse:
        return await self._session.ws_connect(
            address,
            autoping=False,
            heartbeat=self._settings.ping_interval_s,
            timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
        )

    # --- what there is ---------------------------------------------------------------------------------------

    async def user(self, user: str) -> Message:
        return await self._named(self._web.users_info(user=user), "user")

    async def conversation(self, channel: str) -> Message:
        return await self._named(self._web.conversations_info(channel=channel), "channel")

    async def file(self, file: str) -> Message:
        found: Message = (await self._web.files_info(file=file)).get("file") or {}
        return found

    async def history(
        self, channel: str, *, metadata: bool = False
    ) -> AsyncGenerator[Sequence[Message], None]:
        """Page by page, from the newest message on."""
        options = {"channel": channel, "include_all_metadata": metadata or None}
        async for page in self._pages("conversations.history", options):
            yield page

    async def replies(
        self, channel: str, thread: str, *, oldest: str | None = None, metadata: bool = False
    ) -> AsyncGenerator[Sequence[Message], None]:
        """A thread page by page, oldest first; each page begins with what the thread began with."""
        options = {
            "channel": channel,
            "ts": thread,
            "oldest": oldest,
            "include_all_metadata": metadata or None,
        }
        async for page in self._pages("conversations.replies", options):
            yield page

    async def _pages(self, method: str, options: dict[str, Any]) -> AsyncGenerator[Sequence[Message], None]:
        cursor: str | None = None
        while True:
            params = options | {"limit": _PAGE, "cursor": cursor}
            reply = await self._web.api_call(method, http_verb="GET", params=params)
            yield reply.get("messages") or []
            cursor = (reply.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return

    async def _named(self, call: Awaitable[AsyncSlackResponse], name: str) -> Message:
        async with asyncio.timeout(self._settings.lookup_timeout_s):
            found: Message = (await call).get(name) or {}
        return found

    # --- what we do ------------------------------------------------------------------------------------------

    async def post(
        self,
        channel: str,
        text: str,
        *,
        key: str,
        thread: str | None,
        mrkdwn: bool,
        blocks: Sequence[dict[str, Any]],
    ) -> str:
        reply = await self._web.chat_postMessage(
            channel=channel,
            text=text,
            thread_ts=thread,
            mrkdwn=mrkdwn,
            blocks=list(blocks) or None,
            metadata={"event_type": KEY_EVENT, "event_payload": {"key": key}},
            unfurl_links=False,
            unfurl_media=False,
        )
        return str(reply["ts"])

    async def update(
        self,
        channel: str,
        ts: str,
        text: str,
        *,
        blocks: Sequence[dict[str, Any]],
        timeout_s: float | None = None,
    ) -> None:
        """The message reads `text` from now on; blocks that it had are gone."""
        async with asyncio.timeout(timeout_s):
            await self._web.chat_update(channel=channel, ts=ts, text=text, blocks=list(blocks))

    async def status(self, channel: str, thread: str, status: str) -> None:
        async with asyncio.timeout(self._settings.presence_timeout_s):
            await self._web.assistant_threads_setStatus(channel_id=channel, thread_ts=thread, status=status)

    async def eyes(self, channel: str, ts: str) -> None:
        async with asyncio.timeout(self._settings.presence_timeout_s):
            await self._web.reactions_add(channel=channel, timestamp=ts, name="eyes")

    async def upload(self, path: Path, name: str) -> str:
        """The id of a file that nobody sees yet."""
        size = (await asyncio.to_thread(path.stat)).st_size
        place = await self._web.files_getUploadURLExternal(filename=name, length=size)
        limits = aiohttp.ClientTimeout(total=self._settings.upload_timeout_s, sock_connect=_CONNECT_S)
        with await asyncio.to_thread(path.open, "rb") as content:
            async with self._session.post(str(place["upload_url"]), data=content, timeout=limits) as reply:
                if reply.status != 200:
                    raise SlackClientError(f"upload: HTTP {reply.status}")
        return str(place["file_id"])

    async def share(
        self, channel: str, file: str, name: str, *, thread: str | None, comment: str | None
    ) -> None:
        await self._web.files_completeUploadExternal(
            files=[{"id": file, "title": name}], channel_id=channel, thread_ts=thread, initial_comment=comment
        )

    @asynccontextmanager
    async def download(self, address: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer with a file's bytes. Our token goes only to Slack: raises PermissionError for any other host."""
        url = URL(address)
        if not self._is_slack(url):
            raise PermissionError(url.host or "no host")
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_S, sock_read=self._settings.send_timeout_s
        )
        headers = {"Authorization": f"Bearer {self._settings.bot_token}"}
        async with self._session.get(url, headers=headers, timeout=limits, allow_redirects=False) as reply:
            yield reply

    def _is_slack(self, url: URL) -> bool:
        if url.scheme == self._root.scheme and (url.host, url.port) == (self._root.host, self._root.port):
            return True
        return url.scheme == "https" and (url.host or "").endswith(".slack.com")
