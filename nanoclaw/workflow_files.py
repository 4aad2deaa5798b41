"""Where workflows lie: ours beside the program, the owner's in `<home>/workflows`. Read anew each time that they matter."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from nanoclaw.workflows import Broken, Shelf, Workflow, WorkflowError, read_workflow

MAX_FILES = 200
MAX_BYTES = 100_000


class WorkflowFiles:
    """Two folders; neither needs to be there."""

    def __init__(self, own: Path, ours: Path | None = None) -> None:
        self._own = own
        self._ours = ours or shipped_folder()

    def read(self) -> Shelf:
        """A broken file of the owner's also takes the place of ours: what was meant is not guessed."""
        found = {each.name: each for each in _read(self._ours, own=False)}
        found |= {each.name: each for each in _read(self._own, own=True)}
        return Shelf(
            workflows=[each for _, each in sorted(found.items()) if isinstance(each, Workflow)],
            broken=[each for _, each in sorted(found.items()) if isinstance(each, Broken)],
        )


def shipped_folder() -> Path:
    """From the wheel, or from the checkout."""
    packaged = Path(str(resources.files("nanoclaw"))) / "_data" / "workflows"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[1] / "workflows"


def _read(folder: Path, *, own: bool) -> Iterator[Workflow | Broken]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".md" and path.name != "README.md")
    except FileNotFoundError:
        return
    except OSError as error:
        yield Broken(name="workflows", why=f"the folder cannot be read ({error.strerror})")
        return
    for path in paths[:MAX_FILES]:
        try:
            yield read_workflow(path.stem, _text(path), own=own)
        except UnicodeDecodeError:
            yield Broken(name=path.stem, why="it is not written in UTF-8")
        except OSError as error:
            yield Broken(name=path.stem, why=f"it cannot be read ({error.strerror})")
        except WorkflowError as error:
            yield Broken(name=path.stem, why=error.safe.rstrip("."))


def _text(path: Path) -> str:
    if not path.is_file():
        raise WorkflowError("it is no file")
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise WorkflowError(f"it is larger than {MAX_BYTES // 1000} kB")
    return content.decode("utf-8")
