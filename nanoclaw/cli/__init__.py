"""The command line: which sub-commands there are, and how they end.

Nothing heavy is imported before a sub-command runs, so that `nanoclaw --help` answers at once.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from nanoclaw.cli.parser import MODULES, build_parser
from nanoclaw.errors import BadInputError, NanoclawError

EXIT_TROUBLE = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one sub-command; its exit code. 2 for what the user must mend, told in one line."""
    _open_streams()
    arguments = build_parser().parse_args(argv)
    command = import_module(MODULES[arguments.command])
    try:
        return int(command.main(arguments, os.environ))
    except BadInputError as error:
        return _tell(error, EXIT_BAD_INPUT)
    except NanoclawError as error:
        return _tell(error, EXIT_TROUBLE)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left. Python would complain again when it flushes at the end.
        _drop_output()
        return EXIT_TROUBLE
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EIO, errno.EBADF):
            raise
        _drop_output()
        print(f"nanoclaw: the output cannot be written ({error.strerror})", file=sys.stderr)
        return EXIT_TROUBLE


def _open_streams() -> None:
    """A stream that was closed before we began (`<&-`, `>&-`) is an empty one, not a fault; its number stays ours."""
    for descriptor, mode in ((0, "r"), (1, "w"), (2, "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(
                os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY
            )  # takes the lowest number that is free
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - a descriptor, for good
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - likewise
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - likewise


def _drop_output() -> None:
    """Python flushes once more at the end, and would complain again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(error: NanoclawError, code: int) -> int:
    print(f"nanoclaw: {' '.join(str(error).split())}", file=sys.stderr)
    return code
