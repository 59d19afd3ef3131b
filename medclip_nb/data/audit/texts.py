"""What is wrong with the reports of a manifest: copies, and contradictions with the known truth."""

import json
import re
from collections.abc import Iterator

import pandas as pd

from ..personal import name_parts, personal
from .near import groups, near_texts
from .records import MOST_LOOKED_AT, Finding, Record, names, pairs_named, some

OTHER = {"left": "right", "right": "left"}
# ligatures, full-width forms, control, direction and replacement characters; Latin and Cyrillic letters in one word
ODD = re.compile(
    "[\ufb00-\ufb06\uff01-\uff5e\x01-\x08\x0b\x0c\x0e-\x1f\u200b\u202a-\u202e\u2066-\u2069\ufffd]"
    "|[A-Za-z][\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z]"
)
STEM = 5  # letters by which a finding's word is known: "nodul" for nodule, nodules and nodular
KINDS = {"known": "a name from the image's header"}
NORMAL = "[]"  # what `findings` says of a study without any


def report_copies(table: pd.DataFrame, records: list[Record]) -> Iterator[Finding]:
    """Identical and nearly identical reports of different patients; normal ones are expected to repeat."""
    texts = pd.Series([" ".join(report.split()).lower() for report in table["report"]], dtype=str)
    first = texts.drop_duplicates()
    compared = len(first) > 1 and len(table) <= MOST_LOOKED_AT
    told = texts if compared else texts[texts.duplicated(keep=False)]
    same = {text: told.index[rows] for text, rows in told.groupby(told.to_numpy()).indices.items() if text}
    near = groups(near_texts(first.tolist()), len(first)) if compared else []
    near = [[int(i) for k in g for i in same.get(first.iloc[k], ())] for g in near]
    for kind, found in (("identical", [r.tolist() for r in same.values() if len(r) > 1]), ("near-identical", near)):
        found = [g for g in found if table["patient_id"].iloc[g].nunique() > 1]
        normal = [g for g in found if (table["findings"].iloc[g] == NORMAL).all()]
        across = [g for g in found if g not in normal and table["split"].iloc[g].nunique() > 1]
        within = [g for g in found if g not in normal and g not in across]
        yield from _told(table, kind, normal, "note", "of normal studies", "Expected: count each as right for the others.")
        yield from _told(
            table, kind, across, "warning", "in different splits", "A test text was seen in training: score without."
        )
        yield from _told(
            table, kind, within, "warning", "of different patients", "Check whose report it is; count copies as right."
        )


def _told(table: pd.DataFrame, kind: str, found: list, severity: str, where: str, advice: str) -> Iterator[Finding]:
    if found:
        n, rows = len(found), sum(map(len, found))
        what = f"{n} {kind} report{'s' * (n > 1)} {where} ({rows} rows): {pairs_named(table, found)}"
        yield Finding(f"{kind} reports", severity, found, what, advice)


def persons(table: pd.DataFrame, records: list[Record]) -> Iterator[Finding]:
    """Reports that seem to name a person or give a number or a date; they are counted, never quoted."""
    pairs = list(zip(table["report"], [frozenset(words_of(record)) for record in records], strict=True))
    kinds_of = {pair: {kind for *_, kind in personal(pair[0], known=set(pair[1]))} for pair in dict.fromkeys(pairs)}
    found = [kinds_of[pair] for pair in pairs]
    naming = [i for i, kinds in enumerate(found) if kinds - {"date"}]
    for severity, check, rows in (
        ("serious", "names in reports", naming),
        ("warning", "dates in reports", [i for i, kinds in enumerate(found) if kinds == {"date"}]),
    ):
        if rows:
            kinds = ", ".join(sorted({KINDS.get(kind, kind) for i in rows for kind in found[i]}))
            what = f"{len(rows)} report{'s seem' if len(rows) > 1 else ' seems'} to hold what leads to a person ({kinds}): "
            advice = "Read them; `medclip-nb data deidentify` writes copies without. A name that nothing points to is not seen."
            yield Finding(check, severity, [[i] for i in rows], what + names(table, rows), advice)


def words_of(record: Record) -> set[str]:
    """Parts of the names in an image's header, by which its report is searched."""
    persons = [value for key, (severity, value) in record.fields.items() if severity == "serious" and "Name" in key]
    return set().union(*map(name_parts, persons))


def odd_characters(table: pd.DataFrame, records: list[Record]) -> Iterator[Finding]:
    """Reports with characters that look like others, or like nothing: rules and search pass over the words that hold them."""
    rows = table["report"].reset_index(drop=True)
    rows = [int(i) for i in rows.index[rows.map(lambda text: ODD.search(text) is not None)]]
    if rows:
        what = f"{len(rows)} report{'s' * (len(rows) > 1)} with ligatures, look-alike or control characters: {names(table, rows)}"
        advice = (
            "Normalise the texts (unicodedata.normalize('NFKC', text)); look-alike letters of another alphabet must be retyped."
        )
        yield Finding("odd characters", "warning", [[i] for i in rows], what, advice)


def contradictions(table: pd.DataFrame, records: list[Record]) -> Iterator[Finding]:
    """Reports that give a finding's side otherwise than the truth does, where the truth is known."""
    wrong = {
        i: wrong_sides(r, json.loads(f)) for i, (r, f) in enumerate(zip(table["report"], table["findings"], strict=True)) if f
    }
    wrong = {i: said for i, said in wrong.items() if said}
    if wrong:
        what = f"{len(wrong)} report{'s' * (len(wrong) > 1)} and truth disagree on a side: "
        what += some([f"{table['study_id'].iloc[i]}: {said}" for i, said in wrong.items()])
        yield Finding("laterality", "warning", [[i] for i in wrong], what, "Look at the image; correct the report or the truth.")


def wrong_sides(report: str, findings: list[dict]) -> str:
    """ "left nodule is called right": the first finding whose sentences name the other side only; "" if there is none."""
    sentences = re.split(r"\.\s|[\n;]", report.lower())
    for finding in findings:
        stems = [word[:STEM] for word in finding["finding"].lower().split()]
        about = " ".join(s for s in sentences if all(stem in s for stem in stems))
        other = OTHER.get(finding.get("side"))
        if other and re.search(rf"\b{other}\b", about) and not re.search(rf"\b({finding['side']}|both|bilateral\w*)\b", about):
            return f"{finding['side']} {finding['finding']} is called {other}"
    return ""
