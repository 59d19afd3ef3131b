"""Maps, neighbours and the gap, against loops."""

import numpy as np
import pytest
from toy import unit_vectors

from medclip_nb.measure.geometry import (
    chance_agreement,
    modality_gap,
    neighbour_agreement,
    neighbour_overlap,
    neighbours,
    umap_map,
)


def neighbours_loop(vectors, k) -> list[list[int]]:
    out = []
    for i, a in enumerate(vectors):
        others = [j for j in range(len(vectors)) if j != i]
        out.append(sorted(others, key=lambda j: (np.linalg.norm(a - vectors[j]), j))[:k])  # noqa: B023
    return out


def test_neighbours_agree_with_a_loop_and_with_cosine():
    vectors = unit_vectors(25, 4).astype(float)
    near = neighbours(vectors, 6)
    assert near.tolist() == neighbours_loop(vectors, 6)
    sim = vectors @ vectors.T - 9 * np.eye(25)
    assert near.tolist() == np.argsort(-sim, axis=1)[:, :6].tolist()


def test_no_point_is_its_own_neighbour_not_even_among_copies_or_with_k_too_large():
    for vectors, k in ((np.ones((6, 3)), 3), (unit_vectors(5, 3), 15)):
        near = neighbours(vectors, k)
        assert near.shape == (len(vectors), min(k, len(vectors) - 1))
        assert not (near == np.arange(len(vectors))[:, None]).any()


def test_overlap_agrees_with_sets():
    a, b = (neighbours(unit_vectors(30, 3, seed=s), 5) for s in (0, 1))
    wanted = [len(set(x) & set(y)) / 5 for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert neighbour_overlap(a, b).tolist() == pytest.approx(wanted)


def test_a_space_overlaps_wholly_with_itself_and_by_chance_with_noise():
    a, b = (neighbours(np.random.default_rng(s).normal(size=(400, 3)), 20) for s in (0, 1))
    assert (neighbour_overlap(a, a[:, ::-1]) == 1).all()
    assert neighbour_overlap(a, b).mean() == pytest.approx(20 / 399, abs=0.01)


def test_agreement_agrees_with_a_loop_and_leaves_the_own_patient_out():
    rng = np.random.default_rng(0)
    near, labels, groups = neighbours(rng.normal(size=(40, 3)), 5), rng.integers(0, 3, 40), rng.integers(0, 6, 40)
    for i, share in enumerate(neighbour_agreement(near, labels, groups)):
        kept = [labels[j] == labels[i] for j in near[i] if groups[j] != groups[i]]
        assert share == pytest.approx(np.mean(kept))


def test_agreement_is_nan_where_all_neighbours_are_of_one_patient():
    near = np.array([[1], [0], [0]])
    shares = neighbour_agreement(near, np.array(["a", "a", "b"]), np.array(["p", "p", "q"]))
    assert np.isnan(shares).tolist() == [True, True, False]
    assert shares[2] == 0


def test_chance_agreement_is_the_chance_that_two_draws_share_a_label():
    labels = np.array(["a", "a", "b", "c"])
    assert chance_agreement(labels) == pytest.approx(np.mean([x == y for x in labels for y in labels]))


def test_the_gap_is_read_by_eye():
    assert modality_gap(np.array([[1.0, 0]]), np.array([[0.0, 1]])) == pytest.approx(2**0.5)
    assert modality_gap(np.array([[1.0, 0], [-1, 0]]), np.array([[0.0, 1], [0, -1], [0, 0]])) == 0


def test_the_gap_does_not_depend_on_a_rotation_or_on_the_order():
    a, b = unit_vectors(9, 4).astype(float), unit_vectors(7, 4, seed=1).astype(float) + 1
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    assert modality_gap(a @ turn, b[::-1] @ turn) == pytest.approx(modality_gap(a, b)) == modality_gap(b, a)


@pytest.mark.parametrize("n", [12, 40])
def test_the_same_seed_gives_the_same_map_however_few_points(n):
    vectors = unit_vectors(n, 8)
    one, again, other = (umap_map(vectors, seed=s) for s in (1, 1, 2))
    assert one.shape == (n, 2)
    assert np.isfinite(one).all()
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
