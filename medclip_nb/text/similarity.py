"""How alike two reports are: SeLIP's formula, its repair, and plainer rulers to hold beside them.

Three steps, each a function: score findings against findings (`finding_scores`, or `set_dice` and `cosines` for sentences),
list which finding each report has (`indexed`), and gather the scores per pair of reports (`mean_of_pairs`, which is SeLIP's,
or `best_match`, the repair). Findings and reports are the *unique* ones; `of_units` spreads the result over the units that
own them. For reports too many for a dense matrix, `most_similar` takes any ruler some rows at a time.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from ..config import choose
from .rulers import MOST_ROWS, Rows, Split, characters, dice_rows, whole, words

Pair = tuple[str, str]  # location and signal of one finding; organ and abnormality do as well
Which = Int[np.ndarray, "report slot"]  # numbers of each report's findings, filled up with -1


class Grammar(NamedTuple):
    """Marks of one finding's sentence, and the signal words, of which the first that occurs gives the class."""

    place: str  # before the location
    signal: str  # between location and signal
    join: str  # between findings
    classes: tuple[str, ...]  # high, low, long, short, iso


GRAMMARS = {
    "zh": Grammar("在", "表现为", "，", ("高信号", "低信号", "长信号", "短信号", "等信号")),
    "en": Grammar("at ", " shows ", ", ", ("high signal", "low signal", "long signal", "short signal", "iso signal")),
}
SIGNALS = GRAMMARS["zh"].classes + GRAMMARS["en"].classes
MOST_DENSE = 5_000  # reports: above, the dense matrix and its steps want more memory than a laptop has to spare
BLOCK = 2**25  # scores held at a time (128 MB)


def parse(text: str, grammar: Grammar = GRAMMARS["zh"]) -> list[Pair]:
    """Location and signal of each finding of a text in SeLIP's grammar; none for a text that names no signal (healthy).

    Raises ValueError where a part of a text that names a signal does not follow the grammar.
    """
    found = []
    for part in text.split(grammar.join) if grammar.signal in text else ():
        part = part.strip(" .。")
        location, _, signal = part.removeprefix(grammar.place).partition(grammar.signal)
        if not (part.startswith(grammar.place) and location and signal):
            reads = f"{grammar.place}…{grammar.signal}…"
            raise ValueError(f"{part!r} in {text[:80]!r} does not read {reads!r}; join such findings by {grammar.join!r} only")
        found.append((location, signal))
    return found


def pairs(found: Sequence) -> list[Pair]:
    """Findings taken from a report as pairs: side and organ the location, finding the signal; each once, none denied."""
    return list(dict.fromkeys((f"{f.side} {f.organ}".strip(), f.finding) for f in found if f.present))


def signal_class(signal: str, classes: tuple[str, ...] = SIGNALS) -> str:
    """The first of the signal words, in the table's order, that occurs in `signal`; `signal` itself where none does."""
    return next((word for word in classes if word in signal), signal)


def finding_rows(findings: list[Pair], split: Split = characters) -> Rows:
    """Rows of (1/2 [same location] + 1/2 [same signal class]) times the Dice of the findings' token sets.

    SeLIP (arXiv 2503.19801), as in its official code. In [0, 1], symmetric, 1 for a finding with itself.
    """
    place = _codes([location for location, _ in findings])
    signal = _codes([signal_class(s) for _, s in findings])
    dice = dice_rows([f"{location} {s}" for location, s in findings], split)

    def rows(chosen: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row finding"]:
        scores = dice(chosen)
        scores *= (place[chosen, None] == place).astype(np.float32) + (signal[chosen, None] == signal)
        return np.multiply(scores, 0.5, out=scores)

    return rows


def finding_scores(findings: list[Pair], split: Split = characters) -> Float[np.ndarray, "finding finding"]:
    """The score of each pair of findings, see `finding_rows`."""
    return whole(finding_rows(findings, split), len(findings))


def indexed(reports: list[list]) -> tuple[list, Which]:
    """The distinct findings (or sentences) of all reports, in order of first use, and each report's numbers in that list.

    Rows are filled up with -1; a healthy report is a row of -1.
    """
    number = {f: i for i, f in enumerate(dict.fromkeys(f for report in reports for f in report))}
    which = np.full((len(reports), max(map(len, reports), default=0) or 1), -1)
    for row, report in zip(which, reports, strict=True):
        row[: len(report)] = [number[f] for f in report]
    return list(number), which


def mean_of_pairs(scores: Float[np.ndarray, "finding finding"], which: Which) -> Float[np.ndarray, "report report"]:
    """SeLIP's similarity: the mean score over all pairs of findings; 0 where either report is healthy.

    The formula and nothing else, its weaknesses included: two findings make a report only about half similar to itself. The
    paper's S_ii = 1 is for the same unit, see `of_units`; its cap at 1 is never reached.
    """
    return _mean(_mean(scores, which).T, which)


def best_match(scores: Float[np.ndarray, "finding finding"], which: Which) -> Float[np.ndarray, "report report"]:
    """The repair (ours): each finding's best partner, averaged over one report's findings, then over both directions.

    1 for a report with itself, symmetric, in [0, 1]; two healthy reports are 1, a healthy and a sick one 0.
    `scores` must be symmetric.
    """
    one_way, healthy = _mean(_best(scores, which).T, which), which[:, 0] < 0
    return (one_way + one_way.T) / 2 + np.logical_and.outer(healthy, healthy)


MATCHES = {"mean": mean_of_pairs, "best": best_match}


def of_reports(reports: list[list[Pair]], *, match: str = "best", split: Split = words) -> Float[np.ndarray, "report report"]:
    """Similarity of unique reports, each a list of findings; `match` is "mean" (SeLIP's) or "best" (the repair).

    Raises ValueError for another match, and above MOST_DENSE reports.
    """
    if len(reports) > MOST_DENSE:
        raise ValueError(f"{len(reports)} reports are too many for a dense matrix (at most {MOST_DENSE}); use similar_reports")
    findings, which = indexed(reports)
    return choose(MATCHES, "match", match)(finding_scores(findings, split), which)


def of_units(sim: Float[np.ndarray, "text text"], text_ids: Int[np.ndarray, " unit"]) -> Float[np.ndarray, "unit unit"]:
    """Similarity of units from that of their unique texts; 1 on the diagonal, for a unit with itself (SeLIP's S_ii)."""
    spread = sim[np.ix_(text_ids, text_ids)]
    np.fill_diagonal(spread, 1)
    return spread


def similar_reports(reports: list[list[Pair]], *, keep: int, match: str = "best", split: Split = words) -> sparse.csr_array:
    """The `keep` most similar of the reports for each of them, see `most_similar`; memory does not grow with n squared."""
    findings, which = indexed(reports)
    n_rows = MOST_ROWS if len(findings) ** 2 <= BLOCK else max(1, BLOCK // (len(findings) * which.shape[1]))
    return most_similar(report_rows(finding_rows(findings, split), which, match=match), len(reports), keep=keep, n_rows=n_rows)


def report_rows(score_rows: Rows, which: Which, *, match: str = "best") -> Rows:
    """Rows of the similarity of reports, from rows of the scores of their findings (symmetric)."""
    inner = {mean_of_pairs: _mean, best_match: _best}[choose(MATCHES, "match", match)]
    healthy = which[:, 0] < 0

    def rows(chosen: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row report"]:
        used, mine = np.unique(which[chosen], return_inverse=True)
        used, mine = used[used >= 0], mine.reshape(len(chosen), -1) - (used[0] < 0)
        scores = score_rows(used)
        there = _mean(inner(scores, mine).T, which).T
        back = _mean(inner(scores.T, which).T, mine)
        both_healthy = np.logical_and.outer(healthy[chosen], healthy) * (inner is _best)
        return (there + back) / 2 + both_healthy

    return rows


def most_similar(rows: Rows, n: int, *, keep: int, n_rows: int = MOST_ROWS) -> sparse.csr_array:
    """The `keep` most similar items of each of n, itself always among them; zeros are not stored.

    Takes `n_rows` rows at a time. Row by row: i may keep j without j keeping i.
    """
    if min(n, keep) < 1:
        raise ValueError(f"{n} items of which {keep} are to be kept: give at least one of each")
    parts, keep = [], min(keep, n)
    for start in range(0, n, n_rows):
        chosen = np.arange(start, min(start + n_rows, n))
        sim = rows(chosen)
        order = -sim
        order[np.arange(len(chosen)), chosen] = -np.inf
        columns = np.sort(np.argpartition(order, keep - 1, axis=1)[:, :keep], axis=1)
        values, pointers = np.take_along_axis(sim, columns, 1), np.arange(len(chosen) + 1) * keep
        parts.append(sparse.csr_array((values.ravel(), columns.ravel(), pointers), shape=(len(chosen), n)))
    kept = sparse.vstack(parts, format="csr")
    kept.eliminate_zeros()
    return kept


def _mean(scores: Float[np.ndarray, "finding item"], which: Which) -> Float[np.ndarray, "report item"]:
    """Mean over each report's findings; 0 for a report without any."""
    scores = np.ascontiguousarray(scores)
    total = np.zeros((len(which), scores.shape[1]), scores.dtype)
    for numbers in which.T if len(scores) else ():
        there = numbers >= 0
        if there.all():
            total += scores[numbers]
        else:
            total[there] += scores[numbers[there]]
    return total / np.maximum((which >= 0).sum(1), 1)[:, None].astype(scores.dtype)


def _best(scores: Float[np.ndarray, "finding item"], which: Which) -> Float[np.ndarray, "report item"]:
    """Largest over each report's findings; 0 for a report without any."""
    if not len(scores):
        return np.zeros((len(which), scores.shape[1]), scores.dtype)
    scores, filled = np.ascontiguousarray(scores), np.where(which < 0, which[:, :1], which)  # twice the same: same maximum
    best = scores[filled[:, 0]]
    for numbers in filled.T[1:]:
        np.maximum(best, scores[numbers], out=best)
    best[which[:, 0] < 0] = 0
    return best


def _codes(names: list[str]) -> Int[np.ndarray, " name"]:
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], int)
