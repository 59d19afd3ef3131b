"""The catalogue: what a name or a path is taken for, and the tables that come out."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy import lps_volume, write_nifti, write_picture

from medclip_nb.config import PRESETS
from medclip_nb.data import catalog
from medclip_nb.data.adapters import ADAPTERS
from medclip_nb.data.catalog import card, list_cards, load, resolve, texts
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


def test_every_adapter_has_a_card_and_every_card_a_way_to_its_data():
    cards = {c["name"]: c for c in list_cards()}
    assert set(ADAPTERS) | set(catalog.EMBEDDED) == set(cards)
    assert [n for n, c in cards.items() if c["how"] not in ("embedded", "download", "gated", "local copy")] == []
    assert [n for n, c in cards.items() if (c["how"] == "download") != ("files" in c)] == []
    assert [n for n, c in cards.items() if c["how"] in ("gated", "local copy") and "access" not in c] == []
    assert [f["url"] for c in cards.values() for f in c.get("files", []) if not f["url"].startswith("https://")] == []


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown dataset 'torsso'; known: .*medpix2.*torso"):
        card("torsso")
    with pytest.raises(ValueError, match="unknown dataset 'nothing.csv'"):
        resolve("nothing.csv")


def test_a_dataset_that_needs_a_local_copy_says_where_it_lives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ManifestError, match="medpix2: is not here: clone its GitHub .*, or give the path of a copy .https"):
        resolve("medpix2")
    with pytest.raises(ManifestError, match="mednist: is not here: `medclip-nb data get mednist` downloads it"):
        load("mednist", SMOKE)
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
    wanted = [f"other {i}" for i in range(12)]
    assert load(rewrite(picture_folder, **({"text": None} | {name: wanted})), SMOKE).manifest["report"].tolist() == wanted


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


def volume_and_picture(folder):
    write_nifti(folder / "v.nii.gz", lps_volume())
    write_picture(folder / "a.png", np.eye(9, dtype=np.uint8))
    return folder


@pytest.mark.parametrize(("image", "modality", "channels"), [("v.nii.gz", "CT", 3), ("v.nii.gz", "MR", 1), ("a.png", "", 1)])
def test_ct_volumes_get_hu_windows_and_mr_volumes_and_pictures_percentiles(tmp_path, image, modality, channels):
    folder = write_manifest(volume_and_picture(tmp_path), [image], modality=modality)
    assert load(folder, SMOKE).contract.channels == load(folder / "manifest.csv", SMOKE).contract.channels == channels
    assert load(folder, SMOKE).contract.size == ((1, 64, 64) if image == "a.png" else SMOKE.volume_size)


@pytest.mark.parametrize(
    ("images", "modality", "says"),
    [
        (["v.nii.gz", "a.png"], "CT", "row 3, column 'image': CT and picture are mixed; make two manifests"),
        (["v.nii.gz", "v.nii.gz"], ["CT", "MR"], "row 3, column 'image': CT and MR are mixed; make two manifests"),
        (["v.nii.gz", "v.nii.gz"], ["MR", ""], "row 3, column 'image': MR and volumes without modality are mixed"),
        (["v.nii.gz", "v.nii.gz"], "", "row 2, column 'modality': a volume needs CT or MR, not ''"),
    ],
)
def test_rows_that_cannot_share_a_contract_are_refused_by_row(tmp_path, images, modality, says):
    folder = write_manifest(volume_and_picture(tmp_path), images, modality=modality)
    assert f"manifest.csv: {says}" in complaint(folder)
    assert len(load(folder, SMOKE, lenient=True).manifest) == 2


def test_pictures_of_several_modalities_may_share_a_manifest(tmp_path):
    folder = write_manifest(volume_and_picture(tmp_path), ["a.png", "a.png", "a.png"], modality=["CT", "MR", "DX"])
    assert load(folder, SMOKE).contract.size[0] == 1


def test_folders_and_files_of_dicom_are_volumes_and_projections_are_pictures():
    images = ["p1/ct", "a.dcm", "v.nii.gz", "a.PNG", "cxr.dcm", "hand"]
    table = pd.DataFrame({"image": images, "modality": ["CT", "MR", "", "CT", "DX", "CR"]})
    assert catalog.is_volume(table).tolist() == [True, True, True, False, False, False]


def test_lenient_loading_keeps_faults_that_strict_loading_refuses(picture_folder):
    rewrite(picture_folder, text=["x", "", *"abcdefghij"], split=["train", "", *["test"] * 10], patient_id=None)
    assert "row 3, column 'report'" in complaint(picture_folder)
    table = load(picture_folder, SMOKE, lenient=True).manifest
    assert [fault[:2] for fault in table.attrs["faults"]] == [(1, "report")]
    assert table["split"].tolist()[:3] == ["train", "", "test"]


def test_a_downloaded_copy_is_found_by_name_and_a_path_of_that_name_goes_first(picture_folder, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path_factory.mktemp("home")))
    copy = catalog.local_copy("mednist")
    shutil.copytree(picture_folder, copy)
    assert load("mednist", SMOKE).root == copy
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    shutil.copytree(picture_folder, "mednist")
    assert load("mednist", SMOKE).root == Path("mednist")


def test_texts_are_read_without_a_look_for_images(picture_folder):
    for image in picture_folder.glob("*.png"):
        image.unlink()
    assert "does not exist" in complaint(picture_folder)
    assert texts(picture_folder, SMOKE)["report"].tolist() == [f"finding {i % 4}" for i in range(12)]


def test_a_manifest_with_half_a_split_names_file_and_row(tmp_path):
    write_picture(tmp_path / "a.png", np.eye(9, dtype=np.uint8))
    message = complaint(write_manifest(tmp_path, ["a.png", "a.png"], split=["train", ""]))
    assert message.startswith(f"{tmp_path / 'manifest.csv'}: row 3, column 'split'")


def test_zero_shot_classes_come_from_columns_with_two_values_or_more():
    table = pd.DataFrame({"modality": ["CT", "CT", ""], "body_part": ["head", "chest", ""]})
    assert catalog.class_prompts(table) == {"body_part": {"chest": ["chest image", "chest"], "head": ["head image", "head"]}}
