"""The search for near-identical images and texts against slow searches, and what a copy may have gone through."""

import io

import numpy as np
import pytest
from PIL import Image as Picture
from scipy.ndimage import gaussian_filter

from medclip_nb.data.audit.near import N_BANDS, N_NEIGHBOURS, SAME_TEXT, bucket_pairs, groups, near_images, near_texts
from medclip_nb.data.audit.records import thumbnail
from medclip_nb.data.readers import Image

WORDS = ["the", "a", "no", "left", "right", "lung", "liver", "cyst", "nodule", "large", "of", "in", "with", "and", "stone"]


def picture(seed: int) -> np.ndarray:
    """Something smooth inside an ellipse that all pictures share, 0 to 255."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(96, 80)), 6)
    y, x = np.mgrid[-1:1:96j, -1:1:80j]
    return np.clip(120 + 900 * noise, 0, 255) * (x**2 + y**2 < 0.9)


def small(array: np.ndarray) -> np.ndarray:
    return thumbnail(Image(np.asarray(array, np.float32).reshape(1, *array.shape[-2:]), None, "", "intensity"))


def as_jpeg(array: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Picture.fromarray(array.astype(np.uint8)).save(file, "JPEG", quality=30)
    return np.asarray(Picture.open(file), np.float32)


COPIES = {
    "noise": lambda a: a + np.random.default_rng(9).normal(0, 8, a.shape),
    "window": lambda a: np.clip(a, 20, 220) * 3 + 7,
    "gamma": lambda a: 255 * (a / 255) ** 0.7,
    "smaller": lambda a: np.asarray(Picture.fromarray(a.astype(np.uint8)).resize((50, 60), Picture.Resampling.BOX), np.float32),
    "larger": lambda a: np.asarray(Picture.fromarray(a.astype(np.uint8)).resize((160, 192)), np.float32),
    "compression": as_jpeg,
}


@pytest.fixture(scope="module")
def thumbnails():
    return np.stack([small(picture(seed)) for seed in range(150)])


def test_different_pictures_are_not_called_alike(thumbnails):
    assert near_images(thumbnails).tolist() == []
    assert near_images(thumbnails[:2]).tolist() == []


# without a cohort to compare with, another contrast is not told from another image
CASES = [(kind, 150) for kind in COPIES] + [(kind, 2) for kind in COPIES if kind not in ("window", "gamma")]


@pytest.mark.parametrize(("kind", "n"), CASES)
def test_a_copy_is_found_whatever_it_went_through(thumbnails, kind, n):
    copies = np.stack([small(COPIES[kind](picture(seed))) for seed in (0, 1)])
    assert near_images(np.concatenate([thumbnails[:n], copies])).tolist() == [[0, n], [1, n + 1]]


def test_volumes_are_compared_in_three_dimensions():
    rng = np.random.default_rng(0)
    volumes = gaussian_filter(rng.normal(size=(40, 16, 32, 32)), (0, 2, 3, 3)).astype(np.float32)
    volumes[7] = volumes[3] * 2 + rng.normal(0, 0.003, volumes[3].shape)
    thumbnails = np.stack([thumbnail(Image(v, None, "", "HU")) for v in volumes])
    assert near_images(thumbnails).tolist() == [[3, 7]]


def test_many_identical_pictures_cost_no_more_than_a_few_pairs_each(thumbnails):
    same = np.repeat(thumbnails[:1], 300, axis=0)
    pairs = near_images(np.concatenate([same, thumbnails[1:]]))
    assert len(pairs) <= 300 * N_BANDS * N_NEIGHBOURS
    assert groups(pairs, 449) == [list(range(300))]


def test_buckets_give_the_pairs_that_share_a_key_and_no_others():
    keys = np.random.default_rng(0).integers(0, 40, (3, 30))
    slow = {(i, j) for j in range(30) for i in range(j) if (keys[:, i] == keys[:, j]).any()}
    found = set(map(tuple, bucket_pairs(keys).tolist()))
    assert found <= slow
    assert groups(np.array(sorted(found)), 30) == groups(np.array(sorted(slow)), 30)
    assert bucket_pairs(keys[:, :1]).shape == (0, 2)
    assert bucket_pairs(keys[:, :0]).shape == (0, 2)


def test_groups_are_the_connected_parts():
    pairs = np.array([[4, 1], [2, 4], [0, 6]])
    assert groups(pairs, 8) == [[0, 6], [1, 2, 4]]
    assert groups(np.empty((0, 2), int), 3) == []


def jaccard(first: str, second: str) -> float:
    a, b = (set(zip(t.split(), t.split()[1:], strict=False)) for t in (first, second))
    return len(a & b) / len(a | b)


def test_near_texts_are_those_that_share_most_word_pairs():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 40)) for _ in range(60)]
    for i, n_changed in enumerate((1, 2, 4, 20)):  # the last is a text of its own
        words = texts[i].split()
        words[5 : 5 + n_changed] = ["other"] * n_changed
        texts.append(" ".join(words))
    slow = [[i, j] for i in range(64) for j in range(i + 1, 64) if jaccard(texts[i], texts[j]) >= SAME_TEXT]
    assert near_texts(texts).tolist() == slow == [[0, 60], [1, 61], [2, 62]]


def test_case_punctuation_and_line_breaks_make_no_difference():
    assert near_texts(["No acute finding.\n\nHeart normal", "no acute FINDING, heart: normal"]).tolist() == [[0, 1]]


def test_empty_and_single_texts_are_no_trouble():
    assert near_texts(["normal", "cyst"]).tolist() == []
    assert near_texts(["", "cyst"]).tolist() == []
    assert near_texts(["cyst"]).tolist() == []
