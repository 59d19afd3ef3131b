"""DICOM: one file, or a folder that holds one series, to one `Image`.

Distances come from the positions of the slices, never from SliceThickness or SpacingBetweenSlices (a GE series states 5
and 2 mm for slices 7 mm apart). Most readers average uneven gaps in silence; highdicom refuses them, but also positions
that a scanner rounded to 0.1 mm, and names no file. Hence the geometry (PS3.3 C.7.6.2.1.1) here, tested against it.
"""

import warnings
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64

from .dicom_pixels import Frame, frame_values
from .readers import DICOM, LEAN, MOST_VOXELS, PLAUSIBLE_MM, Image, ImageError, in_space, in_words

RESCALE = ("RescaleSlope", "RescaleIntercept")
NO_IMAGES = {"RTDOSE": "doses in steps of DoseGridScaling", "SEG": "a segmentation"}  # by modality
MOST_HU = 32_767  # metal reaches 30,710 in the extended scale; beyond lie negative numbers read without their sign
GEOMETRY = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}  # attribute -> how many numbers
ALIKE = {"Rows": 0, "Columns": 0, "PixelSpacing": 0.001, "ImageOrientationPatient": 0.005}  # attribute -> tolerance
SAME = ("Modality", "PatientID", "FrameOfReferenceUID", "PhotometricInterpretation", "RescaleType")
SAME_PLACE_MM = 0.01
UNEVEN_MM, UNEVEN_SHARE = 0.15, 0.03  # how far a step may be from the others, the larger; 0.14: rounded in two axes


def read_dicom(path: Path, *, units: str = "intensity") -> Image:
    """Reads a DICOM file (one slice, one radiograph, or an enhanced multi-frame volume) or a folder with one series.

    CT comes in HU if its header says how to rescale; `units="HU"` insists on it. MR, PET and NM come as their rescaled
    values. Radiographs and other pictures come as their viewer shows them: VOI table or first window applied, MONOCHROME1
    turned over so that dense is bright, colour as grey. A lone slice has its SliceThickness as third spacing; without a
    plausible one, or without a position, there is no spacing. Slices missing at either end of a series cannot be known. In a
    folder, what is no DICOM or has no pixels (DICOMDIR, reports) is passed over; a ".dcm" that cannot be read is not.

    Raises ImageError naming files and mm: several series or a localizer in one folder, mixed sizes, uneven gaps, two slices
    in one place, a tilted gantry, a film without positions, a compression that nothing installed decodes, fewer or more
    pixels than stated, a dose or a segmentation, an impossible rescaling.
    """
    # only pydicom's own (odd VRs, padding): what matters is raised, and catch_warnings is not safe in threads
    warnings.filterwarnings("ignore", module=r"pydicom\.")
    frames = _series(path) if path.is_dir() else _frames(path)
    if not frames:
        folders = f" (inside are {_few(inside)})" if (inside := sorted(p.name for p in path.glob("*/"))) else ""
        raise ImageError(f"{path}: holds no DICOM image; name the file or the folder that has the pixels{folders}")
    _refuse_no_values(frames, path)
    n_voxels = len(frames) * frames[0].header.Rows * frames[0].header.Columns
    if n_voxels > MOST_VOXELS:
        raise ImageError(f"{path}: its header claims {n_voxels:,} voxels, more than {MOST_VOXELS:,}; it is broken, or cut it")
    not_hu = _why_not_hu(frames)
    if units == "HU" and not_hu:
        raise ImageError(f"{path}: should be in HU, but {not_hu}; correct the modality in the manifest or drop the row")
    frames, affine = _in_order(frames, path)
    image = in_space(frame_values(frames), affine, "intensity" if not_hu else "HU")
    if image.units == "HU" and MOST_HU < image.array.max() < np.inf:
        wrong = f"holds {image.array.max():.0f} HU: PixelRepresentation is wrong, or the rescaling"
        raise ImageError(f"{path}: {wrong}; mend the header, or convert it anew")
    return image


def _series(folder: Path) -> list[Frame]:
    from pydicom.misc import is_dicom

    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    series = defaultdict(list)
    for path in files:
        for frame in _frames(path) if path.name.lower().endswith(DICOM) or is_dicom(path) else []:
            series[frame.header.get("SeriesInstanceUID", "no UID")].append(frame)
    if len(series) > 1:
        parts = [f"{uid} {str(of[0].header.get('SeriesDescription', ''))!r} ({len(of)} images)" for uid, of in series.items()]
        raise ImageError(f"{folder}: holds {len(series)} series: {_few(parts)}; give each a folder and a row of its own")
    return [frame for of in series.values() for frame in of]


def _frames(path: Path) -> list[Frame]:
    import pydicom
    from pydicom.misc import is_dicom

    if not is_dicom(path):
        raise ImageError(f"{path}: is no DICOM file: no 'DICM' at byte 128; replace it, or rewrite an old one with dcmconv")
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        n_frames = int(header.get("NumberOfFrames") or 1)
    except Exception as error:  # a damaged header raises a dozen kinds, each means the same to the user
        raise ImageError(f"{path}: cannot be read as DICOM ({in_words(error)}); copy it anew") from error
    if "PerFrameFunctionalGroupsSequence" in header:
        n_groups = len(header.PerFrameFunctionalGroupsSequence)
        if n_groups != n_frames:
            raise ImageError(f"{path}: states {n_frames} frames and describes {n_groups}; copy or convert it anew")
        return [Frame(path, i, _flat(header, own)) for i, own in enumerate(header.PerFrameFunctionalGroupsSequence)]
    if n_frames > 1:
        raise ImageError(f"{path}: is a film: {n_frames} frames without positions; save the frames you need as pictures")
    return [Frame(path, 0, header)] if header.get("Rows") and header.get("Columns") else []


def _flat(header: "pydicom.Dataset", own: "pydicom.Dataset") -> "pydicom.Dataset":
    from pydicom import Dataset

    flat = Dataset()
    flat.file_meta = header.file_meta
    groups = [group for of in (*header.get("SharedFunctionalGroupsSequence", []), own) for group in of if group.VR == "SQ"]
    for part in (header, *(group.value[0] for group in groups if group.value)):
        flat.update(part)
    return flat


def _why_not_hu(frames: list[Frame]) -> str:
    header = frames[0].header
    reasons = {
        f"its Modality is {header.get('Modality', 'missing')}": header.get("Modality") != "CT",
        "it has no RescaleSlope and RescaleIntercept": any(None in map(f.header.get, RESCALE) for f in frames),
        f"its RescaleType is {header.get('RescaleType')}": (header.get("RescaleType") or "HU") not in ("HU", "US"),
        "it is a localizer": any(map(_is_localizer, frames)),
        "it is in colour": not str(header.get("PhotometricInterpretation", "")).startswith("MONOCHROME"),
    }
    return next((reason for reason, applies in reasons.items() if applies), "")


def _in_order(frames: list[Frame], path: Path) -> tuple[list[Frame], Float64[np.ndarray, "4 4"] | None]:
    """The frames sorted along their normal, and the affine from (column, row, slice) to RAS mm."""
    lacking = {a: [f for f in frames if _numbers(f, a) is None] for a in GEOMETRY}
    thickness = float(frames[0].header.get("SliceThickness") or 0)
    if len(frames) == 1 and (any(lacking.values()) or not 0 < thickness <= PLAUSIBLE_MM[1]):  # a scout states its depth
        return frames, None
    for attribute, lack in lacking.items():
        if lack:
            raise ImageError(f"{path}: {_few(lack)} without {attribute}: no volume; give each file a row of its own")
    _refuse_mixed(frames, path)
    cosines, spacing = (_numbers(frames[0], a) for a in ("ImageOrientationPatient", "PixelSpacing"))
    row, column = cosines.reshape(2, 3)
    normal = np.cross(row, column)
    if min(spacing) <= 0 or not np.allclose([row @ row, column @ column, normal @ normal], 1, atol=0.01):
        raise ImageError(f"{path}: impossible PixelSpacing {spacing} or ImageOrientationPatient {cosines}; mend the header")
    frames = sorted(frames, key=lambda f: _numbers(f, "ImagePositionPatient") @ normal)
    step, first = _step(frames, normal, path), _numbers(frames[0], "ImagePositionPatient")
    lps = np.column_stack([row * spacing[1], column * spacing[0], step, first])
    return frames, np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.vstack([lps, [0, 0, 0, 1]])


def _refuse_no_values(frames: list[Frame], path: Path) -> None:
    for frame in frames:
        what = NO_IMAGES.get(frame.header.get("Modality"))
        if what:
            raise ImageError(f"{path}: {frame} holds {what}, not an image; convert it with a tool made for it")
        if frame.header.get("RescaleSlope") == 0:
            raise ImageError(f"{path}: {frame} has a RescaleSlope of 0, which makes all values equal; mend the header")


def _refuse_mixed(frames: list[Frame], path: Path) -> None:
    scouts = [f for f in frames if _is_localizer(f)]
    if 0 < len(scouts) < len(frames):
        raise ImageError(f"{path}: {_few(scouts)}: localizer among {len(frames) - len(scouts)} slices; move it elsewhere")
    for attribute in SAME:
        values = [str(f.header.get(attribute, "")) for f in frames]
        usual = Counter(values).most_common(1)[0][0]
        odd = [f for f, value in zip(frames, values, strict=True) if value != usual]
        if odd:
            found = f"{_few(odd)}: {attribute} {odd[0].header.get(attribute, '')!r}, elsewhere {usual!r}"
            raise ImageError(f"{path}: {found}; keep one kind in a folder")
    for attribute, tolerance in ALIKE.items():
        values = np.array([np.ravel(f.header[attribute].value).astype(float) for f in frames])
        rounded = [tuple(v) for v in values.round(2) + 0.0]  # + 0.0: -0 is 0
        usual = values[rounded.index(Counter(rounded).most_common(1)[0][0])]
        odd = np.abs(values - usual).max(axis=1) > tolerance
        if odd.any():
            found = f"{_few([frames[i] for i in np.flatnonzero(odd)])}: {attribute} {values[odd.argmax()].tolist()}"
            raise ImageError(f"{path}: {found}, elsewhere {usual.tolist()}; keep one kind in a folder")


def _step(frames: list[Frame], normal: Float[np.ndarray, " 3"], path: Path) -> Float[np.ndarray, " 3"]:
    """From one slice to the next, in LPS mm; through a lone one, its thickness."""
    if len(frames) == 1:
        return normal * float(frames[0].header.SliceThickness)
    steps = np.diff([_numbers(f, "ImagePositionPatient") for f in frames], axis=0)
    gaps, usual, step = steps @ normal, np.median(steps, axis=0), steps.mean(axis=0)
    off = np.linalg.norm(steps - usual, axis=1) > max(UNEVEN_MM, UNEVEN_SHARE * float(usual @ normal))
    lean = float(np.linalg.norm(step - step @ normal * normal)) / max(float(step @ normal), SAME_PLACE_MM)
    faults = {
        "slices in one place; put copies away, and echoes, phases or b-values into folders of their own": gaps < SAME_PLACE_MM,
        f"slices not even, most lie {usual @ normal:.3f} mm apart; add what is missing, or resample the series first": off,
    }
    between = [f"{gap:.3f} mm between {a} and {b}" for gap, (a, b) in zip(gaps, pairwise(frames), strict=True)]
    for what, where in faults.items():
        if where.any():
            raise ImageError(f"{path}: {_few([between[i] for i in np.flatnonzero(where)])}: {what}")
    if lean > LEAN:
        raise ImageError(f"{path}: gantry tilted by {np.degrees(np.arctan(lean)):.1f} degrees; straighten it, as dcm2niix does")
    return step


def _is_localizer(frame: Frame) -> bool:
    return "LOCALIZER" in (frame.header.get("ImageType") or [])


def _numbers(frame: Frame, attribute: str) -> Float64[np.ndarray, " n"] | None:
    values = np.ravel(frame.header.get(attribute) or [])
    try:
        return values.astype(float) if len(values) == GEOMETRY[attribute] else None
    except ValueError as error:
        raise ImageError(f"{frame.path}: {attribute} {values.tolist()} are no numbers; mend the header") from error


def _few(things: list) -> str:
    return ", ".join(map(str, things[:3])) + (f" and {len(things) - 3} more" if len(things) > 3 else "")
