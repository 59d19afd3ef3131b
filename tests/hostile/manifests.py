"""Tables that lie, break their own rules, or are no tables."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from medclip_nb.config import PRESETS
from medclip_nb.data import catalog
from medclip_nb.data.manifest import read_manifest, save_manifest

from . import Kind
from .making import first, guarded, manifest, pictures, rows
from .outcome import command

SMOKE = PRESETS["smoke"]
SCRIPT = "<script>alert('x')</script>"
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'=1", "''+1", "- no effusion")

# name of the kind -> columns of the table, message; all met at `data check`
CELLS = {
    "column missing": ({"report": None}, r"manifest\.csv: column 'report' is missing"),
    "column unknown": ({"colour": "red"}, r"unknown column 'colour'; known columns"),
    "column in capitals, with a blank": ({"report": None, " Report": "x"}, r"unknown column ' Report'"),
    "modality unknown": ({"modality": first("XR", others="DX")}, r"row 2, column 'modality': 'XR' must be one of CT, MR"),
    "study_id empty": ({"study_id": ["", *"bcdef"]}, r"row 2, column 'study_id': '' is empty"),
    "study_id blank": ({"study_id": ["a", " \t", *"cdef"]}, r"row 3, column 'study_id': ' \\t' is empty"),
    "study_id twice": ({"study_id": list("abcdea")}, r"row 7, column 'study_id': 'a' is already used"),
    "patient_id empty": ({"patient_id": [*"abcde", ""]}, r"row 7, column 'patient_id': '' is empty"),
    "age below nought": ({"age": first("-3")}, r"row 2, column 'age': '-3' must be 0 to 130 years"),
    "age of 300": ({"age": first("300")}, r"row 2, column 'age': '300' must be 0 to 130"),
    "age in letters": ({"age": first("abc")}, r"row 2, column 'age': 'abc' must be 0 to 130"),
    "age not finite": ({"age": first("inf")}, r"row 2, column 'age': 'inf' must be 0 to 130"),
    "age nan": ({"age": first("nan")}, r"row 2, column 'age': 'nan' must be 0 to 130"),
    "sex spelt out": ({"sex": first("female")}, r"row 2, column 'sex': 'female' must be one of F, M"),
    "split of another name": ({"split": first("validation", others="train")}, r"row 2, column 'split': 'validation' must be"),
    "split half filled": ({"split": first("train")}, r"row 3, column 'split': is empty while others are filled"),
    "sha256 that is none": ({"sha256": first("1234")}, r"row 2, column 'sha256': '1234' .*64 hexadecimal digits"),
    "findings not JSON": ({"findings": first("[{nodule}]")}, r"row 2, column 'findings': '\[\{nodule\}\]' .*JSON"),
    "findings of another shape": ({"findings": first('"nodule"')}, r"row 2, column 'findings': .*JSON"),
    "report blank": ({"report": first(" \u00a0 ", others="x")}, r"row 2, column 'report': .* is empty"),
    "report of unseen characters": ({"report": first("\u200b\u2060\ufeff", others="x")}, r"row 2, column 'report': .* is empty"),
    "path that climbs": ({"image": first("../bystander.txt", others="1.png")}, r"row 2, column 'image': .* leaves the manifest"),
    "path that climbs and comes back": ({"image": first("x/../../bystander.txt", others="1.png")}, r"row 2.*leaves the manifest"),
    "path absolute": ({"image": first("/etc/passwd", others="1.png")}, r"row 2, column 'image': '/etc/passwd' is an absolute"),
    "path of Windows": ({"image": first(r"..\0.png", others="1.png")}, r"row 2, column 'image': .* does not exist"),
    "path with a null byte": ({"image": first("0.png\0.txt", others="1.png")}, r"row 2.*null byte"),
    "path too long for the system": ({"image": first("a" * 5000, others="1.png")}, r"row 2, column 'image': .* does not exist"),
    "image missing": ({"image": first("no.png", others="1.png")}, r"row 2, column 'image': 'no\.png' does not exist under"),
    "mask that climbs": ({"mask": first("../bystander.txt")}, r"row 2, column 'mask': .* leaves"),
    "pictures and volumes mixed": ({"image": first("0.nii", others="1.png")}, r"row 2, column 'image': '0\.nii' does not exist"),
}  # fmt: skip


def cells(folder: Path, *, columns: dict) -> object:
    """A table with these columns; None drops one."""
    table = rows(**{name: value for name, value in columns.items() if value is not None})
    table = table.drop(columns=[name for name, value in columns.items() if value is None])
    table.to_csv(pictures(folder) / "manifest.csv", index=False)
    return command("data", "check", folder)


def placed(folder: Path, *, make, words: tuple = ("check",), inside: str = "0.png") -> object:
    """A manifest one of whose images something else has taken the place of."""
    manifest(folder)
    (folder / inside).unlink()
    make(folder / inside)
    return command("data", *words, folder)


def checked(folder: Path, **columns) -> str:
    """What `data check` says of a table with these columns."""
    return command("data", "check", manifest(folder, **columns))


def trained(folder: Path, **columns) -> str:
    """What `train` says of it."""
    return command("train", manifest(folder, **columns), "--preset", "smoke")


def audited(folder: Path, **columns) -> str:
    """What `data audit` says of it, and its page."""
    said = command("data", "audit", manifest(folder, **columns), "-o", folder / "audit.html")
    return said + (folder / "audit.html").read_text(encoding="utf-8")


def round_trip(folder: Path) -> object:
    """Texts that a spreadsheet would run, written and read again; also the file as it is."""
    table = rows(len(FORMULAS), report=list(FORMULAS), patient_id=[f"@{i}" for i in range(len(FORMULAS))])
    path = save_manifest(table, pictures(folder, len(table)) / "manifest.csv")
    back, plain = read_manifest(path), pd.read_csv(path, dtype=str, keep_default_na=False)
    return back[list(table)].equals(table), plain[["report", "patient_id"]].map(lambda cell: cell[0]).stack().unique().tolist()


def million(folder: Path) -> str:
    """As many rows as a table may well have; all of one picture."""
    n = 10**6
    ids = pd.Series(np.arange(n)).astype(str)
    table = pd.DataFrame({"study_id": ids, "patient_id": ids, "image": "0.png", "report": "no finding"})
    table.to_csv(pictures(folder, 1) / "manifest.csv", index=False)
    return command("data", "check", folder)


def other_file(folder: Path) -> object:
    """A manifest whose sha256 is another file's: the picture was exchanged."""
    manifest(folder, sha256=first("0" * 64))
    return command("data", "check", folder, "--images")


def no_script(page: str) -> bool:
    """The text is there, escaped."""
    page = page[page.index("<!doctype html>") :]
    return "<script" not in page and "&lt;script&gt;" in page


CODES = "\x1b[2J\u202e"  # clear the screen; write from right to left
SPLIT = ["train"] * 4 + ["val", "test"]
ONE_IN_TWO = {"patient_id": list("abcdea"), "split": SPLIT}
REFUSED = [
    *((name, expect, partial(cells, columns=columns)) for name, (columns, expect) in CELLS.items()),
    ("sha256 of another file", r"row 2, column 'sha256': .*0\.png", other_file),
    ("link out of the folder", r"row 2.*leaves", partial(placed, make=lambda p: p.symlink_to("../../bystander.txt"))),
    ("link to itself", r"row 2.*is neither a file nor a folder", partial(placed, make=lambda p: p.symlink_to(p.name))),
    ("link to a device", r"row 2.*leaves", partial(placed, make=lambda p: p.symlink_to("/dev/zero"))),
    ("pipe for an image", r"row 2, column 'image': '0\.png' is neither", partial(placed, make=os.mkfifo)),
    ("pipe for a table", r"manifest\.csv: is no file that can be read", partial(placed, make=os.mkfifo, inside="manifest.csv")),
    ("folder for a table", r"manifest\.csv: is a folder", partial(placed, make=os.mkdir, inside="manifest.csv")),
    ("folder for an image", r"row 2.*0\.png", partial(placed, make=os.mkdir, words=("check", "--images"))),
    ("text for an image", r"row 2.*0\.png", partial(placed, make=Path.touch, words=("check", "--images"))),
    ("a patient in two splits, trained on", r"patient", partial(trained, **ONE_IN_TWO)),
    ("all in one split", r"val 0 units; .*correct column 'split'", partial(trained, split="train")),
    ("one patient only", r"val 0 units; .* more patients", partial(trained, patient_id="p")),
    ("device for a dataset", r"/dev/zero: ", lambda f: command("data", "check", "/dev/zero")),
    ("pipe for a dataset", r"p\.csv: ", lambda f: (os.mkfifo(f / "p.csv"), command("data", "check", f / "p.csv"))),
    ("pipe among DICOM files", r"holds no CSV file", lambda f: (os.mkfifo(f / "x"), command("data", "check", f))),
    ("experiment on texts that are all the same", r"(?i)text|patient|split",
     lambda f: command("experiment", manifest(f, report="x"), "--preset", "smoke", "--recipe", "selip")),
]  # fmt: skip


NAMES = ["NA", "null", "nan", "None", "1", "2"]
REPAIRED = [
    ("ids that read as nothing", "NA, null and nan are names",
     lambda f: catalog.load(manifest(f, patient_id=NAMES), SMOKE).manifest, lambda t: t["patient_id"].tolist() == NAMES),
    ("007 and 7", "stay two, the audit asks whether they are one", partial(audited, patient_id=["007", "7", *"abcd"]),
     lambda said: "similar patient ids" in said and "007 = 7" in said),
    ("patient ids alike but for case and blanks", "the audit names them", partial(audited, patient_id=["p1 ", "P1", *"abcd"]),
     lambda said: "similar patient ids" in said),
    ("image listed twice", "the audit finds the copies", partial(audited, image=["0.png", *(f"{i}.png" for i in range(5))]),
     lambda said: "identical images" in said),
    ("a patient in two splits", "is told at `data check`", partial(checked, **ONE_IN_TWO),
     lambda said: "1 patients are in more than one split" in said),
    ("a patient in two splits, audited", "is serious", partial(audited, **ONE_IN_TWO), lambda said: "patient overlap" in said),
    ("sha256 of another file, audited", "is serious", partial(audited, sha256=first("0" * 64)), lambda said: "sha256" in said),
    ("findings not JSON, audited", "is a fault among others", partial(audited, findings=first("{")),
     lambda said: "a JSON list" in said),
    ("formulas in reports and ids", "stand behind an apostrophe in the file and come back as they were", round_trip,
     lambda found: found == (True, ["'"])),
    ("a million rows", "are checked", million, lambda said: "1000000 rows, 1000000 patients" in said),
    ("script in texts and ids, audited", "is shown as text",
     partial(audited, report=SCRIPT, study_id=[f"{SCRIPT}{i}" for i in range(6)]), no_script),
    ("terminal codes in ids, audited", "are spelt out", partial(audited, patient_id=[CODES, *"bcde", CODES], split=SPLIT),
     lambda said: r"\x1b[2J\u202e" in said and "\x1b" not in said.split("<!doctype")[0]),
]  # fmt: skip
KINDS = [Kind("manifest", name, expect, guarded(act)) for name, expect, act in REFUSED]
KINDS += [Kind("manifest", name, expect, guarded(act), ask) for name, expect, act, ask in REPAIRED]
