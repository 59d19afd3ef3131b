"""Type a sentence, see what a model finds nearest to it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from .widget_parts import NOTE, both_forms, fill, image_html, number, plain, refuse_nan, same_length

MOST, CARD_PX = 5, 136  # answers of each gallery; width of one with a picture
WARNING = (
    "Scores are cosines. They put items in order for one sentence and say nothing by themselves: something always comes first, "
    "for a denial and for nonsense, too. See how far the best stands above the middle, and how far it does so for nonsense."
)


class Gallery(NamedTuple):
    """What a sentence is held against: L2-normalised vectors with a caption each and, if there are any, a picture each.

    `embed` is the text side of the model that the vectors are from.
    """

    name: str
    embed: Callable[[list[str]], Float[np.ndarray, "text dim"]]
    vectors: Float[np.ndarray, "item dim"]
    captions: list[str]
    pictures: UInt8[np.ndarray, "item row column"] | None = None


class PromptBoard:
    """A line to type a sentence into, and each gallery's items that lie nearest to it, with their scores.

    Without a kernel it answers the `presets`. Raises ValueError for vectors that are not of length 1, or not as many as captions.
    """

    def __init__(self, galleries: list[Gallery], *, presets: tuple[str, ...]):
        self.galleries, self.presets = galleries, presets
        if not galleries or not presets:
            raise ValueError(f"{len(galleries)} galleries and {len(presets)} presets: give at least one of each")
        for gallery in galleries:
            _check(gallery)

    def still(self) -> str:
        """The answers to the presets as HTML."""
        return f'<div class="medclip-still">{"".join(map(self.answer, self.presets))}{_WARNING}</div>'

    def live(self):
        """The ipywidgets box: a text field, a button for each preset, the answers."""
        import ipywidgets as widgets

        look = {"layout": {"width": "98%"}, "style": {"description_width": "initial"}}
        field = widgets.Text(self.presets[0], description="sentence", continuous_update=False, **look)
        field.tooltip = "type a sentence and press Enter"
        buttons = [widgets.Button(description=text, tooltip=f"ask: {text}", layout={"width": "auto"}) for text in self.presets]
        pane = widgets.HTML()
        ask = lambda _=None: fill(pane, lambda: self.answer(field.value) + _WARNING)  # noqa: E731
        field.observe(ask, "value")
        for button in buttons:
            button.on_click(lambda pressed: setattr(field, "value", pressed.description))
        ask()
        presets = widgets.Box(buttons, layout={"flex_flow": "row wrap"})
        return widgets.VBox([field, presets, pane]).add_class("medclip-prompt-board")

    def answer(self, sentence: str) -> str:
        """What is nearest in each gallery, as HTML. Raises ValueError for an empty sentence."""
        if not sentence.strip():
            raise ValueError("the sentence is empty; type one and press Enter")
        found = "".join(_gallery_html(gallery, sentence) for gallery in self.galleries)
        return f'<h4 style="margin:.8em 0 .2em">“{plain(sentence)}”</h4>{found}'

    def _repr_mimebundle_(self, **_) -> dict:
        return both_forms(self.still(), self.live())


def ranked(gallery: Gallery, sentence: str) -> tuple[Int[np.ndarray, " item"], Float[np.ndarray, " item"]]:
    """Numbers of the items, the nearest first (of equals the first in the list), and the cosine of every item.

    Raises ValueError if `embed` gives anything but one finite vector of the items' length.
    """
    emb = np.asarray(gallery.embed([sentence]))
    if emb.shape != (1, gallery.vectors.shape[1]):
        raise ValueError(f"{gallery.name}: the sentence became {emb.shape}, the items are vectors of {gallery.vectors.shape[1]}")
    refuse_nan(f"{gallery.name}, the sentence's vector", emb)
    scores = gallery.vectors @ emb[0]
    return np.argsort(-scores, kind="stable"), scores


def _gallery_html(gallery: Gallery, sentence: str) -> str:
    order, scores = ranked(gallery, sentence)
    cards = "".join(_card(gallery, place, int(i), float(scores[i])) for place, i in enumerate(order[:MOST], start=1))
    middle = f"best {number(scores.max())}, middle {number(np.median(scores))}, of {len(scores):,}"
    look = "display:flex;flex-wrap:wrap;gap:8px;padding:0;margin:0;list-style:none"
    return f'<p style="{NOTE}"><b>{plain(gallery.name)}</b>: {middle}</p><ol style="{look}">{cards}</ol>'


def _card(gallery: Gallery, place: int, i: int, score: float) -> str:
    caption, picture = gallery.captions[i], ""
    if gallery.pictures is not None:
        picture = image_html(gallery.pictures[i], alt=f"answer {place}", width=CARD_PX) + "<br>"
    look = f"width:{CARD_PX}px;font-size:85%;line-height:1.3;overflow-wrap:anywhere"
    return f'<li style="{look}">{picture}<b>{place}. {number(score)}</b> {plain(caption)}</li>'


def _check(gallery: Gallery) -> None:
    counts = {"vectors": len(gallery.vectors), "captions": len(gallery.captions)}
    same_length(**counts | ({} if gallery.pictures is None else {"pictures": len(gallery.pictures)}))
    if not len(gallery.vectors):
        raise ValueError(f"gallery {gallery.name!r} is empty: there is nothing to rank")
    refuse_nan(f"gallery {gallery.name!r}", gallery.vectors)
    if (worst := float(np.abs(np.linalg.norm(gallery.vectors, axis=1) - 1).max())) > 1e-3:
        raise ValueError(f"gallery {gallery.name!r}: a vector's length is off 1 by {worst:.3g}; divide each by its length")


_WARNING = f'<p style="{NOTE};max-width:46em"><em>{WARNING}</em></p>'
