"""Image files to arrays: orientation, spacing, depth, and refusals."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Picture
from toy import SPACING_MM, lps_volume, write_nifti, write_picture

from medclip_nb.data.readers import ImageError, read_image, read_mask, reorient


@pytest.mark.parametrize("order", ["LPS", "RAS", "PIR"])
def test_a_volume_looks_the_same_however_its_axes_were_stored(tmp_path, order):
    image = read_image(write_nifti(tmp_path / "v.nii.gz", lps_volume(), order), units="HU")
    assert (image.orientation, image.units) == (order, "HU")
    turned = reorient(image, "LPS")
    assert np.array_equal(turned.array, lps_volume())
    assert turned.spacing_mm == SPACING_MM


def test_turning_there_and_back_changes_nothing(tmp_path):
    image = read_image(write_nifti(tmp_path / "v.nii", lps_volume(), "PIR"))
    back = reorient(reorient(image, "LPS"), "PIR")
    assert np.array_equal(back.array, image.array)
    assert (back.spacing_mm, back.orientation) == (image.spacing_mm, "PIR")


def test_a_picture_has_no_orientation_and_is_not_turned(tmp_path):
    image = read_image(write_picture(tmp_path / "a.png", np.arange(12, dtype=np.uint8).reshape(3, 4)))
    assert (image.orientation, image.spacing_mm, image.units) == ("", None, "intensity")
    assert reorient(image, "LPS") is image


def test_stored_values_are_rescaled_to_hu_exactly_once(tmp_path):
    file = nib.Nifti1Image(np.full((2, 2, 2), 40, np.int16), np.eye(4))
    nib.save(file, tmp_path / "v.nii")
    raw = bytearray((tmp_path / "v.nii").read_bytes())
    raw[112:120] = np.array([2, -1024], np.float32).tobytes()  # scl_slope, scl_inter
    (tmp_path / "v.nii").write_bytes(raw)
    assert np.unique(read_image(tmp_path / "v.nii", units="HU").array).tolist() == [40 * 2 - 1024]


def test_four_axes_are_refused_with_advice(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((2, 3, 4, 5), np.float32), np.eye(4)), tmp_path / "v.nii")
    with pytest.raises(ImageError, match=r"v.nii: has 4 axes .* save one 3D volume per file"):
        read_image(tmp_path / "v.nii")


def test_a_trailing_axis_of_one_is_dropped(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((2, 3, 4, 1, 1), np.float32), np.eye(4)), tmp_path / "v.nii")
    assert read_image(tmp_path / "v.nii").array.shape == (4, 3, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_not_numbers_are_refused_and_counted(tmp_path, value):
    volume = lps_volume()
    volume[0, 0, :3] = value
    with pytest.raises(ImageError, match="holds 3 voxels that are NaN or infinite"):
        read_image(write_nifti(tmp_path / "v.nii", volume))


def test_a_mask_gives_whole_labels_in_the_radiological_view(tmp_path):
    labels = np.random.default_rng(0).integers(0, 5, (6, 10, 8)).astype(np.float32)
    mask = read_mask(write_nifti(tmp_path / "m.nii", labels, "RAS"))
    assert mask.dtype == np.int32
    assert np.array_equal(mask, labels)


def test_a_mask_of_fractions_is_refused(tmp_path):
    with pytest.raises(ImageError, match="m.nii: is no mask"):
        read_mask(write_nifti(tmp_path / "m.nii", np.full((6, 10, 8), 0.5, np.float32)))


def test_a_16_bit_picture_keeps_its_depth(tmp_path):
    values = np.array([[0, 300], [40_000, 65_535]], np.uint16)
    assert read_image(write_picture(tmp_path / "a.png", values)).array[0].tolist() == values.tolist()


def test_colour_and_transparency_become_grey(tmp_path):
    grey = np.random.default_rng(0).integers(0, 255, (5, 4), np.uint8)
    rgba = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    assert np.abs(read_image(write_picture(tmp_path / "a.png", rgba)).array[0] - grey).max() <= 1


def test_a_jpeg_in_print_colours_is_read(tmp_path):
    Picture.new("CMYK", (6, 5), (0, 0, 0, 0)).save(tmp_path / "a.jpg")
    array = read_image(tmp_path / "a.jpg").array
    assert array.shape == (1, 5, 6)
    assert array.min() > 250  # no ink is white


def test_a_suffix_in_capitals_is_known(tmp_path):
    Picture.new("L", (6, 5)).save(tmp_path / "A.PNG")
    assert read_image(tmp_path / "A.PNG").array.shape == (1, 5, 6)


BROKEN = {
    "no image.png": b"hello",
    "empty.jpg": b"",
    "no volume.nii": b"hello",
    "cut.nii.gz": gzip.compress(b"x" * 400)[:60],
    "no zip.nii.gz": b"hello",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_not_what_it_claims_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(ImageError, match=f"{name}: cannot be read as"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "jpg", "nii.gz"])
def test_a_file_cut_short_is_refused_not_filled_up(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (1, 64, 64), np.uint8)
    write_nifti(path, noise) if suffix == "nii.gz" else write_picture(path, noise[0])
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(path)


def test_missing_files_and_unknown_kinds_are_told_apart(tmp_path):
    (tmp_path / "a.bmp").touch()
    with pytest.raises(ImageError, match=r"a.bmp: unknown kind of image; known: .png"):
        read_image(tmp_path / "a.bmp")
    with pytest.raises(ImageError, match="no such image file"):
        read_image(tmp_path / "b.png")
