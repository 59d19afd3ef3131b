"""Similarity of reports against SeLIP's published values, against slow loops, and by its properties."""

from types import SimpleNamespace

import numpy as np
import pytest

from medclip_nb.text import similarity
from medclip_nb.text.rulers import characters, words
from medclip_nb.text.similarity import (
    GRAMMARS,
    best_match,
    finding_rows,
    finding_scores,
    indexed,
    mean_of_pairs,
    of_reports,
    parse,
)

A = "在左侧基底节区表现为斑片状高信号"
B = "在右侧基底节区表现为点状高信号"
C = "在左侧基底节区表现为低信号"
D = "在左侧额叶表现为斑片状高信号，在右侧枕叶表现为低信号"
PLACES = ("left frontal lobe", "right frontal lobe", "pons", "left lung")
SIGNALS = ("patchy high signal", "high signal", "faint low signal", "nodule", "long signal")


def some_reports(n: int, *, seed: int = 0, most: int = 5) -> list[list[tuple[str, str]]]:
    """Reports of 0 to `most` findings, repeated ones included."""
    rng = np.random.default_rng(seed)
    finding = lambda: (PLACES[rng.integers(len(PLACES))], SIGNALS[rng.integers(len(SIGNALS))])  # noqa: E731
    return [[finding() for _ in range(rng.integers(most + 1))] for _ in range(n)]


def slow_score(a, b, split) -> float:
    """SeLIP's score of two findings, times their Dice, straight from the formula."""
    kind = lambda s: next((c for c in ("high", "low", "long", "short", "iso") if f"{c} signal" in s), s)  # noqa: E731
    score = 0.5 * (a[0] == b[0]) + 0.5 * (kind(a[1]) == kind(b[1]))
    x, y = split(" ".join(a)), split(" ".join(b))
    return score * 2 * len(x & y) / (len(x) + len(y))


def slow_mean(one, other, split) -> float:
    values = [slow_score(a, b, split) for a in one for b in other]
    return min(1.0, sum(values) / len(values)) if values else 0.0


def slow_best(one, other, split) -> float:
    if not one or not other:
        return float(not one and not other)
    there = sum(max(slow_score(a, b, split) for b in other) for a in one) / len(one)
    back = sum(max(slow_score(a, b, split) for a in one) for b in other) / len(other)
    return (there + back) / 2


SLOW = {"mean": slow_mean, "best": slow_best}


@pytest.mark.parametrize(
    ("one", "other", "value"),
    [(A, B, 0.391304), (A, C, 0.380952), (B, C, 0), (A, D, 0.181818), (D, D, 0.5), (B, D, 0.119048), (A, A, 1)],
)
def test_selip_gives_the_published_values(one, other, value):
    sim = of_reports([parse(one), parse(other)], match="mean", split=characters)
    assert sim[0, 1] == pytest.approx(value, abs=1e-6)


def test_the_official_grammar_is_taken_apart():
    assert parse(D) == [("左侧额叶", "斑片状高信号"), ("右侧枕叶", "低信号")]
    english = parse("at left frontal lobe shows patchy high signal, at pons shows low signal.", GRAMMARS["en"])
    assert english == [("left frontal lobe", "patchy high signal"), ("pons", "low signal")]


@pytest.mark.parametrize("text", ["", "颅脑未见明显异常", "No abnormality at all."])
def test_a_text_that_names_no_signal_is_healthy(text):
    assert parse(text) == []


@pytest.mark.parametrize(
    "text", ["在左侧额叶表现为高信号，右侧枕叶低信号", "左侧额叶表现为高信号", "在表现为高信号", "在左侧额叶表现为"]
)
def test_a_finding_outside_the_grammar_is_an_error_that_quotes_it(text):
    with pytest.raises(ValueError, match="does not read '在…表现为…'"):
        parse(text)


@pytest.mark.parametrize(
    ("signal", "kind"),
    [
        ("斑片状高信号", "高信号"),
        ("低信号伴高信号", "高信号"),
        ("长短信号", "短信号"),
        ("肿胀", "肿胀"),
        ("low signal", "low signal"),
    ],
)
def test_the_class_of_a_signal_is_the_first_of_the_table_that_occurs(signal, kind):
    assert similarity.signal_class(signal) == kind


def test_pairs_hold_each_finding_once_and_none_that_is_denied():
    finding = lambda present, side: SimpleNamespace(organ="lung", finding="nodule", side=side, present=present)  # noqa: E731
    found = [finding(True, "left"), finding(True, "left"), finding(False, "right"), finding(True, "")]
    assert similarity.pairs(found) == [("left lung", "nodule"), ("lung", "nodule")]


@pytest.mark.parametrize("split", [words, characters])
@pytest.mark.parametrize("match", ["mean", "best"])
def test_the_matrix_agrees_with_slow_loops(match, split):
    reports = some_reports(25)
    slow = [[SLOW[match](a, b, split) for b in reports] for a in reports]
    assert np.allclose(of_reports(reports, match=match, split=split), slow, atol=1e-6)


@pytest.mark.parametrize("match", ["mean", "best"])
def test_similarity_is_symmetric_in_0_to_1_and_blind_to_the_order_of_findings(match):
    reports = some_reports(40, seed=1)
    sim = of_reports(reports, match=match)
    assert np.allclose(sim, sim.T, atol=1e-6)
    assert sim.min() >= 0
    assert sim.max() <= 1
    assert np.allclose(of_reports([r[::-1] for r in reports], match=match), sim, atol=1e-6)


def test_a_report_is_like_itself_by_best_match_but_not_by_selip():
    reports = [r for r in some_reports(40, seed=2) if len(set(r)) > 1]
    assert np.allclose(np.diag(of_reports(reports)), 1, atol=1e-6)
    assert (np.diag(of_reports(reports, match="mean")) < 1).all()


@pytest.mark.parametrize(("match", "value"), [("mean", 0), ("best", 1)])
def test_two_healthy_reports_are_nothing_alike_in_selip_and_the_same_in_the_repair(match, value):
    sim = of_reports([[], [], [("pons", "low signal")]], match=match)
    assert sim[0, 1] == sim[0, 0] == value
    assert sim[0, 2] == sim[2, 0] == 0
    assert np.array_equal(of_reports([[], []], match=match), np.full((2, 2), value))


def test_no_report_at_all_gives_an_empty_matrix():
    assert of_reports([]).shape == (0, 0)


def test_a_finding_said_twice_counts_twice_in_the_mean_and_as_in_the_loops():
    one, other = [("pons", "nodule")] * 2 + [("left lung", "nodule")], [("pons", "nodule")]
    for match, slow in SLOW.items():
        assert of_reports([one, other], match=match)[0, 1] == pytest.approx(slow(one, other, words), abs=1e-6)


def test_a_unit_is_like_itself_and_two_units_with_one_text_keep_the_formulas_value():
    sim = of_reports([parse(D), parse(A)], match="mean", split=characters)
    units = similarity.of_units(sim, np.array([0, 1, 0]))
    assert np.array_equal(np.diag(units), np.ones(3))
    assert units[0, 2] == pytest.approx(0.5)
    assert sim[0, 0] == pytest.approx(0.5)  # the matrix of the texts is left as it was


def test_findings_are_numbered_once_and_rows_filled_up():
    findings, which = indexed([["b", "a"], [], ["a", "a", "c"]])
    assert findings == ["b", "a", "c"]
    assert which.tolist() == [[0, 1, -1], [-1, -1, -1], [1, 1, 2]]


def test_sentences_with_embeddings_are_matched_like_findings():
    scores, which = np.array([[1, 0.2], [0.2, 1]]), np.array([[0, 1], [1, -1]])
    assert best_match(scores, which)[0, 1] == pytest.approx(((0.2 + 1) / 2 + 1) / 2)
    assert mean_of_pairs(scores, which)[0, 1] == pytest.approx((0.2 + 1) / 2)


@pytest.mark.parametrize("match", ["mean", "best"])
def test_rows_made_on_demand_are_the_rows_of_the_matrix(match):
    reports = some_reports(30, seed=3)
    findings, which = indexed(reports)
    rows, chosen = similarity.report_rows(finding_rows(findings, words), which, match=match), np.array([29, 0, 7, 7])
    assert np.allclose(rows(chosen), of_reports(reports, match=match)[chosen], atol=1e-6)


@pytest.mark.parametrize("match", ["mean", "best"])
def test_the_sparse_matrix_keeps_the_largest_of_each_row_and_the_diagonal(match, monkeypatch):
    monkeypatch.setattr(similarity, "MOST_ROWS", 7)
    reports = some_reports(30, seed=4)
    dense = of_reports(reports, match=match)
    kept = similarity.similar_reports(reports, keep=4, match=match).toarray()
    assert np.allclose(kept, np.where(kept > 0, dense, 0), atol=1e-6)
    assert np.allclose(np.diag(kept), np.diag(dense), atol=1e-6)
    others = ~np.eye(30, dtype=bool)
    largest = [np.sort(dense[i][others[i]])[-3:].sum() for i in range(30)]
    assert np.allclose((kept * others).sum(1), largest, atol=1e-5)


def test_a_small_block_of_scores_gives_the_same_sparse_matrix(monkeypatch):
    reports = some_reports(30, seed=5)
    whole = similarity.similar_reports(reports, keep=30).toarray()
    monkeypatch.setattr(similarity, "BLOCK", 50)
    assert np.allclose(similarity.similar_reports(reports, keep=30).toarray(), whole, atol=1e-6)


def test_asking_for_more_than_there_are_keeps_all():
    reports = some_reports(12, seed=6)
    assert np.allclose(similarity.similar_reports(reports, keep=99).toarray(), of_reports(reports), atol=1e-6)


def test_only_healthy_reports_go_through_the_sparse_way_too():
    assert np.array_equal(similarity.similar_reports([[], [], []], keep=3).toarray(), np.ones((3, 3)))


@pytest.mark.parametrize("make", [of_reports, lambda r, match: similarity.similar_reports(r, keep=2, match=match)])
def test_an_unknown_match_names_the_known_ones(make):
    with pytest.raises(ValueError, match="unknown match 'max'; choose one of: mean, best"):
        make(some_reports(3), match="max")


def test_too_many_reports_are_sent_to_the_sparse_way(monkeypatch):
    monkeypatch.setattr(similarity, "MOST_DENSE", 3)
    with pytest.raises(ValueError, match="4 reports are too many .* use similar_reports"):
        of_reports([[]] * 4)


def test_a_finding_is_fully_like_itself_and_scores_are_symmetric():
    findings = [(p, s) for p in PLACES for s in SIGNALS]
    scores = finding_scores(findings, words)
    assert np.allclose(np.diag(scores), 1)
    assert np.array_equal(scores, scores.T)


@pytest.mark.parametrize("text", ["<b>x</b>", "\x00\ud7ff￿", "ä" * 50_000, "在"])
def test_odd_locations_go_through(text):
    sim = of_reports([[(text, "nodule")], [("", ""), (text, text)], []])
    assert np.allclose(np.diag(sim), 1)
