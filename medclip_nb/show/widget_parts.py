"""What the widgets share: two forms in one output, errors that are seen, escaped texts and pictures inside HTML."""

import io
from collections.abc import Callable
from html import escape

import numpy as np
from jaxtyping import Shaped, UInt8
from matplotlib.figure import Figure

from .text import CONTROL
from .uris import png_uri

LONGEST = 240  # characters of a text that are shown
NOTE = "font-size:90%;margin:.3em 0"
SLIDER_PX, LABEL_PX = 400, 52  # width of a slider, and of the word before it
TRACK_PX = (LABEL_PX + 16, SLIDER_PX - 4)  # where its handle moves
LEFT = "text-align:left;white-space:normal;vertical-align:top"  # pages set tables for numbers


def both_forms(still: str | Figure, live) -> dict:
    """What a notebook shows: the moving form where a kernel runs, else the still one, HTML or a figure."""
    if isinstance(still, str):
        return live._repr_mimebundle_() | {"text/html": still, "text/plain": "a table; it can be worked where a kernel runs"}
    file = io.BytesIO()
    still.savefig(file, format="png")
    return live._repr_mimebundle_() | {
        "image/png": file.getvalue(),
        "text/plain": "a figure; it can be moved where a kernel runs",
    }


def fill(pane, make: Callable[[], str]) -> None:
    """Puts the HTML that `make` returns into a pane, or the error that it raises: a callback's own errors are seen by nobody."""
    try:
        pane.value = f'<div style="line-height:1.4">{make()}</div>'
    except Exception as error:
        message = f"{type(error).__name__}: {plain(str(error))}"
        pane.value = (
            f'<p role="alert" style="border-left:4px solid #D55E00;padding-left:.6em"><b>This did not work.</b> {message}</p>'
        )


def slider(what: str, value: int, last: int, *, readout: bool = True):
    """A slider from 1 to `last`. It is worked by Left and Right; a notebook keeps Up and Down for its cells, also in lists."""
    import ipywidgets as widgets

    about = {"tooltip": f"{what}, 1 to {last}: arrow keys left and right", "style": {"description_width": f"{LABEL_PX}px"}}
    return widgets.IntSlider(value, 1, last, description=what, readout=readout, layout={"width": f"{SLIDER_PX}px"}, **about)


def plain(text: str) -> str:
    """A text as HTML that shows it and nothing else, shortened to LONGEST characters."""
    text = str(text).translate(CONTROL)
    return escape(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


def number(value: float | np.floating) -> str:
    """Two decimals, without a minus before 0.00."""
    return f"{round(float(value), 2) + 0.0:.2f}"


def image_html(picture: UInt8[np.ndarray, "row column *channel"], *, alt: str, width: int, height: int | None = None) -> str:
    """A picture inside HTML, with no file beside it; pixels stay square cells when it grows."""
    size = f"width:{width}px;height:{f'{height}px' if height else 'auto'};max-width:100%;image-rendering:pixelated"
    return f'<img src="{png_uri(picture)}" alt="{plain(alt)}" style="{size}">'


def refuse_nan(name: str, values: Shaped[np.ndarray, "..."]) -> None:
    """Raises ValueError if a value is NaN or infinite."""
    if n := int((~np.isfinite(values)).sum()):
        raise ValueError(f"{name}: {n} of {values.size} values are NaN or infinite; leave these rows out")


def same_length(**lengths: int) -> None:
    """Raises ValueError unless all are equal, naming each."""
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in lengths.items())
        raise ValueError(f"{said}: there must be as many of each, in the same order")
