"""The table of studies: one row per image, checked when it is read, split by patient.

Every later room starts from this table, so what it lets through is trusted everywhere else.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from ..files import whole
from .tables import SEEN, ManifestError, marked, read_table, unmarked

__all__ = ["ManifestError", "read_table"]  # of `tables`, for those who know manifests only
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
TRUTH_KEYS = ({"organ", "finding"}, {"location", "signal"})
TRUTH = 'a JSON list of {"organ": ..., "finding": ...} or {"location": ..., "signal": ...}'
PATHS = ("image", "mask", "lesions")
SAID = {"field_uniqueness": "is already used above; give every row its own"}  # where pandera's own word says too little
Fault = tuple[int, str, str]  # number of the row (from 0), column, what is wrong


def read_manifest(
    path: str | Path, *, columns: Sequence[str] | None = None, check_files: bool = True, lenient: bool = False
) -> pd.DataFrame:
    """Reads and checks a manifest (CSV, or parquet by its suffix); `root` of its relative paths is in `.attrs["root"]`.

    All columns are checked, those named in `columns` are given back (None: all); see `parquet` for a million rows. Raises
    ManifestError naming file, row (counted as in an editor: the header is row 1), column and remedy. With `lenient` only a file
    that is no manifest raises; faults in its cells are kept, see `check`.
    """
    path = Path(path)
    if path.suffix.lower() == ".parquet":
        from .parquet import read_parquet

        return read_parquet(path, columns=columns, check_files=check_files, lenient=lenient)
    table = unmarked(read_table(path))
    check_columns(table.columns, path)
    table = check(all_columns(table), root=path.parent, name=str(path), check_files=check_files, lenient=lenient)
    return table if columns is None else table[list(columns)]


def check_columns(names: Iterable[str], path: Path) -> None:
    """Raises ManifestError if a manifest's column is unknown or a required one is missing."""
    unknown = [c for c in names if c not in COLUMNS]
    if unknown:
        raise ManifestError(f"{path}: unknown column {unknown[0]!r}; known columns: {', '.join(COLUMNS)}")
    missing = [c for c in REQUIRED if c not in names]
    if missing:
        raise ManifestError(f"{path}: column {missing[0]!r} is missing; a manifest needs {', '.join(REQUIRED)}")


def check(table: pd.DataFrame, *, root: Path, name: str, check_files: bool = True, lenient: bool = False) -> pd.DataFrame:
    """The table with `root` and `name` in its attrs, or ManifestError for the first thing wrong in it.

    With `lenient` what is wrong in cells is kept in `attrs["faults"]` as (position of the row, column, message) instead.
    """
    if table.empty:
        raise ManifestError(f"{name}: holds no rows below the header; add one row per image")
    faults = [*cell_faults(table), *path_faults(table, root, check_files)]
    if not lenient:
        refuse(((int(table.index[i]), column, message) for i, column, message in faults), name)
    table = table.copy(deep=False)
    table.attrs |= {"root": str(root), "name": name} | ({"faults": faults} if lenient else {})
    return table


def refuse(faults: Iterator[Fault], name: str) -> None:
    """Raises ManifestError for the first of these faults, if there is one, saying how many follow."""
    for number, column, message in faults:
        n = sum(1 for _ in faults)
        more = f" (and {n} more fault{'s' * (n > 1)})" if n else ""
        raise ManifestError(f"{name}: row {number + 2}, column {column!r}: {message}{more}")


def all_columns(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the manifest's columns, all of them and in their order; what is missing is empty text."""
    return table.reindex(columns=list(COLUMNS), fill_value="").fillna("")


def save_manifest(table: pd.DataFrame, path: str | Path) -> Path:
    """Writes the table (CSV, or parquet by the suffix) whole or not at all; columns in the order of COLUMNS.

    In CSV, cells that a spreadsheet would run as a formula get an apostrophe in front, which `read_manifest` takes away.
    """
    path, table = Path(path), all_columns(table)
    with whole(path) as part:
        if path.suffix.lower() == ".parquet":
            table.to_parquet(part, index=False)
        else:
            marked(table.astype(str)).to_csv(part, index=False)
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


def _schema(unique: bool):
    import pandera.pandas as pa

    each = lambda rule: lambda s: s.isin([v for v in s.unique() if rule(v)])  # noqa: E731
    filled = pa.Check(lambda s: s.str.contains(SEEN), error="is empty; fill it in or drop the row")
    one_of = lambda values: pa.Check.isin(("", *values), error=f"must be one of {', '.join(values)} or empty")  # noqa: E731
    years = pa.Check(
        lambda s: pd.to_numeric(s.where(s != "", "0"), errors="coerce").between(0, 130), error="must be 0 to 130 years"
    )
    rules = {c: [] for c in COLUMNS} | {c: [filled] for c in REQUIRED}
    hashed = pa.Check(lambda s: s.str.fullmatch("([0-9a-fA-F]{64})?"), error="must be 64 hexadecimal digits or empty")
    listing = pa.Check(each(_is_truth), error=f"must be {TRUTH} or empty")
    rules |= {"sha256": [hashed], "findings": [listing]}
    rules |= {"modality": [one_of(MODALITIES)], "sex": [one_of("FM")], "split": [one_of(SPLITS)], "age": [years]}
    return pa.DataFrameSchema(
        {
            c: pa.Column(str, checks, unique=unique and c == "study_id", report_duplicates="exclude_first")
            for c, checks in rules.items()
        },
        strict=True,
    )


def cell_faults(table: pd.DataFrame, *, unique: bool = True) -> list[Fault]:
    """What breaks the rules of the columns, by position of the row; with `unique` also study ids that are used twice."""
    import pandera.pandas as pa

    try:
        _schema(unique).validate(table.reset_index(drop=True), lazy=True)
    except pa.errors.SchemaErrors as error:
        found = error.failure_cases.sort_values("index", kind="stable")
        rows = zip(found["index"], found["column"], found["failure_case"], found["check"], strict=True)
        return [(int(i), column, f"{str(value)[:60]!r} {SAID.get(rule, rule)}") for i, column, value, rule in rows]
    return []


def _is_truth(text: str) -> bool:
    try:
        found = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return False
    return isinstance(found, list) and all(isinstance(f, dict) and any(keys <= set(f) for keys in TRUTH_KEYS) for f in found)


def path_faults(table: pd.DataFrame, root: Path, must_exist: bool) -> Iterator[Fault]:
    """Paths that are absolute, leave the root or, if they must, do not exist, by position of the row."""
    real = lru_cache(maxsize=1024)(os.path.realpath)  # rows share folders: each is followed once
    for column in PATHS:
        values = table[column].tolist()
        said = {value: _path_fault(value, str(root), real, must_exist) for value in dict.fromkeys(values) if value}
        yield from ((i, column, f"{value[:200]!r} {said[value]}") for i, value in enumerate(values) if said.get(value))


def _path_fault(value: str, root: str, real, must_exist: bool) -> str:
    if os.path.isabs(value):
        return "is an absolute path; make it relative to the manifest's folder"
    folder, name = os.path.split(os.path.join(root, value))
    target = os.path.join(real(folder), name)
    mode = _mode(target)
    if name in ("", ".", "..") or stat.S_ISLNK(mode):
        target = real(target)
        mode = _mode(target)
    if target != real(root) and not target.startswith(os.path.join(real(root), "")):
        return "leaves the manifest's folder; move the file inside it"
    if must_exist and not mode:
        return f"does not exist under {root}; correct the path or drop the row"
    if must_exist and not (os.path.isfile(target) or os.path.isdir(target)):
        return "is neither a file nor a folder; put the image there"
    return ""


def _mode(path: str) -> int:
    """Kind and permissions of what is there, a link itself included; 0 if nothing is: one question instead of two."""
    try:
        return os.lstat(path).st_mode
    except (OSError, ValueError):
        return 0
