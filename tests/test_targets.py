"""Which text counts as right for which unit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medclip_nb.learn.targets import TARGETS, from_relation, identity, same_text

IDS = st.lists(st.integers(0, 4), min_size=1, max_size=12).map(torch.tensor)


def test_same_text_is_read_by_eye():
    targets, targets_t = same_text(torch.tensor([7, 3, 7]))
    assert targets.tolist() == targets_t.tolist() == [[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, 0.5]]


def test_identity_calls_a_twin_wrong():
    assert identity(torch.tensor([7, 7]))[0].tolist() == [[1, 0], [0, 1]]


def test_the_texts_side_is_normalised_on_its_own_and_is_not_the_transpose():
    targets, targets_t = from_relation(torch.tensor([[1, 1, 0], [0, 1, 0], [0, 1, 1]]).bool())
    assert targets.tolist() == [[0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5]]
    assert torch.allclose(targets_t, torch.tensor([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0, 1]]))
    assert not torch.allclose(targets_t, targets.T)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=30, deadline=None)
@given(ids=IDS)
def test_rows_of_both_sides_sum_to_1(name, ids):
    for side in TARGETS[name](ids):
        assert torch.allclose(side.sum(1), torch.ones(len(ids)))


@settings(max_examples=30, deadline=None)
@given(ids=IDS)
def test_a_text_is_right_exactly_where_it_is_the_same(ids):
    targets, targets_t = same_text(ids)
    for i, a in enumerate(ids.tolist()):
        for j, b in enumerate(ids.tolist()):
            assert (targets[i, j] > 0) == (targets_t[j, i] > 0) == (a == b)


def test_a_relation_with_more_texts_than_units_keeps_its_shape():
    targets, targets_t = from_relation(torch.tensor([[1, 0, 1], [0, 1, 0]]).bool())
    assert (targets.shape, targets_t.shape) == ((2, 3), (3, 2))
    assert torch.allclose(targets_t.sum(1), torch.ones(3))
