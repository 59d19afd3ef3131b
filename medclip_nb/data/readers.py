"""Image files -> one return type: an array with spacing, orientation and units. Nothing is guessed in silence."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64, Int32

NIFTI = (".nii", ".nii.gz")
PICTURES = (".png", ".jpg", ".jpeg")
DICOM = (".dcm", ".dicom", ".ima")
MOST_VOXELS = 2**30  # three whole-body CTs; a header that claims more is broken or wants more memory than there is
PLAUSIBLE_MM = (0.001, 100.0)  # a voxel's size: what lies beyond is a header's slip of units, or zeros
LEAN = 0.02  # cosine between two axes that still counts as a right angle
LARGEST_LABEL = 2**24  # what float32 holds exactly


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
    """A file that cannot be read as the image it claims to be; the message names it and the remedy, in one line."""

    def __init__(self, message: str):
        super().__init__(" ".join(message.splitlines()))


def read_image(path: str | Path, *, units: str = "intensity") -> Image:
    """Reads PNG, JPEG, NIfTI, a DICOM file (suffix or not) or a folder that holds one DICOM series.

    `units` is what the manifest's modality promises ("HU" for CT volumes). NIfTI cannot say and is taken at that word;
    DICOM says itself, and a promise of HU that its header does not keep is an error. A NIfTI's spacing is its affine's, one
    step for all slices: whether the slices it was made from lay evenly is not in the file and cannot be known. Where sform
    and qform both speak, sform is taken. A file without both has spacing but no orientation (""). A picture is what its
    content says, whatever its suffix; colour becomes grey, transparent black, and EXIF's turn is made.

    Raises ImageError, in one line, naming the file and what is wrong with it: it cannot be read, or holds several pictures,
    NaN, voxels of no plausible size, axes that are not at right angles.
    """
    path = Path(path)
    try:
        image = _reader(path)(path, units=units)
    except ImageError:
        raise
    except Exception as error:  # broken headers make parsers raise anything; it means the same to the user
        raise ImageError(f"{path}: cannot be read ({in_words(error)}); copy it anew") from error
    _refuse_odd_space(image, path)
    n_bad = image.array.size - int(np.isfinite(image.array).sum())
    if n_bad:
        raise ImageError(f"{path}: holds {n_bad} voxels that are NaN or infinite; give them a number or drop the row")
    return image


def read_mask(path: str | Path, *, like: Image | None = None) -> Int32[np.ndarray, "slice row column"]:
    """Integer labels of a mask, turned to the "LPS" view; with `like`, on the grid of that image turned to "LPS".

    The two grids are compared in space (by their affines, never by shape alone) and the nearest label is taken where they
    differ, so a structure thinner than the image's voxels may lose some of its own, or all. Where one of the two says
    nothing about space, equal shapes are taken to be equal grids. A folder of NIfTI masks, one structure each, becomes one
    array: labels count from 1 in the order of the file names, and where two overlap the later one stays.

    Raises ImageError for labels that are not whole numbers or too large, for pictures that are JPEG or have colours (their
    greys are no labels), and where less than half of the labelled voxels (of all, if none is labelled) lie inside the image.
    """
    if Path(path).is_dir():
        return _read_masks(Path(path), like=like)
    mask = reorient(read_image(path), "LPS")
    if str(path).lower().endswith(PICTURES):
        from .pictures import refuse_lost_labels

        refuse_lost_labels(Path(path))
    labels = np.rint(mask.array).astype(np.int32)
    if not np.array_equal(labels, mask.array):
        raise ImageError(f"{path}: is no mask: it holds values that are not whole numbers; give the label map, not a map of odds")
    if np.abs(mask.array).max() >= LARGEST_LABEL:
        raise ImageError(f"{path}: holds labels of {LARGEST_LABEL:,} and more, where neighbours look alike; number them anew")
    return labels if like is None else _onto(labels, mask.affine, like=reorient(like, "LPS"), path=path)


def _read_masks(folder: Path, *, like: Image | None) -> Int32[np.ndarray, "slice row column"]:
    files = sorted(p for p in folder.iterdir() if p.name.lower().endswith(NIFTI))
    if not files:
        raise ImageError(f"{folder}: holds no NIfTI masks")
    labels = np.zeros_like(read_mask(files[0], like=like))
    for number, file in enumerate(files, start=1):
        mask = read_mask(file, like=like)
        if mask.shape != labels.shape:
            raise ImageError(f"{file}: shape {mask.shape} is not the {labels.shape} of {files[0].name}; masks need one grid")
        labels[mask > 0] = number
    return labels


def reorient(image: Image, orientation: str) -> Image:
    """The same image with its axes flipped and swapped so that they grow as `orientation` says ("LPS")."""
    import nibabel as nib

    if not image.orientation or image.orientation == orientation:
        return image
    now, wanted = (nib.orientations.axcodes2ornt(o) for o in (image.orientation, orientation))
    turn = nib.orientations.ornt_transform(now, wanted)
    array = nib.orientations.apply_orientation(image.array.transpose(2, 1, 0), turn).transpose(2, 1, 0)
    affine = image.affine @ nib.orientations.inv_ornt_aff(turn, image.array.shape[::-1])
    return in_space(np.ascontiguousarray(array), affine, image.units)


def in_space(array: Float[np.ndarray, "slice row column"], affine: Float64[np.ndarray, "4 4"] | None, units: str) -> Image:
    """An image whose spacing and orientation are what its affine says; without one it has neither."""
    import nibabel as nib

    if affine is None:
        return Image(array, None, "", units)
    spacing = tuple(round(float(s), 6) for s in nib.affines.voxel_sizes(affine)[::-1])  # float32 holds no more
    return Image(array, spacing, "".join(nib.aff2axcodes(affine)), units, affine)


def _reader(path: Path) -> Callable[..., Image]:
    from .dicom import read_dicom
    from .nifti import read_nifti
    from .pictures import read_picture

    name = path.name.lower()
    if path.is_file() and name.endswith(NIFTI):
        return read_nifti
    if path.is_file() and name.endswith(PICTURES):
        return read_picture
    refuse_no_file(path)
    from pydicom.misc import is_dicom

    if path.is_dir() or name.endswith(DICOM) or is_dicom(path):
        return read_dicom
    known = ", ".join(PICTURES + NIFTI + DICOM)
    raise ImageError(f"{path}: unknown kind of image; known: {known}, a DICOM folder; convert it to one of them")


def refuse_no_file(path: Path) -> None:
    """Raises ImageError for a path that leads to neither a file nor a folder: reading a pipe would wait for ever."""
    if not path.exists():
        raise ImageError(f"{path}: no such image file")
    if not path.is_file() and not path.is_dir():
        raise ImageError(f"{path}: is neither a file nor a folder; give the image itself")


def in_words(error: Exception) -> str:
    """An error's kind and words in one line of bearable length."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _refuse_odd_space(image: Image, path: Path) -> None:
    sizes = image.spacing_mm or (1.0,)
    if not all(PLAUSIBLE_MM[0] <= mm <= PLAUSIBLE_MM[1] for mm in sizes):
        raise ImageError(f"{path}: voxels of {sizes} mm (slice, row, column) cannot be; write the file anew with the right ones")
    if image.affine is None:
        return
    if not np.isfinite(image.affine).all():
        raise ImageError(f"{path}: its place in space, {image.affine[:3, 3].tolist()} mm, is no number; mend the header")
    axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    lean = np.abs(axes.T @ axes - np.eye(3)).max()
    if lean > LEAN:
        angle = np.degrees(np.arccos(min(1.0, lean)))
        raise ImageError(f"{path}: its axes are at {angle:.1f} degrees, not at right angles; resample it first")


def _onto(
    labels: Int32[np.ndarray, "slice row column"], affine: np.ndarray | None, *, like: Image, path: str | Path
) -> np.ndarray:
    """Labels on another grid of the same patient; both grids in LPS."""
    from scipy.ndimage import affine_transform

    if affine is None or like.affine is None:
        if labels.shape != like.array.shape:
            raise ImageError(f"{path}: shape {labels.shape} is not the image's {like.array.shape}, and no affine to fit it by")
        return labels
    to_mask = np.linalg.inv(affine) @ like.affine
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(like.array.shape[::-1]) - 1)
    if labels.shape == like.array.shape and np.abs(_moved(corners, to_mask) - corners).max() < 0.5:
        return labels  # the nearest voxel is the same one everywhere
    _refuse_elsewhere(labels, np.linalg.inv(to_mask), like.array.shape, path)
    turn, shift, shape = to_mask[:3, :3], to_mask[:3, 3], like.array.shape[::-1]
    return affine_transform(labels.T, turn, shift, output_shape=shape, order=0, mode="grid-constant").T


def _refuse_elsewhere(labels: np.ndarray, to_image: np.ndarray, shape: tuple[int, int, int], path: str | Path) -> None:
    voxels = np.flatnonzero(labels if labels.any() else np.ones_like(labels))
    voxels = voxels[:: max(1, len(voxels) // 100_000)]  # enough to tell a half from less
    there = _moved(np.stack(np.unravel_index(voxels, labels.shape)[::-1], axis=1), to_image)
    share = ((there > -0.5) & (there < np.array(shape[::-1]) - 0.5)).all(axis=1).mean()
    if share < 0.5:
        raise ImageError(f"{path}: only {share:.0%} of the mask lies inside its image in space; it belongs to another image")


def _moved(points: np.ndarray, affine: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "point 3"]:
    return points @ affine[:3, :3].T + affine[:3, 3]
