"""The image that agents run in: what goes into it, how it is built, whether it is up to date. Blocking; for threads."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from nanoclaw import __version__
from nanoclaw.errors import NanoclawError, OutageError
from nanoclaw.ports import ImageState
from nanoclaw.runtimes.docker.build_log import BuildLog

if TYPE_CHECKING:
    from docker.api import APIClient

CODE_LABEL = "nanoclaw.code"
CERTIFICATES = "ca.crt"
BUILD_SILENCE_S = 900
"""A build may be silent for this long: a library that downloads slowly says nothing."""

log = structlog.get_logger()


def code_hash() -> str:
    """Names the code and the recipe that go into an image; equal on every machine that has the same."""
    digest = hashlib.sha256()
    for name, content in sorted(_sources().items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def build_context(certificates: bytes = b"") -> bytes:
    """What the engine is given to build from, as a tar: the same bytes for the same files, whenever and wherever."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted({**_sources(), CERTIFICATES: certificates}.items()):
            entry = tarfile.TarInfo(name)  # owned by root, of 1970
            entry.size = len(content)
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _sources() -> dict[str, bytes]:
    """Name in the build context -> content: the recipe, the agent program, and the wire that it shares with us."""
    package = Path(str(resources.files("nanoclaw")))
    packaged = package / "_data" / "containers" / "agent"
    recipe = packaged if packaged.is_dir() else package.parent / "containers" / "agent"
    program = [package / "__init__.py", package / "wire.py", *(package / "agent").rglob("*.py")]
    found = {path.name: path.read_bytes() for path in recipe.iterdir() if path.is_file()}
    return found | {path.relative_to(package.parent).as_posix(): path.read_bytes() for path in program}


class Images:
    """The agent image of one engine. `new_client` gives a client that is closed again after each call."""

    def __init__(
        self, new_client: Callable[[], APIClient], *, image: str, base_image: str, ca_bundle: str = ""
    ) -> None:
        """`ca_bundle`: a file with certificates that the image trusts besides the usual ones, or empty."""
        self.name = image
        self._new_client = new_client
        self._base_image = base_image
        self._ca_bundle = ca_bundle

    def state(self) -> ImageState:
        """Raises OutageError when the engine cannot be asked."""
        from docker.errors import NotFound  # noqa: PLC0415 - only where containers are used

        with self._client() as client:
            try:
                found = client.inspect_image(self.name)  # type: ignore[no-untyped-call]
            except NotFound:
                return ImageState(name=self.name, exists=False)
        labels = found["Config"].get("Labels") or {}
        return ImageState(
            name=self.name,
            exists=True,
            stale=labels.get(CODE_LABEL) != code_hash(),
            id=str(found["Id"]),
            created=datetime.fromisoformat(found["Created"]),
            size_bytes=int(found["Size"]),
        )

    def build(self, progress: Callable[[str], None]) -> str:
        """Builds and names the image; its id. `progress` gets short lines such as "Step 3/9: COPY …".

        Raises NanoclawError with the last words of a build that failed, OutageError when the engine went away.
        """
        before = self.state()
        build_log = BuildLog(progress, base_image=self._base_image)
        context = build_context(self._certificates())
        arguments = {"BASE_IMAGE": self._base_image, "VERSION": __version__, "CODE": code_hash()}
        with self._client() as client:
            for event in client.build(
                fileobj=io.BytesIO(context),
                custom_context=True,
                tag=self.name,
                buildargs=arguments,
                rm=True,
                forcerm=True,
                decode=True,
                timeout=BUILD_SILENCE_S,
            ):
                build_log.take(event)
        build_log.finish()
        after = self.state()
        if after.stale or not after.exists:
            # The stream can simply end: the engine was stopped, or somebody took the name for another image.
            raise NanoclawError("The build ended without an image.")
        if before.exists and before.id != after.id:
            self._remove(before.id)
        return after.id

    def _certificates(self) -> bytes:
        try:
            return Path(self._ca_bundle).read_bytes() if self._ca_bundle else b""
        except OSError as error:
            raise NanoclawError(
                f"{self._ca_bundle} ([docker] ca_bundle) cannot be read: {error.strerror}",
                safe=f"The file that [docker] ca_bundle names cannot be read ({error.strerror}).",
            ) from error

    def _remove(self, image_id: str) -> None:
        """The image before this one is of no use any more, unless an agent still runs in it or it has another name."""
        from docker.errors import APIError  # noqa: PLC0415 - only where containers are used

        try:
            with self._client() as client:
                client.remove_image(image_id)
        except (APIError, NanoclawError) as error:
            log.info("image.old_one_kept", image=image_id, reason=str(error))

    @contextlib.contextmanager
    def _client(self) -> Iterator[APIClient]:
        """A client for one call, whose troubles become ours."""
        from docker.errors import APIError, DockerException, StreamParseError  # noqa: PLC0415 - as above
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - comes with docker

        try:
            with contextlib.closing(self._new_client()) as client:
                yield client
        except APIError as error:
            raise NanoclawError(f"The container engine refuses: {error.explanation or error}") from error
        except (DockerException, StreamParseError, HTTPError, OSError) as error:
            raise OutageError(
                f"the container engine does not answer; does it run, and may this user talk to it? ({error})",
                cause="engine",
                safe="The container engine does not answer.",
            ) from error
