"""Real heads under the synthetic cohort's contract, and MedPix cases compared by what their texts find."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from toy import write_picture

from medclip_nb.config import PRESETS
from medclip_nb.data.catalog import card, load
from medclip_nb.data.phantoms.head import FIELD_MM, KINDS, PLACES, SEQUENCES, SIZES, examination
from medclip_nb.data.phantoms.head.geometry import CENTRE_MM
from medclip_nb.data.phantoms.head.sequences import SCANNERS
from medclip_nb.data.phantoms.head.vocabulary import OEDEMA, SYSTEMS
from medclip_nb.data.preprocessing import mr_contract, to_geometry
from medclip_nb.data.readers import ImageError, in_space, read_image
from medclip_nb.lesson import real_head
from medclip_nb.lesson.real_head import field_centre, in_field, look_at, nearest_agrees

SMOKE = PRESETS["smoke"]
CONTRACT = mr_contract(SIZES["smoke"], field_mm=FIELD_MM)
FILES = ("FLAIR", "T1", "T2", "GOLD_STANDARD")
N_BOOTSTRAP = 200


def ball(shape, middle, radius):
    """Voxels of a file (x, y, z) nearer to `middle` than `radius`."""
    return np.linalg.norm(np.indices(shape) - np.reshape(middle, (3, 1, 1, 1)), axis=0) < radius


def write_subject(root, *, affine=None, name="a", turn=1):
    """A bright ball of 60 mm for a brain and a lesion on the patient's left, front and top, voxels of 3 mm."""
    affine = np.diag([3.0, 3, 3, 1]) if affine is None else affine
    brain, lesion = ball((60, 70, 80), (30, 35, 50), 20), ball((60, 70, 80), (22, 45, 58), 3)
    (root / name).mkdir(parents=True)
    for what in FILES:
        voxels = lesion if what == "GOLD_STANDARD" else 100.0 * brain + 100 * lesion
        nib.save(nib.Nifti1Image(voxels[::turn].astype(np.float32), affine), root / name / f"{what}.nii.gz")
    return root


def middle_mm(labels):
    """Middle of labelled voxels on the grid, from the middle of the field: to the left, to the back, upwards."""
    at = np.argwhere(labels > 0).mean(0) - (np.array(labels.shape) - 1) / 2
    return (at * CONTRACT.spacing_mm)[::-1]


@pytest.mark.parametrize("shift_mm", [(0, 0, 0), (40, -25, 300)])
def test_a_lesion_lies_on_its_side_wherever_the_head_lies_in_space(home, tmp_path, shift_mm):
    affine = np.diag([3.0, 3, 3, 1])
    affine[:3, 3] = shift_mm
    (head,) = look_at(write_subject(tmp_path, affine=affine), CONTRACT)
    brain, lesion = middle_mm(head.images["FLAIR"] > 60), middle_mm(head.lesions)
    np.testing.assert_allclose(lesion - brain, [24, -30, 24], atol=5)  # left, to the front, upwards


def test_how_a_file_stores_its_axes_changes_nothing(home, tmp_path):
    flipped = np.diag([-3.0, 3, 3, 1])
    flipped[0, 3] = 3.0 * 59
    (one,), (other,) = (
        look_at(write_subject(tmp_path / "a"), CONTRACT),
        look_at(write_subject(tmp_path / "b", affine=flipped, turn=-1), CONTRACT),
    )
    assert np.array_equal(one.lesions, other.lesions)
    assert np.array_equal(one.images["T1"], other.images["T1"])


def test_the_template_itself_is_left_where_it_is(home):
    """The field's middle over the template is the one that the cohort is drawn with."""
    template = real_head.template()
    inside = ((template.region > 0) & (template.region <= real_head.BRAIN)).reshape(real_head.SHAPE)
    affine = np.diag([real_head.STEP_MM] * 3 + [1.0])
    affine[:3, 3] = real_head.ORIGIN_MM
    np.testing.assert_allclose(field_centre(in_space(inside.astype(np.float32), affine, "intensity")), CENTRE_MM, atol=1e-6)


def test_a_field_is_cut_as_a_slow_loop_cuts_it_and_filled_where_the_file_ends():
    rng = np.random.default_rng(0)
    array = rng.uniform(10, 20, (30, 40, 50)).astype(np.float32)
    affine = np.diag([-3.5, -3.5, 6.0, 1])  # columns to the left, rows to the back: the contract's own view
    found = in_field(in_space(array, affine, "intensity"), np.array([-20 * 3.5, -5 * 3.5, 8 * 6.0]), CONTRACT)
    assert found.array.shape == CONTRACT.size
    start = found.affine[:3, 3] / np.diag(affine)[:3]
    for z, y, x in rng.integers(0, CONTRACT.size, (300, 3)):
        at = tuple(np.rint([z, y, x] + start[::-1]).astype(int))
        inside = all(0 <= a < n for a, n in zip(at, array.shape, strict=True))
        assert found.array[z, y, x] == (array[at] if inside else np.percentile(array, CONTRACT.percentiles[0]).astype(np.float32))


def test_the_middle_of_the_field_is_the_point_that_was_asked_for():
    affine = np.diag([2.0, 2.0, 2.0, 1])
    for point in ((30.0, 44.0, 60.0), (90.0, 10.0, 100.0)):
        array = np.zeros((60, 60, 60), np.float32)
        array[tuple(int(mm / 2) for mm in point[::-1])] = 1
        cut = in_field(in_space(array, affine, "intensity"), np.array(point), CONTRACT)
        found = np.argwhere(to_geometry(cut, CONTRACT) > 0).mean(0)
        assert (abs(found - (np.array(CONTRACT.size) - 1) / 2) <= 1).all()


def test_parts_of_a_lesion_are_counted_in_the_file_and_on_the_grid(home, tmp_path):
    file = write_subject(tmp_path) / "a" / "GOLD_STANDARD.nii.gz"
    mask = np.zeros((60, 70, 80), np.int16)
    mask[20:26, 30:36, 50:56], mask[40, 35, 50] = 2, 1
    nib.save(nib.Nifti1Image(mask, np.diag([3.0, 3, 3, 1])), file)
    heads = look_at(tmp_path, CONTRACT)
    row = real_head.lesion_table(heads, CONTRACT).iloc[0]
    labels = set(np.unique(heads[0].lesions)) - {0}
    assert (row["parts in the file"], row["parts here"]) == (2, len(labels))
    assert 2 in labels <= {1, 2}
    assert row["ml in the file"] == pytest.approx(217 * 27 / 1000)
    assert row["ml here"] == pytest.approx(row["ml in the file"], rel=0.3)


def test_a_folder_of_another_layout_and_a_missing_file_are_named(home, tmp_path):
    with pytest.raises(ValueError, match=r"holds no NAME/FLAIR.nii.gz or flair/NAME_FL.nii.gz; give the folder"):
        look_at(tmp_path, CONTRACT)
    (write_subject(tmp_path) / "a" / "T2.nii.gz").unlink()
    with pytest.raises(ValueError, match=r"a: \S+T2.nii.gz is not there"):
        look_at(tmp_path, CONTRACT)


def test_what_has_no_place_in_space_is_refused(home, tmp_path):
    with pytest.raises(ValueError, match="without spacing has no field of view"):
        look_at(write_subject(tmp_path), mr_contract(SIZES["smoke"]))
    with pytest.raises(ValueError, match="file is empty or has no affine"):
        field_centre(in_space(np.zeros((2, 3, 4), np.float32), np.eye(4), "intensity"))
    with pytest.raises(ValueError, match="lies nowhere in space"):
        in_field(in_space(np.zeros((2, 3, 4), np.float32), None, "intensity"), np.zeros(3), CONTRACT)


def test_a_mask_of_another_head_is_refused(home, tmp_path):
    file = write_subject(tmp_path) / "a" / "GOLD_STANDARD.nii.gz"
    far = np.diag([3.0, 3, 3, 1])
    far[:3, 3] = 1000
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.int16), far), file)
    with pytest.raises(ImageError, match="belongs to another image"):
        look_at(tmp_path, CONTRACT)


@pytest.fixture(scope="module")
def heads(home):
    return load("head", SMOKE)


def test_a_real_head_is_drawn_above_a_synthetic_one(heads, tmp_path):
    (head,) = look_at(write_subject(tmp_path), heads.contract)
    figure = real_head.beside_synthetic(head, heads, n_slices=2)
    titles = [axis.get_title() for axis in figure.axes]
    assert [title.split(",")[0] for title in titles[:4]] == ["real", "real", "synthetic", "synthetic"]
    shown = heads.manifest.set_index("study_id").loc[titles[2].split(", ")[1].partition(":")[0]]
    assert shown["sequence"] == "FLAIR"
    assert real_head.WHITE_MATTER in shown["findings"]


def test_a_cohort_without_such_a_lesion_is_refused(heads, tmp_path):
    (head,) = look_at(write_subject(tmp_path), heads.contract)
    heads = load("head", SMOKE)
    heads.manifest["findings"] = "[]"
    with pytest.raises(ValueError, match="shows a white-matter hyperintensity"):
        real_head.beside_synthetic(head, heads)


def test_the_card_of_the_heads_names_what_the_generator_draws(heads):
    about = card("head")
    assert set(about["findings"]) == {*KINDS, OEDEMA}
    assert set(about["places"]) == {*PLACES, *SYSTEMS.values()}
    assert about["sequences"] == list(SEQUENCES)
    assert list(about["scanners"]) == [scanner.name for scanner in SCANNERS]
    assert sum(about["scanners"].values()) == pytest.approx(1, abs=0.002)
    assert sum(about["places"].values()) == pytest.approx(100, abs=0.5)
    assert about["grid"].startswith(f"{SIZES['cpu'][0]} slices of {SIZES['cpu'][1]} x {SIZES['cpu'][2]}")


def test_shares_on_the_card_fit_the_smoke_cohort(heads):
    """Within four standard errors of a share among its examinations: patients' studies are alike, so two would be too few."""
    found = [json.loads(text) for text in heads.manifest["findings"]]
    study = heads.manifest["study_id"].map(examination)
    n = study.nunique()
    for kind, (percent, *_) in card("head")["findings"].items():
        share = study[[any(f["kind"] == kind for f in own) for own in found]].nunique() / n
        assert abs(share - percent / 100) < 4 * np.sqrt(percent / 100 * (1 - percent / 100) / n)


TEXTS = {
    "U0": ("Acute infarct of the left thalamus.", "Vascular", "Infarct"),
    "U1": ("There is an acute infarct in the left thalamus.", "Vascular", "Infarct"),
    "U2": ("Enhancement along the optic nerve.", "Neoplasm, glial", "Optic glioma"),
    "U3": ("", "Neoplasm, benign", "Meningioma"),
    "U4": ("A mass. No hydrocephalus.", "Unsure", "Unknown"),
}


@pytest.fixture
def medpix(tmp_path):
    """Five cases of head MR, the last with a picture of the spine besides."""
    root = tmp_path / "MedPix"
    (root / "images").mkdir(parents=True)
    (root / "splitted_dataset").mkdir()
    about = {"Modality": "MR - FLAIR", "Age": "1", "Sex": "male", "Caption": "A picture."}
    rows = [
        {"image": uid, "U_id": uid, "Type": "MR", "Location Category": "Head", "Location": "Brain", "Description": about}
        for uid in TEXTS
    ]
    rows.append(rows[-1] | {"image": "S", "Location Category": "Spine and Muscles", "Location": "Spine"})
    cases = [
        {"U_id": uid, "Case": {"Case Diagnosis": name} | ({"Findings": text} if text else {}), "Topic": {"Category": topic}}
        for uid, (text, topic, name) in TEXTS.items()
    ]
    splits = {"train": list(TEXTS)[:3], "dev": ["U3"], "test": ["U4"]}
    files = {"Descriptions.json": rows, "Case_topic.json": cases, "splitted_dataset/uid_list.json": splits}
    for name, content in files.items():
        (root / name).write_text(json.dumps(content), encoding="utf-8")
    for row in rows:
        write_picture(root / "images" / f"{row['image']}.png", np.eye(9, dtype=np.uint8))
    return load(root, SMOKE)


def test_a_medpix_case_is_one_row_with_what_the_rules_read(medpix):
    cases = real_head.medpix_heads(medpix).set_index("case")
    assert list(cases.index) == ["U0", "U1", "U2", "U4"]  # U3 says nothing
    assert cases["category"].tolist() == ["Vascular", "Vascular", "Neoplasm", ""]
    assert cases.loc["U0", "found"] == cases.loc["U1", "found"] == [("left brain", "infarct")]
    assert cases.loc["U2", "found"] is None
    assert cases.loc["U4", "found"] is None
    assert cases["n_pictures"].tolist() == [1, 1, 1, 1]
    assert cases.loc["U4", "split"] == "test"


def test_equal_findings_are_alike_and_what_was_not_read_is_compared_by_meaning(medpix):
    cases = real_head.medpix_heads(medpix)
    sims = real_head.likeness(cases)
    assert sims["findings"][0, 1] == pytest.approx(1)
    assert sims["meaning"][0, 1] < 0.999
    np.testing.assert_array_equal(sims["findings"][2:], sims["meaning"][2:])
    (row,) = real_head.most_alike(cases, sims["findings"], 1).to_dict("records")
    assert (row["case a"], row["case b"], row["category a"]) == ("U0", "U1", "Vascular")


def test_a_folder_without_heads_is_refused(picture_folder):
    with pytest.raises(ValueError, match="no picture is MR of the head"):
        real_head.medpix_heads(load(picture_folder, SMOKE))


def made_up_cases(values):
    return pd.DataFrame({"case": [f"c{i}" for i in range(len(values))], "category": values})


def test_agreement_of_the_nearest_case_is_that_of_a_slow_loop():
    rng = np.random.default_rng(1)
    cases = made_up_cases(rng.choice(["a", "b", "c", ""], 40))
    sim = rng.integers(0, 5, (40, 40)).astype(float)  # many ties
    gains = []
    for i, own in enumerate(cases["category"]):
        others = [j for j in range(40) if j != i]
        same = [j for j in others if own and cases["category"][j] == own]
        best = [j for j in others if sim[i, j] == max(sim[i, k] for k in others)]
        if same:
            gains.append(len(set(same) & set(best)) / len(best) - len(same) / 39)
    assert nearest_agrees(cases, sim, "category", n_bootstrap=N_BOOTSTRAP).value == pytest.approx(np.mean(gains))


def test_a_ruler_that_finds_all_equal_agrees_by_chance_and_one_that_knows_gains_the_rest():
    cases = made_up_cases(["a"] * 5 + ["b"] * 5)
    blind = nearest_agrees(cases, np.ones((10, 10)), "category", n_bootstrap=N_BOOTSTRAP)
    knows = nearest_agrees(cases, np.kron(np.eye(2), np.ones((5, 5))), "category", n_bootstrap=N_BOOTSTRAP)
    assert (blind.value, knows.value) == (pytest.approx(0), pytest.approx(1 - 4 / 9))
    with pytest.raises(ValueError, match="no two cases share a value of 'category'"):
        nearest_agrees(made_up_cases(list("abcd")), np.ones((4, 4)), "category", n_bootstrap=N_BOOTSTRAP)


def test_each_case_is_in_the_table_of_pairs_once():
    sim = np.random.default_rng(2).random((9, 9))
    cases = made_up_cases(["a"] * 9).assign(diagnosis="d", text="t")
    table = real_head.most_alike(cases, sim + sim.T, 9)
    assert len(table) == 4 == len(set(table["case a"]) | set(table["case b"])) / 2
    assert table["similarity"].is_monotonic_decreasing
    assert table["similarity"][0] == pytest.approx(np.triu(sim + sim.T, 1).max())


def side_columns(root: Path, name: str) -> dict[str, float]:
    """Mean column of each hippocampus of a NiChart subject on the contract's grid."""
    file = root / "dlmuse" / f"{name}_T1_DLMUSE.nii.gz"
    with (root / "MUSE_mapping_consecutive_indices.csv").open(encoding="utf-8") as table:
        labels = {row["ROINameMUSE"]: int(row["IndexMUSE"]) for row in csv.DictReader(table)}
    brain = read_image(file)
    grid = to_geometry(in_field(brain, field_centre(brain), CONTRACT), CONTRACT, labels=True)
    return {side: np.argwhere(grid == labels[f"{side}_hippocampus"])[:, 2].mean() for side in ("left", "right")}


def test_real_brains_are_whole_and_have_their_left_on_the_right_of_the_picture(home, real_data):
    root = real_data / "nichart_head"
    for name in ("Subj1", "Subj7"):
        brain = read_image(root / "dlmuse" / f"{name}_T1_DLMUSE.nii.gz")
        grid = to_geometry(in_field(brain, field_centre(brain), CONTRACT), CONTRACT, labels=True)
        in_file = (brain.array > 0).sum() * np.prod(brain.spacing_mm)
        assert (grid > 0).sum() * np.prod(CONTRACT.spacing_mm) == pytest.approx(in_file, rel=0.02)
        columns = side_columns(root, name)
        assert columns["left"] > CONTRACT.size[2] / 2 > columns["right"]


@pytest.mark.parametrize("folder", ["ms_lesion", "nichart_head"])
def test_real_lesions_keep_their_volume_and_are_brighter_than_the_brain(home, real_data, folder):
    heads = look_at(real_data / folder, CONTRACT)
    table = real_head.lesion_table(heads, CONTRACT)
    assert table["ml here"].sum() == pytest.approx(table["ml in the file"].sum(), rel=0.15)
    assert (table["parts here"] <= table["parts in the file"]).all()
    for head in heads:
        flair = head.images["FLAIR"]
        assert np.median(flair[head.lesions > 0]) > np.median(flair[(head.lesions == 0) & (flair > 60)])


def test_the_nearest_medpix_case_is_of_the_same_category_more_often_than_chance(home, real_data):
    cases = real_head.medpix_heads(load(real_data / "MedPix-2.0", SMOKE))
    assert len(cases) > 100
    for name, sim in real_head.likeness(cases).items():
        score = nearest_agrees(cases, sim, "category", n_bootstrap=N_BOOTSTRAP)
        assert score.low > 0, name
