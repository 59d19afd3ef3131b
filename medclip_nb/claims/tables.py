"""What tables of studies are made of: scores as rows, the mean over seeds with an interval over patients, paired differences."""

import numpy as np

from .. import config
from ..measure.findings import Truth, mean_auc, mean_auc_difference
from ..measure.statistics import Score

Cells = dict[tuple[str, int], dict[str, np.ndarray]]


def auc_rows(cells: Cells, truths: dict[str, Truth], preset: config.Preset, whole: Truth | None = None) -> list[dict]:
    """Per variant: each finding's mean over seeds, the mean of all, each seed's, and the difference from the first variant."""
    variants, n = list(dict.fromkeys(v for v, _ in cells)), {"n_bootstrap": preset.n_bootstrap}
    rows = []
    for measure, truth in truths.items():
        names = (whole or truth).names
        columns = [names.index(name) for name in truth.names]
        runs = {v: {seed: found["scores"][:, columns] for (w, seed), found in cells.items() if w == v} for v in variants}
        for variant, own in runs.items():
            every = list(own.values())
            about = {"variant": variant, "measure": measure}
            rows.append(about | score_row("all findings", "mean", mean_auc(measure, truth, every, **n)))
            rows += [about | score_row("all findings", str(s), mean_auc(measure, truth, [run], **n)) for s, run in own.items()]
            for k in truth.scored():
                name = truth.names[k]
                rows.append(
                    about | score_row(name, "mean", mean_auc(name, truth.only([name]), [run[:, [k]] for run in every], **n))
                )
            if variant != variants[0]:
                score = mean_auc_difference(measure, truth, every, list(runs[variants[0]].values()), **n)
                rows.append(about | score_row("all findings", f"minus {variants[0]}", score))
    return rows


def score_row(finding: str, seed: str, score: Score) -> dict:
    """A score as a row of a study's table."""
    return {"finding": finding, "seed": seed} | {k: getattr(score, k) for k in ("value", "low", "high", "n", "unit", "chance")}
