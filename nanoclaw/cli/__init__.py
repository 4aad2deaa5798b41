"""The command line: which sub-commands there are, and how they end.

Nothing heavy is imported before a sub-command runs, so that `nanoclaw --help` answers at once.
"""

from __future__ import annotations

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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_TROUBLE


def _tell(error: NanoclawError, code: int) -> int:
    print(f"nanoclaw: {' '.join(str(error).split())}", file=sys.stderr)
    return code
