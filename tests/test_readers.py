"""Image files to arrays: orientation, spacing, depth, masks on their image's grid, and refusals."""

import gzip
import json
import zlib

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


def write_volume(path, array, affine, *, sform=True, qform=False, header=None):
    """A NIfTI file of a (column, row, slice) array that states its space by the forms asked for."""
    file = nib.Nifti1Image(array, affine, header)
    file.set_sform(affine, code=1 if sform else 0)
    file.set_qform(affine, code=1 if qform else 0)
    nib.save(file, path)
    return path


def bump(path, offset, values):
    """Overwrites float32 fields of a NIfTI header, as careless tools do."""
    raw = bytearray(path.read_bytes())
    raw[offset : offset + 4 * len(values)] = np.array(values, np.float32).tobytes()
    path.write_bytes(raw)
    return path


GRID = np.diag([-1.0, -2, 3, 1])
PIXDIM, SROW_X = 80, 280  # byte offsets in the header of NIfTI-1


@pytest.mark.parametrize("forms", [(True, False), (False, True), (True, True)])
def test_any_form_tells_where_a_volume_lies(tmp_path, forms):
    affine = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.1, 0.2, 0.3) @ GRID[:3, :3], [5, 6, 7])
    path = write_volume(tmp_path / "v.nii", np.zeros((4, 3, 2), np.int16), affine, sform=forms[0], qform=forms[1])
    image = read_image(path)
    assert np.allclose(image.affine, affine, atol=1e-5)
    assert image.orientation == "LPS"  # oblique: by the nearest axes
    assert np.allclose(image.spacing_mm, (3, 2, 1), atol=1e-5)


def test_a_volume_that_does_not_say_how_it_lies_has_no_orientation(tmp_path):
    path = write_volume(tmp_path / "v.nii", np.zeros((4, 3, 2), np.int16), GRID, sform=False)
    image = read_image(path)
    assert (image.orientation, image.affine, image.spacing_mm) == ("", None, (3.0, 2.0, 1.0))
    assert reorient(image, "LPS") is image


def test_spacing_is_the_affines_where_pixdim_is_rounded(tmp_path):
    path = bump(write_volume(tmp_path / "v.nii", np.zeros((4, 3, 2), np.int16), GRID), PIXDIM, [1.02, 2.0, 3.0])
    assert read_image(path).spacing_mm == (3.0, 2.0, 1.0)


CONTRADICTIONS = {
    "sizes": (PIXDIM, [2, 2, 3], r"voxels of \[1. 2. 3.\] mm by sform, \[2. 2. 3.\] by pixdim; write the file anew"),
    "sides": (SROW_X, [1, 0, 0, 0], "axes are RPS by sform, LPS by qform"),
    "nowhere": (SROW_X, [0, 0, 0, 0], "its affine .* maps no volume"),
    "not a number": (SROW_X, [np.nan, 0, 0, 0], "its affine .* maps no volume"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_header_that_contradicts_itself_is_refused(tmp_path, name):
    offset, values, message = CONTRADICTIONS[name]
    path = write_volume(tmp_path / "v.nii", np.zeros((4, 3, 2), np.int16), GRID, qform=True)
    with pytest.raises(ImageError, match=f"v.nii: {message}"):
        read_image(bump(path, offset, values))


def test_two_forms_that_differ_by_a_small_turn_are_no_contradiction(tmp_path):
    path = write_volume(tmp_path / "v.nii", np.zeros((4, 3, 2), np.int16), GRID, qform=True)
    assert read_image(bump(path, SROW_X, [-0.999, 0.01, 0.02, 40])).affine[0, 3] == 40


def test_a_volume_in_microns_is_refused(tmp_path):
    header = nib.Nifti1Header()
    header.set_xyzt_units("micron")
    with pytest.raises(ImageError, match="v.nii: is in microns; write it anew in mm"):
        read_image(write_volume(tmp_path / "v.nii", np.zeros((4, 3, 2), np.int16), GRID, header=header))


@pytest.mark.parametrize("kind", [np.complex64, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
def test_colour_and_complex_volumes_are_refused(tmp_path, kind):
    with pytest.raises(ImageError, match="v.nii: cannot be read as NIfTI .*voxels of type"):
        read_image(write_volume(tmp_path / "v.nii", np.zeros((4, 3, 2), kind), GRID))


def nearest(labels, affine, image):
    """The label of the voxel nearest to each of the image's, 0 outside, one voxel at a time."""
    target = reorient(image, "LPS")
    out = np.zeros(target.array.shape, int)
    for s, r, c in np.ndindex(*out.shape):
        index = np.rint(np.linalg.inv(affine) @ target.affine @ [c, r, s, 1])[:3].astype(int)
        if (index >= 0).all() and (index < labels.shape).all():
            out[s, r, c] = labels[tuple(index)]
    return out


MASK_GRIDS = {
    "same": GRID,
    "rows upside down, the same shape": np.array([[-1.0, 0, 0, 0], [0, 2, 0, -14], [0, 0, 3, 0], [0, 0, 0, 1]]),
    "finer": np.array([[-0.5, 0, 0, 0.3], [0, -1, 0, 0.4], [0, 0, 1.5, -0.2], [0, 0, 0, 1]]),
    "moved by two voxels": GRID @ nib.affines.from_matvec(np.eye(3), [2, 0, 0]),
    "moved by a hair": GRID @ nib.affines.from_matvec(np.eye(3), [0.2, 0, 0]),
    "other axes": GRID @ np.array([[0, 0, 1.0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]),
    "turned": nib.affines.from_matvec(nib.eulerangles.euler2mat(0.1, 0.2, 0.3) @ GRID[:3, :3], [0.4, 0.3, -0.2]),
}


@pytest.mark.parametrize("name", MASK_GRIDS)
@pytest.mark.parametrize("order", ["LPS", "RAS"])
def test_a_mask_lands_where_it_lies_in_space(tmp_path, name, order):
    affine = GRID if order == "LPS" else GRID @ np.array([[-1.0, 0, 0, 6], [0, -1, 0, 7], [0, 0, 1, 0], [0, 0, 0, 1]])
    image = read_image(write_volume(tmp_path / "v.nii", np.zeros((7, 8, 5)), affine))
    assert image.orientation == order
    shape = (14, 16, 10) if name == "finer" else (8, 5, 7) if name == "other axes" else (7, 8, 5)
    labels = np.random.default_rng(0).integers(0, 5, shape).astype(np.uint8)
    mask = read_mask(write_volume(tmp_path / "m.nii", labels, MASK_GRIDS[name]), like=image)
    assert np.array_equal(mask, nearest(labels, MASK_GRIDS[name], image))
    assert mask.any()


@pytest.mark.parametrize("labelled", [True, False])
def test_a_mask_of_another_place_is_refused_even_when_it_is_empty(tmp_path, labelled):
    image = read_image(write_volume(tmp_path / "v.nii", np.zeros((8, 8, 5)), GRID))
    far = GRID @ nib.affines.from_matvec(np.eye(3), [6, 0, 0])
    with pytest.raises(ImageError, match="m.nii: only 25% of the mask lies inside its image in space"):
        read_mask(write_volume(tmp_path / "m.nii", np.full((8, 8, 5), labelled, np.uint8), far), like=image)


def test_an_empty_mask_on_a_finer_grid_is_an_empty_mask(tmp_path):
    image = read_image(write_volume(tmp_path / "v.nii", np.zeros((7, 8, 5)), GRID))
    mask = read_mask(write_volume(tmp_path / "m.nii", np.zeros((14, 16, 10), np.uint8), MASK_GRIDS["finer"]), like=image)
    assert mask.shape == (5, 8, 7)
    assert not mask.any()


def test_a_mask_that_says_nothing_about_space_must_have_the_images_shape(tmp_path):
    image = read_image(write_picture(tmp_path / "a.png", np.zeros((5, 4), np.uint8)))
    labels = np.arange(20, dtype=np.uint8).reshape(5, 4)
    assert np.array_equal(read_mask(write_picture(tmp_path / "m.png", labels), like=image)[0], labels)
    with pytest.raises(ImageError, match=r"n.png: shape \(1, 4, 5\) is not the image's \(1, 5, 4\)"):
        read_mask(write_picture(tmp_path / "n.png", labels.T.copy()), like=image)


PAIRS = {"example_ct_dicom": "example_seg_dicom", "example_ct": "example_seg_fast_force_split"}
SIDES = (("spleen", "liver"), ("kidney_left", "kidney_right"))
HU_OF = {"liver": (20, 180), "spleen": (20, 180), "aorta": (20, 300), "lung_lower_lobe_left": (-950, -500)}


@pytest.mark.parametrize("image", PAIRS)
def test_real_organs_have_their_hu_and_their_side(real_data, image):
    folder = real_data / "totalseg"
    ct = reorient(read_image(folder / f"{image}.nii.gz", units="HU"), "LPS")
    mask = read_mask(folder / f"{PAIRS[image]}.nii.gz", like=ct)
    number = {name: int(k) for k, name in json.loads((folder / "class_map.json").read_text())["total"].items()}
    shown = {name for name, k in number.items() if (mask == k).sum() > 300}
    means = {name: ct.array[mask == number[name]].mean() for name in shown & set(HU_OF)}
    assert {"liver", "spleen", "aorta"} <= set(means)
    assert {n: m for n, m in means.items() if not HU_OF[n][0] < m < HU_OF[n][1]} == {}
    for pair in SIDES[: 2 if "kidney_left" in shown else 1]:
        left, right = (np.nonzero(mask == number[name])[2].mean() for name in pair)
        assert left > right + 20  # columns grow to the patient's left


@pytest.mark.parametrize("folder", ["totalseg", "nichart_head", "ms_lesion", "volumes"])
def test_no_real_volume_is_refused(real_data, folder):
    images = {p: read_image(p) for p in sorted((real_data / folder).rglob("*.nii.gz"))}
    assert len(images) >= 5
    assert {p.name for p, image in images.items() if len(set(image.orientation)) != 3 or min(image.spacing_mm) <= 0} == set()


def test_a_16_bit_picture_keeps_its_depth(tmp_path):
    values = np.array([[0, 300], [40_000, 65_535]], np.uint16)
    assert read_image(write_picture(tmp_path / "a.png", values)).array[0].tolist() == values.tolist()


def test_colour_and_transparency_become_grey(tmp_path):
    grey = np.random.default_rng(0).integers(0, 255, (5, 4), np.uint8)
    rgba = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    assert np.abs(read_image(write_picture(tmp_path / "a.png", rgba)).array[0] - grey).max() <= 1


def test_what_is_transparent_is_black_whatever_colour_hides_there(tmp_path):
    rgba = np.zeros((3, 4, 4), np.uint8)
    rgba[..., :3], rgba[0, :, 3] = 200, 255
    assert read_image(write_picture(tmp_path / "a.png", rgba)).array[0].tolist() == [[200] * 4, [0] * 4, [0] * 4]


def test_a_palette_picture_gives_its_colours_not_their_numbers(tmp_path):
    numbers = Picture.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    numbers.putpalette([10, 10, 10, 250, 250, 250])
    numbers.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").array[0].tolist() == [[10, 250], [250, 10]]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_picture_is_turned_as_its_camera_says(tmp_path, suffix):
    picture, exif = Picture.new("L", (16, 32), 255), Picture.Exif()
    picture.paste(0, (0, 0, 16, 16))  # dark above
    exif[0x0112] = 6  # to be turned clockwise
    picture.save(tmp_path / f"a.{suffix}", exif=exif)
    array = read_image(tmp_path / f"a.{suffix}").array[0]
    assert array.shape == (16, 32)
    assert array[:, 20:].max() < 10  # the dark end is on the right
    assert array[:, :12].min() > 245


def test_a_picture_that_claims_to_be_enormous_is_refused(tmp_path):
    path = write_picture(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    raw = bytearray(path.read_bytes())
    raw[16:24] = (50_000).to_bytes(4, "big") * 2
    raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
    path.write_bytes(raw)
    with pytest.raises(ImageError, match="a.png: cannot be read as a picture .*decompression bomb"):
        read_image(path)


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
    with pytest.raises(ImageError, match=r"a.bmp: unknown kind of image; known: .png.*.nii.*.dcm"):
        read_image(tmp_path / "a.bmp")
    with pytest.raises(ImageError, match="no such image file"):
        read_image(tmp_path / "b.png")


def test_a_folder_of_masks_is_one_array_of_labels(tmp_path):
    for name, rows in {"liver": slice(0, 4), "spleen": slice(3, 6)}.items():
        mask = np.zeros((4, 6, 5), np.float32)
        mask[:, rows] = 1
        write_nifti(tmp_path / f"{name}.nii.gz", mask, "RAS")
    assert read_mask(tmp_path)[0, :, 0].tolist() == [1, 1, 1, 2, 2, 2]


def test_a_folder_without_masks_and_masks_of_two_grids_are_refused(tmp_path):
    with pytest.raises(ImageError, match="holds no NIfTI masks"):
        read_mask(tmp_path)
    for side in (4, 5):
        write_nifti(tmp_path / f"{side}.nii.gz", np.ones((3, side, side), np.float32), "RAS")
    with pytest.raises(ImageError, match=r"5.nii.gz: shape \(3, 5, 5\) is not"):
        read_mask(tmp_path)
