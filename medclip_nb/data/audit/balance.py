"""How patients, classes and scanners are spread over the splits, and whether a scanner goes with a finding."""

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..manifest import SPLITS
from .records import Finding, Record

ALPHA = 0.01  # chance of a false warning in the whole table: divided by the number of tests made
ADVICE = {
    "split": "Split again by patient: what is not there cannot be scored.",
    "scanner": "A model may learn the scanner instead: compare within scanners.",
}
MAX_CLASSES = 20  # values of a column that has more are no classes


def balance(table: pd.DataFrame, records: list[Record]) -> Iterator[Finding]:
    """One note on the splits, one on classes; a warning for a class that a split lacks and a finding tied to a scanner."""
    if (table["split"] == "").all():
        yield Finding("splits", "note", [], "No row has a split yet", "Split by patient before you train.")
    else:
        yield Finding(
            "splits", "note", [], "; ".join(_split_line(s, table[table["split"] == s]) for s in SPLITS), "Compare them."
        )
    classes = class_table(table)
    if classes.empty:
        return
    shares = classes.mean().sort_values()
    told = ", ".join(f"{name} {share:.1%}" for name, share in shares[:3].items())
    what = f"{len(shares)} classes; the rarest, as a share of the rows: {told}"
    yield Finding("classes", "note", [], what, "Chance level and intervals differ between classes: score them one by one.")
    yield from associated(table, classes, "split", "missing class")
    yield from associated(table, classes, "scanner", "scanner and finding")


def class_table(table: pd.DataFrame) -> pd.DataFrame:
    """For each row which findings it has, where truth is known, and its body part and modality where they vary."""
    known = (table["findings"] != "").all()
    rows = [{f"{f['organ']} {f['finding']}": True for f in json.loads(x)} for x in table["findings"]] if known else []
    parts = [pd.DataFrame(rows, index=table.index if rows else [])]
    for column in ("body_part", "modality"):
        if 2 <= table[column].nunique() <= MAX_CLASSES:
            parts.append(pd.get_dummies(table[column].where(table[column] != "")))
    return pd.concat(parts, axis=1).reindex(table.index).eq(True)


def associated(table: pd.DataFrame, classes: pd.DataFrame, column: str, check: str) -> Iterator[Finding]:
    """Classes tied to a value of `column` by Fisher's exact test on one row of each patient, corrected for all tests made.

    For splits only a class that one lacks counts; splits may differ in how they were drawn, but not lack what is scored.
    """
    from scipy.stats import fisher_exact

    one = ~table["patient_id"].duplicated().to_numpy() & (table[column] != "").to_numpy()
    groups, values = table[column].to_numpy(object)[one], classes.to_numpy()[one]
    pairs = [(g, k) for g in dict.fromkeys(groups) for k in range(values.shape[1])] if len(set(groups)) > 1 else []
    for group, k in pairs:
        inside, has = groups == group, values[:, k]
        (a, b), (c, d) = counts = [[np.sum(side & has), np.sum(side & ~has)] for side in (inside, ~inside)]
        there = table[column].to_numpy(object) == group
        rows = np.flatnonzero(classes.iloc[:, k].to_numpy() & (there | (column == "split")))
        if fisher_exact(counts)[1] < ALPHA / len(pairs) and (column != "split" or not there[rows].any()):
            what = f"{classes.columns[k]}: {a} of {a + b} patients with {column} {group}, {c} of {c + d} others"
            yield Finding(check, "warning", [rows.tolist()], what, ADVICE[column])


def _split_line(split: str, rows: pd.DataFrame) -> str:
    age, sex = pd.to_numeric(rows["age"], errors="coerce").median(), rows["sex"][rows["sex"] != ""]
    about = [f"{split}: {len(rows)} rows, {rows['patient_id'].nunique()} patients"]
    about += [f"age {age:.0f}"] if np.isfinite(age) else []
    return ", ".join(about + ([f"{np.mean(sex == 'F'):.0%} women"] if len(sex) else []))
