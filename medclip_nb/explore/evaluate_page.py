"""An evaluation as one self-contained page: the scores, the confusion matrix, and some answers to look at."""

import io
from datetime import datetime

import numpy as np

from ..pages.site import style, template
from ..show.plots import confusion, set_style
from ..show.uris import png_uri, uri
from .evaluate import Evaluation

MOST_CLASSES = 15  # in the confusion matrix: the most frequent ones


def page(found: Evaluation) -> str:
    """The page's HTML: no script, nothing from the network; texts of the data are escaped."""
    rows = [{"way": row.way, "place": place} | row.score.to_dict() for place, row in enumerate(found.rows)]
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row["way"], []).append(row)
    about = {"found": found, "groups": groups, "figure": _figure(found), "examples": [_shown(found, e) for e in found.examples]}
    date = datetime.now().isoformat(" ", timespec="minutes")
    return template("evaluate.html").render(**about, style=style(), date=date, most_classes=MOST_CLASSES)


def _figure(found: Evaluation) -> str:
    """The confusion matrix as a data URI; empty where no classes were asked for."""
    from matplotlib import pyplot as plt

    if found.confusion is None:
        return ""
    set_style()
    kept = found.confusion.sum(axis=1).nlargest(MOST_CLASSES).index
    kept = [name for name in found.confusion if name in set(kept)]
    figure, file = confusion(found.confusion.loc[kept, kept]).figure, io.BytesIO()
    figure.savefig(file, format="png", dpi=90, bbox_inches="tight")
    plt.close(figure)
    return uri(file.getvalue())


def _shown(found: Evaluation, example: dict) -> dict:
    """An example with its picture (of a volume the middle slice) and its text."""
    row, images = found.items.table.iloc[example["item"]], found.items.read(slice(example["item"], example["item"] + 1))
    channels = images[0, :, images.shape[2] // 2]
    grey = channels[min(1, len(channels) - 1)]
    picture = np.ascontiguousarray(channels.transpose(1, 2, 0)) if found.judged.colour else grey
    return example | {"uri": png_uri(picture), "id": row["study_id"], "text": row["text"]}
