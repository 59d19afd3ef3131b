"""Maps, neighbours and the figures of a space, against loops, scikit-learn and closed forms."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import scipy.stats
from sklearn.manifold import trustworthiness as trustworthiness_of_sklearn
from sklearn.neighbors import NearestNeighbors
from toy import unit_vectors

from medclip_nb.measure import geometry
from medclip_nb.measure.geometry import (
    alignment,
    chance_alignment,
    chance_trustworthiness,
    effective_rank,
    hubness,
    k_occurrence,
    modality_gap,
    neighbour_overlap,
    neighbours,
    never_neighbours,
    pca_map,
    seed_overlap,
    trustworthiness,
    tsne_map,
    umap_map,
    uniformity,
)

GRID = np.array([[i, j] for i in range(5) for j in range(5)], float)  # ties everywhere
COLLAPSED = np.tile(unit_vectors(1, 8), (12, 1))


def neighbours_loop(vectors, k, groups) -> list[list[int]]:
    out = []
    for i, a in enumerate(vectors):
        others = [j for j in range(len(vectors)) if groups[j] != groups[i]]
        out.append(sorted(others, key=lambda j: (np.linalg.norm(a - vectors[j]), j))[:k])  # noqa: B023
    return out


@pytest.mark.parametrize("vectors", [unit_vectors(25, 4).astype(float), GRID, np.ones((25, 3))], ids=["random", "ties", "copies"])
@pytest.mark.parametrize("per_group", [1, 4])
def test_neighbours_agree_with_a_loop_ties_and_patients_included(vectors, per_group):
    groups = np.arange(25) // per_group
    near = neighbours(vectors, 6, groups=groups.astype(str) if per_group > 1 else None)
    assert near.tolist() == neighbours_loop(vectors, 6, groups)


@pytest.mark.parametrize("cells", [1, 60, 10_000])
def test_neighbours_are_the_same_however_few_distances_are_held_at_once(cells, monkeypatch):
    vectors = np.random.default_rng(0).integers(0, 4, (60, 3)).astype(np.float32)
    wanted, evenness = neighbours(vectors, 7), uniformity(vectors)
    monkeypatch.setattr(geometry, "CHUNK", cells)
    assert np.array_equal(neighbours(vectors, 7), wanted)
    assert uniformity(vectors) == pytest.approx(evenness, abs=1e-12)


def test_neighbours_agree_with_scikit_learn_and_on_unit_vectors_with_the_cosine():
    vectors = unit_vectors(200, 16).astype(float)
    near = neighbours(vectors, 9)
    assert np.array_equal(near, NearestNeighbors(n_neighbors=9).fit(vectors).kneighbors(return_distance=False))
    assert np.array_equal(near, np.argsort(-(vectors @ vectors.T - 9 * np.eye(200)), axis=1)[:, :9])


def test_no_point_is_its_own_neighbour_not_even_among_copies_or_with_k_too_large():
    for vectors, k in ((np.ones((6, 3)), 3), (unit_vectors(5, 3), 15)):
        near = neighbours(vectors, k)
        assert near.shape == (len(vectors), min(k, len(vectors) - 1))
        assert not (near == np.arange(len(vectors))[:, None]).any()


def test_all_points_get_as_many_neighbours_as_the_one_with_the_fewest():
    groups = np.array(list("aaaaabc"))
    near = neighbours(unit_vectors(7, 3), 5, groups=groups)
    assert near.shape == (7, 2)
    assert not (groups[near] == groups[:, None]).any()


def test_points_without_a_neighbour_are_refused():
    with pytest.raises(ValueError, match="1 vectors of 1 patients or groups: some have no neighbour of another"):
        neighbours(np.ones((1, 3)))
    with pytest.raises(ValueError, match="6 vectors of 1 patients"):
        neighbours(unit_vectors(6, 3), groups=np.array(["p"] * 6))


HOLED = unit_vectors(9, 3).astype(float)
HOLED[4, 1] = np.nan
ENDLESS = np.where(np.isnan(HOLED), np.inf, HOLED)
TAKES_VECTORS = {
    "neighbours": neighbours,
    "pca": pca_map,
    "tsne": lambda v: tsne_map(v, seed=0),
    "umap": lambda v: umap_map(v, seed=0),
    "trust in space": lambda v: trustworthiness(v, HOLED[:, :2] * 0, 3),
    "trust on map": lambda v: trustworthiness(np.ones((9, 3)), v[:, :2], 3),
    "alignment": lambda v: alignment(np.ones((9, 3)), v),
    "chance": lambda v: chance_alignment(v, np.ones((9, 3))),
    "uniformity": uniformity,
    "rank": effective_rank,
    "gap": lambda v: modality_gap(np.ones((2, 3)), v),
}


@pytest.mark.parametrize("name", TAKES_VECTORS)
@pytest.mark.parametrize("vectors", [HOLED, ENDLESS], ids=["nan", "inf"])
def test_a_vector_that_is_no_number_is_refused_by_name(name, vectors):
    vectors = vectors[:, [1, 0, 2]]  # a map has two columns only
    with pytest.raises(ValueError, match="1 of 9 vectors hold NaN or infinity, number 4 first"):
        TAKES_VECTORS[name](vectors)


def test_overlap_agrees_with_sets():
    a, b = (neighbours(unit_vectors(30, 3, seed=s), 5) for s in (0, 1))
    wanted = [len(set(x) & set(y)) / 5 for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert neighbour_overlap(a, b).tolist() == pytest.approx(wanted)


def test_a_space_overlaps_wholly_with_itself_and_by_chance_with_noise():
    a, b = (neighbours(np.random.default_rng(s).normal(size=(400, 3)), 20) for s in (0, 1))
    assert (neighbour_overlap(a, a[:, ::-1]) == 1).all()
    assert neighbour_overlap(a, b).mean() == pytest.approx(20 / 399, abs=0.01)


def test_the_overlap_of_several_maps_is_the_mean_over_their_pairs():
    maps = [np.random.default_rng(s).normal(size=(20, 2)) for s in range(3)]
    near = [[set(row) for row in neighbours(m, 4).tolist()] for m in maps]
    wanted = [np.mean([len(a[i] & b[i]) / 4 for a, b in combinations(near, 2)]) for i in range(20)]
    assert seed_overlap(maps, 4).tolist() == pytest.approx(wanted, abs=1e-9)
    assert seed_overlap([maps[0], maps[0] * 3 + 1], 4).tolist() == [1] * 20


def test_one_map_has_nothing_to_overlap_with():
    with pytest.raises(ValueError, match="an overlap needs two maps or more, there is 1"):
        seed_overlap([GRID])


def trust_loop(vectors, points, k) -> float:
    n, cost = len(vectors), 0
    space, near = neighbours_loop(vectors, n, range(n)), neighbours_loop(points, k, range(n))
    for i in range(n):
        cost += sum(max(0, space[i].index(j) + 1 - k) for j in near[i])
    return 1 - 2 * cost / (n * k * (2 * n - 3 * k - 1))


def test_trustworthiness_agrees_with_scikit_learn_and_with_a_loop():
    vectors, points = np.random.default_rng(0).normal(size=(40, 6)), np.random.default_rng(1).normal(size=(40, 2))
    value = trustworthiness(vectors, points, 5)
    assert value == pytest.approx(trustworthiness_of_sklearn(vectors, points, n_neighbors=5), abs=1e-9)
    assert value == pytest.approx(trust_loop(vectors, points, 5), abs=1e-9)


def test_a_map_that_is_the_space_is_trusted_wholly_and_a_random_one_half():
    points = np.random.default_rng(0).normal(size=(300, 2))
    assert trustworthiness(points, 2 * points[:, ::-1]) == 1
    assert trustworthiness(points, np.random.default_rng(1).normal(size=(300, 2))) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("n", "k"), [(40, 15), (60, 5), (9, 15)])
def test_the_chance_of_trustworthiness_is_its_mean_over_random_maps(n, k):
    rng = np.random.default_rng(0)
    values = [trustworthiness(rng.normal(size=(n, 3)), rng.normal(size=(n, 2)), k) for _ in range(150)]
    assert np.mean(values) == pytest.approx(chance_trustworthiness(n, k), abs=4 * scipy.stats.sem(values))


def test_trustworthiness_of_few_points_lowers_k_and_of_two_is_refused():
    points = np.random.default_rng(0).normal(size=(7, 2))
    assert trustworthiness(points, points[::-1]) == pytest.approx(trust_loop(points, points[::-1], 3), abs=1e-9)
    with pytest.raises(ValueError, match="2 points have no order to keep"):
        trustworthiness(points[:2], points[:2])


def test_a_pca_map_keeps_as_much_variance_as_the_largest_singular_values():
    vectors = np.random.default_rng(0).normal(size=(30, 7)) * np.arange(1, 8)
    centred = vectors - vectors.mean(0)
    values, directions = np.linalg.eigh(centred.T @ centred)
    points = pca_map(vectors)
    assert (points**2).sum(0) == pytest.approx(values[[-1, -2]], rel=1e-6)
    assert np.abs(points) == pytest.approx(np.abs(centred @ directions[:, [-1, -2]]), abs=1e-6)


@pytest.mark.parametrize("drawn_by", [umap_map, tsne_map])
@pytest.mark.parametrize("n", [12, 40])
def test_the_same_seed_gives_the_same_map_however_few_points(drawn_by, n):
    vectors = unit_vectors(n, 8)
    one, again = (drawn_by(vectors, seed=1) for _ in range(2))
    assert one.shape == (n, 2)
    assert np.isfinite(one).all()
    assert np.array_equal(one, again)


def test_another_seed_gives_another_umap():
    assert not np.array_equal(umap_map(unit_vectors(40, 8), seed=1), umap_map(unit_vectors(40, 8), seed=2))


def test_both_maps_keep_far_groups_apart():
    group = np.repeat([0, 1], 30)
    vectors = np.eye(6, dtype=np.float32)[group] + 0.05 * unit_vectors(60, 6)
    for points in (umap_map(vectors, seed=0), tsne_map(vectors, seed=0), pca_map(vectors)):
        assert (group[neighbours(points, 5)] == group[:, None]).all()


def test_alignment_and_its_chance_agree_with_loops():
    a, b = unit_vectors(9, 4), unit_vectors(9, 4, seed=1)
    wanted = [[float(((x - y) ** 2).sum()) for y in b.astype(float)] for x in a.astype(float)]
    assert alignment(a, b).tolist() == pytest.approx(np.diag(wanted), abs=1e-6)
    assert chance_alignment(a, b) == pytest.approx(np.mean(wanted), abs=1e-6)


def test_alignment_is_0_of_the_same_2_of_orthogonal_and_4_of_antipodal_vectors():
    a = np.array([[1.0, 0], [0, 1], [1, 0]])
    assert alignment(a, np.array([[1.0, 0], [1, 0], [-1, 0]])).tolist() == [0, 2, 4]


def uniformity_loop(vectors) -> float:
    return np.log(np.mean([np.exp(-2 * ((a - b) ** 2).sum()) for a, b in combinations(vectors.astype(float), 2)]))


@pytest.mark.parametrize("vectors", [unit_vectors(30, 5), GRID, unit_vectors(2, 3)], ids=["random", "ties", "two"])
def test_uniformity_agrees_with_a_loop_over_pairs(vectors):
    assert uniformity(vectors) == pytest.approx(uniformity_loop(vectors), abs=1e-6)


def test_collapsed_embeddings_have_uniformity_0_rank_1_and_no_trust_to_lose():
    assert uniformity(COLLAPSED) == pytest.approx(0, abs=1e-6)
    assert effective_rank(COLLAPSED) == pytest.approx(1, abs=1e-3)
    assert alignment(COLLAPSED, COLLAPSED).max() == 0
    assert modality_gap(COLLAPSED, COLLAPSED) == 0


def test_orthonormal_vectors_have_full_rank_and_the_uniformity_of_one_distance():
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0][:6]
    assert effective_rank(vectors) == pytest.approx(6, abs=1e-6)
    assert uniformity(vectors) == pytest.approx(-4, abs=1e-6)  # squared distance 2, times -2


@pytest.mark.parametrize("n", [1, 5])
def test_two_antipodal_caps_have_rank_1_gap_2_and_half_their_pairs_far(n):
    caps = np.repeat([[1.0, 0, 0], [-1, 0, 0]], n, axis=0)
    near, far = n * (n - 1), n * n
    assert effective_rank(caps) == pytest.approx(1, abs=1e-6)
    assert modality_gap(caps[:n], caps[n:]) == pytest.approx(2)
    assert uniformity(caps) == pytest.approx(np.log((near + far * np.exp(-8)) / (near + far)), abs=1e-6)


def test_uniformity_of_one_vector_and_rank_of_nothing_are_refused():
    with pytest.raises(ValueError, match="uniformity is about pairs, there is 1 vector"):
        uniformity(np.ones((1, 3)))
    with pytest.raises(ValueError, match="all 4 vectors are 0"):
        effective_rank(np.zeros((4, 3)))


@pytest.mark.parametrize("shape", [(20, 5), (5, 20), (1, 4)])
def test_effective_rank_agrees_with_the_eigenvalues_of_the_gram_matrix(shape):
    vectors = np.random.default_rng(0).normal(size=shape)
    gram = vectors @ vectors.T if shape[0] < shape[1] else vectors.T @ vectors
    sizes = np.sqrt(np.linalg.eigvalsh(gram).clip(0))
    assert effective_rank(vectors) == pytest.approx(np.exp(scipy.stats.entropy(sizes)), abs=1e-6)
    assert effective_rank(-3 * vectors) == pytest.approx(effective_rank(vectors), abs=1e-6)


def test_effective_rank_is_not_centred():
    assert effective_rank(np.array([[1.0, 0], [1, 0], [1, 1e-9]])) == pytest.approx(1, abs=1e-6)


def test_occurrence_and_hubness_agree_with_a_count_and_with_moments():
    near = neighbours(np.random.default_rng(0).normal(size=(80, 30)), 4)
    counted = Counter(near.ravel().tolist())
    counts = np.array([counted[i] for i in range(80)])
    assert k_occurrence(near).tolist() == counts.tolist()
    off = counts - counts.mean()
    assert hubness(near) == pytest.approx((off**3).mean() / (off**2).mean() ** 1.5, abs=1e-6)
    assert never_neighbours(near) == pytest.approx(np.mean([i not in counted for i in range(80)]), abs=1e-9)


def test_a_ring_has_no_hub_and_a_star_has_one():
    ring = np.array([[1, 4], [2, 0], [3, 1], [4, 2], [0, 3]])
    assert (hubness(ring), never_neighbours(ring)) == (0, 0)
    star = np.array([[1]] + [[0]] * 9)
    assert k_occurrence(star).tolist() == [9, 1] + [0] * 8
    assert hubness(star) > 2
    assert never_neighbours(star) == 0.8


def test_the_gap_is_read_by_eye():
    assert modality_gap(np.array([[1.0, 0]]), np.array([[0.0, 1]])) == pytest.approx(2**0.5)
    assert modality_gap(np.array([[1.0, 0], [-1, 0]]), np.array([[0.0, 1], [0, -1], [0, 0]])) == 0


def test_the_gap_does_not_depend_on_a_rotation_or_on_the_order():
    a, b = unit_vectors(9, 4).astype(float), unit_vectors(7, 4, seed=1).astype(float) + 1
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    assert modality_gap(a @ turn, b[::-1] @ turn) == pytest.approx(modality_gap(a, b)) == modality_gap(b, a)
