"""Batches: what an epoch draws, and what is right in a batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import toy_features, toy_pairs, toy_units, toy_volumes

from medclip_nb.config import RECIPES, SHIFT_PX
from medclip_nb.learn.pairs import (
    ImagePairs,
    Pairs,
    VolumePairs,
    balanced_batches,
    checked_splits,
    distinct_batches,
    full_batches,
)
from medclip_nb.learn.targets import sharpened, similarity_mixed

TEXTS = st.lists(st.integers(0, 6), min_size=2, max_size=60).filter(lambda ids: len(set(ids)) > 1).map(np.array)
SIZES = st.integers(2, 10)
SEEDS = st.integers(0, 10_000)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def volume_pairs(sentences: list[list[int]]) -> VolumePairs:
    """The first volumes, for training and validation in turn, with these sentences of seven."""
    whole, n = toy_volumes(12), len(sentences)
    table = whole.table.iloc[:n].assign(split=["train", "val"] * (n // 2))
    return VolumePairs(tuple(v[:n] for v in whole.volumes), [np.array(own, int) for own in sentences], toy_features(7), table)


# which units make a batch


@settings(max_examples=60, deadline=None)
@given(ids=TEXTS, size=SIZES, seed=SEEDS)
def test_a_distinct_batch_holds_no_text_twice_and_is_as_large_as_texts_allow(ids, size, seed):
    rows = 100 + np.arange(len(ids))
    batches = distinct_batches(rows, ids, size, generator(seed))
    assert len(batches) == len(full_batches(rows, size))
    for batch in batches:
        assert set(batch) <= set(rows)
        assert len(set(ids[batch - 100])) == len(batch) == min(size, len(set(ids)))


@settings(max_examples=60, deadline=None)
@given(ids=TEXTS, size=SIZES, seed=SEEDS)
def test_every_text_is_in_as_many_distinct_batches_as_any_other_but_for_one(ids, size, seed):
    batches = distinct_batches(np.arange(len(ids)), ids, size, generator(seed))
    counts = [sum(text in ids[batch] for batch in batches) for text in set(ids.tolist())]
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("batches", [distinct_batches, balanced_batches])
def test_a_text_is_there_with_any_of_its_units(batches):
    ids = np.array([0, 1, 0, 0, 1, 2])
    drawn = [np.concatenate(batches(np.arange(6), ids, 3, generator(seed))) for seed in range(60)]
    assert set(np.concatenate(drawn).tolist()) == set(range(6))


def test_texts_come_in_another_order_in_each_round():
    rounds = distinct_batches(np.arange(12), np.arange(12) % 4, 4, generator())
    assert len({tuple(batch % 4) for batch in rounds}) > 1


@pytest.mark.parametrize("n", [1, 9])
def test_units_that_all_have_one_text_make_no_distinct_batch_and_are_refused(n):
    with pytest.raises(ValueError, match=f"no batch of 4 distinct texts: the {n} units have 1"):
        distinct_batches(np.arange(n), np.zeros(n, int), 4, generator())


@settings(max_examples=60, deadline=None)
@given(ids=TEXTS, size=SIZES, seed=SEEDS)
def test_balanced_batches_are_as_many_and_as_full_as_shuffled_ones(ids, size, seed):
    rows = 100 + np.arange(len(ids))
    batches = balanced_batches(rows, ids, size, generator(seed))
    assert [len(batch) for batch in batches] == [len(batch) for batch in full_batches(rows, size)]
    assert set(np.concatenate(batches)) <= set(rows)


def test_a_rare_text_is_drawn_as_often_as_a_frequent_one():
    ids = np.repeat([0, 1], [1990, 10])
    drawn = ids[np.concatenate(balanced_batches(np.arange(2000), ids, 100, generator()))]
    assert 0.4 < drawn.mean() < 0.6  # nine standard deviations on either side


def test_an_unknown_way_to_make_batches_is_refused():
    pairs = replace(toy_pairs(), recipe=replace(RECIPES["clip"], batches="sorted"))
    with pytest.raises(ValueError, match="unknown batches 'sorted'; choose one of: .*distinct, balanced"):
        pairs.epoch(generator(), 4)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 50), size=st.integers(1, 60))
def test_batches_are_full_and_in_order_and_leave_out_less_than_one(n, size):
    batches, rows = full_batches(np.arange(n) + 7, size), np.arange(n) + 7
    used = np.concatenate(batches)
    assert {len(batch) for batch in batches} == {min(size, n)}
    assert np.array_equal(used, rows[: len(used)])
    assert n - len(used) < size


@pytest.mark.parametrize("recipe", ["clip", "radclip_distinct"])
def test_an_epoch_of_slices_uses_training_units_at_most_once(recipe):
    pairs = toy_pairs(20, recipe=recipe, splits=("val", "train", "test"))
    used = np.concatenate(pairs.epoch(generator(), 8))
    assert len(used) >= 16
    assert len(set(used)) == len(used)
    assert set(used) <= set(pairs.train)


@pytest.mark.parametrize("pairs", [toy_pairs(), toy_pairs(recipe="radclip_distinct"), toy_volumes(48)])
def test_epochs_of_the_same_generator_are_the_same(pairs):
    one, two, other = (pairs.epoch(generator(seed), 4) for seed in (0, 0, 1))
    assert [b.tolist() for b in one] == [b.tolist() for b in two] != [b.tolist() for b in other]


# what a batch of slices holds


def test_a_batch_holds_the_images_features_and_texts_of_its_units():
    units = toy_units(4)
    units.table["text_id"] = [2, 0, 2, 1] * 2
    units.table["image"] = [5, 6, 5, 3, 0, 1, 2, 4]
    batch = ImagePairs(units, toy_features(4), RECIPES["clip_same_text"]).batch(np.array([1, 2, 0]))
    assert batch.text_ids.tolist() == [0, 2, 2]
    assert torch.equal(batch.features, toy_features(4)[[0, 2, 2]])
    assert torch.equal(batch.images[0], torch.from_numpy(units.images[[6, 5, 5]]))
    assert batch.targets.tolist() == [[1, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0.5]]
    assert batch.valid is None


def test_the_images_of_a_batch_are_all_moved_by_the_same_few_pixels():
    pairs, rows, shifts = toy_pairs(), np.arange(5), set()
    plain, wanted = pairs.batch(rows).images[0], pairs.units.images[rows]
    for seed in range(60):
        moved = pairs.batch(rows, generator(seed)).images[0].numpy()
        steps = range(-SHIFT_PX, SHIFT_PX + 1)
        (found,) = [(y, x) for y in steps for x in steps if np.array_equal(np.roll(wanted, (y, x), (-2, -1)), moved)]
        shifts.add(found)
    assert torch.equal(plain, torch.from_numpy(wanted))
    assert {y for y, _ in shifts} == {x for _, x in shifts} == set(range(-SHIFT_PX, SHIFT_PX + 1))


def test_the_shift_is_drawn_from_the_generator_alone():
    pairs, rng, batches = toy_pairs(), generator(3), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        batches.append(pairs.batch(np.arange(4), generator(3)).images[0])
    pairs.batch(np.arange(4), rng)
    assert torch.equal(*batches)
    assert rng.bit_generator.state != generator(3).bit_generator.state


def test_true_texts_are_right_for_each_unit_whose_image_has_them_by_a_loop():
    units = toy_units(6)
    units.table["image"] = image = [0, 0, 1, 2, 3, 4] + [5] * 6
    units.table["text_id"] = text = [0, 1, 1, 0, 2, 0] + [3] * 6
    batch = ImagePairs(units, toy_features(6), RECIPES["radclip_true"]).batch(rows := np.array([1, 2, 3, 4, 5]))
    shown = {i: {t for j, t in zip(image, text, strict=True) if j == i} for i in image}
    right = torch.tensor([[text[j] in shown[image[i]] for j in rows] for i in rows]).float()
    assert torch.allclose(batch.targets, right / right.sum(1, keepdim=True))
    assert torch.allclose(batch.targets_t, right.T / right.T.sum(1, keepdim=True))
    assert right[0].tolist() == [1, 1, 1, 0, 1]  # its own text, and the other finding that the same slice shows


def similar_pairs(**recipe) -> ImagePairs:
    """Units of SeLIP's recipe, with a made-up similarity of their texts, of which some are there twice."""
    units = toy_units(6)
    units.table["text_id"] = [4, 0, 4, 2, 3, 5] * 2
    root = torch.rand(6, 6, generator=torch.Generator().manual_seed(0))
    return ImagePairs(units, toy_features(6), replace(RECIPES["selip"], **recipe), similarity=(root + root.T) / 2)


@pytest.mark.parametrize("how", [{}, {"similarity_weight": 0.2}, {"power": 3.0}, {"keep": 2}, {"power": 2.0, "keep": 3}])
def test_a_batch_of_similar_texts_has_the_mixed_targets_with_a_unit_fully_like_itself(how):
    pairs, rows = similar_pairs(**how), np.array([2, 1, 0, 3])
    given_, texts, recipe = pairs.similarity.clone(), [4, 0, 4, 2], pairs.recipe
    batch = pairs.batch(rows)
    alike = torch.tensor([[1.0 if i == j else given_[a, b] for j, b in enumerate(texts)] for i, a in enumerate(texts)])
    wanted = similarity_mixed(sharpened(alike, power=recipe.power, keep=recipe.keep), recipe.similarity_weight)
    assert torch.allclose(batch.targets, wanted[0])
    assert torch.allclose(batch.targets_t, wanted[1])
    assert torch.equal(pairs.similarity, given_)


def test_similar_targets_without_a_similarity_are_refused():
    with pytest.raises(ValueError, match="recipe selip needs the texts' similarity; text.alike.text_similarity makes it"):
        ImagePairs(toy_units(4), toy_features(4), RECIPES["selip"])


def test_what_goes_beside_an_image_goes_with_it_and_is_not_moved():
    units, numbers = toy_units(4), torch.arange(8.0)[:, None]
    units.table["image"] = [5, 6, 5, 3, 0, 1, 2, 4]
    pairs = ImagePairs(units, toy_features(4), RECIPES["clip"], beside=(numbers, numbers > 4))
    for rng in (None, generator()):
        images, first, second = pairs.batch(np.array([1, 0, 3]), rng).images
        assert first.flatten().tolist() == [6, 5, 3]
        assert second.flatten().tolist() == [True, True, False]
        assert len(images) == 3


def test_the_training_texts_count_once_each_and_alone():
    units = toy_units(6)
    units.table["text_id"] = [4, 4, 4, 2, 2, 4, 0, 1, 3, 5, 0, 0]
    assert torch.equal(ImagePairs(units, toy_features(6), RECIPES["clip"]).training_features(), toy_features(6)[[2, 4]])


# what a batch of volumes holds


SENTENCES = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=4), min_size=4, max_size=4)


@settings(max_examples=30, deadline=None)
@given(sentences=SENTENCES, rows=st.permutations(range(4)))
def test_a_volume_owns_all_its_sentences_and_identical_ones_are_one_column(sentences, rows):
    batch = volume_pairs(sentences).batch(np.array(rows[:3]))
    columns = sorted({s for i in rows[:3] for s in sentences[i]})
    right = torch.tensor([[s in sentences[i] for s in columns] for i in rows[:3]]).float()
    assert batch.text_ids.tolist() == columns
    assert torch.equal(batch.features, toy_features(7)[columns])
    assert torch.allclose(batch.targets, right / right.sum(1, keepdim=True))
    assert torch.allclose(batch.targets_t, right.T / right.T.sum(1, keepdim=True))


def test_a_batch_of_volumes_holds_slices_mask_and_positions_of_its_rows():
    pairs = volume_pairs([[0], [1], [2], [3]])
    rows = np.array([3, 1])
    for given_, whole in zip(pairs.batch(rows).images, pairs.volumes, strict=True):
        assert torch.equal(given_, whole[[3, 1]])
    assert torch.equal(pairs.batch(rows, generator()).images[0], pairs.volumes[0][[3, 1]])


def test_an_epoch_of_volumes_is_every_training_study_once():
    pairs = toy_volumes(48)
    assert sorted(np.concatenate(pairs.epoch(generator(), 4))) == pairs.train.tolist() == list(range(16))


def test_each_sentence_of_a_training_report_counts_once():
    pairs = volume_pairs([[5, 2], [0], [2, 2], [1]])
    assert torch.equal(pairs.training_features(), toy_features(7)[[2, 5]])


def test_a_study_without_a_sentence_is_named():
    with pytest.raises(ValueError, match="study v2 has no sentence; 2 studies have none"):
        volume_pairs([[0], [1], [], []])


# splits


def test_both_kinds_are_what_pretraining_asks_for():
    assert isinstance(toy_pairs(), Pairs)
    assert isinstance(toy_volumes(12), Pairs)
    assert not isinstance(toy_units(), Pairs)


def test_a_patient_in_two_splits_is_refused():
    units = toy_units(16)
    units.table.loc[20, "patient_id"] = "train3"
    with pytest.raises(ValueError, match=r"1 patients are in more than one split \(first: train3\); split by patient"):
        ImagePairs(units, toy_features(16), RECIPES["clip"])
    with pytest.raises(ValueError, match="v0"):
        replace(toy_volumes(12), table=toy_volumes(12).table.assign(patient_id="v0"))


def test_a_reason_in_words_lets_patients_overlap():
    units = toy_units(16)
    units.table.loc[20, "patient_id"] = "train3"
    pairs = ImagePairs(units, toy_features(16), RECIPES["clip"], "to show what leakage does")
    assert pairs.overlap_because == "to show what leakage does"
    with pytest.raises(ValueError, match="in at least 3 words"):
        replace(pairs, overlap_because="just because")


@pytest.mark.parametrize(("splits", "words"), [(("train",), "train has 16 and val 0"), (("val",), "train has 0 and val 16")])
def test_an_empty_split_is_refused(splits, words):
    with pytest.raises(ValueError, match=f"{words} units; each needs at least 2"):
        checked_splits(toy_units(16, splits=splits).table)
