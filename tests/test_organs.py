"""Organs as units: their crops and label maps, which of them can be used, and why others cannot."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medclip_nb.config import CROP_SIZES, LARGE_ORGANS, MIN_ORGAN_VOXELS
from medclip_nb.data import organs as module
from medclip_nb.data.catalog import Dataset
from medclip_nb.data.manifest import ManifestError, all_columns, check
from medclip_nb.data.organs import (
    MARGIN_MM,
    STATES,
    axis_weights,
    label_maps,
    lesion_crop,
    load_organs,
    organ_crops,
    organ_states,
    resample,
    with_margin,
)
from medclip_nb.data.preprocessing import ct_contract, mr_contract, to_window
from medclip_nb.data.readers import Image, ImageError, in_space
from medclip_nb.data.totalsegmentator import OrganLabels

SHAPE, AFFINE = (8, 20, 18), np.diag([-2.0, -2.0, 5.0, 1.0])  # grows to left, posterior, superior
NAMES, CLASSES = ("spleen", "liver", "lung_left"), {"liver": 1, "spleen": 2, "lung_left": 3, "aorta": 4}
TISSUE, AIR = 40.0, -800.0
BOXES = {"liver": np.s_[2:6, 3:9, 3:9], "spleen": np.s_[2:5, 12:17, 3:9], "lung_left": np.s_[1:7, 2:17, 11:16]}
LENGTHS = st.integers(1, 24)
CALM = settings(max_examples=40, deadline=None)


def scan(labels: np.ndarray | None = None, *, hu: float = TISSUE, units: str = "HU") -> Image:
    """Tissue, with air where the left lung is in `labels`."""
    array = np.full(SHAPE, hu, np.float32)
    array[labels == CLASSES["lung_left"]] = AIR
    return in_space(array, AFFINE, units)


def mask(**boxes) -> np.ndarray:
    """Labels as CLASSES numbers them, in these boxes (else those of BOXES)."""
    labels = np.zeros(SHAPE, np.uint8)
    for name, box in (boxes or BOXES).items():
        labels[box] = CLASSES[name]
    return labels


def organ(name: str, box, *, known: bool = True) -> OrganLabels:
    """One organ in a box."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[box] = 1
    return OrganLabels(labels, (name,), frozenset({name} if known else ()), ())


def state_of(image: Image, labels: OrganLabels) -> str:
    return STATES[organ_states(image, labels)[0]]


def save(path: Path, array: np.ndarray, *, order: str = "LPS", by: float = 0.0) -> str:
    """Writes a volume, turned to another order of axes, or moved by mm to the right; the file's name."""
    affine = AFFINE.copy()
    affine[0, 3] = by
    file = nib.Nifti1Image(array.T, affine)
    turn = nib.orientations.ornt_transform(*map(nib.orientations.axcodes2ornt, ("LPS", order)))
    nib.save(file.as_reoriented(turn), path)
    return path.name


def dataset(folder: Path, masks: list[np.ndarray | None], *, by: float = 0.0, orders=("LPS", "LPS")) -> Dataset:
    """A study for each mask, `by` moving the last one off its image."""
    rows = []
    for i, labels in enumerate(masks):
        image = save(folder / f"{i}.nii", scan(labels).array, order=orders[0])
        moved = by if i == len(masks) - 1 else 0.0
        own = "" if labels is None else save(folder / f"m{i}.nii", labels, order=orders[1], by=moved)
        rows.append({"study_id": f"s{i}", "patient_id": f"p{i}", "image": image, "mask": own, "report": "Normal."})
    table = check(all_columns(pd.DataFrame(rows)), root=folder, name="made up")
    return Dataset("made up", table, ct_contract(SHAPE), synthetic=True, mask_classes=CLASSES)


# from one size to another


@CALM
@given(old=LENGTHS, new=LENGTHS)
def test_weights_of_each_new_cell_are_shares(old, new):
    weights = axis_weights(old, new)
    assert weights.shape == (new, old)
    assert (weights >= 0).all()
    assert np.allclose(weights.sum(1), 1, atol=1e-5)
    assert np.allclose(weights, weights[::-1, ::-1], atol=1e-5)  # left is treated as right


@CALM
@given(old=LENGTHS, new=LENGTHS)
def test_weights_are_a_triangle_by_a_loop(old, new):
    weights, width = axis_weights(old, new), max(old / new, 1)
    for i in range(new):
        middle = (i + 0.5) * old / new
        heights = [max(0.0, 1 - abs(j + 0.5 - middle) / width) for j in range(old)]
        assert np.allclose(weights[i], np.array(heights) / sum(heights), atol=1e-5)


@CALM
@given(n=LENGTHS)
def test_an_axis_of_equal_size_stays_as_it_is(n):
    assert np.array_equal(axis_weights(n, n), np.eye(n))


@CALM
@given(old=st.integers(2, 12), factor=st.floats(1, 4))
def test_where_an_axis_grows_it_is_interpolated_linearly(old, factor):
    new, values = int(old * factor), np.random.default_rng(old).normal(size=old)
    wanted = np.interp((np.arange(new) + 0.5) * old / new - 0.5, np.arange(old), values)
    assert np.allclose(axis_weights(old, new) @ values, wanted, atol=1e-5)


@CALM
@given(new=st.integers(4, 8), factor=st.integers(2, 5))
def test_shrinking_by_a_whole_factor_keeps_the_mean_of_what_lies_off_the_border(new, factor):
    values, rim = np.random.default_rng(new).normal(size=new * factor), -(-3 * factor // 2)
    values[:rim] = values[-rim:] = 0
    assert np.isclose((axis_weights(new * factor, new) @ values).mean(), values.mean(), atol=1e-5)


@CALM
@given(shape=st.tuples(*[st.integers(1, 5)] * 3), size=st.tuples(*[st.integers(1, 5)] * 3))
def test_an_array_is_resampled_axis_by_axis_by_a_loop(shape, size):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    weights = [axis_weights(old, new) for old, new in zip(shape, size, strict=True)]
    wanted = np.zeros(size)
    for z, y, x in np.ndindex(*size):
        for a, b, c in np.ndindex(*shape):
            wanted[z, y, x] += weights[0][z, a] * weights[1][y, b] * weights[2][x, c] * array[a, b, c]
    assert np.allclose(resample(array, size), wanted, atol=1e-4)


@CALM
@given(shape=st.tuples(*[st.integers(1, 9)] * 3), size=st.tuples(*[st.integers(1, 9)] * 3))
def test_a_constant_stays_constant_and_nothing_lies_outside_its_range(shape, size):
    noise = np.random.default_rng(0).uniform(-3, 5, shape).astype(np.float32)
    found = resample(noise, size)
    assert np.allclose(resample(np.full(shape, 7.0, np.float32), size), 7, atol=1e-4)
    assert noise.min() - 1e-4 <= found.min() <= found.max() <= noise.max() + 1e-4


def test_masks_and_whole_numbers_are_resampled_as_numbers():
    inside = np.arange(24).reshape(2, 3, 4) % 2 == 0
    assert np.allclose(resample(inside, (1, 1, 1)), resample(inside.astype(np.uint8), (1, 1, 1)))
    assert np.allclose(resample(inside, (1, 1, 1)), 0.5, atol=1e-5)


# which organs can be used


def test_each_state_arises_as_it_is_described():
    labels = mask(liver=BOXES["liver"], spleen=np.s_[2, 2, 2], aorta=np.s_[0:4, 3:9, 12:15], lung_left=BOXES["lung_left"])
    image = scan(labels)
    labels[2:6, 3:9, 11:14] = 0  # so that the aorta does not hide in the lung
    names = ("liver", "spleen", "aorta", "lung_left", "stomach", "heart")
    number = {CLASSES[n]: k for k, n in enumerate(names[:4], start=1)}
    numbered = np.vectorize(lambda label: number.get(label, 0))(labels).astype(np.uint8)
    found = organ_states(image, OrganLabels(numbered, names, frozenset(names) - {"heart"}, ()))
    assert [STATES[k] for k in found] == ["used", "small", "cut", "used", "empty", "not labelled"]


@pytest.mark.parametrize(("missing", "state"), [(0, "used"), (1, "small")])
def test_an_organ_needs_so_many_voxels(missing, state):
    n = MIN_ORGAN_VOXELS - missing
    assert state_of(scan(), organ("liver", np.s_[3, 4, 2 : 2 + n])) == state


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", ["lower", "upper"])
def test_an_organ_that_touches_any_border_is_cut(axis, end):
    box = [slice(2, 6), slice(4, 12), slice(4, 12)]
    for gap in (1, 0):
        box[axis] = slice(gap, 5) if end == "lower" else slice(4, SHAPE[axis] - gap)
        assert state_of(scan(), organ("liver", tuple(box))) == ("used" if gap else "cut")


@pytest.mark.parametrize(
    ("name", "hu", "state"),
    [
        ("lung_left", -800, "used"), ("lung_left", 40, "misplaced"), ("lung_right", -100, "misplaced"),
        ("liver", 40, "used"), ("liver", -800, "misplaced"), ("liver", 1500, "misplaced"), ("liver", -1000, "misplaced"),
        ("stomach", -900, "used"), ("trachea", -1000, "used"), ("trachea", 40, "misplaced"), ("vertebrae", 300, "used"),
    ],
)  # fmt: skip
def test_an_organ_of_impossible_density_is_misplaced(name, hu, state):
    assert state_of(scan(hu=hu), organ(name, BOXES["liver"])) == state


def test_a_mask_that_was_shifted_off_its_lung_is_misplaced():
    image, box = scan(mask()), BOXES["lung_left"]
    moved = (box[0], box[1], slice(box[2].start - 8, box[2].stop - 8))
    assert state_of(image, organ("lung_left", box)) == "used"
    assert state_of(image, organ("lung_left", moved)) == "misplaced"


def test_a_minority_of_wild_voxels_does_not_make_an_organ_misplaced():
    image, box = scan(), BOXES["liver"]
    wild = image.array[box].reshape(-1)
    wild[: len(wild) // 2 - 1] = -3000
    image.array[box] = wild.reshape(image.array[box].shape)
    assert state_of(image, organ("liver", box)) == "used"


@pytest.mark.parametrize("value", [-3000.0, 0.0, 5000.0])
def test_an_image_without_hu_has_no_misplaced_organ(value):
    assert state_of(scan(hu=value, units="intensity"), organ("lung_left", BOXES["liver"])) == "used"


# crops


def test_a_crop_holds_the_windows_and_the_share_inside_of_the_box_with_its_margin():
    rng, contract, labels = np.random.default_rng(0), ct_contract(SHAPE), organ("spleen", BOXES["spleen"])
    labels.labels[3, 14, 5] = 0
    image = in_space(rng.uniform(-1000, 1000, SHAPE).astype(np.float32), AFFINE, "HU")
    wide = np.s_[1:6, 9:20, 0:12]  # 6 mm: one slice, three rows and columns
    hu, inside = (resample(a[wide], CROP_SIZES[0]) for a in (image.array, labels.labels == 1))
    ((crop,), large) = organ_crops(image, labels, contract)
    assert large == []
    assert [np.array_equal(crop[c], to_window(hu, *window)) for c, window in enumerate(contract.windows_hu)] == [True] * 3
    assert np.array_equal(crop[3], np.rint(255 * inside).astype(np.uint8))


def test_large_organs_have_the_large_size_and_each_keeps_its_place():
    names = ("spleen", "liver", "lung_left", "aorta")
    boxes = {"spleen": np.s_[1:3, 2:5, 2:5], "liver": np.s_[2:6, 6:9, 3:9], "lung_left": np.s_[1:7, 2:17, 11:16]}
    labels = np.zeros(SHAPE, np.uint8)
    for k, name in enumerate(names[:3], start=1):
        labels[boxes[name]] = k
    small, large = organ_crops(scan(), OrganLabels(labels, names, frozenset(names), ()), ct_contract(SHAPE))
    alone = [organ_crops(scan(), organ(name, box), ct_contract(SHAPE)) for name, box in boxes.items()]
    assert [c.shape[1:] for c in small] == [CROP_SIZES[0]] * 2
    assert [c.shape[1:] for c in large] == [CROP_SIZES[1]] * 2
    assert np.array_equal(small[0], alone[0][0][0])
    assert [np.array_equal(c, own[1][0]) for c, own in zip(large, alone[1:], strict=True)] == [True, True]


def test_the_crop_of_an_organ_without_a_voxel_is_zeros():
    labels = OrganLabels(np.zeros(SHAPE, np.uint8), ("liver", "spleen"), frozenset(), ())
    small, large = organ_crops(scan(), labels, ct_contract(SHAPE))
    assert [c.shape for c in (*small, *large)] == [(4, *CROP_SIZES[0]), (4, *CROP_SIZES[1])]
    assert not any(c.any() for c in (*small, *large))


def test_without_windows_a_crop_runs_from_the_darkest_to_the_brightest_voxel_of_the_image():
    image = scan(units="intensity", hu=5.0)
    image.array[0, 0, 0], image.array[0, 0, 1] = 0.0, 10.0
    ((crop,), _) = organ_crops(image, organ("spleen", BOXES["spleen"]), mr_contract(SHAPE))
    assert crop.shape == (2, *CROP_SIZES[0])
    assert set(np.unique(crop[0])) <= {127, 128}  # half of the range


def test_an_image_without_spacing_has_no_crops():
    image = replace(scan(), spacing_mm=None)
    with pytest.raises(ImageError, match="states no spacing: an organ's margin in mm needs one"):
        organ_crops(image, organ("liver", BOXES["liver"]), ct_contract(SHAPE))


@pytest.mark.parametrize(("mm", "voxels"), [(2.0, 3), (5.0, 1), (50.0, 1), (1.0, 6)])
def test_a_box_is_widened_by_its_margin_at_least_a_voxel_and_ends_with_the_image(mm, voxels):
    assert with_margin((slice(10, 12),), (100,), (mm,)) == (slice(10 - voxels, 12 + voxels),)
    assert with_margin((slice(0, 12),), (12,), (mm,)) == (slice(0, 12),)
    assert mm >= MARGIN_MM or voxels == round(MARGIN_MM / mm)


# a dataset


def test_all_organs_of_all_studies_are_loaded_in_the_order_of_the_names(tmp_path):
    labels = mask(liver=BOXES["liver"], spleen=BOXES["spleen"], lung_left=np.s_[0:7, 2:17, 11:16])
    found = load_organs(dataset(tmp_path, [mask(), labels]), NAMES)
    assert found.state.tolist() == [[STATES.index("used")] * 3, [*[STATES.index("used")] * 2, STATES.index("cut")]]
    assert found.used.tolist() == [[True] * 3, [True, True, False]]
    assert [c.shape for c in found.crops] == [(2, 1, 4, *CROP_SIZES[0]), (2, 2, 4, *CROP_SIZES[1])]
    for k, name in enumerate(NAMES):
        own = organ_crops(scan(labels), organ(name, labels == CLASSES[name]), ct_contract(SHAPE))
        kind, place = found.group[:, k]
        assert kind == (name in LARGE_ORGANS)
        assert np.array_equal(found.crops[kind][1, place], own[kind][0])


@pytest.mark.parametrize("names", [("spleen", "aorta"), ("liver",), ("lung_left", "spleen", "liver")])
def test_organs_of_one_kind_alone_can_be_loaded(tmp_path, names):
    found = load_organs(dataset(tmp_path, [mask()]), names)
    n_large = sum(name in LARGE_ORGANS for name in names)
    assert [c.shape[1] for c in found.crops] == [len(names) - n_large, n_large]
    assert sorted(zip(*found.group.tolist(), strict=True)) == [(0, i) for i in range(len(names) - n_large)] + [
        (1, i) for i in range(n_large)
    ]


@pytest.mark.parametrize("orders", [("RAS", "RAS"), ("RAS", "LPS"), ("PIR", "RAS")])
def test_the_order_of_axes_in_the_files_changes_nothing(tmp_path, orders):
    (tmp_path / "turned").mkdir()
    plain, turned = load_organs(dataset(tmp_path, [mask()]), NAMES), dataset(tmp_path / "turned", [mask()], orders=orders)
    found = load_organs(turned, NAMES)
    assert np.array_equal(found.state, plain.state)
    assert all(np.array_equal(a, b) for a, b in zip(found.crops, plain.crops, strict=True))
    assert np.array_equal(label_maps(turned, ("liver", "spleen", "lung_left"))[0], mask())


def test_a_study_without_a_mask_has_no_organ_that_is_used(tmp_path):
    found = load_organs(dataset(tmp_path, [None, mask(), None]), NAMES)
    assert found.used.tolist() == [[False] * 3, [True] * 3, [False] * 3]
    assert (found.state[[0, 2]] == STATES.index("no mask")).all()
    assert not any(crops[[0, 2]].any() for crops in found.crops)


def test_every_study_is_counted_once_for_each_organ(tmp_path):
    only_liver = mask(liver=BOXES["liver"])
    table = load_organs(dataset(tmp_path, [mask(), None, only_liver, mask()]), NAMES).counts()
    found = {(row.organ, row.state): row.n for row in table.itertuples()}
    assert found == {("liver", "used"): 3} | {(o, "used"): 2 for o in ("spleen", "lung_left")} | {
        (o, "empty"): 1 for o in ("spleen", "lung_left")
    } | {(o, "no mask"): 1 for o in NAMES}
    assert table.groupby("organ")["n"].sum().tolist() == [4, 4, 4]


@pytest.mark.parametrize("load", [load_organs, label_maps])
def test_a_dataset_without_any_mask_says_how_to_get_some(tmp_path, load):
    with pytest.raises(ManifestError, match="made up: column 'mask' is empty in every row.*run TotalSegmentator"):
        load(dataset(tmp_path, [None, None]), NAMES)


@pytest.mark.parametrize("load", [load_organs, label_maps])
def test_a_mask_of_another_image_is_named_by_row_and_column(tmp_path, load):
    far = dataset(tmp_path, [mask(), None, mask()], by=500.0)
    with pytest.raises(ManifestError, match=r"made up: row 4, column 'mask': .*m2.nii: only 0% of the mask lies inside"):
        load(far, NAMES)


@pytest.mark.parametrize("load", [load_organs, label_maps])
def test_what_was_made_of_a_study_is_kept(tmp_path, load, monkeypatch):
    made_up = dataset(tmp_path, [mask(), mask()])
    first = load(made_up, NAMES)
    monkeypatch.setattr(module, "organ_crops", None)
    monkeypatch.setattr(module, "to_geometry", None)
    again = load(made_up, NAMES)
    arrays = [first, again] if load is label_maps else [first.crops[1], again.crops[1]]
    assert np.array_equal(*arrays)


@pytest.mark.parametrize("load", [load_organs, label_maps])
def test_other_names_or_another_list_of_classes_never_give_what_was_kept_of_these(tmp_path, load):
    made_up, states = dataset(tmp_path, [mask()]), []
    swapped = replace(made_up, mask_classes=CLASSES | {"liver": CLASSES["spleen"], "spleen": CLASSES["liver"]})
    for which, names in ((made_up, ("liver",)), (made_up, ("spleen",)), (swapped, ("liver",))):
        found = load(which, names)
        states.append((found if load is label_maps else found.crops[names[0] in LARGE_ORGANS]).copy())
    assert not np.array_equal(states[0], states[2])
    assert states[0].shape != states[1].shape or not np.array_equal(states[0], states[1])


def test_a_list_of_classes_beside_the_masks_that_was_changed_is_read_again(tmp_path):
    made_up, found = replace(dataset(tmp_path, [mask()]), mask_classes=None), []
    for liver, spleen in ((1, 2), (2, 1)):
        (tmp_path / "classes.json").write_text(json.dumps(CLASSES | {"liver": liver, "spleen": spleen}))
        found.append(label_maps(made_up, NAMES)[0])
    assert np.array_equal(found[0] == 1 + NAMES.index("liver"), found[1] == 1 + NAMES.index("spleen"))
    assert not np.array_equal(*found)


def test_what_the_first_mask_gives_reason_to_tell_is_noted_with_its_study(tmp_path):
    found = load_organs(dataset(tmp_path, [None, mask(), mask()]), NAMES)
    assert found.notes == ("s1: 1 of 4 classes belong to none of the organs asked for",)


def test_the_crop_of_lesions_lies_on_the_crop_of_their_organ(tmp_path):
    made_up, lesions = dataset(tmp_path, [mask()]), mask(liver=np.s_[3:5, 4:6, 3:5], spleen=np.s_[3, 12, 4])
    made_up.manifest["lesions"] = save(tmp_path / "lesions.nii", lesions)
    box = np.s_[1:7, 0:12, 0:12]  # of the liver, with its margin
    for labels in ([1], [2], [1, 2]):
        wanted = resample(np.isin(lesions, labels)[box], CROP_SIZES[1])
        assert np.allclose(lesion_crop(made_up, 0, NAMES, "liver", labels), wanted)
    assert np.unravel_index(wanted.argmax(), wanted.shape)[0] in range(4, 8)  # slices 3 and 4 of 1 to 6


def test_label_maps_number_the_organs_by_their_place_in_the_names(tmp_path):
    made_up = dataset(tmp_path, [mask(), None])
    found = label_maps(made_up, NAMES)
    for k, name in enumerate(NAMES, start=1):
        assert np.array_equal(found[0] == k, mask() == CLASSES[name])
    assert not found[1].any()


def test_label_maps_lie_on_the_grid_of_the_contract_and_mix_no_labels(tmp_path):
    made_up = replace(dataset(tmp_path, [mask()]), contract=ct_contract((4, 10, 9)))
    (found,) = label_maps(made_up, NAMES)
    assert found.shape == (4, 10, 9)
    assert set(np.unique(found)) == {0, 1, 2, 3}
    for k, name in enumerate(NAMES, start=1):
        centre = np.argwhere(mask() == CLASSES[name]).mean(0)
        assert np.abs(2 * np.argwhere(found == k).mean(0) + 0.5 - centre).max() <= 1
