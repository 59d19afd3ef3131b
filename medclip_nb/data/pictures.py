"""Pictures (PNG, JPEG): one file to one `Image` of grey values, whatever its depth and colours."""

from pathlib import Path

import numpy as np

from .readers import Image, ImageError, in_words

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")  # that a file named as a picture may turn out to be
LABELS = ("1", "L", "I", "I;16", "I;16B", "F")  # modes that hold numbers, not colours


def read_picture(path: Path, *, units: str) -> Image:
    """Reads a file with one picture as grey values; see `readers.read_image`. `units` is of no meaning to a picture."""
    from PIL import Image as Picture
    from PIL import ImageOps

    try:
        with Picture.open(path, formats=FORMATS) as picture:
            _refuse_film(picture, path)
            upright = ImageOps.exif_transpose(picture)
            deep = upright.mode.startswith("I") or upright.mode == "F"
            if upright.has_transparency_data and not deep:
                upright = Picture.alpha_composite(Picture.new("RGBA", upright.size, "black"), upright.convert("RGBA"))
            array = np.array(upright if deep else upright.convert("L"), dtype=np.float32)
            if deep and "transparency" in upright.info:
                array[array == upright.info["transparency"]] = 0
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen kinds; each means the same to the user
        raise ImageError(f"{path}: cannot be read as a picture ({in_words(error)}); copy it anew") from error
    return Image(array[None], None, "", "intensity")


def _refuse_film(picture: "PIL.Image.Image", path: Path) -> None:
    n_frames = getattr(picture, "n_frames", 1)
    if n_frames > 1 and picture.format != "MPO":  # a camera's JPEG with its preview
        raise ImageError(f"{path}: holds {n_frames} pictures ({picture.format}); save the one you need as a file of its own")


def refuse_lost_labels(path: Path) -> None:
    """Raises ImageError for a picture whose greys cannot be labels: JPEG changes them, colours become other numbers."""
    from PIL import Image as Picture

    with Picture.open(path) as picture:
        if picture.format in ("JPEG", "MPO") or picture.mode not in LABELS:
            raise ImageError(f"{path}: {picture.format} in mode {picture.mode} holds no labels; save the mask as a grey PNG")
