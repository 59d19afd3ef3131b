"""Maps of a score against slow loops and closed forms; checks and pointing on maps whose answer is known."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch.nn.functional import normalize

from medclip_nb.config import RECIPES
from medclip_nb.measure import explain
from medclip_nb.measure.embeddings import embed_images
from medclip_nb.model.dual_encoder import scaled
from medclip_nb.model.organ_encoder import build_organ_encoder

RNG = np.random.default_rng(0)
SHAPE = (5, 1, 12, 10)  # images, slices, rows, columns


def images_of(n: int = 3, side: int = 16) -> np.ndarray:
    return RNG.integers(0, 255, (n, 3, 1, side, side), np.uint8)


def directions_of(n: int = 3, prompts: int = 2, dim: int = 128) -> np.ndarray:
    return RNG.normal(size=(prompts, n, dim))


def blobs(shape: tuple = SHAPE) -> np.ndarray:
    """A lesion of 2 x 2 pixels in each image, each at another place."""
    lesions = np.zeros(shape, bool)
    for i, lesion in enumerate(lesions):
        lesion[:, i + 1 : i + 3, 2 * i : 2 * i + 2] = True
    return lesions


def brightness(images: np.ndarray) -> np.ndarray:
    """A toy score, (image, prompt): the first channel's sum, and minus it."""
    total = images[:, 0].sum((1, 2, 3)).astype(float)
    return np.stack([total, -total], axis=1)


def test_gradient_times_activation_has_a_closed_form_on_a_linear_model():
    features, weights = torch.randn(2, 3, 4, 5), torch.randn(6, 3)
    directions = directions_of(2, 2, 6)
    maps = explain.gradient_activation(features, lambda a: a.mean((2, 3)) @ weights.T, directions)
    by_channel = np.einsum("pnd,dk->pnk", directions, weights.numpy()) / 20
    wanted = np.einsum("pnk,nkyx->pnyx", by_channel, features.numpy())
    assert np.allclose(maps, wanted, atol=1e-5)


def test_on_a_linear_model_averaging_the_gradient_changes_nothing():
    features, directions = torch.randn(2, 3, 4, 5), directions_of(2, 1, 3)
    plain, averaged = (
        explain.gradient_activation(features, lambda a: a.mean((2, 3)), directions, averaged=b) for b in (False, True)
    )
    assert torch.allclose(plain, averaged, atol=1e-6)


@pytest.mark.parametrize("averaged", [False, True])
def test_gradients_of_a_model_that_is_not_linear_are_those_of_finite_differences(averaged):
    features, directions = torch.randn(1, 2, 3, 3, dtype=torch.float64), directions_of(1, 1, 2)
    embed = lambda a: normalize(torch.cat([a.mean((2, 3)), a.amax((2, 3))], 1)[:, :2].tanh() + a[:, :, 0, 0] ** 2, dim=-1)  # noqa: E731
    score = lambda a: float(embed(a).numpy()[0] @ directions[0, 0])  # noqa: E731
    slopes = np.zeros(features.shape)
    for place in np.ndindex(*features.shape):
        step = torch.zeros_like(features)
        step[place] = 1e-6
        slopes[place] = (score(features + step) - score(features - step)) / 2e-6
    slopes = slopes.mean((2, 3), keepdims=True) + 0 * slopes if averaged else slopes
    found = explain.gradient_activation(features, embed, directions, averaged=averaged)[0]
    assert np.allclose(found, (slopes * features.numpy()).sum(1), atol=1e-6)


def test_maps_of_a_slice_have_its_size_and_do_not_depend_on_the_other_images(encoder):
    images, directions = images_of(), directions_of()
    maps = explain.image_gradients(encoder, images, directions)
    alone = explain.image_gradients(encoder, images[1:2], directions[:, 1:2])
    assert maps.shape == (2, 3, 1, 16, 16)
    assert np.allclose(maps[:, 1:2], alone, atol=1e-5)
    assert all(p.grad is None for p in encoder.parameters())


def test_cells_of_a_map_sum_to_the_slope_along_the_activation(encoder):
    images, directions = images_of(1), directions_of(1, 1)
    with torch.no_grad():
        features = encoder.tower(scaled(torch.from_numpy(images))[:, :, 0])
    embed = lambda a: normalize(encoder.image_head(a), dim=-1)  # noqa: E731
    cells = explain.gradient_activation(features, embed, directions)
    with torch.no_grad():
        up, down = (float(embed(features * t).numpy()[0] @ directions[0, 0]) for t in (1.01, 0.99))
    assert float(cells.sum()) == pytest.approx((up - down) / 0.02, rel=0.02, abs=1e-3)


def test_a_slice_tower_refuses_a_stack(encoder):
    with pytest.raises(ValueError, match="2 slices"):
        explain.image_gradients(encoder, np.zeros((1, 3, 2, 16, 16), np.uint8), directions_of(1))


@pytest.mark.parametrize("form", ["crops", "map"])
def test_organ_maps_have_the_size_of_the_crop_in_both_forms(form):
    model = build_organ_encoder(RECIPES["ct_glip"], ("liver", "spleen"), channels=3, seed=0, form=form).eval()
    images = RNG.integers(0, 255, (2, 3, 4, 8, 8), np.uint8)
    masks = np.full((2, 4, 8, 8), 255 if form == "crops" else 2, np.uint8)
    maps = explain.organ_gradients(model, images, masks, np.array([1, 1]), directions_of(2))
    assert maps.shape == (2, 2, 4, 8, 8)
    assert np.ptp(maps) > 0


def test_the_answer_of_a_cell_is_that_of_an_organ_made_of_it_alone():
    model = build_organ_encoder(RECIPES["ct_glip"], ("liver", "spleen"), channels=3, seed=0, organ_pooling="mean").eval()
    images, masks = RNG.integers(0, 255, (2, 3, 4, 8, 8), np.uint8), np.full((2, 4, 8, 8), 255, np.uint8)
    directions, organ = directions_of(2), np.array([0, 1])
    maps = explain.organ_cells(model, images, masks, organ, directions)
    with torch.no_grad():
        features = model.features(torch.from_numpy(images), torch.from_numpy(masks), torch.from_numpy(organ))[0]
        corner = model.embed(features[:, :, 2, 0, 0]).numpy()
    assert maps.shape == (2, 2, 4, 8, 8)
    assert np.allclose(maps[..., 2, 0, 0], np.einsum("nd,pnd->pn", corner, directions), atol=1e-5)


def test_occlusion_is_what_a_slow_loop_gives():
    images = images_of(2, 7)
    maps = explain.occlusion(brightness, images, patch=(1, 3, 2), stride=(1, 2, 2), fill=(9, 0, 0))
    total, count = np.zeros((2, 7, 7)), np.zeros((7, 7))
    for y in (0, 2, 4):
        for x in (0, 2, 4, 5):
            here = images[:, 0, 0, y : y + 3, x : x + 2].astype(float)
            total[:, y : y + 3, x : x + 2] += (here.sum((1, 2)) - 9 * 6)[:, None, None]
            count[y : y + 3, x : x + 2] += 1
    assert np.allclose(maps[0, :, 0], total / count)
    assert np.allclose(maps[1], -maps[0])


def test_occlusion_finds_a_planted_blob_and_leaves_the_images_as_they_were():
    lesions = blobs()
    images = np.where(lesions, 200, 0).astype(np.uint8)[:, None].repeat(3, 1)
    before = images.copy()
    maps = explain.occlusion(brightness, images, patch=(1, 2, 2), stride=(1, 1, 1), fill=(0, 0, 0))
    assert (images == before).all()
    assert explain.pointing_hits(maps[0], lesions).tolist() == [1] * 5
    assert (explain.inside_auc(maps[0], lesions) > 0.9).all()
    assert (explain.inside_auc(maps[1], lesions) < 0.1).all()


def test_occlusion_of_a_trained_score_is_the_same_for_one_image_as_for_many(encoder):
    images, directions = images_of(3, 8), directions_of(3, 1).astype(np.float32)
    score = lambda own: lambda x: np.einsum("nd,pnd->np", embed_images(encoder, x), own)  # noqa: E731
    look = {"patch": (1, 4, 4), "stride": (1, 4, 4), "fill": (0, 0, 0)}
    maps = explain.occlusion(score(directions), images, **look)
    alone = explain.occlusion(score(directions[:, 2:]), images[2:], **look)
    assert np.allclose(maps[:, 2:], alone, atol=1e-5)


@pytest.mark.parametrize(("patch", "stride"), [((1, 9, 2), (1, 2, 2)), ((1, 2, 2), (1, 3, 2)), ((1, 2, 2), (1, 0, 2))])
def test_patches_too_large_or_with_gaps_between_are_refused(patch, stride):
    with pytest.raises(ValueError, match="stride <= patch <= image"):
        explain.occlusion(brightness, images_of(1, 8), patch=patch, stride=stride, fill=(0, 0, 0))


def test_random_weights_change_images_and_no_text(encoder):
    fresh, again = (explain.with_random_weights(encoder, seed=s) for s in (1, 1))
    images, features = images_of(), torch.randn(4, encoder.text_mean.shape[0])
    assert not np.allclose(embed_images(fresh, images), embed_images(encoder, images), atol=0.1)
    assert np.allclose(embed_images(fresh, images), embed_images(again, images))
    assert torch.equal(fresh.encode_texts(features), encoder.encode_texts(features))


def test_an_organ_model_forgets_as_well_and_keeps_its_texts():
    model = build_organ_encoder(RECIPES["ct_glip"], ("liver",), channels=3, seed=0, organ_pooling="query").eval()
    fresh = explain.with_random_weights(model, seed=5)
    changed = {k.split(".")[0] for k, v in fresh.state_dict().items() if not torch.equal(v, model.state_dict()[k])}
    assert changed == {"tower", "pool", "head"}


def test_rank_correlation_is_that_of_scipy_with_ties_and_inside_an_area():
    a, b = (RNG.integers(0, 5, SHAPE).astype(float) for _ in range(2))
    area = RNG.random(SHAPE) < 0.6
    wanted = [spearmanr(x[m], y[m]).statistic for x, y, m in zip(a, b, area, strict=True)]
    assert np.allclose(explain.rank_correlation(a, b, area), wanted, atol=1e-6)
    assert np.allclose(explain.rank_correlation(a, np.exp(a)), 1)
    assert np.allclose(explain.rank_correlation(a, -a), -1)


def test_a_constant_map_correlates_with_nothing():
    a = RNG.normal(size=SHAPE)
    assert np.isnan(explain.rank_correlation(a, np.ones(SHAPE))).all()
    assert np.isnan(explain.rank_correlation(a, a, blobs() & (np.arange(10) % 2 == 0) & (np.arange(12)[:, None] % 2 == 0))).all()


@pytest.mark.parametrize("by", [(2, 3), (-2, 3), (0, -1), (0, 0)])
def test_a_map_that_moves_along_is_told_from_one_that_stays(by):
    a = RNG.normal(size=SHAPE)
    moved = explain.shifted(a, by, fill=0.0)
    assert np.allclose(explain.shift_correlation(a, moved, by), 1)
    stayed = explain.shift_correlation(a, a, by)
    assert np.allclose(stayed, 1) if by == (0, 0) else (stayed < 0.6).all()


def test_a_shift_moves_down_and_right_and_fills_what_comes_in():
    assert explain.shifted(np.arange(4).reshape(2, 2), (1, 0), fill=9).tolist() == [[9, 9], [0, 1]]
    assert explain.shifted(np.arange(4).reshape(2, 2), (0, -1), fill=9).tolist() == [[1, 9], [3, 9]]


def test_occlusion_of_a_toy_moves_along_with_its_input():
    images = images_of(2, 8)
    look = {"patch": (1, 1, 1), "stride": (1, 1, 1), "fill": (0, 0, 0)}
    maps, moved = (explain.occlusion(brightness, x, **look)[0] for x in (images, explain.shifted(images, (2, -3), fill=0)))
    assert np.allclose(explain.shift_correlation(maps, moved, (2, -3)), 1)


@pytest.mark.parametrize("tolerance", [0, 1, 3])
def test_a_constant_map_scores_exactly_its_chance(tolerance):
    lesions, area = blobs(), RNG.random(SHAPE) < 0.7
    area |= lesions
    hits = explain.pointing_hits(np.full(SHAPE, -2.0), lesions, area, tolerance_px=tolerance)
    assert np.allclose(hits, explain.pointing_chance(lesions, area, tolerance_px=tolerance))
    assert np.allclose(explain.inside_auc(np.full(SHAPE, 7.0), lesions, area), 0.5)


def test_among_equal_maxima_the_share_that_hits_counts():
    lesions = np.zeros((1, 1, 2, 3), bool)
    lesions[..., 0, 0] = True
    maps = np.array([[[[1.0, 1, 0], [1, 1, 0]]]])
    assert explain.pointing_hits(maps, lesions).tolist() == [0.25]
    assert explain.pointing_chance(lesions).tolist() == [1 / 6]


def test_random_maps_point_as_often_as_chance_says():
    lesions, area = blobs((1, 1, 12, 10)).repeat(4000, 0), RNG.random((1, 1, 12, 10)) < 0.5
    area = (area | lesions[:1]).repeat(4000, 0)
    hits = explain.pointing_hits(RNG.normal(size=lesions.shape), lesions, area)
    chance = explain.pointing_chance(lesions, area)[0]
    assert abs(hits.mean() - chance) < 5 * np.sqrt(chance / 4000)


def test_tolerance_reaches_a_disk_in_the_same_slice_only():
    lesions = np.zeros((1, 3, 7, 7), bool)
    lesions[0, 1, 3, 3] = True
    wanted = {(1, 3, 5): 1, (1, 5, 3): 1, (1, 5, 5): 0, (1, 4, 4): 1, (0, 3, 3): 0, (1, 3, 6): 0}
    for place, hit in wanted.items():
        maps = np.zeros(lesions.shape)
        maps[(0, *place)] = 1
        assert explain.pointing_hits(maps, lesions, tolerance_px=2).tolist() == [hit]


def test_the_area_decides_what_may_be_pointed_at():
    lesions, maps = blobs(), np.zeros(SHAPE)
    maps[..., 11, 9] = 5
    maps[lesions] = 1
    assert explain.pointing_hits(maps, lesions).tolist() == [0] * 5
    area = np.ones(SHAPE, bool)
    area[..., 11, 9] = False
    assert explain.pointing_hits(maps, lesions, area).tolist() == [1] * 5


def test_the_inside_auc_is_that_of_scikit_learn_with_ties():
    maps, lesions = RNG.integers(0, 4, SHAPE).astype(float), blobs()
    wanted = [roc_auc_score(m.ravel(), x.ravel()) for m, x in zip(lesions, maps, strict=True)]
    assert np.allclose(explain.inside_auc(maps, lesions), wanted, atol=1e-6)


JUDGES = {
    "pointing_hits": lambda maps: explain.pointing_hits(maps, blobs()),
    "inside_auc": lambda maps: explain.inside_auc(maps, blobs()),
    "rank_correlation": lambda maps: explain.rank_correlation(np.ones(SHAPE), maps),
    "shift_correlation": lambda maps: explain.shift_correlation(np.ones(SHAPE), maps, (1, 1)),
}


@pytest.mark.parametrize("name", JUDGES)
def test_nan_is_refused_by_name(name):
    maps = np.zeros(SHAPE)
    maps[3, 0, 11, 9] = np.nan
    with pytest.raises(ValueError, match="1 of 5 images hold NaN, the first is number 3"):
        JUDGES[name](maps)


@pytest.mark.parametrize("name", JUDGES)
def test_maps_of_other_images_are_refused(name):
    with pytest.raises(ValueError, match="the same images"):
        JUDGES[name](np.zeros((2, *SHAPE[1:])))


def test_an_image_without_a_lesion_to_point_at_is_refused():
    lesions = blobs()
    lesions[2] = False
    for judge in (explain.pointing_hits, explain.inside_auc):
        with pytest.raises(ValueError, match="in 1 images, the first is number 2"):
            judge(np.zeros(SHAPE), lesions)
    with pytest.raises(ValueError, match="in 5 images"):
        explain.pointing_chance(blobs(), ~blobs())
