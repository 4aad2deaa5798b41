"""The container engine: how it is reached, and what its troubles mean. Blocking; called in worker threads."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from nanoclaw.errors import OutageError

if TYPE_CHECKING:
    from docker.api import APIClient

DEFAULT_SOCKET = "unix:///var/run/docker.sock"
CALL_TIMEOUT_S = 60
ANSWER_TIMEOUT_S = 5


class Engine:
    """One client for each thread that asks: requests' sessions are not made to be shared."""

    def __init__(self, url: str) -> None:
        """`url`: `unix:///…` or a path."""
        self.url = url if "://" in url else f"unix://{url}"
        self._local = threading.local()

    def api(self) -> APIClient:
        """This thread's client. Raises docker's own errors when the engine cannot be reached."""
        client: APIClient | None = getattr(self._local, "client", None)
        if client is None:
            client = self.new_client()
            self._local.client = client
        return client

    def new_client(self, timeout_s: int = CALL_TIMEOUT_S) -> APIClient:
        """A client of the caller's own, to be closed by it. Raises OSError or docker's own errors, as `api` does."""
        from docker.api import APIClient  # noqa: PLC0415 - 0.1 s and 10 MB; only where containers are used

        if self.url.startswith("unix://"):
            # When nobody listens there, docker-py leaves its own socket open.
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as tried:
                tried.settimeout(ANSWER_TIMEOUT_S)
                tried.connect(self.url.removeprefix("unix://"))
        return APIClient(base_url=self.url, version="auto", timeout=timeout_s)

    def exists(self) -> bool:
        """Whether there may be one: for a socket, that its file is there. Loads nothing."""
        return not self.url.startswith("unix://") or Path(self.url.removeprefix("unix://")).exists()

    def has_image(self, name: str) -> bool:
        """Whether the image is there. False, too, when that cannot be found out."""
        from docker.errors import DockerException  # noqa: PLC0415 - as above

        try:
            self.api().inspect_image(name)  # type: ignore[no-untyped-call]
        except (DockerException, OSError):
            return False
        return True

    def answers(self) -> bool:
        """Whether an engine answers now."""
        from docker.errors import DockerException  # noqa: PLC0415 - as above

        try:
            client = self.new_client(ANSWER_TIMEOUT_S)
        except (DockerException, OSError):
            return False
        try:
            return bool(client.ping())
        except (DockerException, OSError):
            return False
        finally:
            client.close()


def engine_trouble(error: Exception, *, image: str) -> OutageError:
    """The engine's error as an outage with its sentence."""
    from docker.errors import APIError, ImageNotFound  # noqa: PLC0415 - only where containers are used

    if isinstance(error, OutageError):
        return error
    if isinstance(error, ImageNotFound) or (isinstance(error, APIError) and "No such image" in str(error)):
        safe = f"The agent image {image} is missing: send /image build in the main chat."
    elif isinstance(error, APIError):
        safe = f"The container engine refuses to start an agent ({str(error.explanation)[:200]})."
    else:
        safe = "The container engine does not answer."
    return OutageError(f"engine: {error}", cause="engine", safe=safe)
