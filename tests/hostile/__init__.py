"""Hostile files: every kind that we know of, made by code, with what must come of it: a message, or a stated repair.

A kind that nobody refuses and nobody repairs is a silent wrong answer: the one thing that must not be. `test_hostile.py` runs all
of them and prints the table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .outcome import Refused


@dataclass(frozen=True)
class Kind:
    """One kind of bad input.

    `act(folder)` makes it in an empty folder and uses it as a user would; what it gives is `ask`ed. Without `ask` it must be
    refused, by an error (or a command that ends with 2, see `outcome.command`) whose message has `expect`, a regular expression.
    With `ask`, `expect` says in words what is repaired or found, and `ask(result)` must be true.
    """

    group: str
    name: str
    expect: str
    act: Callable[[Path], object]
    ask: Callable[[object], bool] | None = None


def kinds() -> list[Kind]:
    """All of them, by group."""
    from . import groups

    return [kind for group in groups.ALL for kind in group.KINDS]


__all__ = ["Kind", "Refused", "kinds"]
