"""The error tree. Meaning lives in the class, data in attributes, and `safe` is what a person on a phone may read."""

from __future__ import annotations

from typing import Literal

OutageCause = Literal["credentials", "model", "proxy", "engine", "network", "store", "disk"]


class NanoclawError(Exception):
    """Something went wrong that we know how to name. `safe` never contains a secret or a path of the machine."""

    def __init__(self, message: str, *, safe: str | None = None) -> None:
        super().__init__(message)
        self.safe = safe or message


class BadInputError(NanoclawError):
    """The owner gave us something that cannot work (a setting, a folder, a second start). Exit code 2, nothing written."""


class StoreUnavailableError(NanoclawError):
    """The database cannot be written or read right now (disk full, I/O error). Nothing was applied."""


class OutageError(NanoclawError):
    """The world around a turn is broken, not the turn: it is tried again without using up tries."""

    def __init__(self, message: str, *, cause: OutageCause, safe: str | None = None) -> None:
        super().__init__(message, safe=safe)
        self.cause: OutageCause = cause


class SendError(NanoclawError):
    """A channel could not send. The subclass says what that means for the part."""


class SendRetryError(SendError):
    """Certainly not sent; may be tried again after `retry_after_s` (None: the usual back-off)."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, safe: str | None = None) -> None:
        super().__init__(message, safe=safe)
        self.retry_after_s = retry_after_s


class SendPermanentError(SendError):
    """Certainly not sent, and it never will be (bot blocked, chat gone)."""


class SendUncertainError(SendError):
    """The request was written and no answer came: it may or may not have been sent."""


class FetchError(NanoclawError):
    """An attachment could not be fetched. `final`: another try would end the same way (gone, too large, refused)."""

    def __init__(self, message: str, *, final: bool, safe: str | None = None) -> None:
        super().__init__(message, safe=safe)
        self.final = final
