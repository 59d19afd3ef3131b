"""Datasets with planted names and numbers, and a search for them in everything that a run writes."""

import base64
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from PIL import Image, PngImagePlugin
from test_dicom import write_series

NAME, NUMBER, BORN, ACCESSION = "Quxwell^Zenobia", "MRN-778899", "19530728", "ACC-445566"
HIDDEN = ("Quxwell", "Zenobia", "QUXWELL", "778899", BORN, "445566")  # in headers, metadata and ignored columns: never shown
SAID = ("Wexquill", "664422")  # in the user's reports: only where reports are shown
WHO = {"PatientName": NAME, "PatientID": NUMBER, "PatientBirthDate": BORN, "AccessionNumber": ACCESSION}
CODES = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")  # the last one is NumPy's


def pictures(folder: Path, n: int = 24) -> Path:
    """PNG files of n / 2 patients with a name in a text chunk and in EXIF, a column to ignore, and a name in every sixth text."""
    folder.mkdir(parents=True)
    rng, info, exif = np.random.default_rng(0), PngImagePlugin.PngInfo(), Image.Exif()
    info.add_text("Patient", f"{NAME} {NUMBER} {BORN} {ACCESSION}", zip=True)
    exif[0x010E] = NAME
    for i in range(n):
        pixels = rng.integers(0, 80, (48, 40), np.uint8) + np.uint8(100 * (i % 2))
        Image.fromarray(pixels).save(folder / f"{i}.png", pnginfo=info, exif=exif)
    who = [" Patient: Wexquill, Ann, MRN 664422" * (i % 6 == 0) for i in range(n)]
    table = {"image": [f"{i}.png" for i in range(n)], "patient_id": [f"p{i // 2}" for i in range(n)], "x_name": NAME}
    table["text"] = [f"{('dark', 'bright')[i % 2]} picture, kind {i % 4}.{who[i]}" for i in range(n)]
    pd.DataFrame(table | {"label": [("dark", "bright")[i % 2] for i in range(n)]}).to_csv(folder / "texts.csv", index=False)
    return folder


def series(folder: Path, n: int = 12) -> Path:
    """A tree of MR series, each of another patient, with names and numbers in headers, descriptions and private fields."""
    for i in range(n):
        who = WHO | {"PatientID": f"{NUMBER}-{i}", "SeriesDescription": f"T{i % 2 + 1} for QUXWELL", "OtherPatientIDs": NUMBER}
        study = {"StudyInstanceUID": f"1.2.{i}.1", "SeriesInstanceUID": f"1.2.{i}.2", "StudyDescription": f"MR head {NUMBER}"}
        (folder / str(i)).mkdir(parents=True)
        write_series(folder / str(i), **who | study, Modality="MR")
    return folder


def niftis(folder: Path, n: int = 12) -> Path:
    """MR volumes with a name in the description, the auxiliary file and an extension, and a manifest of them."""
    folder.mkdir(parents=True)
    for i in range(n):
        volume = nib.Nifti1Image(np.random.default_rng(i).integers(0, 99, (12, 12, 8), np.int16), np.eye(4))
        volume.header["descrip"], volume.header["aux_file"] = f"{NAME} {BORN}".encode(), NUMBER.encode()
        volume.header.extensions.append(nib.nifti1.Nifti1Extension("comment", ACCESSION.encode()))
        nib.save(volume, folder / f"{i}.nii.gz")
    rows = {"study_id": [f"s{i}" for i in range(n)], "patient_id": [f"p{i}" for i in range(n)], "modality": "MR"}
    rows |= {"image": [f"{i}.nii.gz" for i in range(n)], "report": [f"Volume of kind {i % 3}." for i in range(n)]}
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder


def found(folder: Path, words: tuple[str, ...]) -> dict[str, set[str]]:
    """Word -> names of the files below a folder that hold it: in their names, in their bytes and in what is packed in them."""
    hits: dict[str, set[str]] = {}
    for path in (p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        for part in (name.encode(), *_contents(path)):
            for word in words:
                if any(word.encode(code) in part for code in CODES):
                    hits.setdefault(word, set()).add(name)
    return hits


def _contents(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    yield from _unpacked(data)
    if data[:4] == b"PAR1":
        yield pd.read_parquet(path).to_csv().encode()


def _unpacked(data: bytes, depth: int = 0) -> Iterator[bytes]:
    """The bytes, and what lies in them as zip, gzip, zlib (PNG texts too) or base64."""
    yield data
    if depth > 3:
        return
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as inside:
            yield from (part for name in inside.namelist() for part in _unpacked(inside.read(name), depth + 1))
    for start in re.finditer(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]", data):
        packed = zlib.decompressobj(47)
        try:
            inside = packed.decompress(data[start.start() :], 50_000_000)
        except zlib.error:
            continue
        if len(inside) > 3:
            yield from _unpacked(inside, depth + 1)
    for text in re.findall(rb"[A-Za-z0-9+/]{40,}={0,2}", data):
        if len(text) % 4 == 0:
            yield from _unpacked(base64.b64decode(text), depth + 1)
