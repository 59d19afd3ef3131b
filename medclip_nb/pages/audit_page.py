"""An audit as one self-contained page: what was found, what to do about it, and the images in question."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from ..data.audit import SEVERITIES
from ..data.personal import masked
from ..data.preprocessing import Preprocessing, preprocess
from ..data.readers import ImageError, read_image, reorient
from ..files import write_text
from ..show.uris import png_uri
from .site import style, template

MOST_IMAGES = 12  # of one finding
MOST_IN_GROUP = 4
MOST_IDS = 60
TEXT_CHECKS = ("reports", "laterality")  # beside these images their reports are shown
SIDE_PX = 96  # of a thumbnail, and of each view of a volume


def write_page(found: pd.DataFrame, table: pd.DataFrame, path: str | Path) -> Path:
    """Writes what `audit` found in `table` as one HTML file: no script, nothing from the network, images inside.

    Of a volume the middle axial slice and the middle coronal one are shown. Copies stand side by side. What looks like a name
    or a number of a person is masked in reports.
    """
    closed = {i for i, column, _ in found.attrs.get("faults", ()) if column == "image"}  # missing, or outside the root
    ids, together, cards = table["study_id"].tolist(), found.attrs.get("groups"), []
    texts = [masked(t, known=w) for t, w in zip(table["report"], found.attrs.get("words", [()] * len(table)), strict=True)]
    table = table.assign(report=texts)
    for label, finding in zip(found.index, found.to_dict("records"), strict=True):
        groups = _few(together[label] if together else [[i] for i in finding["rows"]])
        figures = [[_figure(table, i, i in closed) for i in group] for group in groups]
        rank, told = SEVERITIES.index(finding["severity"]), finding["check"].endswith(TEXT_CHECKS)
        some_ids = [ids[i] for i in finding["rows"][:MOST_IDS]]
        cards.append(finding | {"ids": some_ids, "groups": figures, "rank": rank, "texts": told})
    about = {"name": Path(table.attrs["root"]).resolve().name, "n": len(table), "counts": _counts(found), "findings": cards}
    return write_text(path, template("audit.html").render(**about, style=style()))


def _counts(found: pd.DataFrame) -> list[tuple[str, int]]:
    counts = Counter(found["severity"])
    return [(severity, counts[severity]) for severity in SEVERITIES]


def _few(groups: list[list[int]]) -> list[list[int]]:
    few = [group[:MOST_IN_GROUP] for group in groups[:MOST_IMAGES]]
    before = np.cumsum([0, *map(len, few)])[:-1]
    return [group for group, n in zip(few, before, strict=True) if n + len(group) <= MOST_IMAGES]


def _figure(table: pd.DataFrame, i: int, closed: bool) -> dict[str, str]:
    row, uri, why = table.iloc[i], "", "no image"
    if row["image"]:
        try:
            uri = "" if closed else png_uri(_views(Path(table.attrs["root"]) / row["image"]))
        except ImageError:
            why = "cannot be read"
    about = ", ".join(filter(None, [row["patient_id"] * (row["patient_id"] != row["study_id"]), row["split"]]))
    return {"id": row["study_id"], "about": about, "uri": uri, "why": "not opened" if closed else why, "report": row["report"]}


def _views(path: Path) -> UInt8[np.ndarray, "row column"]:
    image = reorient(read_image(path), "LPS")
    if len(image.array) == 1:
        return preprocess(image, Preprocessing((1, SIDE_PX, SIDE_PX)))[0, 0]
    cube = preprocess(image, Preprocessing((SIDE_PX, SIDE_PX, SIDE_PX)))[0]
    return np.hstack([cube[SIDE_PX // 2], cube[::-1, SIDE_PX // 2]])
