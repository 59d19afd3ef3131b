"""Pictures as text that a page can hold: no file beside it, nothing from the network."""

import base64
import io

import numpy as np
from jaxtyping import UInt8


def uri(content: bytes, kind: str = "png") -> str:
    """The content of a picture file as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def png_uri(picture: UInt8[np.ndarray, "row column *channel"]) -> str:
    """A picture, grey or with colours, as a data URI."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png", optimize=True)
    return uri(file.getvalue())
