"""NIfTI files whose header, voxels or packing are wrong."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd

from medclip_nb.data.preprocessing import cached, ct_contract, preprocess
from medclip_nb.data.readers import read_image, reorient

from . import Kind
from .make import COUNT, GRID, content, cut, nifti, picture
from .outcome import command

NOISE = np.random.default_rng(0).integers(0, 9, (32, 32, 32), np.int16)
RGB = np.zeros((4, 3, 2), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
DIM, PIXDIM, OFFSET, SLOPE, QUATERN, SROW_X, MAGIC = 42, 80, 108, 112, 256, 280, 344  # byte offsets in the header of NIfTI-1
SHEARED = GRID + np.array([[0, 0.5, 0, 0]] + [[0] * 4] * 3)
LEFT_HANDED = np.diag([1.0, -1.0, 2.0, 1.0])


def with_voxel(value: float) -> np.ndarray:
    """A volume with one such voxel."""
    array = COUNT.astype(np.float32)
    array[1, 2, 3] = value
    return array


def spoilt(folder: Path) -> Path:
    """A packed volume with one bit turned in its middle, which unpacks without complaint until its end."""
    raw = bytearray(nifti(folder, NOISE, name="v.nii.gz").read_bytes())
    raw[len(raw) * 2 // 3] ^= 4
    return content(folder, "v.nii.gz", bytes(raw))


def folder_named_nifti(folder: Path) -> Path:
    """A folder that is called like a volume."""
    (folder / "v.nii.gz").mkdir()
    return folder / "v.nii.gz"


def big_endian(folder: Path) -> Path:
    """A volume as other machines wrote it."""
    file = nibabel.Nifti1Image(COUNT, GRID, nibabel.Nifti1Header(endianness=">"))
    file.set_sform(GRID, code=1)
    return content(folder, "v.nii", file.to_bytes())


def in_pieces(folder: Path) -> Path:
    """A volume packed in two pieces, one after the other, as some tools do in parallel."""
    raw = nifti(folder).read_bytes()
    return content(folder, "v.nii.gz", gzip.compress(raw[:500]) + gzip.compress(raw[500:]))


def of_ct(folder: Path, array: np.ndarray) -> Path:
    """A manifest with one CT volume."""
    nifti(folder, array, name="ct.nii.gz")
    row = {"study_id": "a", "patient_id": "p", "modality": "CT", "image": "ct.nii.gz", "report": "Normal.", "source": "x"}
    pd.DataFrame([row | {"licence": "x"}]).to_csv(folder / "manifest.csv", index=False)
    return folder


def body(*, shift: int) -> np.ndarray:
    """Soft tissue in air, in HU if nothing is added to it."""
    array = np.full((16, 16, 8), -1000, np.int16)
    array[4:12, 4:12] = 40 + np.arange(8) * 5
    return array + np.int16(shift)


def forms(folder: Path, sform: np.ndarray, qform: np.ndarray) -> Path:
    """A volume whose two statements of its place differ."""
    file = nibabel.Nifti1Image(COUNT, sform)
    file.set_sform(sform, code=1)
    file.set_qform(qform, code=1)
    return content(folder, "v.nii", file.to_bytes())


EDITS = {  # fields of the header, and what is said of them; forms as in `nifti`
    "wrong magic": (r"cannot be read as NIfTI", "s", (MAGIC, "4s", b"abcd")),
    "no type of voxel": (r"cannot be read as NIfTI .*data code 0 not supported", "s", (70, "h", 0)),
    "header of a huge volume": (r"states 35,\d+,\d+,\d+,\d+ voxels, more than", "s", (DIM, "hhh", 32767, 32767, 32767)),
    "header of a large volume": (r"claims 16,777,568 bytes, it has", "s", (DIM, "hhh", 256, 256, 128)),
    "an axis stated too short": (r"holds more bytes than the 688 .* its axes are not \(4, 6, 7\)", "s", (DIM, "h", 4)),
    "an axis without voxels": (r"states an axis without voxels, \(0, 6, 7\)", "s", (DIM, "h", 0)),
    "an axis of negative length": (r"states an axis without voxels, \(-5, 6, 7\)", "s", (DIM, "h", -5)),
    "voxels inside the header": (r"states voxels from byte 0\.0 on, inside the header", "s", (OFFSET, "f", 0)),
    "voxels behind the end": (r"claims 100,420 bytes, it has", "s", (OFFSET, "f", 100_000)),
    "scl_slope infinite": (r"states scl_slope inf", "s", (SLOPE, "ff", np.inf, 0)),
    "scl_inter NaN": (r"Valid slope but invalid intercept", "s", (SLOPE, "ff", 1, np.nan)),
    "spacing 0": (r"states voxels of \[0\. 1\. 2\.\] mm by pixdim", "q", (PIXDIM, "f", 0)),
    "spacing 0 and no place": (r"states voxels of \[0\. 1\. 2\.\] mm by pixdim", "", (PIXDIM, "f", 0)),
    "spacing negative": (r"states voxels of \[-1\. +1\. +2\.\] mm by pixdim", "q", (PIXDIM, "f", -1)),
    "spacing NaN": (r"states voxels of \[nan +1\. +2\.\] mm by pixdim", "", (PIXDIM, "f", np.nan)),
    "spacing in pixdim and sform differ": (r"voxels of \[1\. 1\. 2\.\] mm by sform, \[3\. 1\. 2\.\]", "s", (PIXDIM, "f", 3)),
    "sform and qform differ in side": (r"axes are RPS by sform, LPS by qform", "sq", (SROW_X, "f", 1)),
    "singular sform": (r"its affine .* maps no volume", "s", (SROW_X, "ffff", 0, 0, 0, 0)),
    "sform NaN": (r"its affine .* maps no volume", "s", (SROW_X + 12, "f", np.nan)),
    "unknown sform code": (r"states the unknown sform_code 77", "s", (254, "h", 77)),
    "impossible quaternion": (r"cannot be read \(ValueError: w2 should be positive", "sq", (QUATERN, "ff", 3, 3)),
}
AFFINES = {
    "spacing 1000 mm": (r"voxels of \(2\.0, 1\.0, 1000\.0\) mm .* cannot be", np.diag([1000.0, 1, 2, 1])),
    "spacing 0.0001 mm": (r"voxels of \(2\.0, 1\.0, 0\.0001\) mm .* cannot be", np.diag([0.0001, 1, 2, 1])),
    "sheared affine": (r"its axes are at 63\.4 degrees, not at right angles", SHEARED),
}
SHAPES = {"1D": (5,), "2D": (5, 6), "4D": (5, 6, 7, 2), "5D": (5, 6, 7, 1, 3)}
REFUSED = {
    **{k: (says, lambda f, e=e, n=n: nifti(f, forms=n, fields=(e,))) for k, (says, n, e) in EDITS.items()},
    **{k: (says, lambda f, a=a: nifti(f, affine=a)) for k, (says, a) in AFFINES.items()},
    **{k: (rf"has {len(n)} axes .*save one 3D", lambda f, n=n: nifti(f, np.zeros(n, np.int16))) for k, n in SHAPES.items()},
    "truncated gzip": (r"v\.nii\.gz: cannot be read as NIfTI", lambda f: cut(nifti(f, NOISE, name="v.nii.gz"))),
    "gzip without its last bytes": (r"cannot be read as NIfTI", lambda f: cut(nifti(f, NOISE, name="v.nii.gz"), 0.9998)),
    "gzip with a bit turned": (r"cannot be read as NIfTI .*(CRC check failed|decompressing)", spoilt),
    "truncated": (r"its header claims 65,888 bytes, it has 32,944; copy it anew", lambda f: cut(nifti(f, NOISE))),
    "zero bytes": (r"v\.nii: cannot be read as NIfTI", lambda f: content(f, "v.nii", b"")),
    "text named .nii.gz": (r"v\.nii\.gz: cannot be read as NIfTI", lambda f: content(f, "v.nii.gz")),
    "PNG named .nii": (r"v\.nii: cannot be read as NIfTI", lambda f: picture(f, name="v.nii", format="PNG")),
    "unpacked, named .nii.gz": (r"not a gzip", lambda f: content(f, "v.nii.gz", nifti(f).read_bytes())),
    "folder named .nii.gz": (r"v\.nii\.gz: holds no DICOM image; name the file", folder_named_nifti),
    "NaN voxel": (r"holds 1 voxels that are NaN or infinite", lambda f: nifti(f, with_voxel(np.nan))),
    "infinite voxel": (r"holds 1 voxels that are NaN or infinite", lambda f: nifti(f, with_voxel(np.inf))),
    "voxel beyond float32": (r"holds 1 voxels that are NaN", lambda f: nifti(f, np.where(COUNT, 0, 1e300))),
    "RGB": (r"cannot be read as NIfTI .*voxels of type", lambda f: nifti(f, RGB)),
    "complex": (r"cannot be read as NIfTI .*voxels of type complex64", lambda f: nifti(f, COUNT.astype(np.complex64))),
}
SAME = {  # what is as in the plain file
    "scl_slope 0": ("values as stored, as the standard says", lambda f: nifti(f, fields=((SLOPE, "ff", 0, 0),))),
    "scl_slope NaN": ("values as stored, as nibabel means it", lambda f: nifti(f, fields=((SLOPE, "ff", np.nan, np.nan),))),
    "4D with one volume": ("its volume", lambda f: nifti(f, COUNT[..., None])),
    "spacing 0 beside an sform": ("spacing is the sform's", lambda f: nifti(f, fields=((PIXDIM, "f", 0),))),
    "big-endian": ("as little-endian", big_endian),
    "gzip in pieces": ("all pieces", in_pieces),
    "sform and qform a step apart": ("sform is taken", lambda f: forms(f, GRID, GRID + np.eye(4, k=3) * 40)),
    "left-handed affine": (
        "turned to the radiological view",
        lambda f: nifti(f, COUNT[::-1], affine=LEFT_HANDED @ nibabel.affines.from_matvec(np.eye(3), [-4, 0, 0])),
    ),
}


def as_plain(image) -> bool:
    """Values and space of COUNT on GRID, whatever the axes were."""
    whole = reorient(image, "LPS")
    return np.array_equal(whole.array, COUNT.T) and np.allclose(whole.affine, GRID) and whole.spacing_mm == (2.0, 1.0, 1.0)


def read(path: Path, number: int) -> object:
    """How a file is met: by the reader and, every other one, at the command line."""
    return command("data", "check", path) if number % 2 else read_image(path)


KINDS = [
    *(Kind("volume", k, says, lambda f, make=make, n=n: read(make(f), n)) for n, (k, (says, make)) in enumerate(REFUSED.items())),
    *(Kind("volume", k, says, lambda f, make=make: read_image(make(f)), as_plain) for k, (says, make) in SAME.items()),
    Kind(
        "volume",
        "no sform and no qform",
        "spacing without orientation, and said so",
        lambda f: command("data", "check", nifti(f, forms="")),
        lambda said: "2.000 x 1.000 x 1.000" in said and "orientation: not stated" in said,
    ),
    Kind(
        "volume",
        "constant CT",
        "one grey in each window",
        lambda f: preprocess(read_image(nifti(f, COUNT * 0), units="HU"), ct_contract((4, 8, 8))),
        lambda a: all(len(np.unique(window)) == 1 for window in a),
    ),
    Kind(
        "volume",
        "stored values instead of HU",
        r"ct\.nii\.gz: holds stored values that were never turned into HU",
        lambda f: cached(of_ct(f, body(shift=1024)) / "ct.nii.gz", ct_contract((4, 8, 8))),
    ),
    Kind(
        "volume",
        "NaN voxel in a table",
        r"manifest\.csv: row 2, column 'image': .*ct\.nii\.gz: holds 1 voxels that are NaN",
        lambda f: command("data", "check", of_ct(f, with_voxel(np.nan)), "--images"),
    ),
    Kind(
        "volume",
        "stored values instead of HU, in an audit",
        "a serious finding",
        lambda f: command("data", "audit", of_ct(f, body(shift=1024)), "-o", f / "page.html"),
        lambda said: "serious: 1" in said and "HU" in said,
    ),
]
