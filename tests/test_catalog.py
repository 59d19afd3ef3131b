"""The catalogue: what a name or a path is taken for, and the tables that come out."""

import json

import numpy as np
import pandas as pd
import pytest
from toy import lps_volume, write_nifti, write_picture

from medclip_nb.config import PRESETS
from medclip_nb.data import catalog
from medclip_nb.data.catalog import MEDPIX_PLACEHOLDER, card, list_cards, load, resolve
from medclip_nb.data.manifest import ManifestError, patients_across_splits

SMOKE = PRESETS["smoke"]
CARD_FIELDS = {"name", "title", "how", "modality", "text", "licence", "synthetic", "traps"}


def rewrite(folder, **columns):
    """The folder's CSV with columns changed, dropped (None) or added."""
    table = pd.read_csv(folder / "texts.csv", dtype=str)
    for name, values in columns.items():
        table = table.drop(columns=name) if values is None else table.assign(**{name: values})
    table.to_csv(folder / "texts.csv", index=False)
    return folder


def complaint(path) -> str:
    with pytest.raises(ManifestError) as caught:
        load(path, SMOKE)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_card_says_what_one_must_know():
    cards = list_cards()
    assert {"torso", "medpix2", "folder"} <= {c["name"] for c in cards}
    assert [c["name"] for c in cards if CARD_FIELDS - set(c)] == []


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown dataset 'torsso'; known: .*medpix2.*torso"):
        card("torsso")
    with pytest.raises(ValueError, match="unknown dataset 'nothing.csv'"):
        resolve("nothing.csv")


def test_a_dataset_that_needs_a_local_copy_says_where_it_lives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ManifestError, match="medpix2: is read from a local copy: give its folder .https"):
        resolve("medpix2")
    with pytest.raises(ManifestError, match="no such file or folder"):
        resolve(tmp_path / "nowhere")


def test_a_folder_of_pictures_becomes_a_split_manifest(picture_folder):
    data = load(picture_folder, SMOKE)
    assert (data.name, data.synthetic, data.root, data.notes) == (picture_folder.name, False, picture_folder, [])
    assert data.manifest["report"].tolist() == [f"finding {i % 4}" for i in range(12)]
    assert set(data.manifest["split"]) == {"train", "val", "test"}
    assert patients_across_splits(data.manifest) == []
    assert data.contract.size == (1, SMOKE.picture_px, SMOKE.picture_px)


def test_without_patient_ids_each_image_is_a_patient_and_that_is_noted(picture_folder):
    data = load(rewrite(picture_folder, patient_id=None), SMOKE)
    assert data.manifest["patient_id"].nunique() == 12
    assert data.notes == ["no column patient_id: each image counts as its own patient"]


@pytest.mark.parametrize("name", ["report", "text", "caption"])
def test_the_text_column_may_have_three_names(picture_folder, name):
    texts = [f"other {i}" for i in range(12)]
    assert load(rewrite(picture_folder, **({"text": None} | {name: texts})), SMOKE).manifest["report"].tolist() == texts


def test_a_split_that_is_given_is_kept(picture_folder):
    split = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    assert load(rewrite(picture_folder, split=split), SMOKE).manifest["split"].tolist() == split


def test_a_column_marked_as_private_is_left_out(picture_folder):
    assert "x_note" not in load(rewrite(picture_folder, x_note="mine"), SMOKE).manifest


HALF = ["train", "train", "", *["train"] * 9]
FAULTS = {
    "no image column": ({"image": None}, ["column 'image' is missing", "patient_id"]),
    "no text column": ({"text": None}, ["column 'text' is missing"]),
    "unknown column": ({"colour": "red"}, ["unknown column 'colour'", "'x_colour'"]),
    "blank text": ({"text": ["x", "", *"abcdefghij"]}, ["row 3", "'report'", "empty"]),
    "missing image": (
        {"image": ["0.png", "no.png", *(f"{i}.png" for i in range(2, 12))]},
        ["row 3", "'image'", "does not exist"],
    ),
    "image twice": ({"image": ["0.png", *(f"{i}.png" for i in range(11))]}, ["row 3", "'study_id'", "already used"]),
    "path out": ({"image": ["../0.png", *(f"{i}.png" for i in range(1, 12))]}, ["row 2", "'image'", "leaves"]),
    "split half filled": ({"split": HALF}, ["row 4", "'split'", "fill all rows or none"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_folder_names_its_csv_the_place_and_the_remedy(picture_folder, fault):
    columns, words = FAULTS[fault]
    message = complaint(rewrite(picture_folder, **columns))
    assert message.startswith(str(picture_folder / "texts.csv"))
    assert [w for w in words if w not in message] == []


def test_a_folder_needs_exactly_one_csv(picture_folder):
    (picture_folder / "more.csv").write_text("image,text\n")
    assert "holds 2 CSV files; put one CSV" in complaint(picture_folder)
    for file in picture_folder.glob("*.csv"):
        file.unlink()
    assert "holds no CSV file; put one CSV with the columns image,text" in complaint(picture_folder)


def test_a_csv_with_semicolons_is_refused(picture_folder):
    text = (picture_folder / "texts.csv").read_text().replace(",", ";")
    (picture_folder / "texts.csv").write_text(text)
    assert "row 1 is one column 'image;text;patient_id'; separate columns by commas" in complaint(picture_folder)


def write_manifest(folder, images, **columns):
    n = range(len(images))
    table = {"study_id": [f"s{i}" for i in n], "patient_id": [f"p{i}" for i in n], "image": images, "report": "x"}
    pd.DataFrame(table | columns).to_csv(folder / "manifest.csv", index=False)
    return folder


def test_a_manifest_of_volumes_gets_hu_windows_and_one_of_pictures_does_not(tmp_path):
    write_nifti(tmp_path / "v.nii.gz", lps_volume())
    write_picture(tmp_path / "a.png", np.eye(9, dtype=np.uint8))
    assert load(write_manifest(tmp_path, ["v.nii.gz"]), SMOKE).contract.channels == 3
    assert load(write_manifest(tmp_path, ["a.png"]) / "manifest.csv", SMOKE).contract.channels == 1


def test_volumes_and_pictures_in_one_manifest_are_refused(tmp_path):
    write_nifti(tmp_path / "v.nii.gz", lps_volume())
    write_picture(tmp_path / "a.png", np.eye(9, dtype=np.uint8))
    message = complaint(write_manifest(tmp_path, ["v.nii.gz", "a.png"]))
    assert "manifest.csv: row 3, column 'image': volumes and pictures are mixed; make two manifests" in message


def test_a_manifest_with_half_a_split_names_file_and_row(tmp_path):
    write_picture(tmp_path / "a.png", np.eye(9, dtype=np.uint8))
    message = complaint(write_manifest(tmp_path, ["a.png", "a.png"], split=["train", ""]))
    assert message.startswith(f"{tmp_path / 'manifest.csv'}: row 3, column 'split'")


def test_zero_shot_classes_come_from_columns_with_two_values_or_more():
    table = pd.DataFrame({"modality": ["CT", "CT", ""], "body_part": ["head", "chest", ""]})
    assert catalog.class_prompts(table) == {"body_part": {"chest": ["chest image", "chest"], "head": ["head image", "head"]}}


@pytest.fixture
def medpix(tmp_path):
    """Three images of two cases in MedPix 2.0's own layout, one with the placeholder for a caption."""
    about = {"Modality": " CT - noncontrast ", "Age": "N/A", "Sex": "female"}
    captions = ["A  mass.\n", MEDPIX_PLACEHOLDER, "Normal."]
    rows = [
        {"image": f"M{i}", "U_id": f"U{i // 2}", "Type": "CT", "Location Category": "Head", "Description": about | {"Caption": c}}
        for i, c in enumerate(captions)
    ]
    root = tmp_path / "MedPix-2-0"
    for folder in ("images", "splitted_dataset"):
        (root / folder).mkdir(parents=True)
    (root / "Descriptions.json").write_text(json.dumps(rows))
    (root / "splitted_dataset" / "uid_list.json").write_text(json.dumps({"train": ["U0"], "dev": ["U1"], "test": []}))
    for i in range(3):
        write_picture(root / "images" / f"M{i}.png", np.eye(9, dtype=np.uint8))
    return tmp_path


def test_medpix_keeps_the_published_split_and_counts_what_it_drops(medpix):
    data = load(medpix, SMOKE)
    assert data.manifest[["study_id", "patient_id", "split"]].to_numpy().tolist() == [["M0", "U0", "train"], ["M2", "U1", "val"]]
    assert data.manifest["report"].tolist() == ["A mass.", "Normal."]
    assert data.manifest[["sex", "age", "sequence"]].iloc[0].tolist() == ["F", "", "CT - noncontrast"]
    assert data.notes == ["1 of 3 images dropped: their caption is a placeholder"]


def test_medpix_footer_is_cropped_and_prompts_come_from_the_card(medpix):
    data = load(medpix / "MedPix-2-0", SMOKE)
    assert data.contract.crop_bottom == card("medpix2")["crop_bottom"] > 0
    assert set(data.prompts) == {"modality", "body_part"}
    assert min(len(p) for classes in data.prompts.values() for p in classes.values()) > 1
