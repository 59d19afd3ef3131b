"""Raw values, HU and HU rescaled twice are told apart; a mirrored axis is named."""

import numpy as np
import pytest

from medclip_nb.data.readers import read_image
from medclip_nb.data.selfcheck import check_first_batch, flipped_axis, hu_state, small_map

SHIFTS = {"HU": 0, "raw": 1024, "rescaled twice": -1024}
REAL_CT = (
    "totalseg/example_ct.nii.gz",
    "totalseg/example_ct_dicom.nii.gz",
    "volumes/ct_head_ge.nii.gz",
    "volumes/ct_thorax_elastix.nii.gz",
)


@pytest.fixture(scope="module")
def volumes(torso):
    rows = torso.manifest[torso.manifest["image"].str.endswith(".nii.gz")].iloc[:20]
    return [read_image(torso.root / name, units="HU").array for name in rows["image"]]


@pytest.mark.parametrize("state", SHIFTS)
def test_each_synthetic_volume_is_told(volumes, state):
    assert {hu_state(v + SHIFTS[state]) for v in volumes} == {state}


@pytest.mark.parametrize("name", REAL_CT)
def test_each_real_volume_is_told(real_data, name):
    array = read_image(real_data / name, units="HU").array
    clipped = np.maximum(array, -1024)  # what an unsigned file can hold
    assert {s: hu_state(clipped + shift) for s, shift in SHIFTS.items()} == {s: s for s in SHIFTS}


def test_display_values_are_no_hu(volumes):
    assert hu_state(np.clip(volumes[0], 0, 255)) == "windowed"


@pytest.mark.parametrize("array", [np.zeros((0, 4, 4)), np.full((2, 3, 3), 40.0), np.full((2, 3, 3), -1000.0)])
def test_nothing_is_said_about_nothing(array):
    assert hu_state(array) == "unknown"


@pytest.mark.parametrize(("axis", "name"), [(2, "up and down"), (3, "front and back"), (4, "left and right")])
def test_a_mirrored_batch_is_named(torso_units, axis, name):
    images = torso_units.images.reshape(-1, 24, *torso_units.images.shape[1:])[:40, :, :, 0].swapaxes(1, 2)
    reference = small_map(images[:30])
    check_first_batch(images[30:], reference)
    assert flipped_axis(small_map(np.flip(images[30:], axis)), reference) == name
    with pytest.raises(ValueError, match=f"mirrored {name} against the training images"):
        check_first_batch(np.flip(images[30:], axis), reference)


def test_a_symmetric_image_gives_no_answer():
    image = np.random.default_rng(0).integers(0, 255, (1, 1, 4, 8, 8)).astype(np.uint8)
    even = np.concatenate([image, np.flip(image, 4)], 4)
    assert flipped_axis(small_map(np.flip(even, 4)), small_map(even)) == ""


def test_another_number_of_channels_is_refused():
    with pytest.raises(ValueError, match="was trained on"):
        check_first_batch(np.zeros((2, 3, 1, 8, 8), np.uint8), np.zeros((1, 1, 8, 8)))
