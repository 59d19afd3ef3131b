"""The table of studies: one row per image, checked when it is read, split by patient.

Every later room starts from this table, so what it lets through is trusted everywhere else.
"""

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from ..files import whole

SPLITS = ("train", "val", "test")
REQUIRED = ("study_id", "patient_id", "image", "report")
# column -> what it means; the order is the order in a saved file
COLUMNS = {
    "study_id": "unique name of the row",
    "patient_id": "who it is: splits and intervals go by this",
    "modality": "DICOM code: CT, MR, CR, DX",
    "body_part": "chest, abdomen, head, ...",
    "sequence": "MR sequence or CT phase",
    "image": "file or DICOM folder, relative to the manifest's folder",
    "mask": "organ mask on the image's grid, relative path",
    "lesions": "lesion mask on the image's grid, relative path",
    "report": "the text that goes with the image",
    "findings": "structured truth as JSON, where it is known",
    "label": "class of the image, where it has one",
    "age": "years",
    "sex": "F or M",
    "scanner": "who made the image",
    "split": "train, val or test",
    "sha256": "of the image file",
    "source": "which dataset it is from",
    "licence": "SPDX name or a sentence",
}
MODALITIES = ("CT", "MR", "CR", "DX")
PATHS = ("image", "mask", "lesions")
SAID = {"field_uniqueness": "is already used above; give every row its own"}  # where pandera's own word says too little


class ManifestError(ValueError):
    """A manifest that cannot be trusted; the message names file, row, column and remedy."""


def read_manifest(path: str | Path, *, check_files: bool = True, lenient: bool = False) -> pd.DataFrame:
    """Reads and checks a manifest (CSV); paths stay relative, `root` of the table is in `.attrs["root"]`.

    Raises ManifestError naming file, row (counted as in an editor: the header is row 1), column and remedy. With `lenient`
    only a file that is no manifest raises; faults in its cells are kept, see `check`.
    """
    path = Path(path)
    table = read_table(path)
    unknown = [c for c in table.columns if c not in COLUMNS]
    if unknown:
        raise ManifestError(f"{path}: unknown column {unknown[0]!r}; known columns: {', '.join(COLUMNS)}")
    missing = [c for c in REQUIRED if c not in table.columns]
    if missing:
        raise ManifestError(f"{path}: column {missing[0]!r} is missing; a manifest needs {', '.join(REQUIRED)}")
    return check(all_columns(table), root=path.parent, name=str(path), check_files=check_files, lenient=lenient)


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file as text columns; a wrong separator, encoding or an empty file is an error with a remedy."""
    if path.is_dir():
        raise ManifestError(f"{path}: is a folder, not a CSV file")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False)
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is not UTF-8 at byte {error.start}; save the table as UTF-8 CSV") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ManifestError(f"{path}: is not a comma-separated table ({error})".replace("\n", " ")) from None
    if len(table.columns) == 1 and any(s in table.columns[0] for s in ";\t|"):
        raise ManifestError(f"{path}: row 1 is one column {table.columns[0]!r}; separate columns by commas")
    if not isinstance(table.index, pd.RangeIndex):
        raise ManifestError(f"{path}: row 2 has more fields than the header; put texts that hold commas in quotes")
    return table[table.fillna("").ne("").any(axis=1)]  # blank lines count as rows, so that errors name the right one


def check(table: pd.DataFrame, *, root: Path, name: str, check_files: bool = True, lenient: bool = False) -> pd.DataFrame:
    """The table with `root` and `name` in its attrs, or ManifestError for the first thing wrong in it.

    With `lenient` what is wrong in cells is kept in `attrs["faults"]` as (position of the row, column, message) instead.
    """
    if table.empty:
        raise ManifestError(f"{name}: holds no rows below the header; add one row per image")
    faults = [*_cell_faults(table), *_path_faults(table, root, check_files)]
    if faults and not lenient:
        position, column, message = faults[0]
        more = f" (and {len(faults) - 1} more fault{'s' * (len(faults) > 2)})" if len(faults) > 1 else ""
        raise ManifestError(f"{name}: row {table.index[position] + 2}, column {column!r}: {message}{more}")
    table = table.copy(deep=False)
    table.attrs |= {"root": str(root), "name": name} | ({"faults": faults} if lenient else {})
    return table


def all_columns(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the manifest's columns, all of them and in their order; what is missing is empty text."""
    return table.reindex(columns=list(COLUMNS), fill_value="").fillna("")


def save_manifest(table: pd.DataFrame, path: str | Path) -> Path:
    """Writes the table whole or not at all; columns in the order of COLUMNS."""
    path = Path(path)
    with whole(path) as part:
        all_columns(table).to_csv(part, index=False)
    return path


def split_by_patient(patient_ids, *, shares=(0.7, 0.1, 0.2), seed: int = 0) -> np.ndarray:
    """ "train", "val" or "test" for each row, so that no patient is in two of them.

    Patients, not rows, are shuffled; shares are of rows and are met as closely as whole patients allow.
    """
    patient_ids = np.asarray(patient_ids)
    patients, counts = np.unique(patient_ids, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(patients))
    middle = (np.cumsum(counts[order]) - counts[order] / 2) / counts.sum()
    which = np.searchsorted(np.cumsum(shares)[:-1], middle, side="right")
    return np.array(SPLITS)[which[np.argsort(order)]][np.searchsorted(patients, patient_ids)]


def patients_across_splits(table: pd.DataFrame) -> list[str]:
    """Patients whose rows lie in more than one split: what a score must never be trusted with."""
    n_splits = table[table["split"] != ""].groupby("patient_id")["split"].nunique()
    return sorted(n_splits.index[n_splits > 1])


def digest(table: pd.DataFrame) -> str:
    """Short hash of a table's content; goes into metrics, so that a score names the data it was measured on."""
    return hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()[:16]


def _schema():
    import pandera.pandas as pa

    filled = pa.Check(lambda s: s.str.strip() != "", error="is empty; fill it in or drop the row")
    one_of = lambda values: pa.Check.isin(("", *values), error=f"must be one of {', '.join(values)} or empty")  # noqa: E731
    years = pa.Check(
        lambda s: pd.to_numeric(s.where(s != "", "0"), errors="coerce").between(0, 130), error="must be 0 to 130 years"
    )
    rules = {c: [] for c in COLUMNS} | {c: [filled] for c in REQUIRED}
    rules |= {"modality": [one_of(MODALITIES)], "sex": [one_of("FM")], "split": [one_of(SPLITS)], "age": [years]}
    return pa.DataFrameSchema(
        {c: pa.Column(str, checks, unique=c == "study_id", report_duplicates="exclude_first") for c, checks in rules.items()},
        strict=True,
    )


def _cell_faults(table: pd.DataFrame) -> list[tuple[int, str, str]]:
    import pandera.pandas as pa

    try:
        _schema().validate(table.reset_index(drop=True), lazy=True)
    except pa.errors.SchemaErrors as error:
        found = error.failure_cases.sort_values("index", kind="stable")
        rows = zip(found["index"], found["column"], found["failure_case"], found["check"], strict=True)
        return [(int(i), column, f"{str(value)[:60]!r} {SAID.get(rule, rule)}") for i, column, value, rule in rows]
    return []


def _path_faults(table: pd.DataFrame, root: Path, must_exist: bool) -> Iterator[tuple[int, str, str]]:
    real = lru_cache(maxsize=1024)(os.path.realpath)  # rows share folders: each is followed once
    for column in PATHS:
        for position, value in enumerate(table[column]):
            message = value and _path_fault(value, str(root), real, must_exist)
            if message:
                yield position, column, f"{value!r} {message}"


def _path_fault(value: str, root: str, real, must_exist: bool) -> str:
    if os.path.isabs(value):
        return "is an absolute path; make it relative to the manifest's folder"
    folder, name = os.path.split(os.path.join(root, value))
    target = os.path.join(real(folder), name)
    if name in ("", ".", "..") or os.path.islink(target):
        target = real(target)
    if target != real(root) and not target.startswith(os.path.join(real(root), "")):
        return "leaves the manifest's folder; move the file inside it"
    if must_exist and not os.path.exists(target):
        return f"does not exist under {root}; correct the path or drop the row"
    return ""
