"""One write transaction, as commands, host tools and plugins see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from nanoclaw.domain import (
    Action,
    Ask,
    AskId,
    AskState,
    ChatId,
    Event,
    EventId,
    Folder,
    Forgetting,
    Forgotten,
    Group,
    OutboxEntry,
    Person,
    StoredMessage,
    Task,
    TaskId,
    TaskStatus,
    ToolCall,
    TurnId,
)

T = TypeVar("T")


class Tx(Protocol):
    """One write transaction, seen by what commands, host tools and plugins may do in it. Synchronous on purpose:

    it runs in the writer's thread, whole or not at all. Events and actions are written in it, too.
    """

    now: datetime
    event: EventId | None
    """The command that this transaction answers, if it is one's; what is done because of it hangs there."""

    def group(self, chat_id: ChatId) -> Group | None: ...
    def groups(self) -> list[Group]: ...
    def add_group(self, group: Group) -> None:
        """Raises BadInputError if the chat or the folder is taken; never touches what is there."""
        ...

    def folder_for(self, chat_id: ChatId, channel: str, name: str) -> Folder:
        """The folder that the chat had when it was registered before, else a new one that nobody has or had."""
        ...

    def change_group(self, group: Group) -> None:
        """Its name, trigger, requires_trigger, is_main, ask_tools and model become these; nothing else is touched."""
        ...

    def remove_group(self, chat_id: ChatId) -> None:
        """Unregisters the chat. Folder, history and tasks stay; registered again, it has its folder again."""
        ...

    def find_task(self, ref: str, folder: Folder | None = None) -> Task | list[Task] | None:
        """By id, by a unique prefix of 4 characters or more; a list when several match. `folder` limits the search."""
        ...

    def tasks(self, folder: Folder | None = None) -> list[Task]: ...
    def add_task(self, task: Task) -> None: ...
    def change_task(self, task: Task) -> None:
        """All that can be set of it becomes this: what, when, where in time, how, its status and next time."""
        ...

    def active_tasks(self, folder: Folder) -> int:
        """How many of a group's tasks are active."""
        ...

    def set_task(
        self,
        task_id: TaskId,
        *,
        status: TaskStatus,
        next_run: datetime | None,
        why: str | None = None,
        but: TurnId | None = None,
    ) -> None:
        """Pausing ends what is queued or runs of it, but for that turn; `why` is shown beside a paused task."""
        ...

    def delete_task(self, task_id: TaskId, *, but: TurnId | None = None) -> None:
        """The task and its run logs, and what is queued or runs of it, but for that turn. Its occurrences stay, as `deleted`."""
        ...

    def run_task(self, task_id: TaskId) -> bool:
        """One more occurrence, now; its next time stays as it is. False if one is at work already."""
        ...

    def cancel(self, chat_id: ChatId) -> tuple[list[TurnId], int]:
        """Ends the chat's open turns and messages as `cancelled`; the turns that ran, and how many messages."""
        ...

    def retry(self, ref: str) -> StoredMessage | str:
        """Opens a failed message again (by number, or by the id of its turn); a sentence when that cannot be."""
        ...

    def ask(
        self,
        kind: str,
        question: str,
        payload: Mapping[str, Any],
        *,
        about: ChatId | None = None,
        event: EventId | None = None,
    ) -> Ask:
        """Puts a question to the owners, in main, with `/yes N` and `/no N`; kept until answered or expired."""
        ...

    def asks(self) -> list[Ask]:
        """The open questions, oldest first."""
        ...

    def find_ask(self, ask_id: AskId) -> Ask | None: ...
    def close_ask(self, ask_id: AskId, state: AskState, by: str | None = None) -> bool:
        """False if it is not open any more. What was held for it is kept after a yes, else deleted."""
        ...

    def tell_main(self, key: str, text: str) -> bool:
        """Says it once, in the main that an owner used last; False if the key is known or there is no main."""
        ...

    def attempt(self, work: Callable[[], T]) -> T:
        """If `work` raises, nothing of what it did stays; what was done before it does. The error is raised again."""
        ...

    def new_session(self, folder: Folder) -> None: ...
    def compact(self, group: Group, focus: str) -> str:
        """Plans that the group's conversation is made shorter. Empty, or why there is nothing to do."""
        ...

    def people(self, chat_id: ChatId | None, ref: str) -> list[Person]:
        """Those who wrote under this id or name, in one chat or in all."""
        ...

    def message_number(self, chat_id: ChatId, message_id: str) -> int | None:
        """Of a message, by the service's id; of an answer of ours, that of the message that it answers."""
        ...

    def forget(self, what: Forgetting, *, really: bool) -> Forgotten:
        """Deletes it for good, but for the files; without `really`, only says what that would be."""
        ...

    def keep(self, key: str, value: str | None) -> None:
        """Stores a value of the program's own, in place of what was there; None forgets it."""
        ...

    def put(self, entry: OutboxEntry) -> bool:
        """Stores an outbox entry; False if its key is known already."""
        ...

    def log(self, *rows: Event | Action | ToolCall) -> None: ...
    def silence_turn(self, turn_id: TurnId) -> None:
        """The turn may end without a reply."""
        ...

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """For a plugin's own tables."""
        ...
