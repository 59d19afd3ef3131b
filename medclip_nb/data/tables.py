"""CSV files -> tables of texts, strictly: what a lenient reader swallows in silence is an error with a place and a remedy."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

# a character that a reader sees: no blank, control, joining or direction character, no soft hyphen
SEEN = "[^\\s\x01-\x1f\x7f-\xa0\xad\u034f\u115f\u1160\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ufeff]"
FORMULA = r"^'*[=+\-@\t\r]"  # a spreadsheet would run such a cell; an apostrophe before it marks it as text
MARKED = r"^'+[=+\-@\t\r]"
MOST_LISTED = 20  # names in a message


class ManifestError(ValueError):
    """A manifest that cannot be trusted; the message names file, row, column and remedy."""


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file as text columns; a wrong separator or encoding, an open quote, a ragged row or an empty file is an error."""
    if path.is_dir():
        raise ManifestError(f"{path}: is a folder, not a CSV file")
    if not path.is_file():
        raise ManifestError(
            f"{path}: is no file that can be read from start to end" if path.exists() else f"{path}: no such file"
        )
    _refuse_no_table(path)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ManifestError(f"{path}: is not a comma-separated table ({' '.join(str(error).split())})") from None
    return table[table.ne("").any(axis=1)]  # blank lines count as rows, so that errors name the right one


def is_blank(text: str) -> bool:
    """Whether a text holds nothing that a reader sees."""
    return re.search(SEEN, text) is None


def marked(table: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before each cell that a spreadsheet would take for a formula; `unmarked` takes it away."""
    return table.apply(lambda s: s.where(~s.str.contains(FORMULA), "'" + s))


def unmarked(table: pd.DataFrame) -> pd.DataFrame:
    """The table as it was before `marked`."""
    quoted = [c for c in table if table[c].str.startswith("'").any()]
    return table.assign(**{c: table[c].where(~table[c].str.contains(MARKED), table[c].str[1:]) for c in quoted})


def listed(names: Iterable[str]) -> str:
    """Names in a message, the first MOST_LISTED of them."""
    names = list(names)
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _refuse_no_table(path: Path) -> None:
    """What is wrong with the file as a text, before columns are looked at."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is not UTF-8 at byte {error.start}; save the table as UTF-8 CSV") from None
    if "\0" in text:
        row = text.count("\n", 0, text.index("\0")) + 1
        raise ManifestError(f"{path}: row {row} holds a null byte; save the table as UTF-8 CSV")
    header = text.partition("\n")[0].strip()
    if "," not in header and any(s in header for s in ";\t|"):
        raise ManifestError(f"{path}: row 1 is one column {header[:80]!r}; separate columns by commas")
    _refuse_ragged_rows(path, csv.reader(io.StringIO(text, newline=""), strict=True))


def _refuse_ragged_rows(path: Path, reader: Iterator[list[str]]) -> None:
    header, row = next(reader, []), 1
    twice = [name for name, n in Counter(header).items() if name and n > 1]
    if twice:
        raise ManifestError(f"{path}: row 1: column {twice[0]!r} is there twice; rename or drop one")
    try:
        row = reader.line_num + 1
        for fields in reader:
            if len(fields) != len(header) and fields:
                remedy = "put texts that hold commas in quotes, and write a comma for each empty cell"
                raise ManifestError(f"{path}: row {row} has {len(fields)} fields, the header {len(header)}; {remedy}")
            row = reader.line_num + 1
    except csv.Error as error:
        raise ManifestError(f"{path}: row {row}: a quote is not closed ({error}); double the quotes within a text") from None
