"""Files to spoil: pictures, volumes with fields of their header overwritten, folders with a table."""

import gzip
import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
from PIL import Image

GREY = np.arange(96, dtype=np.uint8).reshape(8, 12)
COUNT = np.arange(210, dtype=np.int16).reshape(5, 6, 7)  # column, row, slice
GRID = np.diag([-1.0, -1.0, 2.0, 1.0])


def picture(folder: Path, image: Image.Image | np.ndarray = GREY, name: str = "a.png", **how) -> Path:
    """A picture as Pillow writes it; `how` may name a format that is not the suffix's."""
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(folder / name, **how)
    return folder / name


def cut(path: Path, share: float = 0.5) -> Path:
    """The first part of a file."""
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return path


def content(folder: Path, name: str, what: bytes = b"hello") -> Path:
    """A file of these bytes."""
    (folder / name).write_bytes(what)
    return folder / name


def interlaced(folder: Path) -> Path:
    """GREY as PNG in Adam7's seven passes, which Pillow reads and does not write."""
    passes = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
    parts = [GREY[y::dy, x::dx] for y, dy, x, dx in passes]
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    chunks = {b"IHDR": struct.pack(">IIBBBBB", 12, 8, 8, 0, 0, 0, 1), b"IDAT": zlib.compress(rows), b"IEND": b""}
    packed = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks.items()]
    return content(folder, "a.png", b"\x89PNG\r\n\x1a\n" + b"".join(packed))


def nifti(
    folder: Path,
    array: np.ndarray = COUNT,
    *,
    affine: np.ndarray = GRID,
    name: str = "v.nii",
    forms: str = "s",
    fields: tuple = (),
) -> Path:
    """A volume that states its space by sform ("s"), qform ("q"), both or none; `fields` are (byte, format, values...)."""
    file = nibabel.Nifti1Image(array, affine)
    file.set_sform(affine, code=int("s" in forms))
    file.set_qform(affine if "q" in forms else None, code=int("q" in forms))
    raw = bytearray(file.to_bytes())
    for offset, form, *values in fields:
        struct.pack_into("<" + form, raw, offset, *values)
    return content(folder, name, gzip.compress(bytes(raw)) if name.endswith(".gz") else bytes(raw))


def table(folder: Path, *images: str, **columns: str) -> Path:
    """A folder with twenty good pictures, and a CSV that names them after these images."""
    for k in range(20):
        picture(folder, np.random.default_rng(k).integers(0, 255, (20, 20), np.uint8), f"good{k}.png")
    names = [*images, *(f"good{k}.png" for k in range(20))]
    rows = pd.DataFrame({"image": names, "text": [f"finding {k}" for k in range(len(names))]})
    rows.assign(patient_id=[f"p{k}" for k in range(len(names))], **columns).to_csv(folder / "texts.csv", index=False)
    return folder
