"""Image files -> one return type: an array with spacing, orientation and units. Nothing is guessed in silence."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64, Shaped

NIFTI = (".nii", ".nii.gz")
PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Image:
    """One image as it lies in its file.

    `orientation` says where (column, row, slice) indices grow to, in nibabel's letters: "LPS" is column to the
    patient's left, row to posterior, slice to superior: the radiological view. Empty where the file does not say.
    `spacing_mm` is (slice, row, column), None where the file does not say. `units` is "HU" or "intensity".
    `affine` takes (column, row, slice) indices to mm towards right, anterior, superior (nibabel's convention); None
    where the file does not say.
    """

    array: Float[np.ndarray, "slice row column"]
    spacing_mm: tuple[float, float, float] | None
    orientation: str
    units: str
    affine: Float64[np.ndarray, "4 4"] | None = None


class ImageError(ValueError):
    """A file that cannot be read as the image it claims to be; the message names it and the remedy."""


def read_image(path: str | Path, *, units: str = "intensity") -> Image:
    """Reads PNG, JPEG or NIfTI; `units` is what the manifest's modality promises ("HU" for CT volumes).

    Raises ImageError naming the file and what is wrong with it.
    """
    path = Path(path)
    name = path.name.lower()
    if not path.is_file():
        raise ImageError(f"{path}: no such image file")
    if name.endswith(NIFTI):
        return _read_nifti(path, units)
    if name.endswith(PICTURES):
        return _read_picture(path)
    raise ImageError(f"{path}: unknown kind of image; known: {', '.join(PICTURES + NIFTI)}")


def read_mask(path: str | Path) -> Shaped[np.ndarray, "slice row column"]:
    """Integer labels of a NIfTI mask, turned to the "LPS" view.

    Raises ImageError for labels that are not whole numbers.
    """
    image = reorient(read_image(path), "LPS")
    labels = np.rint(image.array)
    if not np.array_equal(labels, image.array):
        raise ImageError(f"{path}: is no mask: it holds values that are not whole numbers")
    return labels.astype(np.int32)


def reorient(image: Image, orientation: str) -> Image:
    """The same image with its axes flipped and swapped so that they grow as `orientation` says ("LPS")."""
    import nibabel as nib

    if not image.orientation or image.orientation == orientation:
        return image
    now, wanted = (nib.orientations.axcodes2ornt(o) for o in (image.orientation, orientation))
    turn = nib.orientations.ornt_transform(now, wanted)
    array = nib.orientations.apply_orientation(image.array.transpose(2, 1, 0), turn).transpose(2, 1, 0)
    spacing = np.array(image.spacing_mm[::-1])[np.argsort(turn[:, 0])][::-1]
    affine = image.affine @ nib.orientations.inv_ornt_aff(turn, image.array.shape[::-1])
    return Image(np.ascontiguousarray(array), tuple(map(float, spacing)), orientation, image.units, affine)


def _read_nifti(path: Path, units: str) -> Image:
    import nibabel as nib

    try:
        file = nib.load(path)
        array = np.asarray(file.dataobj, dtype=np.float32)
    except Exception as error:  # nibabel, gzip and zlib raise a dozen kinds; each means the same to the user
        raise ImageError(f"{path}: cannot be read as NIfTI ({type(error).__name__}: {error})") from error
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3:
        raise ImageError(f"{path}: has {array.ndim} axes {array.shape}; save one 3D volume per file")
    if not np.isfinite(array).all():
        raise ImageError(f"{path}: holds {int((~np.isfinite(array)).sum())} voxels that are NaN or infinite")
    spacing = tuple(float(s) for s in file.header.get_zooms()[:3][::-1])
    return Image(
        array.transpose(2, 1, 0), spacing, "".join(nib.aff2axcodes(file.affine)), units, np.asarray(file.affine, np.float64)
    )


def _read_picture(path: Path) -> Image:
    from PIL import Image as Picture

    try:
        with Picture.open(path) as picture:
            deep = picture.mode.startswith("I") or picture.mode == "F"
            array = np.asarray(picture if deep else picture.convert("L"), dtype=np.float32)
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"{path}: cannot be read as a picture ({error})") from error
    return Image(array[None], None, "", "intensity")
