"""How well the rules agree with what somebody else says about the same reports."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool

from .reports import Finding, findings
from .vocabulary import CT_RATE

Pairs = Mapping[str, set[tuple[str, str]]]
BOTH = {"both": ("left", "right")}


def labels_of(report: str, label_map: Pairs = CT_RATE, *, uncertain: bool = True) -> set[str]:
    """Labels of a map of `vocabulary` (CT_RATE, CHEXPERT, CT_GLIP_LIKE) of which the report has a finding.

    Doubted findings count if `uncertain`. A label without findings of its own ("No Finding") holds where no other does.
    """
    present = {(f.organ, f.finding) for f in findings(report) if f.present and (uncertain or not f.uncertain)}
    return {name for name, pairs in label_map.items() if pairs & present} or {n for n, pairs in label_map.items() if not pairs}


def label_f1(texts: Sequence[str], labels: pd.DataFrame, label_map: Pairs = CT_RATE) -> pd.DataFrame:
    """n, precision, recall and f1 of each label that `label_map` and the columns of `labels` (a row of 0 and 1 per text) share.

    n is the number of texts that have the label. A label that nobody gives and nobody finds has no score (NaN).
    """
    if len(texts) != len(labels):
        raise ValueError(f"{len(texts)} texts but {len(labels)} rows of labels: give one row per text")
    names = [name for name in label_map if name in labels.columns]
    found = [labels_of(text, label_map) for text in texts]
    rows = [_scores(np.array([name in f for f in found], bool), labels[name].to_numpy() == 1) for name in names]
    return pd.DataFrame(rows, index=pd.Index(names, name="label"), columns=["n", "precision", "recall", "f1"])


def truth_scores(reports: Sequence[str], truths: Sequence[Iterable[tuple[str, str, str]]]) -> dict[str, float]:
    """f1, precision and recall of (organ, finding, side) triples over all reports, and how often a denial is got wrong.

    "both" counts as left and right. Only findings that occur in some truth are judged: a report may name what nobody listed.
    A mention is wrong if it says present and no truth of its organ, finding and side has it, or the reverse.
    """
    truths = [set(truth) for truth in truths]
    judged = {triple[:2] for truth in truths for triple in truth}
    said = [[f for f in findings(report) if (f.organ, f.finding) in judged] for report in reports]
    present = [{t for f in mentions if f.present for t in triples(f)} for mentions in said]
    n_right = sum(len(p & t) for p, t in zip(present, truths, strict=True))
    n_found, n_true = sum(map(len, present)), sum(map(len, truths))
    wrong = [f.present != _holds(f, truth) for mentions, truth in zip(said, truths, strict=True) for f in mentions]
    return {
        "f1": 2 * n_right / max(1, n_found + n_true), "precision": n_right / max(1, n_found), "recall": n_right / max(1, n_true),
        "negation_error": sum(wrong) / max(1, len(wrong)), "n": n_true, "n_mentions": len(wrong),
    }  # fmt: skip


def _scores(found: Bool[np.ndarray, " text"], true: Bool[np.ndarray, " text"]) -> tuple[int, float, float, float]:
    n_right, n_found, n_true = (found & true).sum(), found.sum(), true.sum()
    with np.errstate(invalid="ignore"):
        return int(n_true), n_right / n_found, n_right / n_true, 2 * n_right / (n_found + n_true)


def triples(finding: Finding) -> list[tuple[str, str, str]]:
    """(organ, finding, side) of a mention; "both" is left and right."""
    return [(finding.organ, finding.finding, side) for side in BOTH.get(finding.side, (finding.side,))]


def _holds(finding: Finding, truth: set[tuple[str, str, str]]) -> bool:
    if finding.side:
        return bool(truth & set(triples(finding)))
    return any((organ, name) == (finding.organ, finding.finding) for organ, name, _ in truth)
