"""A decoder for masks: its shapes, what it learns from a few volumes, and how masks are compared."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medclip_nb.learn import segmentation as module
from medclip_nb.learn.segmentation import draw_parts, fit_masks, mask_loss, predict_masks
from medclip_nb.measure.segmentation import dice, surface_distance_mm, touched
from medclip_nb.model.encoders import image_tower
from medclip_nb.model.segmenter import Segmenter, blocks, voxels

SIZE, SPACING = (8, 16, 16), (6.0, 3.5, 3.0)


def tower(channels: int = 1):
    torch.manual_seed(0)
    return image_tower("patch_cnn", channels=channels, dims=3)


def bright_cubes(n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Dim noise with a bright cube in all volumes but the first; the cube is what to find."""
    rng = np.random.default_rng(0)
    images, masks = rng.integers(0, 60, (n, 1, *SIZE), np.uint8), np.zeros((n, *SIZE), bool)
    for mask in masks[1:]:
        z, y, x = rng.integers(0, (5, 12, 12))
        mask[z : z + 3, y : y + 4, x : x + 4] = True
    images[:, 0][masks] = 220
    return images, masks


def random_masks(seed: int, n: int = 3) -> np.ndarray:
    """Masks of few and of many voxels."""
    rng = np.random.default_rng(seed)
    return rng.random((n, 4, 5, 6)) < rng.choice([0.0, 0.02, 0.3, 0.9], (n, 1, 1, 1))


@pytest.fixture
def short(monkeypatch) -> int:
    """Few steps of small parts, for what does not depend on what is learnt; how many."""
    for name, value in {"N_STEPS": 3, "BATCH": 4, "CROP": (4, 8, 8)}.items():
        monkeypatch.setattr(module, name, value)
    return module.N_STEPS


# the network


@pytest.mark.parametrize("size", [(4, 8, 8), (8, 16, 24)])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_voxel_gets_a_logit(size, channels):
    found = Segmenter(tower(channels))(torch.randn(2, channels, *size))
    assert found.shape == (2, *size)


def test_the_way_into_blocks_and_back_changes_nothing():
    x = torch.arange(2 * 4 * 6 * 8.0).reshape(2, 1, 4, 6, 8)
    assert torch.equal(voxels(blocks(x)), x[:, 0])


def test_a_block_holds_neighbours():
    x = torch.randn(1, 2, 4, 6, 8)
    found = blocks(x)
    for c, d, h, w in np.ndindex(2, 2, 2, 2):
        assert torch.equal(found[0, ((c * 2 + d) * 2 + h) * 2 + w], x[0, c, d::2, h::2, w::2])


def test_a_voxel_is_judged_by_what_is_near_it():
    model, x = Segmenter(tower()).eval(), torch.zeros(1, 1, 8, 64, 64, requires_grad=True)
    model(x)[0, 4, 32, 32].backward()
    seen = x.grad[0, 0].abs().amax(0)
    assert seen[32, 32] > 0
    assert not seen[:, 60:].any()
    assert seen.count_nonzero() > 100


def test_the_decoder_leaves_the_tower_it_is_given_alone():
    start = tower()
    model = Segmenter(start)
    with torch.no_grad():
        model.tower.stem[0].weight.add_(1)
    assert not torch.equal(model.tower.stem[0].weight, start.stem[0].weight)


@pytest.mark.parametrize("wrong", [("slice_cnn", 2), ("volume_cnn", 3), ("patch_cnn", 2)])
def test_a_tower_without_two_maps_of_a_volume_is_refused(wrong):
    with pytest.raises(ValueError, match="use patch_cnn, built with dims=3"):
        Segmenter(image_tower(wrong[0], channels=1, pretrained=False, dims=wrong[1]))


# training


def test_what_is_plain_to_see_is_found(monkeypatch):
    monkeypatch.setattr(module, "CROP", SIZE)
    monkeypatch.setattr(module, "N_STEPS", 60)
    images, masks = bright_cubes(8)
    found = predict_masks(fit_masks(tower(), images[:6], masks[:6], seed=0), images[6:])
    assert dice(found, masks[6:]).min() > 0.8


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(short):
    one, two, other = (fit_masks(tower(), *bright_cubes(), seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[k], v) for k, v in two.items())
    assert not torch.equal(one["out.weight"], other["out.weight"])


@pytest.mark.parametrize("n", [2, 6])
def test_the_number_of_steps_does_not_depend_on_the_number_of_volumes(n, short, monkeypatch):
    calls, plain = [], module.mask_loss
    monkeypatch.setattr(module, "mask_loss", lambda *pair: calls.append(1) or plain(*pair))
    images, masks = bright_cubes()
    fit_masks(tower(), images[:n], masks[:n], seed=0)
    assert len(calls) == short


def test_fitting_moves_tower_and_decoder_of_a_copy_and_gives_it_in_eval_mode(short):
    start = tower()
    before = copy.deepcopy(start.state_dict())
    found = fit_masks(start, *bright_cubes(), seed=0)
    assert not found.training
    assert all(torch.equal(before[k], v) for k, v in start.state_dict().items())
    assert not torch.equal(found.tower.stem[0].weight, start.stem[0].weight)


def test_a_tower_with_no_share_of_the_rate_stays_as_it_was(short):
    start = tower()
    found = fit_masks(start, *bright_cubes(), seed=0, tower_share=0.0)
    assert all(torch.equal(p, q) for p, q in zip(found.tower.parameters(), start.parameters(), strict=True))
    assert not torch.equal(found.out.weight, fit_masks(start, *bright_cubes(), seed=0, tower_share=0.0, rate=1e-2).out.weight)


@pytest.mark.parametrize(("n_images", "n_masks"), [(6, 5), (1, 1)])
def test_masks_that_are_missing_or_all_empty_are_refused(n_images, n_masks):
    images, masks = bright_cubes()
    with pytest.raises(ValueError, match=f"{n_images} volumes, {n_masks} masks and .* each volume needs a mask"):
        fit_masks(tower(), images[:n_images], masks[:n_masks], seed=0)


def test_parts_of_images_and_masks_are_of_the_same_place(short):
    images, masks = bright_cubes()
    lesions = [np.argwhere(mask) for mask in masks]
    for seed in range(20):
        x, wanted = draw_parts(images, masks, lesions, np.random.default_rng(seed))
        assert x.shape == (4, 1, 4, 8, 8)
        assert torch.equal(x[:, 0] == 220, wanted)


def test_parts_in_focus_hold_a_voxel_of_the_mask_wherever_it_lies(short, monkeypatch):
    monkeypatch.setattr(module, "FOCUS", 1.0)
    masks = np.zeros((2, *SIZE), bool)
    masks[0, 0, 0, 0] = masks[1, -1, -1, 7] = True
    images = np.where(masks, 255, 0).astype(np.uint8)[:, None]
    wanted = draw_parts(images, masks, [np.argwhere(m) for m in masks], np.random.default_rng(0))[1]
    assert (wanted.sum((1, 2, 3)) == 1).all()


def test_a_volume_smaller_than_a_part_is_taken_whole(monkeypatch):
    monkeypatch.setattr(module, "CROP", (99, 99, 99))
    images, masks = bright_cubes()
    assert draw_parts(images, masks, [np.argwhere(m) for m in masks], np.random.default_rng(0))[1].shape[1:] == SIZE


def test_the_loss_falls_from_wrong_over_unsure_to_right():
    masks = torch.from_numpy(bright_cubes()[1])
    sure = 20 * (2 * masks.float() - 1)
    right, unsure, wrong = (float(mask_loss(logits, masks)) for logits in (sure, 0 * sure, -sure))
    assert right == pytest.approx(0, abs=1e-4)
    assert right < unsure < wrong


def test_the_loss_of_a_batch_without_lesions_is_finite_and_falls_with_fewer_voxels():
    masks = torch.zeros(2, *SIZE, dtype=torch.bool)
    few, many = (float(mask_loss(torch.full(masks.shape, logit), masks)) for logit in (-30.0, 3.0))
    assert few == pytest.approx(0, abs=1e-4)
    assert few < many < float("inf")


def test_masks_of_many_volumes_are_those_of_each(short, monkeypatch):
    monkeypatch.setattr(module, "PREDICTED_AT_A_TIME", 4)
    images, masks = bright_cubes()
    model = fit_masks(tower(), images, masks, seed=0)
    torch.nn.init.constant_(model.out.bias, 0.0)
    found = predict_masks(model, images)
    assert found.any()
    assert not found.all()
    assert np.mean(found == np.concatenate([predict_masks(model, images[[i]]) for i in range(6)])) > 0.999


# measures


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_dice_counts_what_a_loop_counts(seed):
    predicted, truth = random_masks(seed), random_masks(seed + 1)
    for found, own, true in zip(dice(predicted, truth), predicted, truth, strict=True):
        shared = sum(bool(a and b) for a, b in zip(own.flat, true.flat, strict=True))
        total = sum(own.flat) + sum(true.flat)
        assert found == pytest.approx(2 * shared / total if total else 1.0)


def slow_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance (mm) from each border voxel of one mask to the nearest of the other; a border voxel has a face outside."""
    borders = []
    for mask in (a, b):
        padded = np.pad(mask, 1)
        inner = [np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1] for axis in range(3) for step in (-1, 1)]
        borders.append(np.argwhere(mask & ~np.logical_and.reduce(inner)) * SPACING)
    gaps = np.linalg.norm(borders[0][:, None] - borders[1], axis=-1)
    return float(np.concatenate([gaps.min(0), gaps.min(1)]).mean())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_surface_distance_is_that_of_a_loop_over_border_voxels(seed):
    predicted, truth = random_masks(seed), random_masks(seed + 1)
    for found, a, b in zip(surface_distance_mm(predicted, truth, spacing_mm=SPACING), predicted, truth, strict=True):
        if a.any() and b.any():
            assert found == pytest.approx(slow_distance(a, b), rel=1e-5)
        else:
            assert found == 0 if a.any() == b.any() else np.isnan(found)


def test_empty_masks_follow_the_rule():
    masks = np.zeros((3, 4, 4, 4), bool)
    truth = masks.copy()
    masks[1, 1, 1, 1] = truth[2, 1, 1, 1] = True
    assert dice(masks, truth).tolist() == [1, 0, 0]
    assert np.array_equal(surface_distance_mm(masks, truth, spacing_mm=SPACING), [0, np.nan, np.nan], equal_nan=True)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_moved_voxel_is_as_far_as_the_spacing_says(axis):
    truth = np.zeros((1, 6, 6, 6), bool)
    truth[0, 2, 2, 2] = True
    found = surface_distance_mm(np.roll(truth, 2, axis + 1), truth, spacing_mm=SPACING)
    assert found.tolist() == pytest.approx([2 * SPACING[axis]])


def test_a_lesion_counts_as_touched_by_one_voxel_and_not_by_a_neighbour():
    labels, predicted = np.zeros((3, 4, 4, 4), np.uint8), np.zeros((3, 4, 4, 4), bool)
    labels[0, 0], labels[0, 3], labels[2, 1:3] = 4, 7, 2
    predicted[0, 3, 0, 0] = predicted[2, 0] = predicted[1] = True
    hit, volume = touched(predicted, labels)
    assert hit.tolist() == [False, True, False]
    assert volume.tolist() == [0, 0, 2]


def test_volumes_without_lesions_have_none_that_are_touched():
    hit, volume = touched(np.ones((2, 3, 3, 3), bool), np.zeros((2, 3, 3, 3), int))
    assert len(hit) == len(volume) == 0


@pytest.mark.parametrize("measure", [dice, lambda a, b: surface_distance_mm(a, b, spacing_mm=SPACING), touched])
def test_masks_of_other_volumes_are_refused(measure):
    with pytest.raises(ValueError, match=r"the predicted masks are \(2, 4, 4, 4\), the true ones \(3, 4, 4, 4\)"):
        measure(np.ones((2, 4, 4, 4), bool), np.ones((3, 4, 4, 4), int if measure is touched else bool))
