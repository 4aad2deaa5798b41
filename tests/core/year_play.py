"""A year in the life of the service: tasks of all kinds, a person who pauses and deletes them, restarts, outages.

The store and the scheduler are the real ones. The clock jumps from one moment at which something happens to the next.
"""

import heapq
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from nanoclaw import schedule, tasks
from nanoclaw.domain import ChatId, Folder, Group, OutboxEntry, Task, TaskId, Turn
from nanoclaw.ports import Tx
from nanoclaw.scheduler import Scheduler
from nanoclaw.sqlite.store import Store
from nanoclaw.stores import Ending
from nanoclaw.testing.clock import FixedClock
from tests.core.year_check import Told
from tests.core.year_dice import END, START, ZONES, drawn

T = TypeVar("T")
AFTERWARDS = timedelta(days=6)
"""After the year the last runs come to their end."""
OWNERS = ZoneInfo("Europe/Berlin")
HALF = timedelta(seconds=30)
"""Nothing is due at half a minute: what people do then never coincides with a due time."""
MOMENT = timedelta(seconds=1)
GROUPS = [
    Group(
        chat_id=ChatId(f"local:{n}"), name=f"Group {n}", folder=Folder(f"group_{n}"), trigger="@Andy", requires_trigger=False,
        is_main=n == 0, added_at=START,
    )
    for n in range(8)
]  # fmt: skip


@dataclass(frozen=True)
class Happening:
    """What happens at a moment: somebody does something, or an agent comes to its end."""

    what: str
    about: Any = None


class Year:
    """Plays it; what was done is in `told` and `up` afterwards, what came of it in the database at `path`."""

    def __init__(self, folder: Path, seed: int, *, size: int = 200) -> None:
        self.path = folder / "messages.db"
        self.told: list[Told] = []
        self.up: list[tuple[datetime, datetime]] = []
        self.runs = 0
        self.twice: list[str] = []
        """Turns that could be ended a second time."""
        self.paused_itself = 0
        """Times that a task was paused for its failures."""
        self._random = random.Random(seed)
        self._clock = FixedClock(START)
        self._order = count()
        self._agenda: list[tuple[datetime, int, Happening]] = []
        self._known: set[str] = set()
        self._woken: set[ChatId] = set()
        self._size = size
        self._cursed: dict[str, tuple[datetime, datetime]] = {}
        self._outages: list[tuple[datetime, datetime]] = []

    async def play(self) -> None:
        self._plan()
        await self._open()
        await self._change(_register)
        while self._clock.now() < END + AFTERWARDS:
            due = await self._store.tasks.next_due()
            ahead = self._agenda[0][0] if self._agenda else END + AFTERWARDS
            moment = min(due or ahead, ahead)
            self._go_to(moment)
            if due and due <= self._clock.now():
                await self._scheduler.tick()
            while self._agenda and self._agenda[0][0] <= self._clock.now():
                await self._happen(heapq.heappop(self._agenda)[2])
            await self._look()
        await self._close()

    def _go_to(self, moment: datetime) -> None:
        self._clock.advance(max(0.0, (moment - self._clock.now()).total_seconds()))

    # --- what is going to happen -----------------------------------------------------------------------------

    def _plan(self) -> None:
        dice = self._random
        for n in range(self._size):
            early = dice.random() < 0.7
            day = 0 if early else dice.randrange(300)
            self._at(START + timedelta(days=day, minutes=dice.randrange(600)), "add", n)
        for _ in range(self._size // 3):
            self._at(self._sometime() + HALF, "pause", dice.randrange(self._size))
        for _ in range(self._size // 12):
            self._at(self._sometime() + HALF, "delete", dice.randrange(self._size))
        for _ in range(40):
            self._at(
                self._sometime() + HALF,
                "stop",
                timedelta(minutes=dice.choice([0, 0, 1, 30, 400, 3000, 9000])),
            )
        # Around the clock changes, too, when a time is skipped or doubled while nobody is there.
        for month, day in ((3, 14), (3, 28), (4, 4), (10, 31), (11, 7)):
            self._at(
                datetime(2027, month, day, tzinfo=UTC) - HALF,
                "stop",
                timedelta(hours=dice.choice([1, 8, 30])),
            )
        for _ in range(25):
            start = self._sometime()
            self._outages.append((start, start + timedelta(minutes=dice.choice([5, 60, 900]))))

    def _sometime(self) -> datetime:
        return START + timedelta(minutes=self._random.randrange(366 * 24 * 60 - 3 * 24 * 60))

    def _at(self, moment: datetime, what: str, about: Any = None) -> None:
        heapq.heappush(self._agenda, (moment, next(self._order), Happening(what, about)))

    async def _happen(self, happening: Happening) -> None:
        acts: dict[str, Callable[[Any], Awaitable[None]]] = {
            "add": self._add, "pause": self._pause, "resume": self._resume, "delete": self._delete, "stop": self._stop,
            "end": self._end,
        }  # fmt: skip
        await acts[happening.what](happening.about)

    # --- the service -----------------------------------------------------------------------------------------

    async def _open(self) -> None:
        """As at a start: whatever is found goes on."""
        self._began = self._clock.now()
        self._known.clear()
        rules = tasks.TaskRules(zone=OWNERS)
        self._store = Store(self.path, backups=self.path.parent, clock=self._clock, task_rules=rules)
        await self._store.__aenter__()
        await self._store.recover()
        self._scheduler = Scheduler(
            store=self._store.tasks, clock=self._clock, wake=self._woken.add, look=_nothing, kinds={}, housekeeping=_nothing,
            housekeeping_interval_s=3600.0,
        )  # fmt: skip
        await self._scheduler.start()
        self._woken.update(await self._store.turns.waiting_chats())

    async def _close(self) -> None:
        self.up.append((self._began, self._clock.now()))
        await self._scheduler.stop()
        await self._store.__aexit__(None, None, None)

    async def _stop(self, away: timedelta) -> None:
        """The agents that are at work are lost, and what is to be done meanwhile is done later."""
        await self._close()
        back = self._clock.now() + away
        kept = [one for one in self._agenda if one[2].what != "end"]
        self._agenda = [(max(moment, back + MOMENT), n, what) for moment, n, what in kept]
        heapq.heapify(self._agenda)
        self._go_to(back)
        await self._open()

    async def _change(self, work: Callable[[Tx], T]) -> T:
        return await self._store.change(work)

    # --- the person ------------------------------------------------------------------------------------------

    async def _add(self, n: int) -> None:
        dice, now = (
            self._random,
            self._clock.now().replace(second=0, microsecond=0),
        )  # intervals: due at whole minutes
        zone = dice.choice(ZONES)
        kind, value = drawn(dice, zone, now)
        group, name = GROUPS[n % len(GROUPS)], TaskId(f"task-{n:03}")
        catch_up = dice.choice(["once", "once", "skip", "all"])
        stored = f"{value}m" if kind == "interval" else value
        due = schedule.first_run(kind, stored, now, ZoneInfo(zone), min_interval_s=60)
        task = Task(
            id=name, folder=group.folder, chat_id=group.chat_id, prompt=name, created_at=now, status="active", next_run=due,
            schedule_type=kind, schedule_value=stored, zone=zone, catch_up=catch_up,  # type: ignore[arg-type]
        )  # fmt: skip
        await self._change(lambda tx: tx.add_task(task))
        await self._scheduler.tick()
        self.told.append(Told(id=name, kind=kind, value=value, zone=zone, catch_up=catch_up, created=now))
        if dice.random() < 0.1:
            start = self._sometime()
            self._cursed[name] = (start, start + timedelta(days=90))

    def _one(self, n: int) -> Told | None:
        name = f"task-{n:03}"
        return next((told for told in self.told if told.id == name and not told.deleted), None)

    async def _task(self, told: Told) -> Task | None:
        found = await self._change(lambda tx: tx.find_task(told.id))
        return found if isinstance(found, Task) else None

    async def _pause(self, n: int) -> None:
        told = self._one(n)
        task = await self._task(told) if told else None
        if told and task and task.status == "active":
            await self._change(lambda tx: tx.set_task(task.id, status="paused", next_run=task.next_run))
            self._paused(told)
        await self._scheduler.tick()

    def _paused(self, told: Told) -> None:
        now = self._clock.now()
        told.pauses.append((now, None))
        for_minutes = self._random.choice([3, 600, 9000, 50_000])
        self._at(now.replace(second=0, microsecond=0) + timedelta(minutes=for_minutes) + HALF, "resume", told)

    async def _resume(self, told: Told) -> None:
        task, now = await self._task(told), self._clock.now()
        due = tasks.after_pause(task, now, OWNERS) if task and task.status == "paused" else None
        if task and due:
            await self._change(lambda tx: tx.set_task(task.id, status="active", next_run=due))
            told.pauses[-1] = (told.pauses[-1][0], now)
        await self._scheduler.tick()

    async def _delete(self, n: int) -> None:
        if told := self._one(n):
            await self._change(lambda tx: tx.delete_task(TaskId(told.id)))
            told.deleted = self._clock.now()
        await self._scheduler.tick()

    # --- the agents ------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Every turn that waits gets an agent, which will come to its end some time."""
        while self._woken:
            chat_id = self._woken.pop()
            for turn in await self._store.turns.waiting(chat_id):
                if turn.id not in self._known:
                    self._known.add(turn.id)
                    self._at(self._end_of(self._clock.now()), "end", turn)
                    await self._interfere(turn)

    async def _interfere(self, turn: Turn) -> None:
        """Now and then somebody pauses or deletes a task that is at work."""
        what = self._random.choices(["pause", "delete", ""], [10, 3, 987])[0]
        occasion = await self._store.tasks.occasion(turn) if what else None
        if occasion and occasion.task:
            half = self._clock.now().replace(second=0, microsecond=0) + HALF
            soon = half if half > self._clock.now() else half + timedelta(minutes=1)
            self._at(soon, what, int(occasion.task.id.removeprefix("task-")))

    def _end_of(self, now: datetime) -> datetime:
        for start, end in self._outages:
            if start <= now < end:
                now = end
        slow = self._random.random() < 0.04
        return now + timedelta(
            seconds=self._random.randrange(3600, 40_000) if slow else self._random.randrange(5, 90)
        )

    async def _end(self, turn: Turn) -> None:
        occasion = await self._store.tasks.occasion(turn)
        if occasion is None or occasion.task is None or await self._store.turns.cancelled([turn.id]):
            return
        now, task = self._clock.now(), occasion.task
        cursed = self._cursed.get(task.id, (END, END))
        failed = cursed[0] <= now < cursed[1] or (self._random.random() < 0.06 and now < END)
        entry = OutboxEntry(
            key=f"occurrence:{turn.occurrence_id}", chat_id=turn.chat_id, occurrence_id=turn.occurrence_id, turn_id=turn.id,
            text=f"result of {task.id} {occasion.due:%Y-%m-%dT%H:%M}",
        )  # fmt: skip
        ending = Ending(
            state="failed" if failed else "answered", reason="bad luck" if failed else "", entry=None if failed else entry,
            failed=failed,
        )  # fmt: skip
        if await self._store.turns.end(turn, ending, now, frame=None):
            self.runs += 1
        if self._random.random() < 0.1 and await self._store.turns.end(turn, ending, now, frame=None):
            self.twice.append(turn.id)
        if failed:
            again = await self._task(told) if (told := self._told(task.id)) else None
            if told and again and again.status == "paused" and again.why_paused and not self._is_paused(told):
                self.paused_itself += 1
                self._paused(told)

    def _told(self, task_id: str) -> Told | None:
        return next((told for told in self.told if told.id == task_id and not told.deleted), None)

    @staticmethod
    def _is_paused(told: Told) -> bool:
        return bool(told.pauses) and told.pauses[-1][1] is None


def _register(tx: Tx) -> None:
    for group in GROUPS:
        tx.add_group(group)


async def _nothing() -> None:
    return
