"""Choose a query, see its neighbours in order of rank and by which rule each of them counts as right."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from .plots import COLOURS
from .widget_parts import LABEL_PX, LEFT, NOTE, both_forms, fill, image_html, plain, refuse_nan, slider

MOST, PICTURE_PX = 5, 64  # neighbours that are shown; width of their pictures
LINES = ("solid", "dashed", "dotted", "double")  # under the name of each rule: a colour never stands alone


class RetrievalExplorer:
    """Queries to choose from, and the neighbours of each with the reasons for which they are right, or are not.

    `sim` says how near each item is to each query. Both tables have a column "text", the columns of `rules` (name of a rule ->
    columns that must be equal; an empty value is unknown and equals nothing) and, if there are pictures, an array each in the
    column "picture". `examples` are the queries of the still form. Raises ValueError where shapes or columns do not fit.
    """

    def __init__(
        self,
        sim: Float[np.ndarray, "query item"],
        queries: pd.DataFrame,
        items: pd.DataFrame,
        *,
        rules: dict[str, tuple[str, ...]],
        examples: Iterable[int],
    ):
        self.sim, self.queries, self.items = sim, queries.reset_index(drop=True), items.reset_index(drop=True)
        self.rules, self.examples = rules, [int(i) for i in examples]
        _check(self)

    def still(self) -> str:
        """The neighbours of the examples as HTML."""
        return f'<div class="medclip-still">{"".join(map(self.answer, self.examples))}</div>'

    def live(self):
        """The ipywidgets box: a slider and a list of queries, the neighbours of the one that is chosen."""
        import ipywidgets as widgets

        options = [(f"{i + 1}. {str(text)[:90]}", i) for i, text in enumerate(self.queries["text"])]
        first = self.examples[0] if self.examples else 0
        listed = widgets.Select(
            options=options, value=first, rows=6, description="or click", tooltip="choose a query by clicking"
        )
        listed.layout.width, listed.style.description_width = "98%", f"{LABEL_PX}px"
        which, pane = slider("query", first + 1, len(options)), widgets.HTML()
        widgets.link((which, "value"), (listed, "value"), transform=(lambda k: k - 1, lambda i: i + 1))
        show = lambda _=None: fill(pane, lambda: self.answer(which.value - 1))  # noqa: E731
        which.observe(show, "value")
        show()
        return widgets.VBox([which, listed, pane]).add_class("medclip-retrieval-explorer")

    def reasons(self, query: int) -> Bool[np.ndarray, "rule item"]:
        """By which rules, in their order, each item is right for a query."""
        own = self.queries.iloc[query]
        return np.array([np.all([_equal(self.items[c], own[c]) for c in columns], axis=0) for columns in self.rules.values()])

    def neighbours(self, query: int) -> Int[np.ndarray, " item"]:
        """Numbers of all items, the nearest first; of equals the first in the table."""
        return np.argsort(-self.sim[query], kind="stable")

    def answer(self, query: int) -> str:
        """The first neighbours of a query and why each is right, as HTML."""
        right = self.reasons(query)
        rows = "".join(self._row(query, place, int(i), right[:, i]) for place, i in enumerate(self.neighbours(query)[:MOST], 1))
        widths = {"rank": "8%", "score": "10%", "answer": "42%", "why it counts": "40%"}
        head = "".join(f'<th scope="col" style="{LEFT};width:{wide}">{name}</th>' for name, wide in widths.items())
        title = f"{self._picture(self.queries, query)} <b>query {query + 1}:</b> {plain(self.queries['text'][query])}"
        return (
            f'<div style="margin:1em 0 .2em">{title}</div>'
            f'<table style="width:100%;table-layout:fixed"><thead><tr>{head}</tr></thead>'
            f'<tbody>{rows}</tbody></table><p style="{NOTE}">{self._summary(query, right)}</p>'
        )

    def _row(self, query: int, place: int, i: int, right: Bool[np.ndarray, " rule"]) -> str:
        marks = " ".join(_mark(k, name) for k, name in enumerate(self.rules) if right[k])
        cells = (f"{place}", f"{self.sim[query, i]:.3f}", f"{self._picture(self.items, i)} {plain(self.items['text'][i])}")
        cells = (*cells, marks or '<span style="opacity:.75">✗ by no rule</span>')
        return "<tr>" + "".join(f'<td style="{LEFT}">{cell}</td>' for cell in cells) + "</tr>"

    def _summary(self, query: int, right: Bool[np.ndarray, "rule item"]) -> str:
        unknown = [not all(str(self.queries[c][query]) for c in columns) for columns in self.rules.values()]
        found = ["not known for this query" if u else _first(self.sim[query], own) for u, own in zip(unknown, right, strict=True)]
        said = [f"{_mark(k, name)} {found[k]}" for k, name in enumerate(self.rules)]
        return f"The first right answer among {len(self.items):,}: " + "; ".join(said)

    def _picture(self, table: pd.DataFrame, i: int) -> str:
        return (
            f'<div style="line-height:1">{image_html(table["picture"][i], alt="", width=PICTURE_PX)}</div>'
            if "picture" in table
            else ""
        )

    def _repr_mimebundle_(self, **_) -> dict:
        return both_forms(self.still(), self.live())


def _equal(values: pd.Series, own) -> Bool[np.ndarray, " item"]:
    return ((values == own) & (values.astype(str) != "")).to_numpy(bool)


def _first(sim: Float[np.ndarray, " item"], right: Bool[np.ndarray, " item"]) -> str:
    """Rank of the nearest right item, wrong ones first among equals, and how many are right."""
    if not right.any():
        return "none is right"
    rank = 1 + int((~right & (sim >= sim[right].max())).sum())
    return f"rank {rank:,} ({right.sum():,} right)"


def _mark(k: int, name: str) -> str:
    look = f"border-bottom:3px {LINES[k % len(LINES)]} {COLOURS[k % 6]};white-space:nowrap;margin-right:.4em"
    return f'<span style="{look}">✓ {plain(name)}</span>'


def _check(explorer: RetrievalExplorer) -> None:
    shape = (len(explorer.queries), len(explorer.items))
    if explorer.sim.shape != shape or 0 in shape:
        raise ValueError(f"sim is {explorer.sim.shape} for {shape[0]} queries and {shape[1]} items: a row and a column for each")
    refuse_nan("sim", explorer.sim)
    wanted = {"text", *(c for columns in explorer.rules.values() for c in columns)}
    for name, table in (("queries", explorer.queries), ("items", explorer.items)):
        if missing := sorted(wanted - set(table)):
            raise ValueError(f"{name} have no column {', '.join(missing)}; they have: {', '.join(map(str, table))}")
    if bad := [i for i in explorer.examples if not 0 <= i < shape[0]]:
        raise ValueError(f"examples {bad} are no queries: there are 0 to {shape[0] - 1}")
