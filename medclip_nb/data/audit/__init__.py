"""What is wrong with a manifest: leakage, copies, unreadable or mislabelled images, identifiers, contradictions, imbalance.

`audit` opens each image once; all checks then work on the table and the small records that this left.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from ..manifest import PATHS, all_columns, check, patients_across_splits
from .balance import balance
from .images import copies, image_values, orientation, recognisable, unreadable
from .records import MOST_LOOKED_AT, Finding, Record, look, names, some
from .texts import contradictions, odd_characters, persons, report_copies, words_of

SEVERITIES = ("serious", "warning", "note")
MINOR_COLUMNS = ("modality", "age", "sex", "report")  # a wrong or missing value there makes a row poorer, not wrong


def audit(table: pd.DataFrame) -> pd.DataFrame:
    """Everything found wrong with a manifest, most serious first: columns check, severity, rows, what, advice.

    "serious" makes a score or the data's use wrong, "warning" wants a look, "note" is worth knowing. `rows` are positions in the
    table. Of more than MOST_LOOKED_AT rows no image is opened and only identical reports are found; a note says so.
    `attrs["groups"]` holds, for each finding, the same rows as groups that belong together (copies, a patient's rows), and
    `attrs["faults"]` what `manifest.check` says of the cells, `attrs["words"]` by which names each header knows its patient.
    """
    table = check(all_columns(table), root=Path(table.attrs["root"]), name=table.attrs["name"], lenient=True)
    unread = [i for i, column, _ in table.attrs["faults"] if column == "findings"]
    table["findings"] = table["findings"].where(~np.isin(np.arange(len(table)), unread), "")  # told as faults, not read
    closed = {i for i, column, _ in table.attrs["faults"] if column in ("image", "mask")}
    records = look(table, closed) if len(table) <= MOST_LOOKED_AT else [Record()] * len(table)
    found = [finding for one in CHECKS for finding in one(table, records)]
    found.sort(key=lambda f: SEVERITIES.index(f.severity))
    rows = [list(dict.fromkeys(i for group in f.groups for i in group)) for f in found]
    columns = {name: [getattr(f, name) for f in found] for name in ("check", "severity", "what", "advice")}
    shown = pd.DataFrame(columns | {"rows": rows})[["check", "severity", "rows", "what", "advice"]]
    words = [words_of(record) for record in records]
    shown.attrs |= {"groups": [f.groups for f in found], "faults": table.attrs["faults"], "words": words}
    return shown


def faults(table: pd.DataFrame, records: list[Record]) -> Iterator[Finding]:
    """Cells that break the manifest's rules, by column; a table without any image is a table of texts."""
    if (table["image"] == "").all():
        yield Finding("no images", "note", [], "No row has an image: only tables and texts were looked at", "Nothing to do.")
    told = pd.DataFrame(table.attrs["faults"], columns=["row", "column", "message"])
    for column, rows in told.groupby("column", sort=False):
        if column == "image" and (table["image"] == "").all():
            continue
        positions, first = rows["row"].tolist(), rows["message"].iloc[0]
        what = (
            f"{len(rows)} fault{'s' * (len(rows) > 1)} in column {column!r}, the first: {first}. Rows: {names(table, positions)}"
        )
        severity = "warning" if column in MINOR_COLUMNS else "serious"
        kind = "files" if column in PATHS else "empty report" if column == "report" else "table"
        yield Finding(kind, severity, [[i] for i in dict.fromkeys(positions)], what, "Correct these cells, or drop the rows.")


def left_out(table: pd.DataFrame, records: list[Record]) -> Iterator[Finding]:
    """What was not looked at because the table is too long for it."""
    if len(table) > MOST_LOOKED_AT:
        what = (
            f"{len(table)} rows are more than {MOST_LOOKED_AT}: no image was opened, and reports that are only nearly identical "
            "were not looked for. Copies of images, units, orientation, identifiers and burnt-in text are not judged"
        )
        advice = f"Audit manifests of at most {MOST_LOOKED_AT} rows, whole patients each."
        yield Finding("not looked at", "note", [], what, advice)


def exchanged_images(table: pd.DataFrame, records: list[Record]) -> Iterator[Finding]:
    """Images that are not the ones whose sha256 the table has."""
    told = zip(table["sha256"].str.lower(), records, strict=True)
    rows = [i for i, (known, r) in enumerate(told) if known and r.sha256 and r.sha256 != known]
    if rows:
        what = f"{len(rows)} image{'s are' if len(rows) > 1 else ' is'} not what column 'sha256' says: {names(table, rows)}"
        advice = "The files were changed after the table was written: restore them, or check the rows and empty the column."
        yield Finding("exchanged image", "serious", [[i] for i in rows], what, advice)


def similar_ids(table: pd.DataFrame, records: list[Record]) -> Iterator[Finding]:
    """Patients whose ids differ in case, blanks or leading zeros only: 007 and 7 count as two, and may be one."""
    ids = pd.Series(table["patient_id"].unique())
    plain = ids.str.replace(r"[\W_]+", "", regex=True).str.casefold().str.lstrip("0")
    alike = [ids[g].tolist() for p, g in plain.groupby(plain).indices.items() if p and len(g) > 1]
    if alike:
        rows = table.reset_index(drop=True).groupby("patient_id").indices
        groups = [[int(i) for p in own for i in rows[p]] for own in alike]
        told = some([" = ".join(own) for own in alike])
        what = f"{len(alike)} group{'s' * (len(alike) > 1)} of patient ids that are nearly the same: {told}"
        advice = "If they are one patient, write one id: else the same patient may be trained on and tested."
        yield Finding("similar patient ids", "warning", groups, what, advice)


def patient_overlap(table: pd.DataFrame, records: list[Record]) -> Iterator[Finding]:
    """Patients with rows in more than one split, and rows that are in none."""
    by_patient = table.reset_index(drop=True).groupby("patient_id")
    across = patients_across_splits(table)
    if across:
        groups = [by_patient.indices[p].tolist() for p in across]
        told = [f"{p} ({', '.join(sorted(set(table['split'].iloc[g])))})" for p, g in zip(across, groups, strict=True)]
        what = f"{len(across)} patient{'s are' if len(across) > 1 else ' is'} in more than one split: {some(told)}"
        yield Finding("patient overlap", "serious", groups, what, "Split by patient: all rows of a patient go into one split.")
    without = np.flatnonzero(table["split"] == "").tolist()
    if without and len(without) < len(table):
        what = f"{len(without)} rows are in no split while others are: {names(table, without)}"
        yield Finding("rows without split", "warning", [[i] for i in without], what, "Give each row a split, or none.")


CHECKS = (
    faults,
    left_out,
    patient_overlap,
    similar_ids,
    exchanged_images,
    unreadable,
    copies,
    report_copies,
    image_values,
    orientation,
    contradictions,
    odd_characters,
    recognisable,
    persons,
    balance,
)
