"""Adapters: each public layout, as a tiny tree made here or as the real copy, becomes the right manifest."""

import io
import json
import tarfile

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from toy import write_picture

from medclip_nb.config import PRESETS
from medclip_nb.data.adapters.pictures import MEDPIX_PLACEHOLDER
from medclip_nb.data.catalog import card, load, local_copy, resolve, texts
from medclip_nb.data.manifest import ManifestError
from medclip_nb.data.readers import read_image

SMOKE = PRESETS["smoke"]
ONE = np.eye(9, dtype=np.uint8)


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path_factory.mktemp("home")))


def put(path, content=None):
    """Writes a text, a picture or (for .nii.gz) a volume of whole numbers, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".nii.gz"):
        volume = np.arange(60).reshape(3, 4, 5) if content is None else content
        nib.save(nib.Nifti1Image(volume.astype(np.int16), np.diag([2.0, 2, 3, 1])), path)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        write_picture(path, ONE)
    return path


def columns(data, *names):
    return data.manifest[list(names)].to_numpy().tolist()


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
    put(root / "Descriptions.json", json.dumps(rows))
    put(root / "splitted_dataset" / "uid_list.json", json.dumps({"train": ["U0"], "dev": ["U1"], "test": []}))
    for i in range(3):
        put(root / "images" / f"M{i}.png")
    return tmp_path


def test_medpix_keeps_the_published_split_and_counts_what_it_drops(medpix):
    data = load(medpix, SMOKE)
    assert columns(data, "study_id", "patient_id", "split") == [["M0", "U0", "train"], ["M2", "U1", "val"]]
    assert columns(data, "report", "sex", "age", "sequence")[0] == ["A mass.", "F", "", "CT - noncontrast"]
    assert data.notes == ["1 of 3 images dropped: their caption is a placeholder"]


def test_medpix_footer_is_cropped_and_prompts_come_from_the_card(medpix):
    data = load(medpix / "MedPix-2-0", SMOKE)
    assert data.contract.crop_bottom == card("medpix2")["crop_bottom"] > 0
    assert set(data.prompts) == {"modality", "body_part"}
    assert min(len(p) for classes in data.prompts.values() for p in classes.values()) > 1


def test_mednist_texts_are_made_from_folders_and_said_to_be(tmp_path):
    for name in ("AbdomenCT/1.jpeg", "HeadCT/1.jpeg", "Hand/1.jpeg", "Hand/2.jpeg", "BreastMRI/7.jpeg"):
        put(tmp_path / "MedNIST" / name)
    data = load(tmp_path, SMOKE)
    assert data.name == "mednist"
    assert columns(data, "study_id", "modality", "body_part")[1] == ["BreastMRI/7", "MR", "breast"]
    assert set(data.manifest["report"]) == {
        text for c, (_, _, text) in card("mednist")["classes"].items() if c not in ("CXR", "ChestCT")
    }
    assert any("no texts" in note for note in data.notes)


COVID = """image,text,label,patient,age,sex,doi,orig
images/COVID_a.jpg,Ground glass.,COVID,Patient 9 ,65,F ,x,2020.03.13.20035212-p23-155.png
images/COVID_b.jpg,Same caption.,COVID,Patient 9,Young Child,,x,2020.01.24.919183-p27-132.png
images/NonCOVID_1_2.jpg,,NonCOVID,,,,,1%2.jpg
images/NonCOVID_1.jpg,,NonCOVID,,,,,1.png
"""


def test_covid_ct_keeps_the_published_split_even_where_a_patient_crosses_it(tmp_path):
    put(tmp_path / "metadata.csv", COVID)
    for row in COVID.splitlines()[1:]:
        put(tmp_path / row.split(",")[0])
    data = load(tmp_path, SMOKE)
    found = [["Patient 9", "val"], ["Patient 9", "train"], ["figure 1.jpg", "test"], ["figure 1.png", "train"]]
    assert columns(data, "patient_id", "split") == found
    assert columns(data, "age", "sex")[:2] == [["65", "F"], ["", ""]]
    assert data.manifest["report"].tolist()[2:] == [card("covid_ct")["label_texts"]["NonCOVID"]] * 2
    assert data.notes[0].startswith("2 of 4 images have no caption")


def xml(number, impression="Normal chest.", majors=("normal",), images=2):
    parents = "".join(f'<parentImage id="CXR{number}_{i}"/>' for i in range(images))
    sections = f'<AbstractText Label="FINDINGS"/><AbstractText Label="IMPRESSION">{impression}</AbstractText>'
    mesh = "".join(f"<major>{m}</major>" for m in majors)
    return f'<eCitation><uId id="CXR{number}"/><Abstract>{sections}</Abstract><MeSH>{mesh}</MeSH>{parents}</eCitation>'


@pytest.fixture
def openi_tree(tmp_path):
    for number, impression in enumerate(["Normal  chest.", "Big heart", ""]):
        majors = ("normal",) if number == 0 else ("Cardiomegaly/mild",)
        put(tmp_path / "ecgen-radiology" / f"{number}.xml", xml(number, impression, majors))
    return tmp_path


def test_openi_images_of_one_report_are_one_patient(openi_tree):
    for name in ("CXR0_0", "CXR0_1", "CXR1_0", "CXR2_0"):
        put(openi_tree / "png" / f"{name}.png")
    data = load(openi_tree, SMOKE)
    assert columns(data, "study_id", "patient_id", "report")[1:] == [
        ["CXR0_1", "CXR0", "Normal chest."],
        ["CXR1_0", "CXR1", "Big heart"],
    ]
    assert data.manifest["findings"].tolist() == ["[]", "[]", ""]
    assert data.notes[0].startswith("3 of 6 images dropped")


def test_openi_without_images_is_no_dataset_of_images_but_a_table_of_texts(openi_tree):
    with pytest.raises(ManifestError, match=r"ecgen-radiology: 2 reports and no image; get the images .https"):
        load(openi_tree, SMOKE)
    assert texts(openi_tree, SMOKE)["report"].tolist() == ["Normal chest.", "Big heart"]
    assert [fault[:2] for fault in load(openi_tree, SMOKE, lenient=True).manifest.attrs["faults"]] == [(0, "image"), (1, "image")]


def test_openi_reports_are_read_packed_as_well_as_unpacked(openi_tree, tmp_path_factory):
    packed = tmp_path_factory.mktemp("packed") / "NLMCXR_reports.tgz"
    with tarfile.open(packed, "w:gz") as tar:
        for file in sorted((openi_tree / "ecgen-radiology").iterdir()):
            info = tarfile.TarInfo(f"ecgen-radiology/{file.name}")
            info.size = file.stat().st_size
            tar.addfile(info, io.BytesIO(file.read_bytes()))
    assert texts(packed, SMOKE).equals(texts(openi_tree, SMOKE))
    assert resolve(packed.parent) == "openi"


def test_rocov2_keeps_ct_mr_and_x_rays_and_counts_the_rest(tmp_path):
    cuis = {"a": "C0040405;C1", "b": "C0024485", "c": "C1306645", "d": "C0041618", "e": "C0040405"}
    for split, names in (("train", "abd"), ("valid", "e"), ("test", "c")):
        put(tmp_path / f"{split}_captions.csv", "ID,Caption\n" + "".join(f'{n},"Figure, {n}."\n' for n in names))
        put(tmp_path / f"{split}_concepts.csv", "ID,CUIs\n" + "".join(f"{n},{cuis[n]}\n" for n in names))
    for name in "abcd":
        put(tmp_path / "images" / f"{name}.jpg")
    data = load(tmp_path, SMOKE)
    assert columns(data, "study_id", "modality", "split") == [["a", "CT", "train"], ["b", "MR", "train"], ["c", "DX", "test"]]
    assert data.notes[:2] == ["1 of 5 images dropped: the file is not there", "1 images dropped: neither CT nor MR nor X-ray"]
    assert data.manifest["report"][0] == "Figure, a."


def organ_file(folder, name, shape):
    rng = np.random.default_rng(0)
    arrays = {f"{s}_images": rng.integers(0, 255, (2, *shape), np.uint8) for s in ("train", "val", "test")}
    labels = {f"{s}_labels": np.array([[6], [0]], np.uint8) for s in ("train", "val", "test")}
    np.savez(folder / name, **arrays, **labels)
    return folder / name, arrays


def test_medmnist_slices_are_unpacked_once_with_their_labels(tmp_path):
    file, arrays = organ_file(tmp_path, "organamnist_64.npz", (8, 8))
    data = load(file, SMOKE)
    assert columns(data, "image", "body_part", "report")[0] == ["train/0.png", "liver", "CT image of the liver"]
    assert np.array_equal(read_image(data.root / "test/1.png").array[0], arrays["test_images"][1])
    (data.root / "test/1.png").write_bytes(b"touched")
    assert (load(tmp_path, SMOKE).root / "test/1.png").read_bytes() == b"touched"


def test_one_file_of_a_downloaded_dataset_is_found_by_name(tmp_path):
    folder = local_copy("medmnist")
    folder.mkdir(parents=True)
    for name in ("organamnist.npz", "organsmnist.npz"):
        organ_file(folder, name, (8, 8))
    assert len(load("medmnist/organsmnist.npz", SMOKE).manifest) == 6


def test_medmnist_volumes_are_not_taken_for_hu(tmp_path):
    file, arrays = organ_file(tmp_path, "organmnist3d.npz", (4, 4, 4))
    data = load(file, SMOKE)
    assert data.manifest["body_part"].tolist()[:2] == ["heart", "liver"]
    assert data.contract.windows_hu == ()
    assert np.array_equal(nib.load(data.root / "val/0.nii.gz").get_fdata(), arrays["val_images"][0])


def test_a_folder_of_several_medmnist_files_asks_for_one(tmp_path):
    for name in ("organamnist.npz", "organcmnist.npz"):
        organ_file(tmp_path, name, (8, 8))
    with pytest.raises(ManifestError, match=r"holds organamnist.npz, organcmnist.npz; give the path of one"):
        load(tmp_path, SMOKE)


META = """image_id;age;gender;institute;study_type;split;manufacturer;scanner_model;kvp;pathology;pathology_location
s0000;64.0;m;A;ct neck-thorax;train;siemens;S1;120;tumor;lung
s0001;nan;f;A;ct pelvis;test;siemens;S1;120;no_pathology;
s0002;50;f;A;ct pelvis;val;siemens;S1;120;no_pathology;
"""


def test_totalsegmentator_cases_have_a_folder_of_masks_and_a_text_from_the_table(tmp_path):
    put(tmp_path / "meta.csv", META)
    for case in ("s0000", "s0001"):
        put(tmp_path / case / "ct.nii.gz")
        put(tmp_path / case / "segmentations" / "liver.nii.gz")
    data = load(tmp_path, SMOKE)
    assert columns(data, "image", "mask", "report") == [
        ["s0000/ct.nii.gz", "s0000/segmentations", "ct neck-thorax, tumor (lung)"],
        ["s0001/ct.nii.gz", "s0001/segmentations", "ct pelvis, no pathology"],
    ]
    assert columns(data, "age", "sex", "body_part", "split") == [
        ["64.0", "M", "neck-thorax", "train"],
        ["", "F", "pelvis", "test"],
    ]
    assert data.notes[0] == "1 of 3 cases of meta.csv are not in this copy"
    assert len(data.contract.windows_hu) == 3


def ct_rate_tree(root, reports):
    for file, rows in reports.items():
        table = pd.DataFrame(rows, columns=["VolumeName", "Findings_EN", "Impressions_EN"])
        (root / "radiology_text_reports").mkdir(parents=True, exist_ok=True)
        table.to_csv(root / "radiology_text_reports" / file, index=False)
    return root


def test_ct_rate_takes_the_first_reconstruction_of_a_scan_that_is_there(tmp_path):
    rows = [[f"train_1_a_{k}.nii.gz", "Clear lungs.", "Normal."] for k in (1, 2, 3)] + [["train_2_a_1.nii.gz", "Nodule", ""]]
    ct_rate_tree(tmp_path, {"train_reports.csv": rows, "validation_reports.csv": [["valid_7_b_1.nii.gz", "Effusion.", ""]]})
    for name in ("train_1_a_2", "train_1_a_3", "valid_7_b_1"):
        put(tmp_path / "some" / f"{name}.nii.gz")
    data = load(tmp_path, SMOKE)
    found = [
        ["train_1_a", "train_1", "some/train_1_a_2.nii.gz", "train"],
        ["valid_7_b", "valid_7", "some/valid_7_b_1.nii.gz", "test"],
    ]
    assert columns(data, "study_id", "patient_id", "image", "split") == found
    assert data.manifest["report"].tolist() == ["Clear lungs. Normal.", "Effusion."]


def test_brats_sequences_become_volumes_of_their_own_once(tmp_path):
    four = np.arange(3 * 4 * 5 * 2).reshape(3, 4, 5, 2)
    put(tmp_path / "imagesTr" / "BRATS_001.nii.gz", four)
    put(tmp_path / "labelsTr" / "BRATS_001.nii.gz")
    pair = {"image": "./imagesTr/BRATS_001.nii.gz", "label": "./labelsTr/BRATS_001.nii.gz"}
    put(tmp_path / "dataset.json", json.dumps({"modality": {"0": "FLAIR", "1": "T1w"}, "training": [pair], "numTest": 3}))
    data = load(tmp_path, SMOKE)
    assert columns(data, "patient_id", "sequence", "lesions")[1] == ["BRATS_001", "T1w", "BRATS_001_label.nii.gz"]
    made = nib.load(data.root / "BRATS_001_T1w.nii.gz")
    assert np.array_equal(made.get_fdata(), four[..., 1])
    assert made.header.get_zooms() == (2, 2, 3)
    assert (data.contract.windows_hu, data.contract.size) == ((), SMOKE.volume_size)


def test_brats_with_another_number_of_sequences_is_refused_each_time(tmp_path):
    put(tmp_path / "imagesTr" / "BRATS_001.nii.gz", np.zeros((3, 4, 5, 3)))
    put(tmp_path / "labelsTr" / "BRATS_001.nii.gz")
    pair = {"image": "imagesTr/BRATS_001.nii.gz", "label": "labelsTr/BRATS_001.nii.gz"}
    put(tmp_path / "dataset.json", json.dumps({"modality": {"0": "FLAIR"}, "training": [pair], "numTest": 3}))
    for _ in range(2):
        with pytest.raises(ManifestError, match=r"BRATS_001.nii.gz: has the shape .*, dataset.json names 1 sequences"):
            load(tmp_path, SMOKE)


def test_ixi_demographics_are_read_where_the_table_was_saved_as_text(tmp_path):
    for sequence in ("T1", "T2"):
        put(tmp_path / f"IXI-{sequence}" / f"IXI012-HH-1211-{sequence}.nii.gz")
    assert any("no IXI.csv" in note for note in load(tmp_path, SMOKE).notes)
    put(tmp_path / "IXI.csv", 'IXI_ID,"SEX_ID (1=m, 2=f)",AGE\n12,2,38.78\n13,1,50\n')
    data = load(tmp_path, SMOKE)
    assert resolve(tmp_path) == "ixi"
    assert columns(data, "patient_id", "age", "sex", "scanner", "sequence")[0] == ["IXI012", "38", "F", "Philips 3 T", "T1"]


def dicom(path, **tags):
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    path.parent.mkdir(parents=True, exist_ok=True)
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, generate_uid()
    for name, value in tags.items():
        setattr(file, name, value)
    file.save_as(path, enforce_file_format=True)


def test_a_tree_of_dicom_series_has_a_row_per_folder_and_patients_from_the_headers(tmp_path):
    dicom(
        tmp_path / "100" / "s1" / "b", Modality="CT", PatientID="100", PatientAge="061Y", PatientSex="M", StudyDescription="NLST"
    )
    dicom(tmp_path / "100" / "s2" / "a.dcm", Modality="CT", PatientID="100", SeriesDescription="STD", BodyPartExamined="CHEST")
    dicom(tmp_path / "200" / "a.dcm", Modality="CT")
    dicom(tmp_path / "300" / "a.dcm", Modality="SR", PatientID="300")
    put(tmp_path / "readme.txt", "no image")
    data = load(tmp_path, SMOKE)
    found = [["100/s1", "patient_0001", "NLST"], ["100/s2", "patient_0001", "STD"], ["200", "200", "CT"]]
    assert columns(data, "image", "patient_id", "report") == found
    assert columns(data, "age", "sex", "body_part")[:2] == [["61", "M", ""], ["", "", "CHEST"]]
    assert [note.split(" ")[0] for note in data.notes] == ["1", "1", "no"]


def test_a_folder_that_is_itself_a_series_is_one_row(tmp_path):
    dicom(tmp_path / "series" / "a.dcm", Modality="MR", PatientID="7")
    data = load(tmp_path / "series", SMOKE)
    assert columns(data, "study_id", "image", "patient_id") == [["series", ".", "patient_0001"]]


def test_hospital_numbers_stay_in_the_headers_and_pseudonyms_are_kept(tmp_path):
    for k, (number, removed) in enumerate([("MRN-9", None), ("MRN-10", None), ("P7", "YES"), ("MRN-9", "NO")]):
        tags = {"PatientID": number} | ({"PatientIdentityRemoved": removed} if removed else {})
        dicom(tmp_path / str(k) / "a.dcm", Modality="CT", **tags)
    found = columns(load(tmp_path, SMOKE), "patient_id")
    assert found == [["patient_0002"], ["patient_0001"], ["P7"], ["patient_0002"]]


def test_a_patients_name_and_numbers_are_taken_out_of_descriptions(tmp_path):
    who = {"PatientName": "Quxwell^Zenobia", "PatientID": "MRN-9", "AccessionNumber": "A77", "PatientBirthDate": "19610417"}
    said = {"StudyDescription": "CT for QUXWELL MRN-9", "SeriesDescription": "thin A77 19610417", "BodyPartExamined": "ZENOBIA"}
    dicom(tmp_path / "s" / "a.dcm", Modality="CT", **who | said)
    (row,) = load(tmp_path, SMOKE).manifest.to_dict("records")
    assert row["report"] == "CT for [removed] [removed]. thin [removed] [removed]"
    assert row["body_part"] == "[removed]"


def test_dicom_folders_with_a_table_of_reports_are_a_folder_dataset(tmp_path):
    dicom(tmp_path / "s1" / "a.dcm", Modality="CT")
    put(tmp_path / "texts.csv", "image,text,modality\ns1,Clear lungs.,CT\n")
    data = load(tmp_path, SMOKE)
    assert columns(data, "image", "report") == [["s1", "Clear lungs."]]
    assert data.contract.size == SMOKE.volume_size


def test_a_tree_of_dicom_without_images_says_so(tmp_path):
    dicom(tmp_path / "a" / "a.dcm", Modality="SR")
    with pytest.raises(ManifestError, match="1 folders of DICOM files, none of modality CT, MR, CR, DX"):
        load(tmp_path, SMOKE)


def test_real_covid_ct_has_the_published_numbers(real_data):
    data = load(real_data / "covid_ct", SMOKE)
    covid = data.manifest["study_id"].str.startswith("COVID_")
    counts = data.manifest[covid]["split"].value_counts()
    assert (counts["train"], counts["val"], counts["test"]) == (191, 60, 98)  # Data-split/COVID of the publishers
    assert len(data.manifest) == 744
    assert (data.manifest[~covid]["split"] == "val").sum() == 58


def test_real_medpix_mednist_and_dicom_are_read_as_what_they_are(real_data):
    found = {name: load(real_data / name, SMOKE) for name in ("MedPix-2.0", "mednist", "dicom_head_pd")}
    assert [(d.name, len(d.manifest)) for d in found.values()] == [("medpix2", 2029), ("mednist", 900), ("dicom_head_pd", 1)]
    assert found["mednist"].manifest["report"].nunique() == 6
    assert found["dicom_head_pd"].manifest["modality"].tolist() == ["MR"]


def test_real_openi_reports_are_read_in_place(real_data):
    table = texts(real_data / "openi_reports", SMOKE)
    assert 3900 < len(table) <= 3955
    assert table["patient_id"].is_unique
    assert not (table["report"] == "").any()
    assert 0.2 < (table["findings"] == "[]").mean() < 0.6


def test_real_ct_rate_reports_in_the_publishers_layout(real_data, tmp_path):
    copy = pd.read_csv(real_data / "ct_rate_reports" / "reports.csv", dtype=str, keep_default_na=False)
    copy = copy[copy["volume"] != "not in CT-RATE"]
    rows = [[f"{v}_1.nii.gz", t, ""] for v, t in zip(copy["volume"], copy["text"], strict=True)]
    table = texts(ct_rate_tree(tmp_path, {"train_reports.csv": rows}), SMOKE)
    assert len(table) == copy["volume"].nunique() > 600
    assert table["patient_id"].str.fullmatch(r"(train|valid)_\d+").all()
