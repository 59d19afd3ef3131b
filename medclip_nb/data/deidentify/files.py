"""NIfTI, PNG and JPEG files without their free text: the same voxels and pixels, bit by bit."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from ..audit.identifiers import looks_lettered
from ..readers import NIFTI, ImageError, read_image
from .headers import Refused, Suspected

NIFTI_TEXTS = ("data_type", "db_name", "descrip", "aux_file", "intent_name")
PNG_START, PNG_KEPT = b"\x89PNG\r\n\x1a\n", (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
SOI, EOI, SOS, ADOBE, APPS, COMMENT = 0xD8, 0xD9, 0xDA, 0xEE, range(0xE0, 0xF0), 0xFE
ADOBE_BYTES = 12  # of the marker that says how colours are coded; what follows them is not needed
ORIENTATION = 0x0112


def clean_nifti(path: Path) -> bytes:
    """The file with its text fields blank, without header extensions and without anything behind the voxels."""
    packed = path.name.lower().endswith(".gz")
    try:
        content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
        header = _nifti_header(path)
    except Exception as error:  # nibabel, gzip and zlib raise a dozen kinds
        raise Refused(f"cannot be read as NIfTI ({type(error).__name__})") from error
    for name in NIFTI_TEXTS:
        if name in set(header.keys()):
            header[name] = b""
    blank, start = header.binaryblock, int(header["vox_offset"])
    size = header.get_data_dtype().itemsize * int(np.prod(header.get_data_shape(), dtype=np.int64))
    if not len(blank) <= start <= start + size <= len(content):
        raise Refused(f"is cut short: {len(content)} bytes, its header promises {start + size}")
    content = blank + b"\0" * (start - len(blank)) + content[start : start + size]
    return gzip.compress(content, mtime=0) if packed else content


def clean_picture(path: Path, *, looked_at: bool) -> bytes:
    """A PNG or JPEG file with pixels, palette and orientation only.

    Raises Refused if it is broken or its pixels would change, Suspected where text seems to be burnt in.
    """
    try:
        picture = read_image(path).array
        content = path.read_bytes()
        kept = _png(content, path) if content.startswith(PNG_START) else _jpeg(content, path)
    except (ImageError, IndexError, struct.error) as error:
        raise Refused(f"cannot be read as a picture ({type(error).__name__})") from error
    if not looked_at and looks_lettered(picture[0]):
        raise Suspected("seems to have text burnt in at its upper or lower edge")
    return kept


def same_pixels(a: Path, b: Path) -> bool:
    """Whether two pictures hold the same numbers."""
    return np.array_equal(read_image(a).array, read_image(b).array)


def is_nifti(path: Path) -> bool:
    """By its name."""
    return path.name.lower().endswith(NIFTI)


def _nifti_header(path: Path):
    import nibabel as nib

    with nib.openers.ImageOpener(path) as file:
        return type(nib.load(path).header).from_fileobj(file)


def _png(content: bytes, path: Path) -> bytes:
    kept, at = [], len(PNG_START)
    while at < len(content):
        (size,), kind = struct.unpack(">I", content[at : at + 4]), content[at + 4 : at + 8]
        if kind in PNG_KEPT:
            kept.append(content[at : at + 12 + size])
        at += 12 + size
        if kind == b"IEND":
            break
    exif = _orientation(path)
    if exif:
        chunk = b"eXIf" + exif
        kept.insert(1, struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk)))
    return PNG_START + b"".join(kept)


def _jpeg(content: bytes, path: Path) -> bytes:
    """Segments up to the scans without comments and applications' own, and nothing behind the end of the image."""
    exif = _orientation(path)
    kept = [content[:2], *([struct.pack(">BBH", 0xFF, 0xE1, len(exif) + 8) + b"Exif\0\0" + exif] if exif else [])]
    at, marker = 2, SOI
    while marker != EOI:
        if content[at] != 0xFF:
            raise IndexError("no marker")
        marker, size = content[at + 1], 0
        if marker != EOI and marker != 0xFF:
            (size,) = struct.unpack(">H", content[at + 2 : at + 4])
        kept.append(_segment(content[at : at + 2 + size], marker))
        at += 1 if marker == 0xFF else 2 + size
        if marker == SOS:
            end = _scan_end(content, at)
            kept.append(content[at:end])
            at = end
    return b"".join(kept)


def _segment(segment: bytes, marker: int) -> bytes:
    if marker == ADOBE and segment[4:9] == b"Adobe":
        return struct.pack(">BBH", 0xFF, ADOBE, ADOBE_BYTES + 2) + segment[4 : 4 + ADOBE_BYTES]
    return b"" if marker in APPS or marker in (COMMENT, 0xFF) else segment


def _scan_end(content: bytes, at: int) -> int:
    """Where coded data end: at a marker that is neither a stuffed byte nor a restart."""
    while True:
        at = content.find(b"\xff", at)
        if at < 0:
            raise IndexError("no end of image")
        if content[at + 1] not in (0x00, 0xFF, *range(0xD0, 0xD8)):
            return at
        at += 1 if content[at + 1] == 0xFF else 2


def _orientation(path: Path) -> bytes:
    """EXIF data that say how the picture is turned, and nothing else; empty for an upright one."""
    from PIL import Image

    with Image.open(path) as picture:
        turned = picture.getexif().get(ORIENTATION, 1)
    if turned == 1:
        return b""
    exif = Image.Exif()
    exif[ORIENTATION] = turned
    return exif.tobytes().removeprefix(b"Exif\0\0")
