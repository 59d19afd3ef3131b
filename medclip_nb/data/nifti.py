"""NIfTI: one file to one `Image`. Its header is not believed before it agrees with itself and with the file's size."""

import gzip
import math
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64

from .readers import MOST_VOXELS, Image, ImageError, in_space, in_words

CONTRADICTION = 0.05  # share by which two statements of a voxel's size may differ
MOST_PACKED = 1032  # bytes that gzip can pack into one
FORMS = ("sform_code", "qform_code")


def read_nifti(path: Path, *, units: str) -> Image:
    """Reads a file with one volume of real numbers; see `readers.read_image`.

    Stored values are rescaled where the header has a slope; 0 and NaN mean none (the standard, and what nibabel writes).
    Axes of length 1 behind the third are dropped. Raises ImageError.
    """
    import nibabel as nib

    try:
        file = nib.load(path)
        if not isinstance(file, nib.Nifti1Image) or file.get_data_dtype().kind not in "iuf":
            raise TypeError(f"voxels of type {file.get_data_dtype()} in a {type(file).__name__}")
        _refuse_claims(file, path)
        array = _values(file, path)
    except ImageError:
        raise
    except Exception as error:  # nibabel, gzip and zlib raise a dozen kinds; each means the same to the user
        raise ImageError(f"{path}: cannot be read as NIfTI ({in_words(error)}); copy it anew") from error
    array = array.reshape(array.shape[:3], order="F").transpose(2, 1, 0)
    if not any(file.header[code] for code in FORMS):
        return Image(array, tuple(float(s) for s in file.header.get_zooms()[2::-1]), "", units)
    return in_space(array, _affine(file, path), units)


def _refuse_claims(file: "nibabel.Nifti1Image", path: Path) -> None:
    """By the header as it is written: nibabel has mended its own copy without a word."""
    import nibabel as nib

    kind = type(file.header)
    with nib.openers.ImageOpener(path) as stream:
        raw = kind(stream.read(kind.sizeof_hdr), check=False)
    shape, sizes = tuple(int(n) for n in raw["dim"][1 : raw["dim"][0] + 1]), raw["pixdim"][1:4].astype(float)
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        raise ImageError(f"{path}: has {len(shape)} axes {shape}; save one 3D volume per file")
    strange = [f"{code} {raw[code]}" for code in FORMS if raw[code] != file.header[code]]
    faults = {
        f"an axis without voxels, {shape}": min(shape) < 1,
        f"{math.prod(shape):,} voxels, more than {MOST_VOXELS:,}": math.prod(shape) > MOST_VOXELS,
        f"voxels from byte {raw['vox_offset']} on, inside the header": raw["vox_offset"] < kind.single_vox_offset,
        f"scl_slope {raw['scl_slope']}": bool(np.isinf(raw["scl_slope"])),
        f"the unknown {', '.join(strange)}": bool(strange),
        f"voxels of {sizes} mm by pixdim": not raw["sform_code"] and not (np.isfinite(sizes) & (sizes > 0)).all(),
    }
    for claim in (claim for claim, is_wrong in faults.items() if is_wrong):
        raise ImageError(f"{path}: its header states {claim}; write the file anew")
    claimed, there = int(raw["vox_offset"]) + math.prod(shape) * file.get_data_dtype().itemsize, path.stat().st_size
    if claimed > there * (MOST_PACKED if path.name.lower().endswith(".gz") else 1):
        raise ImageError(f"{path}: cannot be read as NIfTI: its header claims {claimed:,} bytes, it has {there:,}; copy it anew")


def _values(file: "nibabel.Nifti1Image", path: Path) -> Float[np.ndarray, "..."]:
    """Read to the file's end: gzip's checksum lies there, and so do voxels that the header does not speak of."""
    import nibabel as nib

    of, is_packed = file.dataobj, path.name.lower().endswith(".gz")
    plane = math.prod(of.shape) // max(of.shape) * of.dtype.itemsize
    with gzip.open(path) if is_packed else path.open("rb") as stream:
        stated = (of.shape, of.dtype, of.offset, of.slope, of.inter)
        array = np.asarray(nib.arrayproxy.ArrayProxy(stream, stated), dtype=np.float32)
        read = of.offset + math.prod(of.shape) * of.dtype.itemsize
        rest = len(stream.read(plane)) if is_packed else path.stat().st_size - read
    if rest >= plane:  # an axis is stated too short, and all others are out of step
        raise ImageError(
            f"{path}: holds more bytes than the {read:,} that its header speaks of: its axes are not {of.shape}; mend it"
        )
    return array


def _affine(file: "nibabel.Nifti1Image", path: Path) -> Float64[np.ndarray, "4 4"]:
    """Of a NIfTI file whose statements about space do not contradict each other."""
    import nibabel as nib

    header, affine = file.header, np.asarray(file.affine, np.float64)
    sizes, stated = nib.affines.voxel_sizes(affine), np.array(header.get_zooms()[:3], float)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
        raise ImageError(f"{path}: its affine {affine[:3].tolist()} maps no volume; write the file anew with a valid one")
    if header.get_xyzt_units()[0] in ("meter", "micron"):
        raise ImageError(f"{path}: is in {header.get_xyzt_units()[0]}s; write it anew in mm")
    if (np.abs(sizes / stated - 1) > CONTRADICTION).any():
        raise ImageError(f"{path}: voxels of {sizes} mm by sform, {stated} by pixdim; write the file anew with the right one")
    by_qform = "".join(nib.aff2axcodes(header.get_qform())) if header["qform_code"] else ""
    by_sform = "".join(nib.aff2axcodes(affine))
    if by_qform and by_qform != by_sform:
        raise ImageError(f"{path}: axes are {by_sform} by sform, {by_qform} by qform; write the file anew with the right one")
    return affine
