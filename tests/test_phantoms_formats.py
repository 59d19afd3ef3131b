"""Files of the phantoms: a DICOM series says what the NIfTI says, and a radiograph is a projection."""

import numpy as np
import pandas as pd
import pytest

from medclip_nb.data import phantoms
from medclip_nb.data.manifest import read_manifest
from medclip_nb.data.phantoms.formats import GREY_PER_NEPER, PHOTONS, nifti_bytes, project, radiograph, write_series
from medclip_nb.data.phantoms.scanner import SCANNERS, draw_noise
from medclip_nb.data.phantoms.study import draw_scanner
from medclip_nb.files import sha256

SIZE = (24, 48, 48)
FIRST = phantoms.list_visits(1, 0, 0, 2)[0]


@pytest.fixture(scope="module")
def study():
    return phantoms.make_study(FIRST, SIZE)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return phantoms.write_cohort(tmp_path_factory.mktemp("cohort"), n_train=9, n_val=2, n_test=3, size=SIZE, seed=2).parent


@pytest.fixture(scope="module")
def series(root):
    import pydicom

    return [pydicom.dcmread(f) for f in sorted((root / FIRST.study_id / "image").glob("*.dcm"))]


def test_one_study_of_a_cohort_is_a_dicom_series(root):
    images = read_manifest(root / "manifest.csv").set_index("study_id")["image"]
    assert [name for name in images if (root / name).is_dir()] == [images[FIRST.study_id]]


def test_the_series_holds_the_same_hu(series, study):
    stored = np.stack([s.pixel_array for s in series])
    assert {s.pixel_array.dtype for s in series} == {np.dtype("uint16")}
    slopes = np.array([[s.RescaleSlope, s.RescaleIntercept] for s in series], float)
    np.testing.assert_array_equal(stored * slopes[:, :1, None] + slopes[:, 1:, None], study.image)


def test_the_series_lies_where_its_masks_lie(series, root):
    import nibabel as nib

    mask = nib.load(root / FIRST.study_id / "organs.nii.gz")
    last = np.array(mask.shape) - 1
    for k, s in enumerate(series):  # first column and row of a slice are the NIfTI's last ones; DICOM's x and y are its negative
        x, y, z = (mask.affine @ [last[0], last[1], k, 1])[:3]
        np.testing.assert_allclose(np.array(s.ImagePositionPatient, float), (-x, -y, z), atol=1e-3)
        np.testing.assert_allclose(np.array(s.PixelSpacing, float), mask.header.get_zooms()[1::-1], rtol=1e-6)
        assert list(s.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]


def test_the_package_reads_the_series_as_it_reads_the_nifti(root, study, tmp_path):
    from medclip_nb.data.readers import read_image, reorient

    (tmp_path / "same.nii.gz").write_bytes(nifti_bytes(study.image, study.spacing_mm))
    both = [reorient(read_image(p, units="HU"), "LPS") for p in (root / FIRST.study_id / "image", tmp_path / "same.nii.gz")]
    np.testing.assert_array_equal(both[0].array, both[1].array)
    np.testing.assert_allclose(both[0].affine, both[1].affine, atol=1e-3)
    assert {image.units for image in both} == {"HU"}


def test_the_series_names_nobody(series):
    for s in series:
        assert str(s.PatientName) == s.PatientBirthDate == s.StudyDate == s.AccessionNumber == str(s.ReferringPhysicianName) == ""
        assert (s.PatientID, s.PatientIdentityRemoved, "InstitutionName" in s) == (FIRST.patient_id, "YES", False)


def test_the_series_is_one_and_its_names_are_valid(series):
    assert len({s.SOPInstanceUID for s in series}) == len(series) == SIZE[0]
    assert len({(s.StudyInstanceUID, s.SeriesInstanceUID, s.FrameOfReferenceUID) for s in series}) == 1
    assert all(s.SOPInstanceUID.is_valid and s.SeriesInstanceUID.is_valid for s in series)


def test_a_series_is_written_the_same_twice(tmp_path, study):
    for name in "ab":
        write_series(tmp_path / name, study, FIRST)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")


@pytest.mark.parametrize("name", ["manifest.csv", "radiographs.csv"])
def test_a_manifest_holds_the_hashes_of_its_images(root, name):
    for row in read_manifest(root / name).to_dict("records"):
        assert row["sha256"] == sha256(root / row["image"])


def test_radiographs_share_everything_but_the_image_with_their_volumes(root):
    volumes, pictures = (pd.read_csv(root / n, dtype=str, keep_default_na=False) for n in ("manifest.csv", "radiographs.csv"))
    shared = ["study_id", "patient_id", "report", "findings", "age", "sex", "scanner", "split"]
    pd.testing.assert_frame_equal(volumes[shared], pictures[shared])
    assert set(pictures["modality"]) == {"DX"}
    assert set(pictures["mask"]) == {""}


def test_radiograph_cohort_is_beside_the_volumes(torso):
    from medclip_nb.config import PRESETS

    path = phantoms.radiograph_cohort(PRESETS["smoke"])
    assert path.parent == torso.root
    assert len(read_manifest(path)) == len(torso.manifest)


def test_a_block_of_water_weakens_as_beer_and_lambert_say():
    water = np.full((4, 10, 8), -1000, np.int16)
    water[:, 2:7] = 0
    shadow = project(water, (6.0, 20.0, 6.0))
    np.testing.assert_allclose(shadow, 0.02 * 5 * 20.0, rtol=1e-5)
    seen = radiograph(water, (6.0, 20.0, 6.0), np.random.default_rng(0)) / GREY_PER_NEPER
    assert seen.mean() == pytest.approx(2.0, abs=5 / np.sqrt(PHOTONS * np.exp(-2) * seen.size))


def test_a_radiograph_is_upright_with_square_pixels_and_the_left_on_the_right():
    volume = np.full((4, 5, 8), -1000, np.int16)
    volume[3, :, 7] = 1000  # uppermost slice, patient's left
    shadow = project(volume, (12.0, 6.0, 6.0))
    assert shadow.shape == (8, 8)
    assert np.unravel_index(shadow.argmax(), shadow.shape) == (0, 7)


def test_bones_are_brighter_than_the_lungs_beside_them(study):
    shadow = project(study.image, study.spacing_mm)
    height = round(len(shadow) * (1 - 440 / phantoms.FIELD_MM[0]))
    middle, side = shadow.shape[1] // 2, round(60 / study.spacing_mm[2])
    assert shadow[height, middle] > max(shadow[height, middle - side], shadow[height, middle + side])


def test_each_scanner_has_its_own_field_of_view(root):
    import nibabel as nib

    for visit in phantoms.list_visits(9, 2, 3, 2):
        zooms = nib.load(root / visit.study_id / "lesions.nii.gz").header.get_zooms()[::-1]
        assert zooms == pytest.approx(phantoms.spacing_mm(SIZE, draw_scanner(visit).field))
    assert min(s.field for s in SCANNERS) == 1
    assert len({s.field for s in SCANNERS}) == len(SCANNERS)


@pytest.mark.parametrize("px", [0.4, 1.1])
def test_noise_is_normal_and_coarser_with_the_kernel(px):
    from scipy.stats import kurtosis

    noise = draw_noise(np.random.default_rng(0), (16, 64, 64), px)
    neighbours = np.corrcoef(noise[..., 1:].ravel(), noise[..., :-1].ravel())[0, 1]
    assert (noise.mean(), noise.std()) == pytest.approx((0, 1), abs=0.02)
    assert kurtosis(noise.ravel()) == pytest.approx(0, abs=0.15)  # -1.2 for noise drawn evenly between two bounds
    assert (neighbours > 0.6) == (px > 1)
