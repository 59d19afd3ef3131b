"""Files that should be tables: other encodings, other separators, open quotes, ragged rows, other formats."""

import zipfile
from functools import partial
from pathlib import Path

import pandas as pd

from medclip_nb.config import PRESETS
from medclip_nb.data import catalog

from . import Kind
from .making import guarded, pictures, rows
from .outcome import command

NOT_CLOSED = r"t\.csv: row 3: a quote is not closed"
TOO_FEW, TOO_MANY = (
    r"has 1 fields, the header 2; .*comma for each empty cell",
    r"has 3 fields, the header 2; put texts .* in quotes",
)
TEXT = "image,text\n0.png,one\n1.png,two\n2.png,three\n"
# name of the kind -> the CSV's bytes, message
FILES = {
    "UTF-16": (TEXT.encode("utf-16"), r"is not UTF-8 at byte 0; save the table as UTF-8 CSV"),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), r"t\.csv: row 1 holds a null byte"),
    "Latin-1": (TEXT.replace("two", "größer").encode("latin-1"), r"is not UTF-8 at byte \d+"),
    "semicolons": (TEXT.replace(",", ";").encode(), r"row 1 is one column 'image;text'; separate columns by commas"),
    "semicolons and decimal commas": (TEXT.replace(",", ";").replace("two", "1,2 cm").encode(), r"commas"),
    "tabs": (TEXT.replace(",", "\t").encode(), r"separate columns by commas"),
    "quote that is never closed": (TEXT.replace("two", '"two').encode(), NOT_CLOSED),
    "quote that another row closes": (TEXT.replace("two", '"two').replace("three", '"three').encode(), NOT_CLOSED),
    "comma without quotes": (TEXT.replace("two", "two, three").encode(), "row 3 " + TOO_MANY),
    "comma without quotes in row 2": (TEXT.replace("one", "one, two").encode(), "row 2 " + TOO_MANY),
    "column twice": (TEXT.replace("image,text", "image,text,text").replace("\n1", ",x\n1").encode(), r"column 'text' .*twice"),
    "columns with blanks": (TEXT.replace("image,text", "image , text").encode(), r"column 'image' is missing; the CSV has"),
    "empty": (b"", r"t\.csv: .*(empty|No columns)"),
    "blank lines only": (b"\n\n\n", r"t\.csv: "),
    "header only": (b"image,text\n", r"holds no rows below the header; add one row per image"),
    "null bytes in a text": (TEXT.replace("two", "no\0 mass").encode(), r"t\.csv: row 3.*null byte"),
    "row cut short": ((TEXT + "3.png\n").encode(), "row 5 " + TOO_FEW),
    "label cut short": ((TEXT.replace("text", "label") + "3.png\n").encode(), "row 5 " + TOO_FEW),
    "ten thousand columns": (",".join(f"c{i}" for i in range(10_000)).encode() + b"\n", r"column 'image' is missing.{,900}$"),
    "a field of a megabyte that opens a quote": (TEXT.replace("two", '"' + "x" * 2**20).encode(), r"t\.csv: .{,900}$"),
    "no table but a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", r"is not UTF-8 at byte 0|null byte"),
}  # fmt: skip


def file(folder: Path, *, content: bytes) -> object:
    """A CSV of these bytes beside pictures."""
    (pictures(folder) / "t.csv").write_bytes(content)
    return command("data", "check", folder)


def workbook(folder: Path) -> object:
    """A spreadsheet that was given another name."""
    with zipfile.ZipFile(pictures(folder) / "t.csv", "w") as book:
        book.writestr("xl/workbook.xml", "<workbook/>")
    return command("data", "check", folder)


def half_a_parquet(folder: Path) -> object:
    """A table of another kind, cut short."""
    rows().to_parquet(folder / "t.parquet")
    whole = (folder / "t.parquet").read_bytes()
    (folder / "t.parquet").write_bytes(whole[: len(whole) // 2])
    return command("data", "check", folder / "t.parquet")


def repaired(folder: Path, *, content: bytes) -> pd.DataFrame:
    """The table that comes of a CSV of these bytes."""
    (pictures(folder) / "t.csv").write_bytes(content)
    return catalog.load(folder, PRESETS["smoke"]).manifest


def reads(text: bytes | str, **columns: list) -> tuple:
    """A CSV, and what its columns must come to."""
    content = text if isinstance(text, bytes) else text.encode()
    return partial(repaired, content=content), lambda table: all(table[c].tolist() == values for c, values in columns.items())


REFUSED = [
    *((name, expect, partial(file, content=content)) for name, (content, expect) in FILES.items()),
    ("spreadsheet called .csv", r"t\.csv: .*(UTF-8|null byte)", workbook),
    ("half a parquet file", r"t\.parquet: is not a parquet file", half_a_parquet),
]
REPAIRED = [
    ("BOM", "is no part of the first column's name", *reads("\ufeff" + TEXT, image=["0.png", "1.png", "2.png"])),
    ("lines end as on Windows", "the text does not", *reads(TEXT.replace("\n", "\r\n"), report=["one", "two", "three"])),
    ("lines within quotes", "belong to the text",
     *reads(TEXT.replace("two", '"two\n\nlines, ""so"""'), report=["one", 'two\n\nlines, "so"', "three"])),
    ("inch sign within a text", "is a sign like others",
     *reads(TEXT.replace("two", '2" nail'), report=["one", '2" nail', "three"])),
    ("long text", "is read whole", *reads(TEXT.replace("two", "x" * 10**5), report=["one", "x" * 10**5, "three"])),
    ("blank lines", "hold nothing", *reads(TEXT.replace("\n1", "\n\n\n1"), report=["one", "two", "three"])),
]  # fmt: skip
KINDS = [Kind("table", name, expect, guarded(act)) for name, expect, act in REFUSED]
KINDS += [Kind("table", name, expect, guarded(act), ask) for name, expect, act, ask in REPAIRED]
