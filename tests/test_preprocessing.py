"""The preprocessing contract and its cache."""

import json
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from toy import lps_volume, write_nifti, write_picture

from medclip_nb.config import CT_WINDOWS_HU
from medclip_nb.data import preprocessing
from medclip_nb.data.preprocessing import (
    Preprocessing,
    cached,
    ct_contract,
    picture_contract,
    preprocess,
    to_geometry,
    to_window,
    with_size,
)
from medclip_nb.data.readers import Image, ImageError, read_image
from medclip_nb.data.streaming import preprocess_files

OTHER = {
    "size": (2, 4, 4),
    "spacing_mm": (2.0, 1.0, 1.0),
    "orientation": "RAS",
    "windows_hu": ((0.0, 1.0),),
    "percentiles": (1.0, 99.0),
    "pad_hu": -1000.0,
    "crop_bottom": 0.1,
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path / "home"))


@pytest.fixture
def picture(tmp_path):
    return write_picture(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (20, 16), np.uint8))


def grey(array) -> Image:
    return Image(np.asarray(array, np.float32)[None], None, "", "intensity")


def test_a_window_maps_its_edges_and_clips_the_rest():
    values = np.array([-2000.0, -110, 40, 190, 3000], np.float32)
    assert to_window(values, -110.0, 190.0).tolist() == [0, 0, 128, 255, 255]


def test_a_window_agrees_with_a_loop():
    values = np.random.default_rng(0).normal(0, 400, (2, 3, 4)).astype(np.float32)
    wanted = [round(255 * min(max((v + 300) / 1200, 0), 1)) for v in values.ravel().tolist()]
    assert np.abs(to_window(values, -300.0, 900.0).ravel().astype(int) - wanted).max() <= 1  # a half may round either way


@pytest.mark.parametrize("order", ["LPS", "RAS", "PIR"])
def test_orientation_in_the_file_does_not_change_what_the_network_sees(tmp_path, order):
    contract = ct_contract((6, 10, 8))
    seen = preprocess(read_image(write_nifti(tmp_path / "v.nii", lps_volume(), order), units="HU"), contract)
    for channel, (low, high) in zip(seen, CT_WINDOWS_HU, strict=True):
        assert np.array_equal(channel, to_window(lps_volume(), low, high))


def test_shrinking_averages_areas():
    volume = placed(np.arange(64).reshape(4, 4, 4), (1.0, 1.0, 1.0))
    seen = preprocess(volume, Preprocessing((2, 2, 2), windows_hu=((0.0, 255.0),)))[0]
    for z, y, x in np.ndindex(2, 2, 2):
        block = volume.array[2 * z : 2 * z + 2, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        assert abs(float(seen[z, y, x]) - block.mean()) <= 0.5


def test_growing_keeps_the_range_and_the_left_side_left():
    array = np.zeros((8, 8), np.float32)
    array[:, 0] = 100
    seen = preprocess(grey(array), picture_contract(32))[0, 0]
    assert seen.shape == (32, 32)
    assert seen[:, 0].min() == 255
    assert seen[:, -8:].max() == 0


def test_a_picture_is_padded_to_a_square_not_stretched():
    array = np.zeros((8, 16), np.float32)
    array[2:6, 6:10] = 50
    seen = preprocess(grey(array), picture_contract(16))[0, 0]
    assert np.argwhere(seen > 0).min(0).tolist() == [6, 6]
    assert np.argwhere(seen > 0).max(0).tolist() == [9, 9]


def test_the_burnt_in_footer_is_cut_off():
    array = np.zeros((100, 94), np.float32)
    array[:4] = 1
    array[94:] = 200
    seen = preprocess(grey(array), picture_contract(94, crop_bottom=0.06))[0, 0]
    assert seen[:4, 20:80].min() == 255  # the brightest that is left
    assert seen[50:].max() == 0


def test_a_picture_of_one_grey_does_not_divide_by_zero():
    assert np.unique(preprocess(grey(np.full((5, 5), 7)), picture_contract(8))).size == 1


def test_hu_windows_refuse_an_image_that_is_not_in_hu():
    with pytest.raises(ImageError, match="the contract has HU windows, the image is in intensity"):
        preprocess(grey(np.zeros((4, 4))), ct_contract((1, 4, 4)))


def test_the_digest_changes_with_every_field():
    contract = picture_contract(64)
    assert set(OTHER) == {f.name for f in fields(Preprocessing)}
    changed = [replace(contract, **{name: value}).digest() for name, value in OTHER.items()]
    assert len({contract.digest(), *changed}) == 1 + len(OTHER)
    assert picture_contract(64).digest() == contract.digest()


def test_the_digest_changes_with_the_version_of_the_code(monkeypatch):
    before = picture_contract(64).digest()
    monkeypatch.setattr(preprocessing, "CODE_VERSION", preprocessing.CODE_VERSION + 1)
    assert picture_contract(64).digest() != before


@pytest.mark.parametrize("contract", [ct_contract((4, 8, 8)), picture_contract(32, crop_bottom=0.06), Preprocessing(**OTHER)])
def test_a_contract_survives_json(contract):
    again = Preprocessing.from_dict(json.loads(json.dumps(asdict(contract))))
    assert again == contract
    assert again.digest() == contract.digest()


def test_another_size_keeps_the_field_of_view():
    contract = ct_contract((4, 8, 8), field_mm=(40.0, 16.0, 16.0))
    assert contract.spacing_mm == (10.0, 2.0, 2.0)
    assert with_size(contract, (8, 16, 4)) == ct_contract((8, 16, 4), field_mm=(40.0, 16.0, 16.0))
    assert with_size(picture_contract(64), (1, 8, 8)) == picture_contract(8)


def placed(array, spacing: tuple, units: str = "HU") -> Image:
    """An LPS image of any spacing (slice, row, column), its first voxel at the origin."""
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    return Image(np.asarray(array, np.float32), spacing, "LPS", units, affine)


def test_a_ball_has_the_size_in_mm_that_it_has():
    """A ball of radius 12 mm covers as many mm3 at any spacing of the file."""
    for spacing in ((3.0, 0.75, 0.75), (1.0, 2.0, 2.0), (2.0, 1.5, 1.5)):
        shape = [round(60 / s) for s in spacing]
        centre = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)]
        r2 = sum(a**2 for a in np.meshgrid(*centre, indexing="ij"))
        contract = Preprocessing((24, 24, 24), spacing_mm=(2.0, 2.0, 2.0), windows_hu=((-1000.0, 0.0),))
        seen = preprocess(placed(np.where(r2 < 144, 0.0, -1000.0), spacing), contract)
        assert (seen / 255).sum() * 8 == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.08)


def test_what_lies_outside_the_image_is_air_and_the_middle_stays():
    seen = preprocess(placed(np.zeros((2, 4, 4)), (1.0, 1.0, 1.0)), ct_contract((4, 8, 8), field_mm=(4.0, 8.0, 8.0)))[1]
    assert (seen > 0).sum() == 2 * 4 * 4
    assert seen[1:3, 2:6, 2:6].min() > 0


def test_a_mask_keeps_its_labels_and_its_place():
    labels = np.zeros((6, 30, 30))
    labels[:, :12], labels[:, 12:, 20:] = 7, 3
    contract = ct_contract((6, 10, 10), field_mm=(6.0, 30.0, 30.0))
    seen = to_geometry(placed(labels, (1.0, 1.0, 1.0), "intensity"), contract, labels=True)
    assert set(np.unique(seen)) == {0, 3, 7}
    assert seen[0, 0, 0] == 7
    assert seen[0, 9, 9] == 3


@pytest.mark.parametrize(("shift", "says"), [(1024, "never turned into HU"), (-1024, "rescaled a second time")])
def test_values_that_are_not_hu_are_refused(tmp_path, shift, says):
    volume = np.full((4, 12, 12), -1000, np.float32)
    volume[:, 3:9, 3:9] = np.random.default_rng(0).normal(40, 20, (4, 6, 6))
    path = write_nifti(tmp_path / "v.nii", volume + shift, "LPS")
    with pytest.raises(ImageError, match=rf"v\.nii: holds .*{says}"):
        cached(path, ct_contract((4, 12, 12)))


def test_a_contract_in_mm_refuses_an_image_without_spacing():
    with pytest.raises(ImageError, match="the file states none"):
        preprocess(grey(np.eye(8)), Preprocessing((1, 8, 8), spacing_mm=(1.0, 1.0, 1.0)))


def test_a_cached_file_is_not_read_again(picture, monkeypatch):
    first = cached(picture, picture_contract(16))
    monkeypatch.setattr(preprocessing, "read_image", None)
    assert np.array_equal(cached(picture, picture_contract(16)), first)


def test_a_changed_file_or_contract_never_gets_a_stale_result(picture):
    first = cached(picture, picture_contract(16))
    assert cached(picture, picture_contract(16, crop_bottom=0.5)).tolist() != first.tolist()
    write_picture(picture, np.eye(20, 16, dtype=np.uint8) * 200)
    assert np.array_equal(cached(picture, picture_contract(16)), preprocess(read_image(picture), picture_contract(16)))


def test_files_come_back_in_their_order(tmp_path):
    paths = [write_picture(tmp_path / f"{i}.png", np.eye(9, k=i, dtype=np.uint8) * 99) for i in range(5)]
    contract = picture_contract(9)
    together = preprocess_files(paths[::-1], contract)
    assert together.dtype == np.uint8
    assert all(np.array_equal(a, preprocess(read_image(p), contract)) for a, p in zip(together, paths[::-1], strict=True))


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_one_unreadable_image_stops_all_and_is_named(picture, tmp_path, content):
    bad = tmp_path / "bad.png"
    if content:
        bad.write_bytes(content)
    with pytest.raises(ImageError, match=str(bad)):
        preprocess_files([picture, bad], picture_contract(16))


def test_an_image_in_the_wrong_unit_is_named(picture):
    with pytest.raises(ImageError, match=f"{picture}: the contract has HU windows"):
        cached(picture, ct_contract((1, 8, 8)))
