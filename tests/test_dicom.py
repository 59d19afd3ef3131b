"""DICOM files and series: space from positions, values as promised, and refusals that name files and millimetres."""

import copy
import warnings
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medclip_nb.data.readers import ImageError, read_image, reorient

AXIAL = (1.0, 0, 0, 0, 1, 0)
TURNS = {
    "axial": AXIAL,
    "feet first": (-1.0, 0, 0, 0, 1, 0),
    "sagittal": (0.0, 1, 0, 0, 0, -1),
    "oblique": (0.8, 0.6, 0, 0, 0, -1),
}
CT = {
    "SOPClassUID": CTImageStorage, "StudyInstanceUID": "1.2.1", "SeriesInstanceUID": "1.2.2", "FrameOfReferenceUID": "1.2.3",
    "Modality": "CT", "SeriesDescription": "thin", "PatientID": "p", "PatientName": "", "PatientSex": "", "StudyID": "",
    "PatientBirthDate": "", "StudyDate": "", "StudyTime": "", "AccessionNumber": "", "ReferringPhysicianName": "",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "ImageOrientationPatient": list(AXIAL), "PixelSpacing": [0.7, 0.5],
    "SliceThickness": 5, "RescaleSlope": 2, "RescaleIntercept": -1024, "SamplesPerPixel": 1, "BitsAllocated": 16,
    "PhotometricInterpretation": "MONOCHROME2", "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1,
}  # fmt: skip


def write_slice(path: Path, stored: np.ndarray, **changes) -> Path:
    """One slice of stored values; an attribute changed to None is left out."""
    header = Dataset()
    for name, value in (CT | {"SOPInstanceUID": generate_uid()} | changes).items():
        if value is not None:
            setattr(header, name, value)
    header.Rows, header.Columns = (changes.get(k, n) for k, n in zip(("Rows", "Columns"), stored.shape[:2], strict=True))
    header.PixelData = stored.tobytes()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.save_as(path, enforce_file_format=True)
    return path


def stored_volume(n: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1000, (n, 10, 8), np.int16)


def write_series(folder: Path, positions_mm=tuple(2.5 * k for k in range(6)), changes=None, **common) -> Path:
    """Slices at distances along the normal, in files whose names say nothing of their order."""
    folder.mkdir(exist_ok=True)
    row, column = np.reshape(common.get("ImageOrientationPatient", AXIAL), (2, 3))
    for k, (at, stored) in enumerate(zip(positions_mm, stored_volume(len(positions_mm)), strict=True)):
        where = {"ImagePositionPatient": list(np.round(np.array([-20.0, 30, -100]) + np.cross(row, column) * at, 9))}
        write_slice(folder / f"{(k * 5) % 7}{k}.dcm", stored, **where | common | (changes or {}).get(k, {}))
    return folder


def wheel_file(name: str) -> Path:
    return Path(get_testdata_file(name, download=False))


@pytest.mark.parametrize("turn", TURNS)
def test_a_series_is_where_highdicom_says_it_is(tmp_path, turn):
    folder = write_series(tmp_path / "s", ImageOrientationPatient=list(TURNS[turn]))
    truth = highdicom.get_volume_from_series([pydicom.dcmread(p) for p in folder.iterdir()], dtype=np.float32)
    image = read_image(folder)
    index = np.array([2.0, 5, 4, 1])  # slice, row, column
    lps = truth.affine @ index
    if not np.array_equal(truth.array, image.array):  # it may run through the slices the other way
        index[0], truth = len(image.array) - 1 - index[0], truth.flip_spatial(0)
        lps = truth.affine @ np.array([image.array.shape[0] - 1 - 2.0, 5, 4, 1])
    assert np.array_equal(truth.array, image.array)
    assert np.allclose(np.diag([-1, -1, 1, 1]) @ lps, image.affine @ index[[2, 1, 0, 3]])


def test_slices_are_put_in_order_and_rescaled(tmp_path):
    image = read_image(write_series(tmp_path / "s"))
    assert np.array_equal(image.array, stored_volume() * 2.0 - 1024)
    assert (image.orientation, image.units, image.spacing_mm) == ("LPS", "HU", (2.5, 0.7, 0.5))
    assert np.allclose(image.affine @ [0, 0, 1, 1], [20, -30, -97.5, 1])


def test_distance_is_from_positions_not_from_what_the_header_says_of_it(tmp_path):
    folder = write_series(tmp_path / "s", SliceThickness=5, SpacingBetweenSlices=1)
    assert read_image(folder).spacing_mm[0] == 2.5


def test_a_real_series_states_its_true_distance(real_data):
    folder = real_data / "dicom_head_pd"
    headers = sorted((pydicom.dcmread(p, stop_before_pixels=True) for p in folder.iterdir()), key=lambda h: h.InstanceNumber)
    ends = np.array([headers[k].ImagePositionPatient for k in (0, -1)], float)
    image = read_image(folder)
    assert image.spacing_mm[0] == pytest.approx(np.linalg.norm(ends[1] - ends[0]) / 19, abs=1e-5)
    assert {float(h.SpacingBetweenSlices) for h in headers} == {2.0}  # the trap
    assert (image.orientation, image.units, image.array.shape) == ("LPS", "intensity", (20, 256, 256))


def test_positions_rounded_to_a_tenth_of_a_mm_are_no_gaps(tmp_path):
    assert read_image(write_series(tmp_path / "s", np.round(np.arange(12) * 2.4567, 1))).spacing_mm[0] == pytest.approx(
        2.4567, abs=0.01
    )


GAPS = {
    "a slice is missing": ((0, 2.5, 7.5, 10, 12.5), r"5.000 mm between 51.dcm and 32.dcm: .* most lie 2.500 mm apart; add"),
    "the distance changes": ((0, 2.5, 5, 7.5, 12.5, 17.5), r"5.000 mm between 13.dcm and 64.dcm, .*most lie 2.500 mm"),
    "a slice is there twice": ((0, 2.5, 2.5, 5, 7.5), r"0.000 mm between \d+.dcm and \d+.dcm: slices in one place"),
    "every slice has two echoes": ((0, 0, 2, 2, 4, 4, 6, 6), "0.000 mm between .* and 1 more: slices in one place"),
}  # fmt: skip


@pytest.mark.parametrize("name", GAPS)
def test_slices_that_do_not_lie_evenly_are_refused_by_name_and_mm(tmp_path, name):
    positions, message = GAPS[name]
    with pytest.raises(ImageError, match=message) as caught:
        read_image(write_series(tmp_path / "s", positions))
    assert "\n" not in str(caught.value)


STRANGERS = {
    "size": ({"Rows": 5}, r"13.dcm: Rows \[5.0\], elsewhere \[10.0\]"),
    "pixels": ({"PixelSpacing": [0.7, 0.6]}, r"13.dcm: PixelSpacing \[0.7, 0.6\], elsewhere \[0.7, 0.5\]"),
    "turned": ({"ImageOrientationPatient": [0.0, 1, 0, 0, 0, -1]}, r"13.dcm: ImageOrientationPatient \[0.0, 1.0"),
    "localizer": ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "13.dcm: localizer among 5 slices"),
    "nowhere": ({"ImagePositionPatient": None}, "13.dcm without ImagePositionPatient: no volume"),
    "half a place": ({"ImagePositionPatient": [1.0, 2.0]}, "13.dcm without ImagePositionPatient: no volume"),
    "aside": ({"ImagePositionPatient": [-10, 30, -92.5]}, "2.500 mm between 32.dcm and 13.dcm, .*slices not even"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_slice_that_does_not_belong_is_refused_by_name(tmp_path, name):
    changes, message = STRANGERS[name]
    with pytest.raises(ImageError, match=message):
        read_image(write_series(tmp_path / "s", changes={3: changes}))


def test_a_folder_of_several_series_says_which_and_how_many(tmp_path):
    other = {k: {"SeriesInstanceUID": "1.2.9", "SeriesDescription": "scout"} for k in (1, 4)}
    with pytest.raises(
        ImageError, match=r"s: holds 2 series: (1.2.2 'thin' \(4|1.2.9 'scout' \(2) images\), .*; give each a folder"
    ):
        read_image(write_series(tmp_path / "s", changes=other))


def test_a_tilted_gantry_is_refused_with_its_angle(tmp_path):
    lean = {k: {"ImagePositionPatient": [0, k * 2.5 * np.tan(np.radians(15)), k * 2.5]} for k in range(6)}
    with pytest.raises(ImageError, match="gantry tilted by 15.0 degrees; straighten"):
        read_image(write_series(tmp_path / "s", changes=lean))


@pytest.mark.parametrize("change", [{"PixelSpacing": [0, 0.5]}, {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}])
def test_a_header_that_states_the_impossible_is_refused(tmp_path, change):
    path = write_slice(tmp_path / "a.dcm", stored_volume()[0], ImagePositionPatient=[0, 0, 0], **change)
    with pytest.raises(ImageError, match="a.dcm: impossible PixelSpacing .* or ImageOrientationPatient"):
        read_image(path)


def test_what_is_no_slice_in_a_folder_is_passed_over(tmp_path):
    folder = write_series(tmp_path / "s")
    (folder / "readme.txt").write_text("hello")
    (folder / "._00.dcm").write_bytes(b"a Mac was here")
    (folder / "report.dcm").write_bytes(wheel_file("reportsi.dcm").read_bytes())
    (folder / "DICOMDIR").write_bytes(wheel_file("DICOMDIR").read_bytes())
    assert read_image(folder).array.shape == (6, 10, 8)


def test_a_slice_that_cannot_be_read_is_not_passed_over(tmp_path):
    folder = write_series(tmp_path / "s")
    (folder / "51.dcm").write_bytes(b"not a slice any more" * 20)
    with pytest.raises(ImageError, match=r"51.dcm: is no DICOM file: no 'DICM' at byte 128"):
        read_image(folder)


def test_a_folder_without_images_names_the_folders_inside(tmp_path):
    write_series(tmp_path / "t1")
    with pytest.raises(ImageError, match=r"holds no DICOM image; .* \(inside are t1\)"):
        read_image(tmp_path)


@pytest.mark.parametrize("name", ["IM0001", "a.DCM", "1.2.840.7", "a.ima"])
def test_a_dicom_file_is_known_by_suffix_or_preamble(tmp_path, name):
    path = write_slice(tmp_path / name, stored_volume()[0], ImagePositionPatient=[0, 0, 0])
    image = read_image(path)
    assert (image.units, image.spacing_mm) == ("HU", (5.0, 0.7, 0.5))  # one slice: its thickness


@pytest.mark.parametrize("lost", ["SliceThickness", "ImagePositionPatient", "PixelSpacing"])
def test_a_lone_slice_without_thickness_or_place_has_no_spacing(tmp_path, lost):
    image = read_image(write_slice(tmp_path / "a.dcm", stored_volume()[0], **{"ImagePositionPatient": [0, 0, 0], lost: None}))
    assert (image.spacing_mm, image.affine, image.orientation) == (None, None, "")
    assert reorient(image, "LPS") is image


NOT_HU = {
    "RescaleSlope": ({"RescaleSlope": None}, "it has no RescaleSlope"),
    "RescaleIntercept": ({"RescaleIntercept": None}, "it has no RescaleSlope and RescaleIntercept"),
    "type": ({"RescaleType": "Z_EFF"}, "its RescaleType is Z_EFF"),
    "MR": ({"Modality": "MR"}, "its Modality is MR"),
    "localizer": ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "it is a localizer"),
}


@pytest.mark.parametrize("name", NOT_HU)
def test_a_promise_of_hu_that_the_header_does_not_keep_is_refused(tmp_path, name):
    changes, why = NOT_HU[name]
    path = write_slice(tmp_path / "a.dcm", stored_volume()[0], **changes)
    assert read_image(path).units == "intensity"
    with pytest.raises(ImageError, match=f"a.dcm: should be in HU, but {why}"):
        read_image(path, units="HU")


@pytest.mark.parametrize("kind", ["RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian", "implicit", "padded"])
def test_lossless_files_hold_the_same_image_however_packed(kind):
    plain, packed = (read_image(wheel_file(f"MR_small{end}.dcm")) for end in ("", f"_{kind}"))
    assert np.array_equal(plain.array, packed.array)
    assert plain.spacing_mm == packed.spacing_mm
    assert plain.array.std() > 100


def test_lossy_jpeg_in_any_colour_space_is_the_same_grey_picture():
    names = ("SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_jls_lossy_line.dcm", "SC_rgb_rle.dcm")
    pictures = [read_image(wheel_file(name)).array for name in names]
    assert all(p.shape == (1, 100, 100) and np.abs(p - pictures[-1]).mean() < 3 for p in pictures)


def test_a_palette_becomes_grey_by_luminance():
    header = pydicom.dcmread(wheel_file("examples_palette.dcm"))
    rgb = pydicom.pixels.apply_color_lut(header.pixel_array[:2], header)
    expected = [[0.299 * r + 0.587 * g + 0.114 * b for r, g, b in line] for line in rgb.astype(float)]
    assert np.allclose(read_image(wheel_file("examples_palette.dcm")).array[0, :2], expected, rtol=1e-6)


LOCKED = {
    "SC_rgb_jpeg_gdcm.dcm": "JPEG Lossless.*install python-gdcm",
    "JPGExtended.dcm": "JPEG Extended.*install pylibjpeg-libjpeg",
}


@pytest.mark.parametrize("name", LOCKED)
def test_a_compression_that_nothing_decodes_is_named_with_its_remedy(name):
    with pytest.raises(ImageError, match=f"{name}: pixels in {LOCKED[name]}") as caught:
        read_image(wheel_file(name))
    assert "\n" not in str(caught.value)


PACKED = ("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "image_dfl.dcm")


@pytest.mark.parametrize("name", PACKED)
def test_a_file_cut_short_is_refused(tmp_path, name):
    raw = wheel_file(name).read_bytes()
    (tmp_path / "a.dcm").write_bytes(raw[: len(raw) * 9 // 10])
    with pytest.raises(ImageError, match=r"a.dcm: (pixels in .* cannot be read|cannot be read as DICOM) .*copy"):
        read_image(tmp_path / "a.dcm")


@pytest.mark.parametrize("name", PACKED[1:4])
def test_a_frame_cut_short_in_a_whole_file_is_refused(tmp_path, name):
    header = pydicom.dcmread(wheel_file(name))
    frame = next(generate_frames(header.PixelData, number_of_frames=1))
    header.PixelData = encapsulate([frame[: len(frame) * 4 // 5 // 2 * 2]])
    header.save_as(tmp_path / "a.dcm")
    with pytest.raises(ImageError, match="a.dcm: pixels in .* cannot be read"):
        read_image(tmp_path / "a.dcm")


def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path):
    write_slice(tmp_path / "huge.dcm", stored_volume()[0], Rows=60_000, Columns=60_000)
    write_slice(tmp_path / "large.dcm", stored_volume()[0], Rows=600, Columns=600)
    with pytest.raises(ImageError, match="huge.dcm: its header claims 3,600,000,000 voxels"):
        read_image(tmp_path / "huge.dcm")
    with pytest.raises(ImageError, match="large.dcm: pixels in .* less than expected"):
        read_image(tmp_path / "large.dcm")


RADIOGRAPH = {"Modality": "DX", "ImageOrientationPatient": None, "RescaleSlope": None, "PixelRepresentation": 0, "BitsStored": 8}


def test_a_radiograph_is_windowed_and_dense_is_bright(tmp_path):
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)
    window = {"WindowCenter": [128, 5], "WindowWidth": [65, 5]}
    plain = read_image(write_slice(tmp_path / "a.dcm", ramp, **RADIOGRAPH | window)).array.ravel()
    assert (plain[:96] == 0).all()  # PS3.3 C.11.2.1.2: black up to 127.5 - 32, white above 127.5 + 32
    assert (plain[160:] == 255).all()
    assert np.allclose(plain[96:160], [((x - 127.5) / 64 + 0.5) * 255 for x in range(96, 160)], atol=1e-4)
    inverted = RADIOGRAPH | window | {"PhotometricInterpretation": "MONOCHROME1"}
    assert np.allclose(read_image(write_slice(tmp_path / "b.dcm", ramp, **inverted)).array.ravel(), 255 - plain)


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 0, "WindowWidth": 0}, {"WindowCenter": "", "WindowWidth": ""}])
def test_a_radiograph_without_a_valid_window_keeps_its_values(tmp_path, window):
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)
    image = read_image(write_slice(tmp_path / "a.dcm", ramp, **RADIOGRAPH | window))
    assert np.array_equal(image.array[0], ramp)
    assert (image.spacing_mm, image.orientation, image.units) == (None, "", "intensity")


def test_what_was_measured_is_neither_windowed_nor_turned_over(tmp_path):
    window = {"WindowCenter": 40, "WindowWidth": 80, "PhotometricInterpretation": "MONOCHROME1"}
    image = read_image(write_slice(tmp_path / "a.dcm", stored_volume()[0], **window))
    assert np.array_equal(image.array[0], stored_volume()[0] * 2.0 - 1024)


def test_a_film_is_no_volume():
    with pytest.raises(ImageError, match="examples_ybr_color.dcm: is a film: 30 frames without positions; save the frames"):
        read_image(wheel_file("examples_ybr_color.dcm"))


def enhanced(folder: Path, path: Path, keep=slice(None)) -> Path:
    """A series as one multi-frame file, its slices in no order."""
    slices = [pydicom.dcmread(p) for p in sorted(folder.iterdir())][keep]
    highdicom.legacy.LegacyConvertedEnhancedCTImage(slices, generate_uid(), 1, generate_uid(), 1).save_as(path)
    return path


def test_an_enhanced_multi_frame_file_is_the_volume_of_its_slices(tmp_path):
    folder = write_series(tmp_path / "s", ImageOrientationPatient=list(TURNS["oblique"]))
    one, many = read_image(enhanced(folder, tmp_path / "e.dcm"), units="HU"), read_image(folder)
    assert np.array_equal(one.array, many.array)
    assert np.allclose(one.affine, many.affine)
    assert (one.units, one.spacing_mm, one.orientation) == (many.units, many.spacing_mm, many.orientation)


def test_a_missing_frame_of_a_multi_frame_file_is_named(tmp_path):
    folder = write_series(tmp_path / "s", (0, 2, 4, 6, 8, 12))
    with pytest.raises(ImageError, match=r"4.000 mm between e.dcm frame \d and e.dcm frame \d: slices not even"):
        read_image(enhanced(folder, tmp_path / "e.dcm"))


def test_an_object_without_pixels_is_refused():
    with pytest.raises(ImageError, match="reportsi.dcm: holds no DICOM image; name the file"):
        read_image(wheel_file("reportsi.dcm"))


def test_a_number_of_frames_that_is_no_number_is_refused():
    with pytest.raises(ImageError, match="badVR.dcm: cannot be read as DICOM"):
        read_image(wheel_file("badVR.dcm"))


def test_nothing_is_said_about_harmless_oddities():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        read_image(wheel_file("MR_small_padded.dcm"))  # pydicom warns of the padding
    assert [str(w.message) for w in said] == []


def test_reading_does_not_depend_on_the_names_of_the_files(tmp_path):
    folder = write_series(tmp_path / "s")
    before = copy.deepcopy(read_image(folder).array)
    for number, path in enumerate(sorted(folder.iterdir(), reverse=True)):
        path.rename(folder / f"x{number}")
    assert np.array_equal(read_image(folder).array, before)


def test_a_multi_frame_file_cut_short_is_refused(tmp_path):
    path = enhanced(write_series(tmp_path / "s"), tmp_path / "e.dcm")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ImageError, match="e.dcm: pixels in Explicit VR Little Endian cannot be read .*copy the file anew"):
        read_image(path)
