"""A Debian of our own to build the agent image on, for machines that reach no registry of images."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from docker.api import APIClient
from docker.errors import ImageNotFound

from tests.machine import CACHE, run

_SUITE = "bookworm"


def make_base(client: APIClient, name: str, say: Callable[[str], None]) -> None:
    """Brings the smallest Debian into the engine under this name, unless it is there."""
    try:
        client.inspect_image(name)  # type: ignore[no-untyped-call]
    except ImageNotFound:
        packed = CACHE / f"{_SUITE}-{os.uname().machine}.tar"
        if not packed.exists():
            say(f"fetching a small Debian ({_SUITE})")
            _bootstrap(packed)
        said = client.import_image_from_file(str(packed), repository=name, tag="latest")
        if "error" in said:
            raise RuntimeError(said) from None


def _bootstrap(packed: Path) -> None:
    """A file tree of the packages that no Debian is without, as a tar."""
    work = Path(tempfile.mkdtemp(prefix="debian-", dir=packed.parent))
    try:
        try:
            run("debootstrap", "--variant=minbase", _SUITE, str(work / "tree"))
        except RuntimeError:  # a download that broke off; it begins again where it was
            run("debootstrap", "--variant=minbase", _SUITE, str(work / "tree"))
        left_out = (
            "./var/cache/apt/archives/*.deb",
            "./var/lib/apt/lists/*",
            "./proc/*",
            "./sys/*",
            "./dev/*",
        )
        run(
            *(
                "tar",
                "--numeric-owner",
                "--create",
                "--file",
                str(work / "tar"),
                "--directory",
                str(work / "tree"),
            ),
            *(f"--exclude={pattern}" for pattern in left_out),
            ".",
        )
        (work / "tar").rename(packed)
    finally:
        shutil.rmtree(work, ignore_errors=True)
