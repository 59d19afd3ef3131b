"""Tables of studies without names: pseudonyms, replaced paths, searched texts."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ..adapters import LABEL_COLUMNS, TEXT_COLUMNS
from ..manifest import COLUMNS, PATHS, SPLITS, ManifestError, read_table
from ..personal import masked, personal
from .headers import LEAST_NUMBER, Refused
from .secret import Secret

OLDEST = 89  # years; above, an age is as good as a name (HIPAA's rule)
AS_IT_IS = ("sex", "split", "modality")  # columns whose few values the manifest checks
KNOWN = (*COLUMNS, *TEXT_COLUMNS, *LABEL_COLUMNS)


def clean_table(path: Path, secret: Secret, words_of: Callable[[str], set[str]]) -> tuple[pd.DataFrame, list[str]]:
    """A table of studies for the copies, and notes on what was taken out.

    `words_of(image)` are the words that name the patient of that image. Columns that no manifest has are left out: nobody
    knows what is in them. Raises Refused for what is no table of studies.
    """
    try:
        table = read_table(path).fillna("")
    except ManifestError as error:
        raise Refused(str(error).removeprefix(f"{path}: ")) from error
    if not {"image", "patient_id", "report", "text"} & set(table.columns):
        raise Refused("is no table of studies: it has no column image, patient_id, report or text")
    unknown = [column for column in table if column not in KNOWN]
    words = [_row_words(row, words_of) for row in table.to_dict("records")]
    new = {column: _cleaned(table[column], secret, words) for column in table if column in KNOWN}
    texts = [c for c in new if c not in (*PATHS, *AS_IT_IS, "study_id", "patient_id", "age", "sha256")]
    places = sum(len(personal(t, known=w)) for c in texts for t, w in zip(table[c], words, strict=True))
    notes = [f"{len(unknown)} columns left out: {', '.join(unknown)}"] if unknown else []
    return pd.DataFrame(new), notes + ([f"{places} places in texts replaced by [removed]"] if places else [])


def still_personal(table: pd.DataFrame) -> list[str]:
    """Columns of a cleaned table in which the rules still find something."""
    texts = [c for c in table if c not in (*PATHS, "study_id", "patient_id")]
    return [c for c in texts if any(personal(text) for text in table[c])]


def _row_words(row: dict, words_of: Callable[[str], set[str]]) -> set[str]:
    """What names the patient of a row: the words in the header of its image, and its own number where that is long enough."""
    words = words_of(str(row.get("image", "")))
    return words | {v for v in [str(row.get("patient_id", "")).strip()] if len(v) >= LEAST_NUMBER and re.search(r"[\dA-Z_]", v)}


def _cleaned(column: pd.Series, secret: Secret, words: list[set[str]]) -> pd.Series:
    rules = {"patient_id": secret.person, "study_id": secret.study, "age": _age, "sha256": lambda _: ""}
    rules |= dict.fromkeys(PATHS, secret.path) | dict.fromkeys(AS_IT_IS, _short)
    rule = rules.get(column.name)
    if rule:
        return column.map(lambda value: rule(value) if value.strip() else "")
    return pd.Series([masked(text, known=w) for text, w in zip(column, words, strict=True)], index=column.index)


def _age(years: str) -> str:
    number = pd.to_numeric(years, errors="coerce")
    return "" if pd.isna(number) else years if number <= OLDEST else str(OLDEST + 1)


def _short(value: str) -> str:
    return value if value in SPLITS or re.fullmatch(r"[A-Z]{1,2}", value) else ""
