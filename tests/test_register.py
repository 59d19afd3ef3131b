"""Claims: when one holds, what a row of the summary has, and that every claim can be looked up."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from medclip_nb.claims import heads, organs, radclip, real, register, tables, towers
from medclip_nb.claims.register import CLAIMS, NOT_MEASURED, Claim, judged
from medclip_nb.claims.studies import STUDIES
from medclip_nb.config import PRESETS
from medclip_nb.measure.comparisons import HOLDS, NOT_SHOWN, REVERSED, seed_interval, verdict

CLAIM = Claim("ours", "new beats old", "toy", "new", "old", "AUC")


def table_of(new: list[float], old: list[float], effect: tuple[float, float, float]) -> pd.DataFrame:
    """As a study makes it; each list has a value per seed."""
    rows = [("old", "mean", np.mean(old), 0, 1), ("new", "mean", np.mean(new), 0, 1), ("new", "minus old", *effect)]
    rows += [(v, str(s), x, 0, 1) for v, values in (("old", old), ("new", new)) for s, x in enumerate(values)]
    table = pd.DataFrame(rows, columns=["variant", "seed", "value", "low", "high"])
    return table.assign(measure="AUC", finding="all findings", n=40, unit="patients", chance=0.5)


def test_an_interval_over_seeds_is_students():
    values = np.random.default_rng(0).normal(size=5)
    wanted = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert seed_interval(values) == pytest.approx(wanted)


def test_one_seed_says_nothing_about_the_next():
    assert seed_interval(np.array([0.9])) == (-np.inf, np.inf)
    assert verdict((0.5, 0.9), seed_interval(np.array([0.7]))) == NOT_SHOWN


@pytest.mark.parametrize(
    ("patients", "seeds", "wanted"),
    [((0.01, 0.2), (0.02, 0.1), HOLDS), ((-0.2, -0.1), (-0.3, -0.01), REVERSED), ((0.01, 0.2), (-0.01, 0.3), NOT_SHOWN),
     ((-0.1, 0.2), (0.02, 0.1), NOT_SHOWN), ((0.0, 0.2), (0.02, 0.1), NOT_SHOWN), ((0.1, 0.2), (-0.3, -0.1), NOT_SHOWN)],
)  # fmt: skip
def test_a_claim_holds_only_if_both_intervals_say_so(patients, seeds, wanted):
    assert verdict(patients, seeds) == wanted


def test_a_row_has_both_scores_the_effect_and_what_it_rests_on():
    row = judged({"toy": table_of([0.8, 0.82, 0.81], [0.7, 0.71, 0.72], (0.1, 0.05, 0.15))}, (CLAIM,)).iloc[0]
    assert row[["value", "base_value", "effect", "chance"]].tolist() == pytest.approx([0.81, 0.71, 0.1, 0.5])
    assert row[["n", "seeds", "verdict", "says"]].tolist() == [40, 3, HOLDS, "new beats old"]
    assert row["seeds_low"] < 0.1 < row["seeds_high"]
    assert row["redo"] == "medclip-nb claims toy --seed 0 1 2"


def test_a_claim_whose_comparison_no_table_has_was_not_measured():
    table = table_of([0.8], [0.7], (0.1, 0.0, 0.2))
    for tables_ in ({}, {"toy": table[table["seed"] != "minus old"]}, {"toy": table[table["variant"] == "new"]}):
        row = judged(tables_, (CLAIM,)).iloc[0]
        assert row["verdict"] == NOT_MEASURED
        assert row[["effect", "value", "n"]].isna().all()


def test_every_claim_names_a_study_and_variants_that_it_has():
    for claim in CLAIMS:
        assert {claim.variant, claim.base} <= set(STUDIES[claim.study].variants), claim
    assert len({(c.study, c.variant, c.base, c.measure) for c in CLAIMS}) == len(CLAIMS)
    assert {c.paper for c in CLAIMS} == set(register.PAPERS)


BASES = {
    "slices": tables.those_before, "pooling": radclip._bases, "towers": towers._bases, "pictures": real.bases_of,
    "stacks": real.stack_bases, "selip": heads.bases_of, "selip_sizes": heads.bases_of, "organ_labels": tables.those_before,
    "transfer_labels": tables.those_before, "transfer_masks": tables.those_before,
}  # fmt: skip


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.says)
def test_what_a_claim_compares_is_compared_in_its_study(claim):
    bases = BASES.get(claim.study, organs.bases_of)
    assert claim.base in bases(claim.variant, list(STUDIES[claim.study].variants))


def test_differences_are_of_the_seeds_that_both_have():
    runs = {"old": {0: np.zeros(30), 1: np.ones(30)}, "new": {1: np.full(30, 2.0)}}
    rows = tables.mean_rows(runs, "m", np.arange(30), chance=None, preset=PRESETS["smoke"])
    assert [row["value"] for row in rows if row["seed"] == "minus old"] == [1.0]
