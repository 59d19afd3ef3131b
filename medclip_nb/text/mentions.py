"""Which organs and abnormalities a sentence names, on which side and how large, by the tables of `vocabulary`.

Sentences are lower case and cleaned; spans count from their start.
"""

import re
from itertools import pairwise

from .vocabulary import ABNORMALITIES, GENERAL, ORGANS, PART_OF, SIDED, SIDES

Span = tuple[int, int]
Hit = tuple[str, str, int, int]  # organ, finding, start, end
COMMA_COST = 40  # characters that a comma counts for when the nearest organ, side or size is looked for


def words(spellings, *, end: str = r"(?!\w)") -> re.Pattern:
    """Pattern of any of these spellings as whole words."""
    return re.compile(rf"\b(?:{'|'.join(spellings)}){end}")


_ORGAN = words(f"(?P<g{i}>{'|'.join(spellings)})" for i, spellings in enumerate(ORGANS.values()))
_ORGAN_NAMES = tuple(ORGANS)
_SPECIFIC = {pair: words(spellings) for pair, spellings in ABNORMALITIES.items()}
_GENERAL = [(words([pattern]), pairs) for pattern, pairs in GENERAL.items()]
_SIDE = words(f"(?P<{side}>{spelling})" for side, spelling in SIDES.items())
_ORGANS_JOINED = re.compile(
    r"(?:[\s,/-]|\b(?:and|or|as well as|the|both|left|right|bilateral|in|of|on|partially|main|walls?)\b)*"
)
_FINDINGS_JOINED = re.compile(r"(?:[\s,/-]|\b(?:and|or)\b)*")
_SIDES_JOINED = re.compile(r"(?: \w+){0,2} (?:and|or)(?: \w+)? ")
_CLAUSE = re.compile(r"[,;:()]|\b(?:and|but|with|without)\b")
_NUMBER = r"\d{1,4}(?:[.,]\d{1,2})?"
_SIZE = re.compile(rf"(?<![\d.])({_NUMBER}(?: ?(?:mm|cm)? ?[x*-] ?{_NUMBER}){{0,3}}) ?-?(mm|cm)\b")
_EARLIER = re.compile(r"\b(?:previous\w*|prior|formerly|earlier|before)\b[^.;]{0,20}$")


def organs_named(sentence: str) -> list[tuple[str, int, int]]:
    """(organ or part, start, end), in order."""
    return [(_ORGAN_NAMES[int(m.lastgroup[1:])], m.start(), m.end()) for m in _ORGAN.finditer(sentence)]


def abnormalities_named(sentence: str, organs: list[tuple[str, int, int]]) -> list[Hit]:
    """Every abnormality, whether its own words tell the organ or the organ named nearest does.

    Of overlapping spans that mean the same the longest is kept.
    """
    hits = [(*pair, *m.span()) for pair, pattern in _SPECIFIC.items() for m in pattern.finditer(sentence)]
    for pattern, pairs in _GENERAL:
        for m in pattern.finditer(sentence):
            hits += [(*pair, *m.span()) for pair in _meant(sentence, m.span(), pairs, organs)]
    kept: dict[tuple[str, str], list[Hit]] = {}
    for hit in sorted(hits, key=lambda h: (h[2], -h[3])):
        same = kept.setdefault(hit[:2], [])
        if not same or same[-1][3] <= hit[2]:
            same.append(hit)
    return sorted((h for same in kept.values() for h in same), key=lambda h: (h[2:], h[:2]))


def side_words(sentence: str) -> list[re.Match]:
    """Words for left, right and both; `lastgroup` says which."""
    return list(_SIDE.finditer(sentence))


def side_of(sentence: str, hit: Hit, *, hits: list[Hit], organs: list[tuple[str, int, int]], sides: list[re.Match]) -> str:
    """The side word nearest to a finding or to its organ's name: in its own clause, else where no other finding claims it."""
    if hit[0] not in SIDED or not sides:
        return ""
    clauses = _clauses(sentence, hits)
    mine = next(c for c in clauses if c[0] <= hit[2] < c[1])
    claimed = [c for c in clauses if c != mine and any(c[0] <= h[2] < c[1] and h[:2] != hit[:2] for h in hits)]
    near = [m for m in sides if mine[0] <= m.start() < mine[1]]
    near = near or [m for m in sides if not any(a <= m.start() < b for a, b in claimed)]
    if not near:
        return ""
    places = [hit[2:], *(o[1:] for o in organs if PART_OF.get(o[0], o[0]) == hit[0] and mine[0] <= o[1] < mine[1])]
    best = min(near, key=lambda m: min(_distance(sentence, m.span(), place) for place in places))
    return "both" if _is_joined_by_another(sentence, best, sides, hits) else best.lastgroup


def sizes_mm(sentence: str, hits: list[Hit]) -> dict[Span, float]:
    """span of a finding -> the largest diameter given for it.

    Each size belongs to the finding nearest to it, the first one counts, and those of earlier examinations are left out.
    """
    found: dict[Span, float] = {}
    spans = list(dict.fromkeys(h[2:] for h in hits))
    for m in _SIZE.finditer(sentence) if spans else ():
        if not _EARLIER.search(sentence[max(0, m.start() - 30) : m.start()]):
            nearest = min(spans, key=lambda s: _distance(sentence, s, m.span()))
            largest = max(float(n.replace(",", ".")) for n in re.findall(_NUMBER, m[1]))
            found.setdefault(nearest, largest * (10 if m[2] == "cm" else 1))
    return found


def _meant(sentence: str, span: Span, pairs: dict, organs: list) -> list[tuple[str, str]]:
    """What a general word means beside the organ named nearest to it and those joined to that one by "and", "or" or a comma."""
    known = [i for i, organ in enumerate(organs) if organ[0] in pairs]
    if not known:
        return [pairs[""]] if "" in pairs else []
    first = last = min(known, key=lambda i: _distance(sentence, span, organs[i][1:]))
    while first > 0 and _are_joined(sentence, organs[first - 1], organs[first], span):
        first -= 1
    while last + 1 < len(organs) and _are_joined(sentence, organs[last], organs[last + 1], span):
        last += 1
    return list(dict.fromkeys(pairs[organ[0]] for organ in organs[first : last + 1] if organ[0] in pairs))


def _are_joined(sentence: str, one: tuple, other: tuple, span: Span) -> bool:
    return not one[2] <= span[0] < other[1] and bool(_ORGANS_JOINED.fullmatch(sentence, one[2], other[1]))


def _distance(sentence: str, one: Span, other: Span) -> int:
    """Characters between two spans, 0 if they touch or overlap; commas and semicolons count more."""
    (_, end), (start, _) = sorted((one, other))
    return max(0, start - end) + COMMA_COST * (sentence.count(",", end, start) + sentence.count(";", end, start))


def _clauses(sentence: str, hits: list[Hit]) -> list[Span]:
    """The sentence cut at commas, brackets and conjunctions, except between findings that these only list."""
    lists = [(a[3], b[2]) for a, b in pairwise(hits) if _FINDINGS_JOINED.fullmatch(sentence, a[3], max(a[3], b[2]))]
    cuts = [m.start() for m in _CLAUSE.finditer(sentence)]
    return list(pairwise([0, *(c for c in cuts if c and not any(a <= c < b for a, b in lists)), len(sentence)]))


def _is_joined_by_another(sentence: str, best: re.Match, sides: list[re.Match], hits: list[Hit]) -> bool:
    """ "right upper and left lower lobe", but not "left effusion and right nodule"."""
    for other in (m for m in sides if m.lastgroup != best.lastgroup):
        start, end = min(best.end(), other.end()), max(best.start(), other.start())
        if _SIDES_JOINED.fullmatch(sentence, start, end) and not any(start <= h[2] < end for h in hits):
            return True
    return False
