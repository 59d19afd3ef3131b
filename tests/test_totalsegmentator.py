"""Organ masks: what belongs to which organ, where its names come from, what is noted, and what is refused."""

import json

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import SPACING_MM, write_picture

from medclip_nb.data.phantoms.vocabulary import ORGAN_GROUPS, ORGANS, group_mask, kind_of
from medclip_nb.data.readers import Image, ImageError, read_image, read_mask, reorient
from medclip_nb.data.totalsegmentator import ORGAN_CLASSES, PHANTOM_ORGANS, OrganLabels, coverage, read_organs
from medclip_nb.text.vocabulary import TOTALSEGMENTATOR

CLASSES = {"spleen": 1, "liver": 5, "aorta": 7, "lung_upper_lobe_left": 13, "lung_lower_lobe_left": 14, "femur_left": 20}
NAMES = ("lung_left", "aorta", "liver", "pancreas")
SHAPE = (6, 10, 8)
LPS = np.diag([-SPACING_MM[2], -SPACING_MM[1], SPACING_MM[0], 1.0])
V1_CHAMBERS = {f"heart_{part}": n for n, part in enumerate(
    ("myocardium", "atrium_left", "ventricle_left", "atrium_right", "ventricle_right"), start=44)}  # fmt: skip


def some_labels(numbers=(1, 5, 7, 13, 14, 20)):
    """Random labels of these numbers and 0, radiological view."""
    return np.random.default_rng(0).choice([0, *numbers], SHAPE)


def write_mask(path, labels=None, order="LPS", *, by=(0, 0, 0), factor=1, headers=()):
    """Labels of the radiological view in a file of another order of axes, at the same place whatever the order.

    `by` moves them, in voxels to the left, back and up; `factor` cuts each voxel into that many along each axis.
    """
    labels = np.asarray(some_labels() if labels is None else labels).astype(np.int32)
    step, shift = np.eye(3) / factor, np.array(by) + (1 / factor - 1) / 2
    affine = LPS @ nib.affines.from_matvec(step, shift)
    file = nib.Nifti1Image(np.kron(labels, np.ones([factor] * 3, np.int32)).T, affine)
    turn = nib.orientations.ornt_transform(*map(nib.orientations.axcodes2ornt, ("LPS", order)))
    file = file.as_reoriented(turn)
    file.header.extensions += [nib.nifti1.Nifti1Extension(0, content.encode()) for content in headers]
    path.parent.mkdir(exist_ok=True)
    nib.save(file, path)
    return path


def label_table(classes):
    """The header's XML, in TotalSegmentator's words."""
    body = "".join(f'<Label Key="{n}" Red="0.0" Alpha="1"><![CDATA[{name}]]></Label>\n' for name, n in classes.items())
    start = '<?xml version="1.0" encoding="UTF-8"?> <CaretExtension>   <VolumeInformation Index="0">   <LabelTable>\n'
    return f"{start}{body}\n  </LabelTable>   </VolumeInformation></CaretExtension>\n              "


def write_folder(folder, masks):
    """One file per class."""
    folder.mkdir(exist_ok=True)
    for name, mask in masks.items():
        write_mask(folder / f"{name}.nii.gz", mask, "RAS")
    return folder


def slowly(labels, names, classes):
    """The organ of each voxel, one by one."""
    name_of, out = {n: name for name, n in classes.items()}, np.zeros(labels.shape, np.uint8)
    for voxel in np.ndindex(*labels.shape):
        for k, organ in enumerate(names, start=1):
            if name_of.get(int(labels[voxel])) in ORGAN_CLASSES[organ]:
                out[voxel] = k
    return out


def block(*box):
    """True inside a box."""
    mask = np.zeros(SHAPE, bool)
    mask[box] = True
    return mask


def test_no_class_belongs_to_two_organs():
    classes = [c for parts in ORGAN_CLASSES.values() for c in parts]
    assert len(set(classes)) == len(classes)


def test_the_first_twelve_are_the_phantoms_and_hold_their_classes():
    assert tuple(ORGAN_GROUPS) == PHANTOM_ORGANS
    assert [name for name, parts in ORGAN_GROUPS.items() if not set(parts) <= set(ORGAN_CLASSES[name])] == []


def test_classes_are_those_that_the_reports_vocabulary_names_bowel_apart():
    for organ, classes in TOTALSEGMENTATOR.items():
        ours = {c for name, parts in ORGAN_CLASSES.items() if kind_of(name) == organ for c in parts}
        assert set(classes) - ours == ({"duodenum", "small_bowel", "colon"} if organ == "stomach" else set())


@pytest.mark.parametrize("order", ["LPS", "RAS", "PIR"])
@pytest.mark.parametrize("names", [NAMES, NAMES[::-1], ("spleen",)])
def test_each_voxel_gets_the_organ_of_its_class_however_the_axes_were_stored(tmp_path, order, names):
    labels = some_labels()
    organs = read_organs(write_mask(tmp_path / "m.nii.gz", labels, order), names, classes=CLASSES)
    assert np.array_equal(organs.labels, slowly(labels, names, CLASSES))
    assert organs.names == names
    assert organs.known == set(names) - {"pancreas"}


def test_the_phantoms_organs_are_its_groups(tmp_path):
    labels = some_labels(tuple(ORGANS.values()))
    organs = read_organs(write_mask(tmp_path / "m.nii", labels), classes=ORGANS)
    assert organs.known == set(ORGAN_GROUPS)
    for k, name in enumerate(ORGAN_GROUPS, start=1):
        assert np.array_equal(organs.labels == k, group_mask(labels.astype(int), name)), name


STRINGS = {str(n): name for name, n in CLASSES.items()}
LISTS = {
    "classes.json": STRINGS,
    "class_map.json": CLASSES,
    "../classes.json": {"total": STRINGS},
    "../class_map.json": {"other": {"1": "spleen"}, "total": {"background": 0} | CLASSES},
}


@pytest.mark.parametrize("place", LISTS)
def test_names_are_read_from_a_json_beside_the_file_or_one_folder_up(tmp_path, place):
    path = write_mask(tmp_path / "case" / "m.nii.gz")
    (path.parent / place).write_text(json.dumps(LISTS[place]))
    given = read_organs(path, NAMES, classes=CLASSES)
    assert np.array_equal(read_organs(path, NAMES).labels, given.labels)
    assert read_organs(path, NAMES)[1:] == given[1:]


FEW = {name: n for name, n in CLASSES.items() if name != "liver"}


def test_names_are_read_from_the_header_as_totalsegmentator_writes_it(tmp_path):
    path = write_mask(tmp_path / "m.nii.gz", headers=["a remark", "\n" + label_table({"???": 0, " liver ": 5} | FEW)])
    organs = read_organs(path, NAMES)
    assert np.array_equal(organs.labels, slowly(some_labels(), NAMES, CLASSES))


def test_names_given_go_before_the_headers_and_those_before_the_json(tmp_path):
    path = write_mask(tmp_path / "m.nii.gz", np.full(SHAPE, 7), headers=[label_table({"pancreas": 7})])
    (tmp_path / "classes.json").write_text('{"7": "liver"}')
    assert read_organs(path, NAMES).known == {"pancreas"}
    assert read_organs(path, NAMES, classes={"aorta": 7}).known == {"aorta"}


def test_a_header_with_an_empty_table_leaves_it_to_the_json(tmp_path, monkeypatch):
    write_mask(tmp_path / "case" / "m.nii.gz", headers=[label_table({})])
    (tmp_path / "classes.json").write_text(json.dumps(CLASSES), encoding="utf-8-sig")  # as Windows editors write it
    monkeypatch.chdir(tmp_path / "case")
    assert read_organs("m.nii.gz", NAMES).known == {"lung_left", "aorta", "liver"}


def test_a_nearer_list_goes_before_one_a_folder_up(tmp_path):
    path = write_mask(tmp_path / "case" / "m.nii.gz", np.full(SHAPE, 7))
    (tmp_path / "classes.json").write_text('{"7": "liver"}')
    (path.parent / "class_map.json").write_text('{"7": "aorta"}')
    assert read_organs(path, NAMES).known == {"aorta"}


def test_a_mask_without_names_is_not_guessed_at(tmp_path):
    with pytest.raises(ImageError, match=r"m.nii.gz: has no names .*not guessed at.*classes.json.*give `classes`"):
        read_organs(write_mask(tmp_path / "m.nii.gz"), NAMES)


TASKS = {"one": {"1": "spleen", "2": "liver"}, "two": {"1": "liver", "2": "spleen", "3": "aorta"}}


def test_of_several_tasks_the_one_is_taken_that_has_all_labels(tmp_path):
    (tmp_path / "class_map.json").write_text(json.dumps(TASKS))
    organs = read_organs(write_mask(tmp_path / "m.nii", some_labels((1, 3))), ("liver", "spleen", "aorta"))
    assert np.array_equal(organs.labels, np.choose(some_labels((1, 3)).astype(int), [0, 1, 2, 3]))


@pytest.mark.parametrize(
    ("labels", "message"),
    [((1, 2), "tasks that fit m.nii differ: one, two"), ((1, 9), "none of one, two has all 2 labels of m.nii")],
)
def test_a_choice_among_tasks_that_is_not_clear_is_refused(tmp_path, labels, message):
    (tmp_path / "class_map.json").write_text(json.dumps(TASKS))
    with pytest.raises(ImageError, match=f"class_map.json: {message}"):
        read_organs(write_mask(tmp_path / "m.nii", some_labels(labels)))


def test_of_a_single_task_labels_without_a_name_are_told(tmp_path):
    (tmp_path / "class_map.json").write_text(json.dumps({"one": TASKS["one"]}))
    notes = read_organs(write_mask(tmp_path / "m.nii", np.where(block(0), 9, 1))).notes
    assert notes[0] == "labels without a name, which count as nothing: 9 (80 voxels)"


def test_tasks_that_agree_leave_no_choice_to_make(tmp_path):
    (tmp_path / "class_map.json").write_text(json.dumps({"one": TASKS["one"], "same": {"liver": 2, "spleen": 1}}))
    assert read_organs(write_mask(tmp_path / "m.nii", some_labels((1, 2)))).known == {"liver", "spleen"}


BROKEN = {
    '{"1": "liver"': r"cannot be read as JSON",
    "[1, 2]": r"is no table of classes; write",
    "{}": "names no class",
    '{"0": "background"}': "names no class",
    '{"1": "liver", "2": "liver"}': r"entry '2': 'liver': the name or the number is there twice",
    '{"1": "liver", "1": "spleen"}': r"entry '1': 'spleen': the name or the number is there twice",
    '{"liver": 1, "spleen": 1}': r"entry 'spleen': 1: the name or the number is there twice",
    '{"0": "liver"}': r"entry '0': 'liver': class numbers lie between 1 and 65,535",
    '{"liver": -2}': r"entry 'liver': -2: class numbers lie between",
    '{"liver": 70000}': r"entry 'liver': 70000: class numbers lie between",
    '{"liver": 1.5}': r"entry 'liver': 1.5: is no pair of a class name and a whole number",
    '{"liver": true}': r"entry 'liver': True: is no pair",
    '{"1": "2"}': r"entry '1': '2': is no pair",
    '{"liver": "spleen"}': r"entry 'liver': 'spleen': is no pair",
    '{"1": " "}': r"entry '1': ' ': is no pair",
    '{"liver": [1, 2]}': r"entry 'liver': \[1, 2\]: is no pair",
    '{"total": {"1": "liver", "2": "liver"}}': r", total: entry '2': 'liver': the name",
    '{"total": {"1": "liver"}, "spleen": 2}': r"entry 'total': .* is no pair",
    '{"a": {"1": "liver"}, "a": {"1": "spleen"}}': "a task is there twice: a, a",
}


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_list_of_classes_is_refused_with_its_file_and_entry(tmp_path, content):
    (tmp_path / "classes.json").write_text(content)
    with pytest.raises(ImageError, match=f"classes.json(: |, total: ){BROKEN[content].removeprefix(', total: ')}"):
        read_organs(write_mask(tmp_path / "m.nii"))


def test_classes_given_are_checked_too(tmp_path):
    path = write_mask(tmp_path / "m.nii")
    with pytest.raises(ImageError, match="classes: entry 'liver': 0: class numbers"):
        read_organs(path, classes={"liver": 0})
    with pytest.raises(ImageError, match="classes: names no class"):
        read_organs(path, classes={})


HEADERS = {
    "label tables of its header differ: 0, 1": [label_table({"liver": 1}), label_table({"liver": 2})],
    "the label table in its header is broken": [label_table(CLASSES)[:-60]],
    "header: entry '5': 'spleen': the name": [label_table(CLASSES).replace("liver", "spleen")],
    "header: entry '5': None: is no pair": [label_table(CLASSES).replace("liver", "")],
    "header: entry 'x': 'liver': is no pair": [label_table(CLASSES).replace('"5"', '"x"')],
}


@pytest.mark.parametrize("message", HEADERS)
def test_a_header_that_is_broken_or_ambiguous_is_refused(tmp_path, message):
    path = write_mask(tmp_path / "m.nii.gz", headers=HEADERS[message])
    with pytest.raises(ImageError, match=f"m.nii.gz(: |, ){message}"):
        read_organs(path)


def test_the_same_table_twice_in_a_header_is_no_contradiction(tmp_path):
    path = write_mask(tmp_path / "m.nii.gz", headers=[label_table(CLASSES)] * 2)
    assert read_organs(path, NAMES).known == {"lung_left", "aorta", "liver"}


@pytest.mark.parametrize("strange", [118, -3, 70_000, 6])
def test_a_label_without_a_name_is_no_organ_and_is_told(tmp_path, strange):
    labels = np.where(block(0, slice(2)), strange, some_labels())
    organs = read_organs(write_mask(tmp_path / "m.nii", labels), NAMES, classes=CLASSES)
    assert organs.notes[0] == f"labels without a name, which count as nothing: {strange} (16 voxels)"
    assert np.array_equal(organs.labels, slowly(labels, NAMES, CLASSES))


def test_many_labels_without_a_name_are_counted_not_listed(tmp_path):
    labels = np.arange(480).reshape(SHAPE) % 30
    notes = read_organs(write_mask(tmp_path / "m.nii", labels), NAMES, classes={"liver": 1}).notes
    assert notes[0].endswith("9 (16 voxels) and 20 more")


def test_an_organ_without_voxels_is_known_and_one_without_a_class_is_not(tmp_path):
    path = write_mask(tmp_path / "m.nii", np.full(SHAPE, 5))
    organs = read_organs(path, ("liver", "aorta", "pancreas"), classes=CLASSES)
    assert organs.known == {"liver", "aorta"}
    assert np.unique(organs.labels).tolist() == [1]
    assert organs.notes == ("4 of 6 classes belong to none of the organs asked for",)


def test_a_heart_of_version_1_is_its_chambers(tmp_path):
    labels = some_labels((*V1_CHAMBERS.values(), 49))
    organs = read_organs(write_mask(tmp_path / "m.nii", labels), ("heart",), classes=V1_CHAMBERS | {"pulmonary_artery": 49})
    assert np.array_equal(organs.labels == 1, (labels >= 44) & (labels < 49))


def test_an_organ_that_lacks_a_part_is_told(tmp_path):
    classes = {name: n for name, n in (V1_CHAMBERS | CLASSES).items() if not name.endswith("ventricle_left")}
    notes = read_organs(write_mask(tmp_path / "m.nii"), ("heart", "lung_left"), classes=classes).notes
    assert [note for note in notes if "without heart" in note] == ["heart: is without heart_ventricle_left"]
    assert not any("lung_left: is without" in note for note in notes)


def test_a_cyst_counts_with_its_kidney_but_alone_makes_none(tmp_path):
    path, classes = write_mask(tmp_path / "m.nii", some_labels((1, 2))), {"kidney_left": 1, "kidney_cyst_left": 2}
    assert np.array_equal(read_organs(path, ("kidney_left",), classes=classes).labels, some_labels((1, 2)) > 0)
    alone = read_organs(path, ("kidney_left",), classes={"liver": 1, "kidney_cyst_left": 2})
    assert alone.known == frozenset()
    assert not alone.labels.any()


@pytest.mark.parametrize("heart", [("heart",), tuple(V1_CHAMBERS)])
def test_a_folder_is_read_by_its_file_names_in_both_versions(tmp_path, heart):
    parts = {name: block(i) for i, name in enumerate(heart)}
    folder = write_folder(tmp_path / "seg", parts | {"liver": block(5), "aorta": block(5, 0) & False})
    (folder / "abdomen.nii.gz").write_bytes(b"is not read: no organ needs it")
    organs = read_organs(folder, ("liver", "heart", "aorta", "spleen"))
    assert organs.labels[:, 0, 0].tolist() == [2] * len(heart) + [0] * (5 - len(heart)) + [1]
    assert organs.known == {"liver", "heart", "aorta"}
    assert organs.notes == (f"1 of {len(heart) + 3} classes belong to none of the organs asked for",)


@pytest.mark.parametrize("names", [("liver", "lung_left", "spleen"), ("spleen", "lung_left", "liver")])
def test_where_organs_overlap_the_first_asked_for_stays_and_it_is_told(tmp_path, names):
    rng = np.random.default_rng(0)
    masks = {c: rng.random(SHAPE) < 0.4 for name in names for c in ORGAN_CLASSES[name][-2:]}
    organs, of = read_organs(write_folder(tmp_path / "seg", masks), names), {}
    for voxel in np.ndindex(*SHAPE):
        there = [k for k, name in enumerate(names, start=1) if any(masks[c][voxel] for c in ORGAN_CLASSES[name] if c in masks)]
        assert organs.labels[voxel] == (there[0] if there else 0)
        for other in there[1:]:
            of[other, there[0]] = of.get((other, there[0]), 0) + 1
    told = {f"{names[k - 1]}: {n} of its voxels are {names[j - 1]}'s too, and left to it" for (k, j), n in of.items()}
    assert {note for note in organs.notes if "left to it" in note} == told
    assert len(told) == 3


def test_an_organ_that_lies_all_in_another_is_told_to_be_lost(tmp_path):
    folder = write_folder(tmp_path / "seg", {"liver": block(0), "spleen": block(0, 0)})
    assert "spleen: of the 8 voxels in its mask none is left" in read_organs(folder).notes


@given(order=st.permutations(NAMES))
def test_the_order_of_the_names_changes_only_the_numbers(order, tmp_path_factory):
    path = write_mask(tmp_path_factory.mktemp("m") / "m.nii")
    one, other = (read_organs(path, names, classes=CLASSES) for names in (NAMES, tuple(order)))
    assert np.array_equal(np.array(["", *one.names])[one.labels], np.array(["", *other.names])[other.labels])


def test_folders_that_cannot_be_read_are_refused(tmp_path):
    empty, twice, many = (tmp_path / name for name in ("empty", "twice", "many"))
    with pytest.raises(ImageError, match="empty: holds no NIfTI masks"):
        read_organs(write_folder(empty, {}))
    write_mask(write_folder(twice, {"liver": block(0)}) / "liver.nii", block(0))
    with pytest.raises(ImageError, match="liver.nii.gz: the class is there twice, also as liver.nii;"):
        read_organs(twice)
    with pytest.raises(ImageError, match=r"liver.nii.gz: holds the labels \[1, 5, 7"):
        read_organs(write_folder(many, {"liver": some_labels()}))
    with pytest.raises(ImageError, match="twice: `classes` numbers the labels of one file"):
        read_organs(twice, classes=CLASSES)


@pytest.mark.parametrize("value", [1, 255, -1])
def test_the_one_label_of_a_class_may_be_any_number(tmp_path, value):
    organs = read_organs(write_folder(tmp_path / "seg", {"liver": value * block(2)}), ("liver",))
    assert np.array_equal(organs.labels, block(2))


def test_a_folder_of_nothing_that_is_asked_for_is_not_labelled(tmp_path):
    organs = read_organs(write_folder(tmp_path / "seg", {"femur_left": block(0), "._liver": block(0)}), NAMES)
    assert (organs.labels.shape, organs.labels.any(), organs.known) == (SHAPE, False, frozenset())
    assert organs.notes == ("1 of 1 classes belong to none of the organs asked for",)


@pytest.fixture
def image(tmp_path) -> Image:
    """In RAS; its voxels do not matter."""
    return read_image(write_mask(tmp_path / "image.nii", order="RAS"))


@pytest.mark.parametrize("order", ["LPS", "PIR"])
def test_a_mask_stored_in_another_order_of_axes_is_on_the_same_grid(tmp_path, image, order):
    organs = read_organs(write_mask(tmp_path / "m.nii", order=order), NAMES, like=image, classes=CLASSES)
    assert np.array_equal(organs.labels, slowly(some_labels(), NAMES, CLASSES))
    assert not any("grid" in note for note in organs.notes)


GRIDS = {
    "cut in three": ({"factor": 3}, 0, True),
    "moved by a voxel": ({"by": (1, 0, 0)}, 1, True),
    "moved by more than half": ({"by": (-0.6, 0, 0)}, -1, True),
    "moved by a hair": ({"by": (0.4, 0, 0)}, 0, False),
}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("order", ["LPS", "PIR"])
@pytest.mark.parametrize("folder", [True, False])
def test_a_mask_on_another_grid_lands_where_it_lies_and_it_is_told(tmp_path, image, grid, order, folder):
    liver, (where, columns, is_told) = block(slice(2, 5), slice(3, 7), slice(1, 6)), GRIDS[grid]
    path = write_mask(tmp_path / "seg" / "liver.nii.gz", liver, order, **where)
    organs = read_organs(path.parent if folder else path, ("liver",), like=image, classes=None if folder else {"liver": 1})
    assert np.array_equal(organs.labels, np.roll(liver, columns, axis=2))
    note = "liver.nii.gz: on another grid than the image: each voxel of the image took the nearest label"
    assert organs.notes == ((note,) if is_told else ())


def test_a_mask_larger_than_its_image_is_on_another_grid(tmp_path, image):
    liver = np.pad(block(2), ((0, 4), (0, 0), (0, 0)))
    organs = read_organs(write_mask(tmp_path / "m.nii", liver), ("liver",), like=image, classes={"liver": 1})
    assert np.array_equal(organs.labels, block(2))
    assert organs.notes[0].startswith("m.nii: on another grid than the image")


def test_several_files_on_another_grid_are_one_note(tmp_path, image):
    for name in ("liver", "spleen", "aorta"):
        write_mask(tmp_path / "seg" / f"{name}.nii.gz", block(0), factor=2)
    assert [note for note in read_organs(tmp_path / "seg", like=image).notes if "grid" in note] == [
        "aorta.nii.gz and 2 more files: on another grid than the image: each voxel of the image took the nearest label"
    ]


@pytest.mark.parametrize("folder", [True, False])
def test_a_mask_that_lies_outside_its_image_is_refused(tmp_path, image, folder):
    path = write_mask(tmp_path / "seg" / "liver.nii.gz", block(3), by=(0, 0, 4))
    with pytest.raises(ImageError, match="liver.nii.gz: only 0% of the mask lies inside its image"):
        read_organs(path.parent if folder else path, like=image, classes=None if folder else {"liver": 1})


def test_masks_of_two_grids_need_an_image(tmp_path, image):
    folder = write_folder(tmp_path / "seg", {"aorta": block(3)})
    write_mask(folder / "liver.nii.gz", block(2), factor=2)
    with pytest.raises(ImageError, match="seg: liver.nii.gz: not on the grid of aorta.nii.gz; give the image"):
        read_organs(folder)
    assert read_organs(folder, ("aorta", "liver"), like=image).labels[:, 0, 0].tolist() == [0, 0, 2, 1, 0, 0]


def test_an_organ_that_falls_between_the_images_voxels_is_told(tmp_path, image):
    path = write_mask(tmp_path / "m.nii.gz", block(2), factor=3)
    file = nib.load(path)
    array = np.asarray(file.dataobj).copy()
    array[9, 9, 10], array[9, 9, 0] = 2, 9  # neither is the middle one of the three
    nib.save(nib.Nifti1Image(array, file.affine), path)
    organs = read_organs(path, ("liver", "aorta"), like=image, classes={"liver": 1, "aorta": 2})
    assert np.array_equal(organs.labels, block(2))
    assert organs.known == {"liver", "aorta"}
    assert organs.notes[0] == "labels without a name, which count as nothing: 9 (1 voxels)"
    assert organs.notes[2:] == ("aorta: of the 1 voxels in its mask none is left",)


def test_a_mask_that_does_not_say_where_it_lies_is_told(tmp_path, image):
    nib.save(nib.Nifti1Image(some_labels().T.astype(np.int16), None), tmp_path / "m.nii")
    organs = read_organs(tmp_path / "m.nii", NAMES, like=image, classes=CLASSES)
    assert np.array_equal(organs.labels, slowly(some_labels(), NAMES, CLASSES))
    assert organs.notes[1:] == (
        "m.nii: mask or image does not say where it lies: taken for one grid because the shapes are equal",
    )


def test_masks_that_do_not_say_where_they_lie_are_told_of_only_beside_an_image(tmp_path, image):
    for name in ("liver", "spleen"):
        nib.save(nib.Nifti1Image(block(1).T.astype(np.uint8), None), tmp_path / f"{name}.nii.gz")
    (tmp_path / "image.nii").unlink()
    with_image, without = (read_organs(tmp_path, ("liver",), like=like) for like in (image, None))
    assert np.array_equal(with_image.labels, without.labels)
    assert [note for note in with_image.notes if note not in without.notes] == [
        "liver.nii.gz: mask or image does not say where it lies: taken for one grid because the shapes are equal"
    ]


@pytest.mark.parametrize("names", [(), ("liver", "liver"), ("liver", "thumb")])
def test_names_that_are_no_organs_are_refused(tmp_path, names):
    with pytest.raises(ValueError, match="names .*ask for one or more organs, each once, of lung_left, lung_right"):
        read_organs(write_mask(tmp_path / "m.nii"), names, classes=CLASSES)


def test_files_that_are_no_masks_are_refused(tmp_path):
    with pytest.raises(ImageError, match="m.nii: no such image file"):
        read_organs(tmp_path / "m.nii")
    with pytest.raises(ImageError, match="m.png: organ masks are read from NIfTI"):
        read_organs(write_picture(tmp_path / "m.png", np.ones((4, 4), np.uint8)), classes=CLASSES)
    (tmp_path / "m.nii").write_bytes(b"hello")
    with pytest.raises(ImageError, match="m.nii: cannot be read as NIfTI"):
        read_organs(tmp_path / "m.nii", classes=CLASSES)


def test_coverage_tells_state_size_and_borders():
    labels = block(slice(0, 2), slice(1, 4), slice(5, 8)).astype(np.uint8)
    organs = OrganLabels(labels, ("liver", "spleen", "aorta"), frozenset({"liver", "spleen"}), ())
    table = coverage(organs, SPACING_MM)
    assert table["state"].tolist() == ["labelled", "empty", "not labelled"]
    assert table["voxels"].tolist()[:2] == [18, 0]
    assert table["millilitres"].tolist()[:2] == [18 * 10 / 1000, 0]
    assert table.loc[2, ["voxels", "millilitres"]].isna().all()
    assert table["touches"].tolist() == ["lower, left", "", ""]


FACES = {"lower": (0,), "upper": (-1,), "front": (2, 0), "back": (2, -1), "right": (2, 2, 0), "left": (2, 2, -1)}


@pytest.mark.parametrize("face", FACES)
def test_each_border_has_its_name(face):
    labels = np.zeros(SHAPE, np.uint8)
    labels[(*FACES[face], *(2, 2, 2))[:3]] = 1
    assert coverage(OrganLabels(labels, ("liver",), frozenset({"liver"}), ()), SPACING_MM)["touches"].tolist() == [face]


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, np.nan), (np.inf, 1.0, 1.0)])
def test_a_spacing_that_is_none_is_refused(spacing):
    with pytest.raises(ValueError, match="spacing_mm .* give three positive numbers"):
        coverage(OrganLabels(np.zeros(SHAPE, np.uint8), ("liver",), frozenset(), ()), spacing)


PAIRS = {"example_ct": "example_seg_fast_force_split", "example_ct_dicom": "example_seg_dicom", "example_mr_sm": "example_seg_mr"}
NOT_LABELLED = {
    "total": {"pulmonary_artery"},
    "total_mr": {"trachea", "thyroid_gland", "pulmonary_artery", "sternum", "ribs_left", "ribs_right"},
}
ALL = tuple(ORGAN_CLASSES)


@pytest.mark.parametrize("scan", PAIRS)
def test_real_masks_name_themselves_and_lose_no_voxel(real_data, scan):
    folder, task = real_data / "totalseg", "total_mr" if "mr" in scan else "total"
    image, path = read_image(folder / f"{scan}.nii.gz"), folder / f"{PAIRS[scan]}.nii.gz"
    organs, raw = read_organs(path, ALL, like=image), np.asarray(nib.load(path).dataobj)
    number = {name: int(n) for n, name in json.loads((folder / "class_map.json").read_text())[task].items()}
    assert organs.known == set(ALL) - NOT_LABELLED[task]
    assert len(organs.notes) == 1  # neither labels without a name nor another grid, be the rows of one upside down
    for row in coverage(organs, image.spacing_mm).dropna().itertuples():
        assert row.voxels == np.isin(raw, [number[c] for c in ORGAN_CLASSES[row.organ] if c in number]).sum(), row.organ


@pytest.mark.parametrize("scan", PAIRS)
def test_real_organs_lie_on_their_side(real_data, scan):
    folder = real_data / "totalseg"
    image = read_image(folder / f"{scan}.nii.gz")
    organs = read_organs(folder / f"{PAIRS[scan]}.nii.gz", like=image)
    centre = {
        name: np.nonzero(organs.labels == k)[2].mean() for k, name in enumerate(organs.names, 1) if (organs.labels == k).any()
    }
    assert centre["spleen"] > centre["liver"] + 20  # columns grow to the patient's left
    assert centre.get("kidney_left", 1) > centre.get("kidney_right", 0)


def test_a_real_mask_split_into_a_folder_gives_the_same(real_data, tmp_path):
    path = real_data / "totalseg" / "example_seg_fast_force_split.nii.gz"
    whole, number = read_mask(path), json.loads((path.parent / "class_map.json").read_text())["total"]
    wanted = {c for name in PHANTOM_ORGANS for c in ORGAN_CLASSES[name]}
    for n, name in number.items():
        if name in wanted:
            file = nib.Nifti1Image((whole == int(n)).T.astype(np.uint8), reorient(read_image(path), "LPS").affine)
            nib.save(file, tmp_path / f"{name}.nii.gz")
    one, other = (read_organs(p, like=read_image(path)) for p in (path, tmp_path))
    assert np.array_equal(one.labels, other.labels)
    assert one.known == other.known == set(PHANTOM_ORGANS)
    assert other.notes == ()
