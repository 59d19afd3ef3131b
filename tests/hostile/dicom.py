"""DICOM files and folders of slices that are no series, or not the one that they seem."""

import os
import shutil
from pathlib import Path

import numpy as np
import pydicom
from test_dicom import enhanced, stored_volume, wheel_file, write_series, write_slice

from medclip_nb.data.preprocessing import cached, ct_contract
from medclip_nb.data.readers import read_image

from . import Kind
from .make import content, cut, picture
from .outcome import command

SLICE = stored_volume()[0]
AT_ZERO = {"ImagePositionPatient": [0, 0, 0]}
COLOUR = {
    "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "PixelRepresentation": 0,
    "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7,
}  # fmt: skip
PICTURE = {"Modality": "DX", "RescaleSlope": None, "RescaleIntercept": None, "PixelRepresentation": 0}
TURNED = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
TILTED = {k: {"ImagePositionPatient": [0, k * 2.5 * np.tan(np.radians(15)), k * 2.5]} for k in range(6)}
GROUPS = "PerFrameFunctionalGroupsSequence"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"
HU = SLICE * 2.0 - 1024


def one(folder: Path, stored: np.ndarray = SLICE, **changes) -> Path:
    """A CT slice with attributes changed."""
    return write_slice(folder / "a.dcm", stored, **AT_ZERO | changes)


def series(folder: Path, odd: dict | None = None, **common) -> Path:
    """Six slices of which the fourth has attributes changed."""
    return write_series(folder / "s", changes={3: odd or {}}, **common)


def at(folder: Path, *positions_mm: float) -> Path:
    """Slices at these places."""
    return write_series(folder / "s", positions_mm)


def beside(folder: Path, *strangers: str, of: str = "") -> Path:
    """A series with files of these names among its slices: text, or what pydicom ships under the name `of`."""
    made = series(folder)
    for name in strangers:
        content(made, name, wheel_file(of).read_bytes() if of else b"hello")
    return made


def twice(folder: Path) -> Path:
    """A series with one slice copied."""
    made = series(folder)
    shutil.copy(min(made.iterdir()), made / "copy.dcm")
    return made


def colour_slice(folder: Path) -> Path:
    """A grey series in which one slice is a colour picture, as of a dose report."""
    made = series(folder)
    path = sorted(made.iterdir())[3]
    place = list(pydicom.dcmread(path).ImagePositionPatient)
    write_slice(path, np.zeros((10, 8, 3), np.uint8), ImagePositionPatient=place, **COLOUR)
    return made


def frames(folder: Path, edit) -> Path:
    """An enhanced multi-frame CT, edited."""
    path = enhanced(write_series(folder / "s"), folder / "e.dcm")
    header = pydicom.dcmread(path)
    edit(header)
    header.save_as(path)
    return path


def fewer_groups(header: pydicom.Dataset) -> None:
    """Two frames are not described."""
    header.PerFrameFunctionalGroupsSequence = header.PerFrameFunctionalGroupsSequence[:-2]


def without_pixels(folder: Path) -> Path:
    """A header that speaks of pixels, and none."""
    header = pydicom.dcmread(one(folder))
    del header.PixelData
    header.save_as(folder / "a.dcm")
    return folder / "a.dcm"


def cut_folder(folder: Path) -> Path:
    """A series with one slice cut short."""
    made = series(folder)
    cut(made / "51.dcm", 0.9)
    return made


def without_preamble(folder: Path) -> Path:
    """What old tools wrote: no 'DICM'."""
    return content(folder, "a.dcm", one(folder).read_bytes()[132:])


def linked(folder: Path) -> Path:
    """A dataset's folder whose series is a link to elsewhere."""
    (folder / "data").mkdir()
    (folder / "data" / "s").symlink_to(series(folder))
    content(folder / "data", "texts.csv", b"image,text\ns,Normal.\n")
    return folder / "data"


REFUSED = {
    "no pixel data": (r"a\.dcm: pixels in .* cannot be read .*'Pixel Data'", without_pixels),
    "too few pixels": (r"a\.dcm: pixels in .* less than expected", lambda f: one(f, Rows=11)),
    "too many pixels: Rows too small": (r"16 bytes of pixel data more than 9 rows of 8 columns", lambda f: one(f, Rows=9)),
    "too many pixels: Columns too small": (r"20 bytes of pixel data more than 10 rows of 7", lambda f: one(f, Columns=7)),
    "too many pixels: half the bits": (r"80 bytes of pixel data more than", lambda f: one(f, BitsAllocated=8, BitsStored=8)),
    "header of a huge image": (r"claims 3,600,000,000 voxels", lambda f: one(f, Rows=60_000, Columns=60_000)),
    "JPEG lossless": (r"JPEG Lossless.*install python-gdcm", lambda f: wheel_file("SC_rgb_jpeg_gdcm.dcm")),
    "JPEG extended": (r"JPEG Extended.*install pylibjpeg", lambda f: wheel_file("JPGExtended.dcm")),
    "truncated": (r"a\.dcm: pixels in .* cannot be read", lambda f: cut(one(f), 0.95)),
    "truncated in the header": (r"a\.dcm: (cannot be read as DICOM|holds no DICOM image)", lambda f: cut(one(f), 0.4)),
    "no preamble": (r"a\.dcm: is no DICOM file: no 'DICM'", without_preamble),
    "text named .dcm": (r"a\.dcm: is no DICOM file", lambda f: content(f, "a.dcm")),
    "zero bytes": (r"a\.dcm: is no DICOM file", lambda f: content(f, "a.dcm", b"")),
    "two series in a folder": (r"holds 2 series: ", lambda f: series(f, {"SeriesInstanceUID": "1.2.9"})),
    "two patients in a series": (r"13\.dcm: PatientID 'q', elsewhere 'p'", lambda f: series(f, {"PatientID": "q"})),
    "two modalities in a series": (r"13\.dcm: Modality 'MR', elsewhere 'CT'", lambda f: series(f, {"Modality": "MR"})),
    "two frames of reference": (r"13\.dcm: FrameOfReferenceUID", lambda f: series(f, {"FrameOfReferenceUID": "1.9"})),
    "colour slice in a grey series": (r"PhotometricInterpretation 'RGB', elsewhere 'MONOCHROME2'", colour_slice),
    "missing slice": (r"5\.000 mm between .*most lie 2\.500 mm apart; add", lambda f: at(f, 0, 2.5, 5, 10, 12.5)),
    "duplicate slice": (r"0\.000 mm between .*copy\.dcm: slices in one place", twice),
    "uneven gaps": (r"slices not even", lambda f: at(f, 0, 2, 4, 7, 9, 12)),
    "two slices far apart": (r"voxels of \(700\.0, 0\.7, 0\.5\) mm .* cannot be", lambda f: at(f, 0, 700)),
    "other orientation": (r"13\.dcm: ImageOrientationPatient", lambda f: series(f, TURNED)),
    "other spacing": (r"13\.dcm: PixelSpacing \[0\.7, 0\.6\]", lambda f: series(f, {"PixelSpacing": [0.7, 0.6]})),
    "other size": (r"13\.dcm: Rows \[5\.0\], elsewhere", lambda f: series(f, {"Rows": 5})),
    "a slice without position": (r"13\.dcm without ImagePositionPatient", lambda f: series(f, {"ImagePositionPatient": None})),
    "a slice cut short": (r"51\.dcm: (pixels in .* )?cannot be read", cut_folder),
    "gantry tilt": (r"gantry tilted by 15\.0 degrees", lambda f: write_series(f / "s", changes=TILTED)),
    "position not a number": (r"its place in space, .* is no number", lambda f: one(f, ImagePositionPatient=["nan", 0, 0])),
    "spacing negative": (r"a\.dcm: impossible PixelSpacing", lambda f: one(f, PixelSpacing=[-1, 1])),
    "spacing 1000 mm": (r"voxels of \(5\.0, 1000\.0, 1000\.0\) mm .* cannot be", lambda f: one(f, PixelSpacing=[1000, 1000])),
    "rescale slope 0": (r"a\.dcm has a RescaleSlope of 0", lambda f: one(f, RescaleSlope=0)),
    "signed values read as unsigned": (
        r"holds 64494 HU: PixelRepresentation is wrong",
        lambda f: one(f, np.full((10, 8), -9, np.int16), PixelRepresentation=0, RescaleSlope=1, RescaleIntercept=-1033),
    ),
    "film": (r"is a film: 30 frames without positions", lambda f: wheel_file("examples_ybr_color.dcm")),
    "enhanced, frames not described": (r"states 6 frames and describes 4", lambda f: frames(f, fewer_groups)),
    "enhanced, no frame described": (r"is a film: 6 frames", lambda f: frames(f, lambda header: header.pop(GROUPS))),
    "encapsulated PDF": (r"holds no DICOM image", lambda f: one(f, SOPClassUID=PDF, Rows=0, Columns=0)),
    "structured report": (r"holds no DICOM image", lambda f: wheel_file("reportsi.dcm")),
    "RT structures": (r"holds no DICOM image|is no DICOM file", lambda f: wheel_file("rtplan.dcm")),
    "RT dose": (r"holds doses in steps of DoseGridScaling, not an image", lambda f: wheel_file("rtdose_1frame.dcm")),
    "segmentation": (r"segmentation, not an image", lambda f: one(f, Modality="SEG")),
    "DICOMDIR alone": (r"holds no DICOM image", lambda f: wheel_file("DICOMDIR")),
    "folder without slices": (r"s: holds no DICOM image; name the file", lambda f: (f / "s").mkdir() or f / "s"),
    "folder of pictures": (r"holds no DICOM image", lambda f: picture(f).parent),
    "folder of folders": (r"holds no DICOM image; .* \(inside are s\)", lambda f: series(f).parent),
    "pipe": (r"a\.dcm: is neither a file nor a folder", lambda f: os.mkfifo(f / "a.dcm") or f / "a.dcm"),
}  # fmt: skip
NO_HU = {
    "CT without rescaling": ("it has no RescaleSlope", {"RescaleSlope": None}),
    "MR where CT is promised": ("its Modality is MR", {"Modality": "MR"}),
    "localizer": ("it is a localizer", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
}
READ = {
    "thumbs.db and .DS_Store among slices": ("passed over", lambda f: beside(f, "thumbs.db", ".DS_Store", "._a.dcm")),
    "DICOMDIR in the folder": ("passed over", lambda f: beside(f, "DICOMDIR", of="DICOMDIR")),
    "structured report in the folder": ("passed over", lambda f: beside(f, "sr.dcm", of="reportsi.dcm")),
    "enhanced multi-frame": ("the volume of its frames", lambda f: frames(f, lambda header: None)),
}


def is_volume(array: np.ndarray) -> bool:
    """All slices of `write_series`, in order, in HU."""
    return np.array_equal(array, stored_volume() * 2.0 - 1024)


def read(path: Path, number: int) -> object:
    """How a file is met: by the reader and, where `data check` would look into a file, every third one there."""
    return command("data", "check", path) if path.is_file() and number % 3 == 0 else read_image(path)


KINDS = [
    *(Kind("DICOM", k, says, lambda f, make=make, n=n: read(make(f), n)) for n, (k, (says, make)) in enumerate(REFUSED.items())),
    *(
        Kind("DICOM", k, f"should be in HU, but {says}", lambda f, c=c: cached(one(f, **c), ct_contract((2, 4, 4))))
        for k, (says, c) in NO_HU.items()
    ),
    *(
        Kind("DICOM", k, says, lambda f, make=make: read_image(make(f)).array, is_volume)
        for k, (says, make) in READ.items()
    ),
    Kind(
        "DICOM", "colour where CT is promised", "should be in HU, but it is in colour",
        lambda f: read_image(one(f, np.zeros((10, 8, 3), np.uint8), **COLOUR), units="HU"),
    ),
    Kind(
        "DICOM", "colour", "grey by luminance (BT.601)",
        lambda f: read_image(one(f, np.full((10, 8, 3), (200, 100, 50), np.uint8), **COLOUR | PICTURE)).array,
        lambda a: np.allclose(a, 0.299 * 200 + 0.587 * 100 + 0.114 * 50, atol=1e-3),
    ),
    Kind(
        "DICOM", "MONOCHROME1", "turned over: dense is bright",
        lambda f: read_image(one(f, PhotometricInterpretation="MONOCHROME1", **PICTURE)).array[0],
        lambda a: np.array_equal(a, SLICE.max() + SLICE.min() - SLICE.astype(float)),
    ),
    Kind(
        "DICOM", "slice of negative thickness", "values as they are, no spacing", lambda f: read_image(one(f, SliceThickness=-5)),
        lambda image: image.spacing_mm is None and np.array_equal(image.array[0], HU),
    ),
    Kind(
        "DICOM", "rescaling that differs by slice", "each by its own",
        lambda f: read_image(series(f, {"RescaleIntercept": 0})).array[3],
        lambda a: np.array_equal(a, stored_volume()[3] * 2.0),
    ),
    Kind("DICOM", "link out of the folder", "'s' leaves the manifest's folder", lambda f: command("data", "check", linked(f))),
    Kind(
        "DICOM", "missing slice in a tree", r"row 2, column 'image': .*5\.000 mm between",
        lambda f: command("data", "check", at(f, 0, 2.5, 7.5, 10, 12.5), "--images"),
    ),
    Kind(
        "DICOM", "missing slice in an audit", "a serious finding",
        lambda f: command("data", "audit", at(f, 0, 2.5, 7.5, 10, 12.5), "-o", f / "page.html"),
        lambda said: "unreadable" in said and "5.000 mm between" in said,
    ),
]  # fmt: skip
