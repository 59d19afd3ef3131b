"""What a report says about each organ, left and right apart: the texts that CT-GLIP's organ units are matched with."""

import re
from collections.abc import Iterable

from .dictionary import Entry, entries
from .prompts import NORMAL, ensemble
from .vocabulary import SPOKEN

SIDES = ("left", "right")
SIDE_WORD = re.compile(r"\b(left|right)\b")


def spoken(organ: str) -> str:
    """ "left kidney" for "kidney_left": a unit's name as a sentence has it."""
    for side in SIDES:
        if organ.endswith(f"_{side}"):
            return f"{side} {spoken(organ.removesuffix(f'_{side}'))}"
    return SPOKEN.get(organ, organ)


def units_of(organ: str, side: str, names: Iterable[str]) -> list[str]:
    """Which units a finding belongs to: of a paired organ the side that is said, both where none is; only those in `names`."""
    sides = (side,) if side in SIDES else SIDES
    return [name for name in (organ, *(f"{organ}_{s}" for s in sides)) if name in names]


def unit_entries(report: str, names: tuple[str, ...]) -> list[Entry]:
    """What a report says of each organ of `names`: its sentences with a finding, else one that calls it normal.

    An organ that is not mentioned counts as normal, as radiologists mean it; its sentence is CT-GLIP's template.
    """
    stated: dict[tuple[str, str], frozenset[str]] = {}
    for entry in entries(report, sided=True):
        for unit in units_of(*_parted(entry.organ), names):
            stated[unit, entry.text] = stated.get((unit, entry.text), frozenset()) | entry.findings
    sick = {unit for unit, _ in stated}
    normal = [Entry(name, normal_sentence(name), frozenset()) for name in names if name not in sick]
    return [Entry(unit, text, findings) for (unit, text), findings in stated.items()] + normal


def normal_sentence(organ: str) -> str:
    """CT-GLIP's template for an organ without a finding."""
    return NORMAL.format(organ=spoken(organ))


def swapped(text: str) -> str:
    """The text with "left" and "right" exchanged, for asking about the wrong side."""
    return SIDE_WORD.sub(lambda word: SIDES[1 - SIDES.index(word[0])], text)


def finding_prompts(organ: str, finding: str, *, present: bool) -> list[str]:
    """The ensemble for a finding in an organ, or, `present` False, for the organ without any."""
    if present:
        return ensemble(finding=finding, organ=spoken(organ), present=True)
    return ensemble(organ=spoken(organ), present=False)


def _parted(organ: str) -> tuple[str, str]:
    """ "kidney_left" -> "kidney", "left"; side "" where there is none."""
    side = next((s for s in SIDES if organ.endswith(f"_{s}")), "")
    return organ.removesuffix(f"_{side}") if side else organ, side
