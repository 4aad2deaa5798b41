"""Every attack by its name."""

from __future__ import annotations

from . import calls, files, frames, kernel, resources, wires
from .common import attacks_of

ATTACKS = {
    name: attack
    for module in (calls, files, frames, kernel, resources, wires)
    for name, attack in attacks_of(module).items()
}
