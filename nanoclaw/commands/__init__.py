"""The slash commands: one small file each, one row each in the table below."""

from __future__ import annotations

from collections.abc import Sequence

from nanoclaw.commands.asks import No, Questions, Yes
from nanoclaw.commands.compact import Compact
from nanoclaw.commands.context import Context
from nanoclaw.commands.debug import Debug
from nanoclaw.commands.deps import Deps
from nanoclaw.commands.export import Export
from nanoclaw.commands.forget import Forget
from nanoclaw.commands.group import GroupControl
from nanoclaw.commands.groups import Groups
from nanoclaw.commands.help import Help
from nanoclaw.commands.image import Image
from nanoclaw.commands.model import ModelChoice
from nanoclaw.commands.new import New
from nanoclaw.commands.pair import Pair
from nanoclaw.commands.promise import Promise
from nanoclaw.commands.retry import Retry
from nanoclaw.commands.status import Status
from nanoclaw.commands.stop import Stop
from nanoclaw.commands.task import TaskControl
from nanoclaw.commands.tasks import Tasks
from nanoclaw.commands.usage import Usage
from nanoclaw.commands.whatsapp import WhatsApp
from nanoclaw.commands.workflow import WorkflowControl
from nanoclaw.errors import BadInputError
from nanoclaw.ports import Command


def table(deps: Deps, extra: Sequence[Command] = ()) -> dict[str, Command]:
    """Every command by its name, in the order of `/help`; `extra` are those of plugins.

    Raises BadInputError if a name is taken.
    """
    rows: dict[str, Command] = {}
    own: tuple[Command, ...] = (
        Status(deps),
        Tasks(deps),
        TaskControl(deps),
        *((WorkflowControl(deps, deps.workflows),) if deps.workflows else ()),
        Promise(deps),
        Debug(deps),
        Usage(deps),
        Stop(deps),
        New(deps),
        Compact(deps),
        Context(deps),
        ModelChoice(deps),
        Forget(deps),
        *((Export(deps, deps.exports),) if deps.exports else ()),
        Retry(deps),
        Groups(deps),
        GroupControl(deps),
        *((Questions(deps, deps.asks), Yes(deps.asks), No(deps.asks)) if deps.asks else ()),
        Image(deps),
        WhatsApp(deps),
        Pair(deps),
        Help(deps, rows),
    )
    for command in (*own, *extra):
        if command.name in rows:
            raise BadInputError(f"the command /{command.name} exists already")
        rows[command.name] = command
    return rows
