"""The abnormality dictionary: per organ, how training reports put what is wrong with it, and how often.

After CT-GLIP (arXiv 2404.15272), which draws from it the negatives that a batch is too small to hold; how it is built,
weighted and kept from colliding is ours. A plain dict: organ -> phrase -> `Phrase`.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import write_text
from .reports import findings
from .sections import section_spans, sentences

POWER = 0.5  # probability of a phrase ~ count ** POWER; 0 is uniform, 1 as often as in the reports
LEAD = r"(?:\b(?:measuring|measures|of|up to|about|approximately|ca\.?|size|diameter) ){0,3}"
NUMBER = r"(?<![\w.,])\d+(?:[.,]\d+)*"
SIZE = re.compile(rf"{LEAD}{NUMBER}(?: ?(?:x|×|-|–|to|by) ?\d+(?:[.,]\d+)*)* ?(?:(?:mm|cm|hu|ml|%)(?![a-z]))?", re.IGNORECASE)
LEFT_OVER = re.compile(r"\([ ,;:-]*\)|[ ,;:]+(?=[,;:.)])")  # brackets around nothing, punctuation before punctuation


class Phrase(NamedTuple):
    """How often a phrase occurs, and which findings it states."""

    count: int
    findings: frozenset[str]


class Entry(NamedTuple):
    """One sentence (or part of one) of a report that states what is wrong with an organ."""

    organ: str
    text: str
    findings: frozenset[str]


Dictionary = dict[str, dict[str, Phrase]]


def normalise(text: str) -> str:
    """A phrase in lower case without numbers and sizes, white space and punctuation tidied; left and right stay.

    Numbers that are part of a name ("T12") stay, those in words ("two") too.
    """
    text = SIZE.sub(" ", " ".join(text.lower().split()))
    return " ".join(LEFT_OVER.sub("", text).split()).strip(" .,;:-")


def entries(report: str, *, sided: bool = False) -> list[Entry]:
    """What a report puts into the dictionary: each sentence once per organ that it says is abnormal.

    Denied findings are left out, doubted ones stay. A sentence about two organs goes to both, as a whole. With `sided` the organ
    carries the side that is said ("kidney_left"), so that left and right are two; a finding without a side has that of the
    others in its sentence, where they agree.
    """
    spans = [(a + i, a + j) for _, a, b in section_spans(report) for i, j in sentences(report[a:b])]
    stated = [(f, next(s for s in spans if s[0] <= f.start < s[1])) for f in findings(report) if f.present]
    said: dict[tuple, set[str]] = {}
    for finding, span in stated:
        said.setdefault((finding.organ, span), set()).update({finding.side} - {""})
    states: dict[tuple, set[str]] = {}
    for finding, span in stated:
        (side, *others) = [finding.side] if finding.side else [*said[finding.organ, span], ""]
        known = sided and not any(others) and side in ("left", "right")
        states.setdefault((f"{finding.organ}_{side}" if known else finding.organ, span), set()).add(finding.finding)
    return [Entry(organ, report[start:end], frozenset(names)) for (organ, (start, end)), names in states.items()]


def build(found: list[Entry], *, splits: list[str] | None = None) -> Dictionary:
    """Counts the normalised phrases of each organ, the most frequent first.

    Entries that state no finding and phrases that are nothing but a number are left out. Give the split of each entry where
    it is known: raises ValueError for any but "train", since a dictionary of test reports leaks their wordings.
    """
    if splits is not None and len(splits) != len(found):
        raise ValueError(f"{len(splits)} splits for {len(found)} entries; give one each")
    for row, split in enumerate(splits or ()):
        if split != "train":
            raise ValueError(f"entry {row} is of split {split!r}: build the dictionary from training texts only")
    dictionary: Dictionary = {}
    for organ, text, names in found:
        phrase, phrases = normalise(text), dictionary.setdefault(organ, {})
        if phrase and names:
            before = phrases.get(phrase, Phrase(0, frozenset()))
            phrases[phrase] = Phrase(before.count + 1, before.findings | names)
    return {organ: dict(sorted(dictionary[organ].items(), key=lambda p: (-p[1].count, p[0]))) for organ in sorted(dictionary)}


def counts(dictionary: Dictionary) -> dict[str, dict[str, int]]:
    """Organ -> phrase -> how often, for tables and figures."""
    return {organ: {text: phrase.count for text, phrase in phrases.items()} for organ, phrases in dictionary.items()}


def sample(
    phrases: dict[str, Phrase], m: int, *, positive: frozenset[str], rng: np.random.Generator, power: float = POWER
) -> list[str]:
    """Up to m different phrases of one organ as negatives, none of which shares a finding with `positive`.

    Drawn with probability ~ count ** power, without repeats. Fewer than m where the organ has fewer that are allowed.
    """
    allowed = [text for text, phrase in phrases.items() if not phrase.findings & positive]
    if not allowed or m < 1:
        return []
    weights = np.array([phrases[text].count for text in allowed], float) ** power
    drawn = rng.choice(len(allowed), min(m, len(allowed)), replace=False, p=weights / weights.sum())
    return [allowed[i] for i in drawn]


def collision_rate(dictionary: Dictionary, positives: list[tuple[str, frozenset[str]]], *, power: float = POWER) -> float:
    """Probability that one draw, were it not checked, would be a phrase that shares a finding with the positive.

    Exact, not simulated; the mean over positives (organ, findings). An organ without phrases, and a normal one, collides
    never. Raises ValueError without any positive.
    """
    if not positives:
        raise ValueError("no positives to collide with; pass at least one (organ, findings)")
    return float(np.mean([_collision(dictionary.get(organ, {}), names, power) for organ, names in positives]))


def save(dictionary: Dictionary, path: str | Path) -> Path:
    """Writes the dictionary as JSON, whole or not at all; the same dictionary gives the same bytes."""
    plain = {
        organ: {text: {"count": p.count, "findings": sorted(p.findings)} for text, p in phrases.items()}
        for organ, phrases in dictionary.items()
    }
    return write_text(path, json.dumps(plain, ensure_ascii=False, indent=1) + "\n")


def load(path: str | Path) -> Dictionary:
    """Reads what `save` wrote. Raises ValueError for a file of another form, FileNotFoundError for none."""
    try:
        plain = json.loads(Path(path).read_text(encoding="utf-8"))
        return {organ: {text: _phrase(**about) for text, about in phrases.items()} for organ, phrases in plain.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no abnormality dictionary ({error}); build it again") from error


def _phrase(count: object, findings: object) -> Phrase:
    if type(count) is not int or count < 1 or type(findings) is not list or not all(isinstance(f, str) for f in findings):
        raise ValueError(f"count {count!r} and findings {findings!r} are not a whole number above 0 and a list of names")
    return Phrase(count, frozenset(findings))


def _collision(phrases: dict[str, Phrase], positive: frozenset[str], power: float) -> float:
    weights = np.array([phrase.count for phrase in phrases.values()], float) ** power
    hits = np.array([bool(phrase.findings & positive) for phrase in phrases.values()], bool)
    return float(weights[hits].sum() / weights.sum()) if len(weights) else 0.0
