"""The table of studies: one row per image, checked when it is read, split by patient.

Every later room starts from this table, so what it lets through is trusted everywhere else.
"""

import hashlib
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


class ManifestError(ValueError):
    """A manifest that cannot be trusted; the message names file, row, column and remedy."""


def read_manifest(path: str | Path, *, check_files: bool = True) -> pd.DataFrame:
    """Reads and checks a manifest (CSV); paths stay relative, `root` of the table is in `.attrs["root"]`.

    Raises ManifestError naming file, row (counted as in an editor: the header is row 1), column and remedy.
    """
    path = Path(path)
    table = read_table(path)
    unknown = [c for c in table.columns if c not in COLUMNS]
    if unknown:
        raise ManifestError(f"{path}: unknown column {unknown[0]!r}; known columns: {', '.join(COLUMNS)}")
    missing = [c for c in REQUIRED if c not in table.columns]
    if missing:
        raise ManifestError(f"{path}: column {missing[0]!r} is missing; a manifest needs {', '.join(REQUIRED)}")
    return check(all_columns(table), root=path.parent, name=str(path), check_files=check_files)


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


def check(table: pd.DataFrame, *, root: Path, name: str, check_files: bool = True) -> pd.DataFrame:
    """The table with `root` and `name` in its attrs, or ManifestError for the first thing wrong in it."""
    import pandera.pandas as pa

    if table.empty:
        raise ManifestError(f"{name}: holds no rows below the header; add one row per image")
    try:
        table = _schema().validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        raise ManifestError(_say(error.failure_cases, name)) from None
    for column in PATHS:
        for row, value in zip(table.index, table[column], strict=True):
            if value:
                _check_path(root, value, where=f"{name}: row {row + 2}, column {column!r}", must_exist=check_files)
    table.attrs |= {"root": str(root), "name": name}
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


def _say(failures: pd.DataFrame, name: str) -> str:
    failures = failures.sort_values("index", kind="stable")
    first = failures.iloc[0]
    what = "is already used above; give every row its own" if first["check"] == "field_uniqueness" else first["check"]
    where = f"{name}: row {int(first['index']) + 2}, column {first['column']!r}"
    more = f" (and {len(failures) - 1} more faults)" if len(failures) > 1 else ""
    return f"{where}: {str(first['failure_case'])[:60]!r} {what}{more}"


def _check_path(root: Path, value: str, *, where: str, must_exist: bool) -> None:
    if Path(value).is_absolute():
        raise ManifestError(f"{where}: {value!r} is an absolute path; make it relative to the manifest's folder")
    target = (root / value).resolve()
    if not target.is_relative_to(root.resolve()):
        raise ManifestError(f"{where}: {value!r} leaves the manifest's folder; move the file inside it")
    if must_exist and not target.exists():
        raise ManifestError(f"{where}: {value!r} does not exist under {root}; correct the path or drop the row")
