"""A second opinion on a year of tasks: walks the year minute by minute and compares it with what stands in the ledger.

The standard library alone, so that nothing of what it checks can be wrong here in the same way.
"""

import sqlite3
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
GRACE = timedelta(seconds=60)
AT_ONCE = timedelta(seconds=1)


@dataclass(kw_only=True)
class Told:
    """A task, and what a person did with it."""

    id: str
    kind: str
    value: str
    """Five fields of numbers; minutes; or a local time."""
    zone: str
    catch_up: str
    created: datetime
    deleted: datetime | None = None
    pauses: list[tuple[datetime, datetime | None]] = field(default_factory=list)

    def asleep(self, due: datetime) -> bool:
        return any(start < due and (end is None or due <= end) for start, end in self.pauses)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the ledger."""

    due: datetime
    state: str
    began: datetime | None
    ended: datetime | None
    reason: str


# --- when things are due -------------------------------------------------------------------------------------


def numbers(field_: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for piece in field_.split(","):
        area, _, step = piece.partition("/")
        first, _, last = (f"{low}-{high}" if area == "*" else area).partition("-")
        found |= set(range(int(first), int(last or (high if step else first)) + 1, int(step or 1)))
    return found


class Clockwork:
    """Whether a reading of the clock is one of a task's."""

    def __init__(self, told: Told) -> None:
        self.id, self.once = told.id, told.kind == "once"
        if self.once:
            self.wall = datetime.fromisoformat(told.value)
            self.readings = {self.wall.hour * 60 + self.wall.minute}
            self.follows = False
            return
        fields = told.value.split()
        self.readings = {h * 60 + m for h in numbers(fields[1], 0, 23) for m in numbers(fields[0], 0, 59)}
        self.dates, self.months = numbers(fields[2], 1, 31), numbers(fields[3], 1, 12)
        self.weekdays = {day % 7 for day in numbers(fields[4], 0, 7)}
        self.both = fields[2].startswith("*") or fields[4].startswith("*")
        self.follows = fields[0].startswith("*") or fields[1].startswith("*")

    def fits(self, wall: datetime) -> bool:
        if self.once:
            return wall == self.wall
        date, weekday = wall.day in self.dates, wall.isoweekday() % 7 in self.weekdays
        return wall.month in self.months and (date and weekday if self.both else date or weekday)


def walked(zone: str, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, bool, bool]]:
    """Each reading of a clock there: the moment, what it shows, whether it shows it again, whether it left it out.

    A reading that was left out comes with the moment right after the gap.
    """
    place, moment = ZoneInfo(zone), start
    expected = _shown(moment, place)[0]
    while moment <= end:
        wall, again = _shown(moment, place)
        if wall == expected and not again and _shown(moment + HOUR, place) == (wall + HOUR, False):
            # An hour in which nobody touches the clocks.
            for n in range(60):
                yield moment + n * MINUTE, wall + n * MINUTE, False, False
            expected, moment = wall + HOUR, moment + HOUR
            continue
        while expected < wall:
            yield moment, expected, False, True
            expected += MINUTE
        yield moment, wall, again, False
        expected, moment = wall + MINUTE, moment + MINUTE


def _shown(moment: datetime, place: ZoneInfo) -> tuple[datetime, bool]:
    """What a clock there shows, and whether for the second time."""
    local = moment.astimezone(place)
    return local.replace(tzinfo=None, fold=0), bool(local.fold)


def due_times(told: Sequence[Told], start: datetime, end: datetime) -> dict[str, list[datetime]]:
    """Every moment of the year at which each task is due by its schedule, whatever was done with it."""
    times: dict[str, list[datetime]] = defaultdict(list)
    for task in told:
        if task.kind == "interval":
            step = timedelta(minutes=int(task.value))
            count = (end - task.created) // step
            times[task.id] = [task.created + n * step for n in range(1, count + 1)]
    for zone in {task.zone for task in told}:
        by_reading: dict[int, list[Clockwork]] = defaultdict(list)
        for task in told:
            if task.zone == zone and task.kind != "interval":
                clockwork = Clockwork(task)
                for reading in clockwork.readings:
                    by_reading[reading].append(clockwork)
        for moment, wall, again, left_out in walked(zone, start, end):
            for clockwork in by_reading.get(wall.hour * 60 + wall.minute, ()):
                meant = not left_out if clockwork.follows else not again
                # Two readings that one gap left out are one time: right after it.
                if meant and clockwork.fits(wall) and times[clockwork.id][-1:] != [moment]:
                    times[clockwork.id].append(moment)
    return times


# --- what became of it ---------------------------------------------------------------------------------------


class Ledger:
    """What the database says."""

    def __init__(self, path: Path) -> None:
        self.rows: dict[str, list[Row]] = defaultdict(list)
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            sql = "SELECT task_id, due, state, claimed_at, ended_at, coalesce(reason, '') FROM occurrences ORDER BY due"
            for task, due, state, began, ended, reason in connection.execute(sql):
                self.rows[task].append(
                    Row(due=_moment(due), state=state, began=began and _moment(began), ended=ended and _moment(ended),
                        reason=reason)
                )  # fmt: skip
            said = "SELECT text FROM outbox WHERE text LIKE 'result of %'"
            self.said = Counter(text for (text,) in connection.execute(said))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def check(
    path: Path,
    told: Sequence[Told],
    up: Sequence[tuple[datetime, datetime]],
    times: Mapping[str, Sequence[datetime]],
    end: datetime,
) -> list[str]:
    """Everything up to `end` that is not as it was promised, in words. `up`: when the service was there.

    `times`: as `due_times` finds them, further than `end`: what is made up for depends on what came after it.
    """
    ledger = Ledger(path)
    return [
        wrong
        for task in told
        for wrong in _check_task(task, ledger, _expected(task, times[task.id], up), end)
    ]


def _expected(
    task: Told, times: Sequence[datetime], up: Sequence[tuple[datetime, datetime]]
) -> dict[datetime, tuple[datetime, int]]:
    """For each due time that must have its row: when it was seen, and how many later ones were seen together with it."""
    claims: dict[datetime, list[datetime]] = defaultdict(list)
    for due in times:
        if task.created < due < (task.deleted or up[-1][1]) and not task.asleep(due):
            claims[_claimed(due, up)].append(due)
    return {due: (claim, later) for claim, dues in claims.items() for later, due in enumerate(reversed(dues))}


def _check_task(
    task: Told, ledger: Ledger, expected: Mapping[datetime, tuple[datetime, int]], end: datetime
) -> Iterator[str]:
    rows = [row for row in ledger.rows[task.id] if row.due <= end]
    found = {row.due for row in rows}
    yield from (f"{task.id} {due}: nothing" for due in expected if due <= end and due not in found)
    if len(found) < len(rows):
        yield f"{task.id}: a due time has several rows"
    for row in rows:
        what = f"{task.id} {row.due} {row.state}"
        if row.due not in expected:
            yield f"{what}: never due"
        elif problem := _problem(task, row, rows, *expected[row.due]):
            yield f"{what} {row.began}-{row.ended} {row.reason!r}: {problem}"
        said = ledger.said[f"result of {task.id} {row.due:%Y-%m-%dT%H:%M}"]
        if said != (row.state == "done"):
            yield f"{what}: said {said} times"


def _claimed(due: datetime, up: Sequence[tuple[datetime, datetime]]) -> datetime:
    """When it was seen that this is due: at once, or when the service was back."""
    at = bisect_right([began for began, _ in up], due) - 1
    return due if due < up[at][1] else up[at + 1][0]


def _problem(task: Told, row: Row, rows: Sequence[Row], claim: datetime, newer: int) -> str:
    """`newer`: how many later due times were claimed together with it."""
    late = claim - row.due > GRACE
    runs = {"once": 1, "skip": 0 if late else 1, "all": 5}[task.catch_up]
    if newer >= runs:
        return "" if row.state == "missed" and not row.began else "should be missed"
    if row.began is None:
        before = any(r.began and r.began < claim and (r.ended is None or r.ended >= claim) for r in rows)
        return "" if row.state == "skipped" and before else "should have run"
    if not claim <= row.began < claim + AT_ONCE:
        return f"should have begun at {claim}"
    if row.ended is None or row.ended < row.began:
        return "should have ended"
    if row.state == "skipped":
        return "" if any(start == row.ended for start, _ in task.pauses) else "nobody stopped it"
    if row.state == "deleted":
        return "" if row.ended == task.deleted else "nobody deleted it"
    return "" if row.state in ("done", "failed") else "should be done or failed"
