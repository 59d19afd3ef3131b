"""What a sentence says about the things it names: denied, doubted, or neither.

The ConText algorithm (Harkema et al. 2009), which grew out of NegEx (Chapman et al. 2001): a trigger reaches from where it
stands to the end of its sentence, forwards or backwards, unless a terminator comes first. What only looks like a trigger
("no change in") reaches nowhere. Ours: where a sentence has two finite verbs, the joint between their clauses is a
terminator as well.
"""

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise

from .vocabulary import DOUBTED, TERMINATORS, TRIGGERS, VERBS

_TRIGGER = re.compile(
    r"\b(?:"
    + "|".join(f"(?P<{kind.replace(' ', '_')}>{'|'.join(spellings)})" for kind, spellings in TRIGGERS.items())
    + r")(?!\w)"
)
_TERMINATOR = re.compile("|".join(TERMINATORS))
_VERB = re.compile(r"\b(?:" + "|".join(f"(?P<{kind}>{spelling})" for kind, spelling in VERBS.items()) + r")\b")
_JOINT = re.compile(r",|\band\b")
_DOUBT = re.compile(DOUBTED)


@dataclass(frozen=True)
class Scope:
    """Part of a sentence that a trigger speaks of; `kind` is "negated" or "uncertain"."""

    kind: str
    start: int
    end: int
    trigger: str  # as written


def scopes(sentence: str) -> list[Scope]:
    """What the triggers of one sentence (lower case) reach, in their order, question marks last."""
    triggers = [m for m in _TRIGGER.finditer(sentence) if m.lastgroup != "pseudo"]
    stops = [m.span() for m in _TERMINATOR.finditer(sentence)] + _joints(sentence) if triggers else []
    starts, ends = sorted(a for a, _ in stops), sorted(b for _, b in stops)
    found = [_reach(m, starts, ends, len(sentence)) for m in triggers]
    return found + [_doubt(sentence, m.start()) for m in _DOUBT.finditer(sentence)]


def is_within(found: list[Scope], kind: str, span: tuple[int, int]) -> bool:
    """Whether a span lies, at least in part, in a scope of this kind."""
    return any(s.kind == kind and s.start < span[1] and span[0] < s.end for s in found)


def _reach(trigger: re.Match, starts: list[int], ends: list[int], length: int) -> Scope:
    kind, where = trigger.lastgroup.split("_")
    if where == "before":
        i = bisect_left(starts, trigger.end())
        return Scope(kind, trigger.end(), starts[i] if i < len(starts) else length, trigger[0])
    i = bisect_right(ends, trigger.start())
    return Scope(kind, ends[i - 1] if i else 0, trigger.start(), trigger[0])


def _joints(sentence: str) -> list[tuple[int, int]]:
    """Where clauses meet: after "... is seen" the first comma or else the last "and", after "there is ..." the last of either."""
    found = []
    for verb, following in pairwise(_VERB.finditer(sentence)):
        joints = [m.span() for m in _JOINT.finditer(sentence, verb.end(), following.start())]
        commas = [j for j in joints if sentence[j[0]] == ","]
        found += commas[:1] if verb.lastgroup == "closed" and commas else joints[-1:]
    return found


def _doubt(sentence: str, mark: int) -> Scope:
    """A question mark doubts back to the bracket or comma before it."""
    return Scope("uncertain", max(sentence.rfind(c, 0, mark) for c in "(,") + 1, mark, "?")
