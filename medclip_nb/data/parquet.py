"""Manifests of a million rows: parquet, of which only the wanted columns are read, and which is checked in batches of rows.

Parquet has no header; its first row is called row 2 all the same, so that a fault has one place in either form of a table.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from .manifest import COLUMNS, SAID, Fault, ManifestError, all_columns, cell_faults, check_columns, path_faults, refuse

BATCH_ROWS = 2**16  # checked at a time: some 100 MB with long reports, and no slower than all at once


def read_parquet(
    path: Path, *, columns: Sequence[str] | None = None, check_files: bool = True, lenient: bool = False
) -> pd.DataFrame:
    """`manifest.read_manifest` of a parquet file: every column is checked, those in `columns` (None: all) are kept in memory.

    Besides these the memory it takes is that of one batch and of the study ids. Raises ManifestError as the CSV form does.
    """
    names, n_rows = _about(path)
    check_columns(names, path)
    if not n_rows:
        raise ManifestError(f"{path}: holds no rows; add one row per image")
    faults = chain(_faults_in_batches(path, n_rows, check_files), _repeated(path))
    kept = {"faults": list(faults)} if lenient else refuse(faults, str(path)) or {}
    wanted = list(COLUMNS if columns is None else columns)
    table = all_columns(_read(path, [c for c in wanted if c in names]))[wanted]
    table.attrs |= {"root": str(path.parent), "name": str(path)} | kept
    return table


def batches(path: Path, columns: Sequence[str] | None = None, *, rows: int = BATCH_ROWS) -> Iterator[pd.DataFrame]:
    """Some columns (None: all the file has) as text, so many rows at a time; the index is the row's number from 0.

    Missing values are empty text. Raises ManifestError for a file that is no parquet and a column that cannot be text.
    """
    start = 0
    for batch in _opened(path).iter_batches(rows, columns=None if columns is None else list(columns)):
        table = _as_text(batch, path)
        yield table.set_axis(range(start, start + len(table)))
        start += len(table)


def _faults_in_batches(path: Path, n_rows: int, check_files: bool) -> Iterator[Fault]:
    from tqdm.auto import tqdm

    with tqdm(total=n_rows, desc="manifest", unit="row", unit_scale=True, delay=2, leave=False) as bar:
        for batch in batches(path):
            batch = all_columns(batch)
            for position, column, message in chain(
                cell_faults(batch, unique=False), path_faults(batch, path.parent, check_files)
            ):
                yield int(batch.index[position]), column, message
            bar.update(len(batch))


def _repeated(path: Path) -> Iterator[Fault]:
    ids = _read(path, ["study_id"])["study_id"]
    for number in np.flatnonzero(ids.duplicated()):
        yield int(number), "study_id", f"{ids.iloc[number][:60]!r} {SAID['field_uniqueness']}"


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    return pd.concat(batches(path, columns))


def _about(path: Path) -> tuple[list[str], int]:
    file = _opened(path)
    return file.schema_arrow.names, file.metadata.num_rows


def _opened(path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(f"{path}: is not a parquet file ({' '.join(str(error).split())})") from None


def _as_text(batch, path: Path) -> pd.DataFrame:
    import pyarrow as pa

    columns = {}
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        try:
            columns[name] = values.cast(pa.string()).fill_null("")
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise ManifestError(f"{path}: column {name!r} holds {values.type}, which is no text; save it as text") from None
    return pa.table(columns).to_pandas()
