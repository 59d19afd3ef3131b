"""A similarity matrix whose cells tell which two texts they are about."""

import numpy as np
from jaxtyping import Float

from .plots import COLOURS
from .widget_parts import NOTE, both_forms, fill, plain, refuse_nan, slider

MOST = 16  # texts: more cells cannot be read


class SimilarityHover:
    """Similarities of texts as a table: hovering over a cell, or choosing its row and column, shows both texts and their score.

    `targets` are matrices of the same shape by name, read beside the score. `start` is the cell of the still form. Raises
    ValueError for other shapes and for more than MOST texts.
    """

    def __init__(
        self,
        sim: Float[np.ndarray, "_ _"],
        texts: list[str],
        *,
        targets: dict[str, Float[np.ndarray, "_ _"]] | None = None,
        start: tuple[int, int] = (0, 1),
    ):
        self.sim, self.texts, self.targets, self.start = sim, texts, targets or {}, start
        _check(self)

    def still(self) -> str:
        """The table, one cell read out, and the texts, as HTML; hovering works without a kernel and without script."""
        texts = "".join(f"<li>{plain(text)}</li>" for text in self.texts)
        note = f'<p style="{NOTE}">Rows and columns are these texts; hover over a cell to read its two.</p>'
        listed = f'<ol style="font-size:85%;margin:.2em 0">{texts}</ol>'
        return f'<div class="medclip-still">{self.table(*self.start)}{self.cell(*self.start)}{note}{listed}</div>'

    def live(self):
        """The ipywidgets box: row, column, the table, the cell that is chosen."""
        import ipywidgets as widgets

        row, column = (slider(name, k + 1, len(self.texts)) for name, k in zip(("row", "column"), self.start, strict=True))
        table, pane = widgets.HTML(), widgets.HTML()

        def show(_=None) -> None:
            fill(table, lambda: self.table(row.value - 1, column.value - 1))
            fill(pane, lambda: self.cell(row.value - 1, column.value - 1))

        row.observe(show, "value")
        column.observe(show, "value")
        show()
        return widgets.VBox([row, column, pane, table]).add_class("medclip-similarity")

    def table(self, row: int, column: int) -> str:
        """The matrix as HTML, one cell framed."""
        n = range(len(self.texts))
        head = "".join(f'<th scope="col" style="text-align:center;padding:2px">{j + 1}</th>' for j in n)
        cells = ["".join(self._td(i, j, (i, j) == (row, column)) for j in n) for i in n]
        body = "".join(f'<tr><th scope="row" style="padding:2px 8px">{i + 1}</th>{cells[i]}</tr>' for i in n)
        look = "border-collapse:collapse;font-size:85%"
        return f'<table style="{look}"><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>'

    def cell(self, row: int, column: int) -> str:
        """Two texts, their similarity and their targets, as HTML."""
        pairs = {"similarity": self.sim} | {f"target, {name}": matrix for name, matrix in self.targets.items()}
        numbers = "; ".join(f"{plain(name)} <b>{matrix[row, column]:.2f}</b>" for name, matrix in pairs.items())
        texts = "<br>".join(f"<b>{k + 1}.</b> {plain(self.texts[k])}" for k in (row, column))
        return f'<p aria-live="polite" style="margin:.5em 0">{texts}<br>{numbers}</p>'

    def _td(self, i: int, j: int, chosen: bool) -> str:
        low, high = float(self.sim.min()), float(self.sim.max())
        share = (float(self.sim[i, j]) - low) / ((high - low) or 1.0)
        title = f"{i + 1}. {plain(self.texts[i])}&#10;{j + 1}. {plain(self.texts[j])}&#10;similarity {self.sim[i, j]:.2f}"
        look = f"background:{_shade(share)};color:{'#fff' if share > 0.6 else '#000'};text-align:center;padding:3px 5px"
        frame = f";outline:3px solid {COLOURS[5]};outline-offset:-3px;font-weight:bold" * chosen
        return f'<td title="{title}" style="{look}{frame}">{self.sim[i, j]:.2f}</td>'

    def _repr_mimebundle_(self, **_) -> dict:
        return both_forms(self.still(), self.live())


def _shade(share: float) -> str:
    """White at 0, the palette's blue at 1."""
    return "#" + "".join(f"{round(255 + (int(COLOURS[0][k : k + 2], 16) - 255) * share):02x}" for k in (1, 3, 5))


def _check(board: SimilarityHover) -> None:
    n = len(board.texts)
    if not 1 < n <= MOST:
        raise ValueError(f"{n} texts: choose 2 to {MOST}, or nobody can read the cells")
    for name, matrix in {"sim": board.sim, **board.targets}.items():
        if matrix.shape != (n, n):
            raise ValueError(f"{name} is {matrix.shape} for {n} texts: it needs a row and a column for each")
        refuse_nan(name, matrix)
    if not all(0 <= k < n for k in board.start):
        raise ValueError(f"start {board.start} is no cell of a {n} x {n} table")
