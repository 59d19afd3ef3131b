"""Zero-shot scores of organs: against normal, and against everything else that the organ may have."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_organ_units import NAMES, toy_units
from toy import unit_vectors

from medclip_nb.measure import organs as module
from medclip_nb.measure.organs import AGAINST, embed_organs, state_cosines, state_scores
from medclip_nb.model.organ_encoder import OrganConfig, OrganEncoder

STATES = [("liver", ""), ("liver", "cyst"), ("spleen", "splenomegaly"), ("liver", "mass"), ("spleen", "")]
COSINES = np.array([[0.2, 0.5, -0.1, 0.3, 0.4], [0.6, 0.1, 0.7, -0.2, 0.0]])
UNITS = toy_units(unused=((0, "spleen"), (4, "liver"), *((3, name) for name in NAMES)))


def encoder(form: str = "crops") -> OrganEncoder:
    torch.manual_seed(0)
    return OrganEncoder(OrganConfig(NAMES, form, channels=1, embed_dim=8)).eval()


# scores


def test_against_normal_a_score_is_the_difference_of_two_logits():
    wanted = [[10 * (0.5 - 0.2), 10 * (-0.1 - 0.4), 10 * (0.3 - 0.2)], [10 * (0.1 - 0.6), 10 * (0.7 - 0.0), 10 * (-0.2 - 0.6)]]
    assert np.allclose(state_scores(COSINES, STATES, scale=10.0), wanted)
    assert np.allclose(state_scores(COSINES, STATES, scale=10.0, against="normal"), wanted)


def test_against_all_other_states_a_score_is_against_their_sum():
    def log_sum(*logits):
        return np.log(sum(np.exp(10 * x) for x in logits))

    wanted = [
        [5 - log_sum(0.2, 0.3), -1 - 4, 3 - log_sum(0.2, 0.5)],
        [1 - log_sum(0.6, -0.2), 7 - 0, -2 - log_sum(0.6, 0.1)],
    ]
    assert np.allclose(state_scores(COSINES, STATES, scale=10.0, against="all other states"), wanted)


@settings(max_examples=40, deadline=None)
@given(scale=st.floats(0.1, 100), seed=st.integers(0, 20))
def test_with_one_finding_in_an_organ_both_scores_are_equal(scale, seed):
    cosines = np.random.default_rng(seed).uniform(-1, 1, (3, 4))
    states = [("liver", ""), ("liver", "cyst"), ("spleen", "splenomegaly"), ("spleen", "")]
    one, other = (state_scores(cosines, states, scale=scale, against=a) for a in AGAINST)
    assert np.allclose(one, other)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 20))
def test_another_finding_can_only_lower_a_score(seed):
    cosines = np.random.default_rng(seed).uniform(-1, 1, (4, len(STATES)))
    against_normal, against_all = (state_scores(cosines, STATES, scale=5.0, against=a) for a in AGAINST)
    assert (against_all <= against_normal + 1e-12).all()


@pytest.mark.parametrize("against", AGAINST)
def test_the_probability_of_a_state_is_the_logistic_of_its_score(against):
    states = STATES if against == "all other states" else STATES[:2]
    found = 1 / (1 + np.exp(-state_scores(COSINES[:, : len(states)], states, scale=3.0, against=against)))
    liver = [i for i, (organ, _) in enumerate(states) if organ == "liver"]
    softmax = np.exp(3 * COSINES[:, liver]) / np.exp(3 * COSINES[:, liver]).sum(1, keepdims=True)
    assert np.allclose(found[:, 0], softmax[:, 1])


@pytest.mark.parametrize("against", AGAINST)
def test_an_organ_that_cannot_be_used_has_no_score_and_takes_none_from_others(against):
    cosines = COSINES.copy()
    cosines[0, [0, 1, 3]] = np.nan  # the liver of the first study
    found, whole = (state_scores(c, STATES, scale=10.0, against=against) for c in (cosines, COSINES))
    assert np.isnan(found).tolist() == [[True, False, True], [False] * 3]
    assert np.array_equal(found[~np.isnan(found)], whole[~np.isnan(found)])


@pytest.mark.parametrize("against", AGAINST)
def test_sharp_logits_give_finite_scores(against):
    found = state_scores(np.array([[1.0, -1.0, 1.0]]), [("a", ""), ("a", "x"), ("a", "y")], scale=1000.0, against=against)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("against", AGAINST)
def test_an_organ_without_its_normal_state_is_named(against):
    with pytest.raises(ValueError, match=r"no normal state of spleen: add \(organ, ''\) to the states"):
        state_scores(COSINES[:, :4], STATES[:4], scale=1.0, against=against)


def test_an_unknown_opponent_is_named():
    with pytest.raises(ValueError, match="unknown against 'chance'; choose one of: normal, all other states"):
        state_scores(COSINES, STATES, scale=1.0, against="chance")


def test_cosines_are_those_of_each_states_own_organ_by_a_loop():
    organs, states = unit_vectors(12, 5).reshape(3, 4, 5), unit_vectors(6, 5, seed=1)
    organs[1, 2], number = np.nan, np.array([0, 2, 2, 3, 1, 0])
    found = state_cosines(organs, states, number)
    for i, s in np.ndindex(3, 6):
        assert np.isclose(found[i, s], organs[i, number[s]] @ states[s], atol=1e-6, equal_nan=True)
    assert np.isnan(found).sum() == 2


# embeddings


@pytest.mark.parametrize("form", ["crops", "map"])
def test_each_organ_is_embedded_at_its_place_and_one_that_cannot_be_used_is_nan(form, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 3)
    model, rows = encoder(form), np.array([5, 0, 4, 9, 1, 0, 2])
    found, used = embed_organs(model, UNITS, rows), UNITS.organs.used[rows]
    assert found.shape == (7, len(NAMES), 8)
    assert np.array_equal(~np.isnan(found), np.repeat(used[:, :, None], 8, axis=2))
    for i, row in enumerate(rows):
        _, organ = UNITS.of(np.array([row]), form=form)
        alone = model.encode_images(*UNITS.images(np.array([row]), form=form)).detach().numpy()
        assert np.allclose(found[i, organ], alone, atol=1e-5)


@pytest.mark.parametrize("form", ["crops", "map"])
@pytest.mark.parametrize("rows", [[3], [3, 3], [0, 3, 3, 3], []])
def test_studies_without_any_usable_organ_are_all_nan(form, rows, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 2)
    found = embed_organs(encoder(form), UNITS, np.array(rows, int))
    assert found.shape == (len(rows), len(NAMES), 8)
    assert [bool(np.isnan(own).all()) for own in found] == [row == 3 for row in rows]


def test_with_boxes_the_masks_do_not_count():
    model, rows = encoder(), np.array([1, 2])
    plain, boxes = (embed_organs(model, UNITS, rows, boxes=boxes) for boxes in (False, True))
    wanted = model.encode_images(*UNITS.images(rows, boxes=True)).detach().numpy()
    study, organ = UNITS.of(rows)
    assert np.allclose(boxes[study, organ], wanted, atol=1e-5)
    assert not np.allclose(plain, boxes, atol=1e-3)
