"""Findings of a report: organ, abnormality, side, size, denied or doubted, each with its place in the text.

Rules over the tables of `vocabulary`; what is not in the tables is not found. Written for English reports: a text with more
function words of another language than of English yields nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from .context import Scope, is_within, scopes
from .mentions import abnormalities_named, organs_named, side_of, side_words, sizes_mm, words
from .sections import clean, section_spans, sections, sentences
from .vocabulary import FUNCTION_WORDS, NORMAL, NORMAL_TEXT, PART_OF, SEARCHED, SPOKEN

__all__ = ["Finding", "findings", "normal_organs", "organ_texts", "sections", "sentences"]
N_CACHED = 20_000  # sentences; reports repeat theirs
_NORMAL = words(NORMAL)
_PART = re.compile(r"[,;]|\bbut\b")
_ENGLISH, _OTHER = words(FUNCTION_WORDS["english"]), words(FUNCTION_WORDS["other"])


@dataclass(frozen=True)
class Finding:
    """One mention of an abnormality; `report[start:end]` is the words that name it."""

    organ: str  # a name of vocabulary.ORGANS; pleura counts with the lung, pericardium with the heart
    finding: str  # canonical name
    side: str  # "left", "right", "both" or "" (not said, or not a paired organ)
    present: bool  # False: the report denies it
    uncertain: bool
    size_mm: float | None  # largest diameter given for it
    start: int
    end: int
    sentence: int  # number of its sentence among those searched


def findings(report: str, *, names: tuple[str, ...] = SEARCHED) -> list[Finding]:
    """Abnormalities that the sections of these `names` mention, in the order of the text."""
    return [
        replace(f, start=f.start + start, end=f.end + start, sentence=n)
        for n, (start, _, sentence) in enumerate(_searched(report, names))
        for f in _read(sentence)
    ]


def normal_organs(report: str) -> set[str]:
    """Organs said to be normal, or of which something is denied and nothing is found."""
    read = [(_read(s), _called_normal(s)) for _, _, s in _searched(report, SEARCHED)]
    present = {f.organ for found, _ in read for f in found if f.present}
    denied = {f.organ for found, _ in read for f in found if not f.present}
    return (denied | {organ for _, named in read for organ in named}) - present


def organ_texts(report: str) -> dict[str, str]:
    """organ -> the sentences with its findings, else a normal sentence if it is said to be normal; others are absent."""
    texts: dict[str, dict[str, None]] = {}
    for start, end, sentence in _searched(report, SEARCHED):
        for organ in dict.fromkeys(f.organ for f in _read(sentence) if f.present):
            texts.setdefault(organ, {})[" ".join(report[start:end].split())] = None
    normal = {o: NORMAL_TEXT.format(organ=SPOKEN.get(o, o).capitalize()) for o in sorted(normal_organs(report))}
    return {organ: " ".join(said) for organ, said in texts.items()} | normal


def stating(sentences: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """(organ, finding) -> the sentences that state it and nothing else: prompts in the words of the reports themselves.

    A finding that is doubted counts as stated, one that is denied does not, and spoils its sentence.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for sentence in sentences:
        said = {(f.organ, f.finding) for f in findings(sentence) if f.present}
        if len(said) == 1 and all(f.present for f in findings(sentence)):
            found.setdefault(said.pop(), []).append(sentence)
    return found


def _searched(report: str, names: tuple[str, ...]) -> list[tuple[int, int, str]]:
    """Start, end and cleaned lower-case text of each sentence of the sections `names`."""
    text = _lower(clean(report))
    if len(_OTHER.findall(text)) > len(_ENGLISH.findall(text)):
        return []
    spans = [(a + i, a + j) for name, a, b in section_spans(report) if name in names for i, j in sentences(report[a:b])]
    return [(a, b, text[a:b].replace("\n", " ")) for a, b in spans]


def _lower(text: str) -> str:
    """Lower case of the same length: the few letters that would become two stay as they are."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


@lru_cache(maxsize=N_CACHED)
def _read(sentence: str) -> tuple[Finding, ...]:
    """Findings of one sentence; spans count from its start."""
    organs, around, sides = organs_named(sentence), scopes(sentence), side_words(sentence)
    hits = abnormalities_named(sentence, organs)
    sizes = sizes_mm(sentence, hits)
    return tuple(
        Finding(
            *hit[:2], side_of(sentence, hit, hits=hits, organs=organs, sides=sides), not is_within(around, "negated", hit[2:]),
            is_within(around, "uncertain", hit[2:]), sizes.get(hit[2:]), *hit[2:], sentence=0,
        )
        for hit in hits
    )  # fmt: skip


@lru_cache(maxsize=N_CACHED)
def _called_normal(sentence: str) -> frozenset[str]:
    """Organs that a sentence calls normal: all it names, or, if it has a finding too, those of a part without."""
    around, words_for_it = scopes(sentence), list(_NORMAL.finditer(sentence))
    called = [m.start() for m in words_for_it if not _is_denied(m, around)]
    against = [f.start for f in _read(sentence) if f.present] + [m.start() for m in words_for_it if m.start() not in called]
    cuts = [m.start() for m in _PART.finditer(sentence)] if against else []
    parts = [
        (a, b)
        for a, b in pairwise([0, *cuts, len(sentence)])
        if any(a <= at < b for at in called) and not any(a <= at < b for at in against)
    ]
    return frozenset(o for o, at, _ in organs_named(sentence) if o not in PART_OF and any(a <= at < b for a, b in parts))


def _is_denied(normal: re.Match, around: list[Scope]) -> bool:
    """ "not normal"; "no abnormality" is a denial itself."""
    return not normal[0].startswith(("no ", "without ")) and is_within(around, "negated", normal.span())
