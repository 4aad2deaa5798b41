"""Which time zones there are, and which one this machine is in."""

from __future__ import annotations

import difflib
import zoneinfo
from pathlib import Path

_LOCALTIME = Path("/etc/localtime")
_TIMEZONE = Path("/etc/timezone")


def zone_exists(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        # ValueError: `../etc/passwd`. OSError: `Europe`, which is a folder.
        return False
    return True


def nearest_zone(name: str) -> str | None:
    """The zone that somebody probably meant, or None. Reads the whole list: for error messages only."""
    known = {zone.lower(): zone for zone in sorted(zoneinfo.available_timezones())}
    city = {zone.rsplit("/", 1)[-1].lower(): zone for zone in known.values()}
    wanted = name.lower().replace(" ", "_")
    if exact := known.get(wanted) or city.get(wanted):
        return exact
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.75)
    return known[near[0]] if near else None


def system_zone(*, localtime: Path = _LOCALTIME, timezone: Path = _TIMEZONE) -> str:
    """The zone of this machine, as its two usual files tell it; UTC if they do not."""
    _, found, from_link = str(localtime.resolve()).partition("/zoneinfo/")
    if found and zone_exists(from_link):
        return from_link
    try:
        from_file = timezone.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return "UTC"
    return from_file if from_file and zone_exists(from_file) else "UTC"
