"""The one place that builds and runs the objects. `App` shows how they are joined; its parts are files of their own."""

from nanoclaw.app.app import App
from nanoclaw.app.surroundings import SystemClock, offline_pairing_code

__all__ = ["App", "SystemClock", "offline_pairing_code"]
