"""The way to the model: the proxy, and behind it Anthropic, another server, or the offline model."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from nanoclaw.config import Settings
from nanoclaw.ports import Clock, UsageLedger
from nanoclaw.proxy.server import Proxy, Upstream
from nanoclaw.reports import ago


class ModelDoor:
    """The proxy that runs, and what stands behind it."""

    def __init__(self, *, proxy: Proxy, name: str, offline: bool, clock: Clock) -> None:
        self.proxy = proxy
        self.name = name
        self._offline = offline
        self._clock = clock

    def line(self) -> str:
        """For `/status`: which model is asked, and how that went last."""
        health, now = self.proxy.health(), self._clock.now()
        if self._offline:
            return f"{self.name} (no AI: no ANTHROPIC_API_KEY is set)"
        error = health.last_error
        if error and not health.ok:
            status = f" ({error.status})" if error.status else ""
            return f"{self.name}, last request failed {ago(error.at, now)}{status}: {error.text}"
        if health.last_answer_at:
            return f"{self.name}, last answer {ago(health.last_answer_at, now)}"
        return self.name


async def open_model(
    stack: AsyncExitStack, settings: Settings, ledger: UsageLedger, clock: Clock
) -> ModelDoor:
    model = settings.model
    if model.offline:
        from nanoclaw.testing.offline import MODEL_NAME, serve_offline  # noqa: PLC0415 - only without a key

        # A short path, whatever the home's is.
        socket = Path(stack.enter_context(TemporaryDirectory(prefix="nanoclaw-"))) / "offline.sock"
        offline = await serve_offline(socket, clock=clock)
        stack.push_async_callback(offline.stop)
        name = MODEL_NAME
        upstream = Upstream(base_url="http://offline", api_key=None, auth_token=None, unix_path=socket)
    else:
        name = model.name
        upstream = Upstream(
            base_url=model.url,
            api_key=model.api_key.reveal() if model.api_key else None,
            auth_token=model.auth_token.reveal() if model.auth_token else None,
            unix_path=None,
        )
    proxy = Proxy(upstream=upstream, ledger=ledger, clock=clock)
    await proxy.start()
    stack.push_async_callback(proxy.stop)
    return ModelDoor(proxy=proxy, name=name, offline=model.offline, clock=clock)
