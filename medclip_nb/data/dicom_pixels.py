"""DICOM frames to their values: unpacked, rescaled, and, where they are pictures and not measurements, as a viewer shows them."""

from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .readers import ImageError, in_words

MEASURED = ("CT", "MR", "PT", "NM")  # values are kept as measured; anything else becomes what its viewer shows
GREY = (0.299, 0.587, 0.114)  # of red, green, blue: ITU-R BT.601, as in Pillow
DECODERS = {"JPEG Lossless": "python-gdcm", "JPEG Extended": "pylibjpeg-libjpeg (GPL)"}  # not among our dependencies
PADDING = 256  # zero bytes behind the pixels that some systems add


class Frame(NamedTuple):
    """One picture of a file, with what its header says of it."""

    path: Path
    index: int  # within the file
    header: "pydicom.Dataset"  # of this frame: shared and own functional groups laid flat

    def __str__(self) -> str:
        return self.path.name + (f" frame {self.index + 1}" if "PerFrameFunctionalGroupsSequence" in self.header else "")


def frame_values(frames: list[Frame]) -> Float[np.ndarray, "slice row column"]:
    """Values of frames of one size, in their order; each file is opened once. Raises ImageError naming the file."""
    header = frames[0].header
    out = np.empty((len(frames), header.Rows, header.Columns), np.float32)
    for path, places in groupby(range(len(frames)), key=lambda i: frames[i].path):
        try:
            stored = _stored(path)
            for place in places:
                out[place] = _shown(stored[frames[place].index], frames[place].header)
        except Exception as error:  # every decoder has its own kinds
            syntax = getattr(header.file_meta.get("TransferSyntaxUID"), "name", "an unnamed syntax")
            remedy = next((f"install {d}" for kind, d in DECODERS.items() if kind in syntax), "copy the file anew")
            raise ImageError(f"{path}: pixels in {syntax} cannot be read ({in_words(error)}); {remedy}") from error
    return out


def _stored(path: Path) -> np.ndarray:
    from pydicom import dcmread
    from pydicom.pixels import apply_color_lut, pixel_array

    header = dcmread(path)
    _refuse_rest(header)
    stored = pixel_array(header)  # not of the path: that cannot open deflated files
    if header.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, header)[..., :3]
    if not header.PhotometricInterpretation.startswith("MONOCHROME"):
        stored = stored @ np.array(GREY)
    return stored.reshape(-1, header.Rows, header.Columns)


def _refuse_rest(header: "pydicom.Dataset") -> None:
    """Pixels beyond those that the header speaks of, which pydicom passes over with a warning: Rows or Columns are wrong."""
    from pydicom.pixels.utils import get_expected_length

    if "PixelData" not in header or header.file_meta.TransferSyntaxUID.is_compressed:
        return
    rest = header.PixelData[get_expected_length(header) :]
    if len(rest) > 1 and (len(rest) > PADDING or any(rest)):
        stated = f"{header.Rows} rows of {header.Columns} columns of {header.BitsAllocated} bits"
        raise ValueError(f"{len(rest)} bytes of pixel data more than {stated}")


def _shown(stored: np.ndarray, header: "pydicom.Dataset") -> np.ndarray:
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    values, kind = apply_modality_lut(stored, header), header.PhotometricInterpretation
    if header.get("Modality") in MEASURED or not kind.startswith("MONOCHROME"):
        return values
    if "VOILUTSequence" in header or np.ravel(header.get("WindowWidth") or 0)[0] >= 1:  # a width of 0 is some scanners' "none"
        values = apply_voi_lut(values, header)
    return values.max() + values.min() - values if kind == "MONOCHROME1" else values
