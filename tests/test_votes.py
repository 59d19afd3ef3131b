"""What neighbours tell, against loops and scikit-learn."""

from collections import Counter

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import balanced_accuracy_score
from toy import unit_vectors

from medclip_nb.measure.geometry import neighbours
from medclip_nb.measure.votes import chance_range, dealt_anew, told_by_neighbours, vote


def drawn(n: int, n_labels: int, n_patients: int, seed: int = 0) -> tuple:
    """Points, labels and patients, all at random."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)), rng.integers(0, n_labels, n).astype(str), rng.integers(0, n_patients, n).astype(str)


def vote_loop(near, labels, groups, i) -> float:
    votes = Counter()
    for j in near[i]:
        votes[labels[j]] += 1 / sum(x == labels[j] and g != groups[i] for x, g in zip(labels, groups, strict=True))
    if not any(x == labels[i] and g != groups[i] for x, g in zip(labels, groups, strict=True)):
        return np.nan
    first = [x for x in votes if abs(votes[x] - max(votes.values())) < 1e-9]
    return (labels[i] in first) / len(first)


@pytest.mark.parametrize(("n", "n_labels", "n_patients", "k"), [(60, 3, 12, 15), (60, 20, 30, 2), (9, 2, 3, 15), (40, 4, 2, 5)])
@pytest.mark.parametrize("seed", range(3))
def test_a_vote_agrees_with_a_loop(n, n_labels, n_patients, k, seed):
    vectors, labels, patients = drawn(n, n_labels, n_patients, seed)
    near = neighbours(vectors.round(), k, groups=patients)
    wanted = [vote_loop(near.tolist(), labels, patients, i) for i in range(n)]
    assert vote(near, labels, patients).tolist() == pytest.approx(wanted, abs=1e-6, nan_ok=True)


def test_a_label_does_not_win_by_being_common_and_shares_the_point_in_a_tie():
    near = np.array([[1, 2], [0, 3], [3, 0], [2, 1]])  # one of each label
    assert vote(near, np.array(list("aabb")), np.arange(4)).tolist() == [1] * 4  # of the own label there is one other, of b two
    labels, patients = np.array(list("abcabc")), np.array(list("pppqqq"))
    assert vote(np.array([[3, 4, 5]] * 3 + [[0, 1, 2]] * 3), labels, patients).tolist() == pytest.approx([1 / 3] * 6)


def test_a_label_that_one_patient_alone_has_cannot_be_told():
    labels, patients = np.array(list("aabbcc")), np.array(list("pqpqpp"))
    hits = vote(neighbours(unit_vectors(6, 3), 2, groups=patients), labels, patients)
    assert np.isnan(hits).tolist() == [False] * 4 + [True] * 2


def predicted(near, labels, patients) -> list[str]:
    """What the neighbours of each point vote for, the first of the alphabet in a tie."""
    out = []
    for i, row in enumerate(near):
        total = {x: sum((labels == x) & (patients != patients[i])) for x in sorted(set(labels))}
        share = {x: sum(labels[row] == x) / max(1, n) for x, n in total.items()}
        out.append(max(share, key=lambda x: (round(share[x], 9), [-ord(c) for c in x])))  # noqa: B023
    return out


def test_what_neighbours_tell_is_scikit_learns_balanced_accuracy_where_no_vote_is_tied():
    vectors, labels, patients = drawn(90, 3, 31)
    vectors += 1.5 * np.eye(3)[labels.astype(int)]
    near = neighbours(vectors, 7, groups=patients)
    hits = vote(near, labels, patients)
    assert set(hits) == {0, 1}
    score = told_by_neighbours("label", near, labels, patients, n_bootstrap=100)
    assert score.value == pytest.approx(balanced_accuracy_score(labels, predicted(near, labels, patients)), abs=1e-6)
    assert score.low <= score.value <= score.high
    assert (score.n, score.chance) == (len(set(patients)), pytest.approx(1 / 3))


def test_asked_for_the_patient_the_own_neighbours_count_and_singles_are_left_out():
    patients = np.array([*np.repeat(list("abcd"), 4), "e"])
    vectors = np.vstack([np.repeat(np.eye(4), 4, axis=0) + 0.1 * unit_vectors(16, 4), np.ones((1, 4))])
    score = told_by_neighbours("patient", neighbours(vectors, 3), patients, patients, n_bootstrap=50)
    assert (score.value, score.n, score.chance) == (1, 4, 0.25)


def test_the_patient_told_by_neighbours_is_the_mean_over_patients_of_a_loop():
    vectors, _, patients = drawn(60, 2, 9)
    near = neighbours(vectors, 5)
    hits = [vote_loop(near.tolist(), patients, np.arange(60), i) for i in range(60)]
    wanted = np.mean([np.mean([h for h, p in zip(hits, patients, strict=True) if p == who]) for who in set(patients)])
    assert told_by_neighbours("patient", near, patients, patients, n_bootstrap=50).value == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("common", [0.34, 0.8])
def test_random_neighbours_tell_no_more_than_chance_however_common_a_label(common):
    rng, values = np.random.default_rng(0), []
    for _ in range(40):
        patients = np.repeat(np.arange(60), 4)
        labels = np.repeat(rng.choice(list("abc"), 60, p=[common, 0.9 - common, 0.1]), 4)
        near = neighbours(rng.normal(size=(240, 4)), groups=patients)
        values.append(told_by_neighbours("label", near, labels, patients, n_bootstrap=2).value)
    assert np.mean(values) == pytest.approx(1 / 3, abs=4 * scipy.stats.sem(values))


def test_collapsed_embeddings_do_not_beat_chance():
    _, labels, patients = drawn(60, 3, 20)
    near = neighbours(np.ones((60, 4)), groups=patients)
    score = told_by_neighbours("label", near, labels, patients, n_bootstrap=20)
    assert score.value == pytest.approx(1 / 3, abs=0.1)


@pytest.mark.parametrize("labels", ["aaaaaa", "aabcde"], ids=["one label", "one label that two patients share"])
def test_one_label_is_nothing_to_tell(labels):
    patients = np.array(list("pqrstu"))
    near = neighbours(unit_vectors(6, 3), 2, groups=patients)
    with pytest.raises(ValueError, match="region: 1 label that two patients share, of .; telling needs two"):
        told_by_neighbours("region", near, np.array(list(labels)), patients, n_bootstrap=5)


def test_dealt_anew_each_patient_has_another_ones_labels_as_often_as_it_has_points():
    patients = np.repeat(np.arange(8), 3)
    labels = np.char.add(patients.astype(str), np.tile(list("xyz"), 8))
    dealt = dealt_anew(labels, patients, seed=0)
    assert sorted(dealt) == sorted(labels)
    assert all(len({x[0] for x in dealt[patients == p]}) == 1 for p in range(8))
    assert not np.array_equal(dealt, labels)
    assert labels[0] == "0x"  # the input is left as it was


def test_a_patient_with_more_points_than_the_giver_repeats_its_labels():
    patients, labels = np.array(list("ppppq")), np.array(list("aaaab"))
    seen = {"".join(dealt_anew(labels, patients, seed=s)) for s in range(20)}
    assert seen == {"aaaab", "bbbba"}


def test_the_range_of_chance_agrees_with_a_loop_over_deals():
    vectors, labels, patients = drawn(60, 3, 20)
    near = neighbours(vectors, 5, groups=patients)
    deals = [dealt_anew(labels, patients, seed=s) for s in range(7, 27)]
    values = [told_by_neighbours("x", near, deal, patients, n_bootstrap=2).value for deal in deals]
    found = chance_range(near, labels, patients, n_deals=20, seed=7)
    assert found == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=1e-6)


def test_labels_that_have_nothing_to_do_with_clumps_of_patients_lie_in_the_range_of_chance():
    rng, inside = np.random.default_rng(0), []
    patients = np.repeat(np.arange(40), 4)
    for _ in range(40):
        labels = rng.choice(list("abc"), 40)[patients]
        vectors = 3 * rng.normal(size=(6, 8))[rng.integers(0, 6, 40)][patients] + rng.normal(size=(160, 8))
        near = neighbours(vectors, groups=patients)
        low, high = chance_range(near, labels, patients, n_deals=40)
        inside.append(low <= told_by_neighbours("x", near, labels, patients, n_bootstrap=2).value <= high)
    assert np.mean(inside) >= 0.85


def test_a_label_that_points_show_is_told_above_the_range_of_chance():
    vectors, labels, patients = drawn(90, 3, 30)
    near = neighbours(vectors + 2 * np.eye(3)[labels.astype(int)], groups=patients)
    score, (low, high) = (
        told_by_neighbours("x", near, labels, patients, n_bootstrap=50),
        chance_range(near, labels, patients, n_deals=50),
    )
    assert low < score.chance < high < score.low
