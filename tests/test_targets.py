"""Which text counts as right for which unit."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medclip_nb.config import RECIPES
from medclip_nb.learn.losses import recipe_loss
from medclip_nb.learn.targets import (
    TARGETS,
    both_normal,
    class_level,
    from_relation,
    identity,
    label_agreement,
    same_text,
    shares,
    sharpened,
    similarity_mixed,
)

IDS = st.lists(st.integers(0, 4), min_size=1, max_size=12).map(torch.tensor)
SEEDS = st.integers(0, 10_000)
S = torch.tensor([[1, 0.2, 0.8], [0.5, 1, 0], [0.1, 0.3, 1]], dtype=torch.float64)  # what one text says of another; not symmetric


def normal_of(ids: torch.Tensor) -> torch.Tensor:
    """Texts 0 and 3 are normal."""
    return ids % 3 == 0


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def relation(seed: int) -> torch.Tensor:
    """Every unit has a right text, and every text a unit, but for two at the end."""
    owned = (random(5, 4, seed=seed) < 0.3) | torch.eye(5, 4).bool()
    owned[4, seed % 4] = True
    return torch.cat([owned, torch.zeros(5, 2).bool()], 1)


def by_loop(right: list[list[bool]]) -> torch.Tensor:
    """A share for each that is right, one number after the other."""
    return torch.tensor([[1 / sum(row) if r else 0.0 for r in row] for row in right])


def assert_rows_sum_to_1(targets):
    for side in targets:
        assert (side >= 0).all()
        assert torch.allclose(side.sum(1), torch.ones(len(side), dtype=side.dtype))


def test_same_text_is_read_by_eye():
    targets, targets_t = same_text(torch.tensor([7, 3, 7]))
    assert targets.tolist() == targets_t.tolist() == [[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, 0.5]]


def test_identity_calls_a_twin_wrong():
    assert identity(torch.tensor([7, 7]))[0].tolist() == [[1, 0], [0, 1]]


def test_normal_units_share_their_texts_however_worded():
    ids, normal = torch.tensor([0, 1, 2, 2]), torch.tensor([True, True, False, False])
    half = [[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5]]
    assert both_normal(ids, normal)[0].tolist() == both_normal(ids, normal)[1].tolist() == half


def test_a_normal_text_that_an_abnormal_unit_has_too_stays_right_for_both():
    ids, normal = torch.tensor([0, 0, 1]), torch.tensor([True, False, True])
    assert torch.allclose(both_normal(ids, normal)[0], torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0], [0.5, 0, 0.5]]))


@settings(max_examples=30, deadline=None)
@given(ids=IDS)
def test_targets_by_text_agree_with_a_loop(ids):
    texts, n = ids.tolist(), len(ids)
    right = {
        identity: [[i == j for j in range(n)] for i in range(n)],
        same_text: [[a == b for b in texts] for a in texts],
        both_normal: [[a == b or (a % 3 == 0 and b % 3 == 0) for b in texts] for a in texts],
    }
    for name, wanted in right.items():
        for side in name(ids, normal_of(ids)) if name is both_normal else name(ids):
            assert torch.allclose(side, by_loop(wanted))


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_targets_of_a_relation_agree_with_a_loop_from_both_sides(seed):
    right = relation(seed)
    targets, targets_t = from_relation(right)
    assert torch.allclose(targets, by_loop(right.tolist()))
    assert torch.allclose(targets_t, by_loop(right.T[:4].tolist()))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=30, deadline=None)
@given(ids=IDS)
def test_rows_of_both_sides_sum_to_1(name, ids):
    assert_rows_sum_to_1(TARGETS[name](ids))


@settings(max_examples=30, deadline=None)
@given(ids=IDS, seed=SEEDS, weight=st.floats(0, 1))
def test_rows_of_the_softer_targets_sum_to_1_on_both_sides(ids, seed, weight):
    labels = random(len(ids), 3, seed=seed)
    assert_rows_sum_to_1(both_normal(ids, normal_of(ids)))
    assert_rows_sum_to_1(from_relation(relation(seed)))
    assert_rows_sum_to_1(label_agreement(labels, labels.flip(0)))
    assert_rows_sum_to_1(similarity_mixed(random(len(ids), len(ids), seed=seed) + 0.01, weight))


@pytest.mark.parametrize("targets", [identity, same_text, lambda ids, rows: both_normal(ids, normal_of(ids), rows)])
@settings(max_examples=20, deadline=None)
@given(ids=IDS, start=st.integers(0, 11), n=st.integers(1, 12))
def test_some_rows_are_those_of_the_whole(targets, ids, start, n):
    rows = slice(start, start + n)
    for some, whole in zip(targets(ids, rows), targets(ids, slice(None)), strict=True):
        assert torch.equal(some, whole[rows])


def test_the_texts_side_is_normalised_on_its_own_and_is_not_the_transpose():
    targets, targets_t = from_relation(torch.tensor([[1, 1, 0], [0, 1, 0], [0, 1, 1]]).bool())
    assert targets.tolist() == [[0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5]]
    assert torch.allclose(targets_t, torch.tensor([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0, 1]]))
    for one, other in ((targets, targets_t), similarity_mixed(S, 0.5), label_agreement(S, S.flip(0))):
        assert not torch.allclose(one.T, other)


def test_a_relation_with_more_texts_than_units_keeps_its_shape():
    targets, targets_t = from_relation(torch.tensor([[1, 0, 1], [0, 1, 0]]).bool())
    assert (targets.shape, targets_t.shape) == ((2, 3), (3, 2))


def test_a_unit_without_a_right_text_is_named():
    with pytest.raises(ValueError, match="unit 1 has no right text"):
        from_relation(torch.tensor([[1, 0], [0, 0]]).bool())


def test_classes_that_no_unit_has_stand_last_and_have_no_row_of_their_own():
    targets, targets_t = class_level(torch.tensor([2, 5, 2]), torch.tensor([5, 2, 9, 1]))
    assert targets.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]
    assert targets_t.tolist() == [[0, 1, 0], [0.5, 0, 0.5]]


def test_a_class_that_no_unit_has_is_refused_in_front_of_one_that_some_have():
    with pytest.raises(ValueError, match="no unit owns text 1: negatives stand behind"):
        class_level(torch.tensor([2, 5]), torch.tensor([2, 9, 5]))


def test_a_unit_of_a_class_without_a_text_is_refused():
    with pytest.raises(ValueError, match="unit 1 has no right text"):
        class_level(torch.tensor([2, 7]), torch.tensor([2]))


def test_agreement_of_labels_is_the_softmax_of_their_cosine():
    units, texts = [[1.0, 0], [3, 4]], [[1.0, 0], [0, 2], [1, 1]]
    cosine = [[1, 0, math.sqrt(0.5)], [0.6, 0.8, 1.4 * math.sqrt(0.5)]]
    targets, targets_t = label_agreement(torch.tensor(units), torch.tensor(texts))
    for i, row in enumerate(cosine):
        assert targets[i].tolist() == pytest.approx([math.exp(c) / sum(map(math.exp, row)) for c in row], rel=1e-5)
    for j, column in enumerate(zip(*cosine, strict=True)):
        assert targets_t[j].tolist() == pytest.approx([math.exp(c) / sum(map(math.exp, column)) for c in column], rel=1e-5)


def test_a_unit_without_a_label_agrees_with_all_texts_alike():
    targets, targets_t = label_agreement(torch.tensor([[0.0, 0], [1, 0]]), torch.eye(2))
    assert targets[0].tolist() == [0.5, 0.5]
    assert targets_t[1].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_each_side_normalises_the_similarity_itself_and_then_mixes(weight):
    for side, similarity in zip(similarity_mixed(S, weight), (S, S.T), strict=True):
        for i, row in enumerate(similarity.tolist()):
            wanted = [(1 - weight) * (i == j) + weight * s / sum(row) for j, s in enumerate(row)]
            assert side[i].tolist() == pytest.approx(wanted, rel=1e-12)


def test_mixing_first_and_normalising_then_would_be_another_target():
    mixed_first = shares(0.5 * torch.eye(3, dtype=torch.float64) + 0.5 * S)
    assert (similarity_mixed(S, 0.5)[0] - mixed_first).abs().max() > 0.05


@pytest.mark.parametrize("weight", [-0.1, 1.5, math.nan])
def test_a_weight_that_is_no_share_is_refused(weight):
    with pytest.raises(ValueError, match="a share from 0 to 1, not"):
        similarity_mixed(S, weight)


@pytest.mark.parametrize("hostile", [torch.zeros(2, 2), torch.tensor([[1.0, 0], [0, 0]]), torch.tensor([[1.0, 0], [1, 0]])])
def test_a_text_that_is_similar_to_nothing_is_refused(hostile):
    with pytest.raises(ValueError, match="similar to nothing"):
        similarity_mixed(hostile, 0.5)


def test_a_negative_similarity_is_refused():
    with pytest.raises(ValueError, match="a similarity is -0.25; .*clamp it at 0"):
        similarity_mixed(torch.tensor([[1.0, -0.25], [0, 1]]), 0.5)


# a sharper similarity


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 8), seed=SEEDS, power=st.floats(0.5, 4), keep=st.integers(0, 10))
def test_a_sharpened_similarity_agrees_with_a_loop(n, seed, power, keep):
    similarity = random(n, n, seed=seed)
    for row, found in zip(similarity.tolist(), sharpened(similarity, power=power, keep=keep).tolist(), strict=True):
        kept = sorted(range(n), key=lambda j: -row[j])[: keep or n]  # noqa: B023
        assert found == pytest.approx([row[j] ** power if j in kept else 0 for j in range(n)])


def test_by_default_a_similarity_is_not_sharpened_and_never_changed_itself():
    before = S.clone()
    assert torch.equal(sharpened(S), S)
    assert not torch.equal(sharpened(S, power=2.0, keep=1), S)
    assert torch.equal(S, before)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, power=st.floats(1, 6), keep=st.integers(1, 6))
def test_a_unit_always_keeps_itself_so_that_sharpened_targets_are_shares(seed, power, keep):
    similarity = random(6, 6, seed=seed).fill_diagonal_(1)
    sharp = sharpened(similarity, power=power, keep=keep)
    assert (sharp.diagonal() == 1).all()
    assert (sharp <= similarity + 1e-12).all()
    assert_rows_sum_to_1(similarity_mixed(sharp, 0.5))


@pytest.mark.parametrize("weight", [0.0, 0.25, 0.5, 1.0])
def test_the_loss_of_mixed_targets_is_clips_plus_the_divergence_from_the_similarity_but_for_a_constant(weight):
    clip, constants = RECIPES["clip"], []
    mixed, alike = similarity_mixed(S, weight), similarity_mixed(S, 1.0)
    for seed in range(3):
        logits = 5 * random(3, 3, seed=seed)
        sides = zip((logits, logits.T), alike, strict=True)
        divergence = sum(torch.nn.functional.kl_div(x.log_softmax(1), q, reduction="batchmean") for x, q in sides) / 2
        plain = recipe_loss(clip, logits, *identity(torch.arange(3)))
        constants.append((recipe_loss(clip, logits, *mixed) - (1 - weight) * plain - weight * divergence).item())
    entropy = -sum((q * q.clamp(min=1e-300).log()).sum(1).mean() for q in alike) / 2
    assert constants == pytest.approx([weight * entropy.item()] * 3, abs=1e-5)
