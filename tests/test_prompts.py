"""Prompts are complete, paired and distinct; how many matter is measured against the slow definition."""

from itertools import combinations
from string import Formatter

import numpy as np
import pytest

from medclip_nb.text import prompts
from medclip_nb.text.prompts import TEMPLATES, auc, ensemble, spread

STATES = [names for names, state in TEMPLATES if state is True]
TRUTH = np.array([True, True, False, False, False])


def slow_auc(scores, truth) -> float:
    """Share of (positive, negative) pairs in the right order."""
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[truth] for n in scores[~truth]]
    return sum(pairs) / len(pairs)


@pytest.mark.parametrize("key", TEMPLATES, ids=str)
def test_each_template_uses_all_that_is_given_and_is_there_once(key):
    for template in TEMPLATES[key]:
        assert {name for _, name, _, _ in Formatter().parse(template) if name} == set(key[0])
    assert len({t.lower() for t in TEMPLATES[key]}) == len(TEMPLATES[key]) >= 3


@pytest.mark.parametrize("names", STATES, ids=str)
def test_each_state_has_its_opposite_prompt_by_prompt(names):
    there, absent = (TEMPLATES[names, state] for state in (True, False))
    assert len(there) == len(absent)
    assert not set(there) & set(absent)


def test_negative_prompts_deny_and_positive_ones_do_not():
    denial = {"no", "not", "without", "absent", "normal", "negative"}
    for (_, state), templates in TEMPLATES.items():
        assert all(bool(denial & set(t.replace(",", "").split())) == (state is False) for t in templates)


def test_a_normal_organ_is_told_in_ct_glips_words_first():
    assert ensemble(organ="liver", present=False)[0] == "liver shows no significant abnormality"


def test_slots_are_filled():
    assert "no cyst in the left kidney" in ensemble(organ="left kidney", finding="cyst", present=False)
    assert ensemble(modality="CT", region="chest")[0] == "chest CT"
    assert ensemble(modality="CT", region="chest", finding="nodule", present=True)[0] == "chest CT, nodule"
    assert "{x}" in ensemble(organ="{x}")


@pytest.mark.parametrize(
    "given", [{}, {"finding": "cyst"}, {"organ": "liver", "region": "chest"}, {"modality": "CT", "present": True}]
)
def test_what_has_no_templates_is_refused_with_a_list_of_what_has(given):
    with pytest.raises(ValueError, match=r"no prompts for .*, present=.*; there are some for: organ, present=None; "):
        ensemble(**given)


def test_auc_agrees_with_counting_pairs_ties_included():
    scores = np.random.default_rng(0).integers(0, 4, (6, 5)).astype(float)
    assert np.allclose(auc(scores, TRUTH), [slow_auc(row, TRUTH) for row in scores])
    assert auc(np.zeros((1, 5)), TRUTH) == [0.5]


@pytest.mark.parametrize("truth", [np.zeros(5, bool), np.ones(5, bool)])
def test_an_auc_of_one_kind_only_is_refused(truth):
    with pytest.raises(ValueError, match="of 5 units are positive: an AUC needs both kinds"):
        spread(np.zeros((2, 5)), truth)


def test_the_spread_of_few_prompts_is_over_all_their_subsets():
    scores = np.random.default_rng(1).normal(size=(4, 5))
    for row in spread(scores, TRUTH):
        values = [slow_auc(scores[list(s)].mean(0), TRUTH) for s in combinations(range(4), row.size)]
        assert (row.low, row.high) == pytest.approx((min(values), max(values)))
        assert row.mean == pytest.approx(np.mean(values))


def test_prompts_that_agree_do_not_matter_and_all_together_have_no_spread():
    scores = np.tile([3.0, 1, 2, 0, 0], (5, 1))
    assert {(r.mean, r.low, r.high) for r in spread(scores, TRUTH)} == {(5 / 6,) * 3}
    last = spread(np.random.default_rng(2).normal(size=(5, 5)), TRUTH)[-1]
    assert last.size == 5
    assert last.low == last.high


def test_many_prompts_are_sampled_by_seed(monkeypatch):
    monkeypatch.setattr(prompts, "N_SUBSETS", 10)
    scores = np.random.default_rng(3).normal(size=(8, 30))
    truth = np.arange(30) < 12
    first, again, other = (spread(scores, truth, seed=s) for s in (1, 1, 2))
    assert first == again != other
    assert first[0] == other[0]  # of size 1 all are tried
