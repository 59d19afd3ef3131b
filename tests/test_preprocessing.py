"""The preprocessing contract and its cache."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from threading import Barrier

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
    preprocess_files,
    to_window,
    with_size,
)
from medclip_nb.data.readers import Image, ImageError, read_image

OTHER = {
    "size": (2, 4, 4),
    "orientation": "RAS",
    "windows_hu": ((0.0, 1.0),),
    "percentiles": (1.0, 99.0),
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
    volume = Image(np.arange(64, dtype=np.float32).reshape(4, 4, 4), (1.0, 1.0, 1.0), "LPS", "HU")
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
def test_a_saved_contract_is_the_same_contract(tmp_path, contract):
    contract.save(tmp_path / "c.json")
    again = Preprocessing.load(tmp_path / "c.json")
    assert again == contract
    assert again.digest() == contract.digest()


def test_only_the_size_changes_with_the_size():
    contract = picture_contract(64, crop_bottom=0.06)
    assert with_size(contract, (1, 8, 8)) == replace(contract, size=(1, 8, 8))


def test_a_cached_file_is_not_read_again(picture, monkeypatch):
    first = cached(picture, picture_contract(16), units="intensity")
    monkeypatch.setattr(preprocessing, "read_image", None)
    assert np.array_equal(cached(picture, picture_contract(16), units="intensity"), first)


def test_a_changed_file_or_contract_never_gets_a_stale_result(picture):
    first = cached(picture, picture_contract(16), units="intensity")
    assert cached(picture, picture_contract(16, crop_bottom=0.5), units="intensity").tolist() != first.tolist()
    write_picture(picture, np.eye(20, 16, dtype=np.uint8) * 200)
    assert np.array_equal(
        cached(picture, picture_contract(16), units="intensity"), preprocess(read_image(picture), picture_contract(16))
    )


def test_a_write_that_fails_leaves_no_half_file(picture, tmp_path, monkeypatch):
    def save(handle, _):
        handle.write(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", save)
        with pytest.raises(OSError, match="disk full"):
            cached(picture, picture_contract(16), units="intensity")
    assert list(tmp_path.rglob("*.npy")) == []
    assert cached(picture, picture_contract(16), units="intensity").shape == (1, 1, 16, 16)


def test_two_threads_may_write_one_entry_at_the_same_time(picture, tmp_path, monkeypatch):
    both, save = Barrier(2, timeout=30), np.save

    def save_together(handle, array):
        both.wait()
        save(handle, array)
        both.wait()

    monkeypatch.setattr(np, "save", save_together)
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: cached(picture, picture_contract(16), units="intensity"), range(2))
    (file,) = (f for f in (tmp_path / "home").rglob("*") if f.is_file())
    assert np.array_equal(one, two)
    assert np.array_equal(one, np.load(file))


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
        cached(picture, ct_contract((1, 8, 8)), units="HU")
