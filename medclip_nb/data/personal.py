"""What in a text looks as if it named a person: labelled names and numbers, dates, telephones, and words known from a header.

Rules over English wording. A name that nothing points to ("Jane came back") is not seen: no list of names is long enough.
"""

import re
from collections.abc import Collection

LEAST_NAME = 3  # letters of a part of a name by which it is known
REMOVED = "[removed]"
MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
NAME = r"(?-i:(?!XX)[A-Z][\w'’-]+)"
NAMES = rf"{NAME}(?:[,^]?[ ^]?(?:{NAME}|(?-i:[A-Z]\.)))*"
NUMBER = r"(?=[\w/.-]*\d{3})[\w/-]{4,}"
TITLE = r"(?-i:(?:Mr|Mrs|Ms|Miss|Dr|Prof|Professor|Doctor)\b|DR\.)"
LABEL = (
    r"(?:(?:patient|pt)(?:'s)?(?: name)?|name|(?:referring|reading|attending) (?:physician|doctor)|"
    r"(?:dictated|signed|read|reported) by)"
)
PATTERNS = {
    "e-mail address": r"\b[\w.+-]+@[\w-]+\.[\w.-]+\b",
    "number": rf"\b(?:mrn|m\.r\.n\.|accession|acc|patient id|(?:hospital|record|case|insurance|nhs|social security))"
    rf"[ .]?(?:no|nr|num|number)?\.?\s*[:#]?\s*{NUMBER}",
    "name": rf"\b{TITLE}\.?[ ](?:(?-i:[A-Z])\. ?)*{NAMES}|\b{LABEL}\s*:\s*{NAMES}|\b{NAME}\^{NAMES}|"
    rf"\b{NAME},? {NAME}(?=,? (?:is |was )?(?:an? |aged )?\d{{1,3}}[- ]?(?:y/?o\b|years?\b))",
    "telephone": r"\b(?:tel|phone|fax)[.:]*\s*\+?[\d (/)-]{6,}\d|\+\d{2,3}[ -]\d[\d -]{6,}\d|\(\d{3}\) ?\d{3}-\d{4}\b",
    "date": r"\b\d{1,2}[./-]\d{1,2}[./-](?:19|20)\d\d\b|\b(?:19|20)\d\d([./-])\d{1,2}\1\d{1,2}\b|"
    rf"\b(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\b|\b{MONTH}\.? \d{{1,2}},? (?:19|20)\d\d\b|"
    rf"\b\d{{1,2}}\.? {MONTH}\.? (?:19|20)\d\d\b",
}
_COMPILED = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in PATTERNS.items()}


def personal(text: str, *, known: Collection[str] = ()) -> list[tuple[int, int, str]]:
    """Where a text seems to name a person: (start, end, kind) in order, kinds as in PATTERNS or "known"; places
    may overlap.

    `known` are words that do so in this text, from the header of its image: found as whole words, names only where they are
    written with a capital, for "white" is also a colour.
    """
    rules = ({"known": _words(known)} if known else {}) | _COMPILED
    return sorted((*match.span(), kind) for kind, rule in rules.items() for match in rule.finditer(text))


def masked(text: str, *, known: Collection[str] = ()) -> str:
    """The text with everything that `personal` finds replaced by "[removed]"."""
    kept, end = [], 0
    for start, stop, _ in personal(text, known=known):
        if start >= end:
            kept += [text[end:start], REMOVED]
        end = max(end, stop)
    return "".join([*kept, text[end:]])


def name_parts(name: str) -> set[str]:
    """Words of a DICOM name (family^given^middle), those of fewer than three letters left out."""
    return {word for word in re.split(r"[\^=\s,.]+", name) if len(word) >= LEAST_NAME}


def date_forms(day: str) -> set[str]:
    """A DICOM date, YYYYMMDD, as people write it."""
    if not re.fullmatch(r"(19|20)\d{6}", day):
        return {day}
    y, m, d = day[:4], day[4:6], day[6:]
    return {day, f"{y}-{m}-{d}", f"{d}.{m}.{y}", f"{m}/{d}/{y}", f"{d}/{m}/{y}"}


def _words(known: Collection[str]) -> re.Pattern:
    forms = {form for word in known for form in (word, word.upper(), word.title())}
    alternatives = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True) if not form.islower())
    return re.compile(rf"(?<![^\W_])(?:{alternatives})(?![^\W_])" if alternatives else r"(?!)")
