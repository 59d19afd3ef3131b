"""How an examination becomes files: NIfTI volumes, a DICOM series, a frontal radiograph as PNG."""

import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Real, Shaped, UInt16

from .study import Study, Visit

WATER_PER_MM = 0.02  # attenuation of X-rays near 60 keV
BONE_GAIN = 2.0  # dense tissue weakens a radiograph's softer rays more than CT's
PHOTONS = 50_000  # that reach a pixel through air
GREY_PER_NEPER = 8192  # grey level of a radiograph / this = attenuation along the ray
Spacing = tuple[float, float, float]  # mm between slices, rows, columns
# what each slice of a series says; what would name a person is there and empty, as the standard wants it
HEADER = {
    "Modality": "CT", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "PatientName": "", "PatientBirthDate": "",
    "StudyDate": "", "StudyTime": "", "StudyID": "", "AccessionNumber": "", "ReferringPhysicianName": "",
    "PatientIdentityRemoved": "YES", "DeidentificationMethod": "synthetic, never a patient", "PatientPosition": "HFS",
    "PositionReferenceIndicator": "", "SeriesNumber": 1, "AcquisitionNumber": 1, "KVP": 120,
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0, "RescaleIntercept": -1024,
    "RescaleSlope": 1, "RescaleType": "HU",
}  # fmt: skip


def write_files(folder: Path, study: Study, visit: Visit) -> None:
    """Image, both masks and the radiograph; the first training study's image is a DICOM series, all others are NIfTI."""
    if visit.as_series:
        write_series(folder / "image", study, visit)
    for name in ("organs", "lesions") if visit.as_series else ("image", "organs", "lesions"):
        (folder / f"{name}.nii.gz").write_bytes(nifti_bytes(getattr(study, name), study.spacing_mm))
    save_radiograph(folder / "radiograph.png", radiograph(study.image, study.spacing_mm, visit.rng(6, visit.visit)))


def nifti_bytes(volume: Shaped[np.ndarray, "slice row column"], spacing: Spacing) -> bytes:
    """A gzipped NIfTI file in RAS orientation; the volume's columns run to the left and its rows to the back."""
    deflate = zlib.compressobj(1, zlib.DEFLATED, 31, 9, zlib.Z_RLE)  # looks for runs only: noise has nothing else
    return (
        deflate.compress(_nifti_header(volume.shape, volume.dtype, spacing) + volume[:, ::-1, ::-1].tobytes()) + deflate.flush()
    )


@lru_cache(maxsize=16)
def _nifti_header(shape: tuple, dtype: np.dtype, spacing: Spacing) -> bytes:
    import nibabel as nib

    affine = np.diag([*spacing[::-1], 1.0])
    affine[:3, 3] = -np.array(spacing[::-1]) * (np.array(shape[::-1]) - 1) / 2
    image = nib.Nifti1Image(np.zeros(shape[::-1], dtype), affine)
    image.header.set_xyzt_units("mm", "sec")
    return image.to_bytes()[: nib.Nifti1Header.single_vox_offset]


def write_series(folder: Path, study: Study, visit: Visit, *, identifiers: dict[str, str] | None = None) -> None:
    """One DICOM file a slice, explicit VR little endian; `identifiers` are attributes that should not be there."""
    folder.mkdir()
    n = len(study.image)
    low = [-(count - 1) / 2 * step for count, step in zip(study.image.shape[::-1], study.spacing_mm[::-1], strict=True)]
    common = _series_header(study, visit) | (identifiers or {})
    for k, plane in enumerate(study.image):
        place = [_decimal(mm) for mm in (*low[:2], low[2] + k * study.spacing_mm[0])]
        here = {"InstanceNumber": k + 1, "ImagePositionPatient": place, "SOPInstanceUID": _uid(visit, f"slice {k} of {n}")}
        _save_slice(folder / f"{k + 1:03d}.dcm", common | here, (plane + np.int16(1024)).astype("<u2"))


def _series_header(study: Study, visit: Visit) -> dict:
    uids = {f"{name}UID": _uid(visit, name) for name in ("StudyInstance", "SeriesInstance", "FrameOfReference")}
    dz, dy, dx = map(_decimal, study.spacing_mm)
    return HEADER | uids | {
        "PatientID": visit.patient_id, "PatientSex": study.sex, "PatientAge": f"{study.age:03d}Y",
        "Manufacturer": study.scanner.split()[0], "ManufacturerModelName": study.scanner,
        "SliceThickness": dz, "SpacingBetweenSlices": dz, "PixelSpacing": [dy, dx],
    }  # fmt: skip


def _save_slice(path: Path, about: dict, stored: UInt16[np.ndarray, "row column"]) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    file = Dataset()
    for name, value in about.items():
        setattr(file, name, value)
    file.SOPClassUID, (file.Rows, file.Columns), file.PixelData = CTImageStorage, stored.shape, stored.tobytes()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.ImplementationClassUID = generate_uid(entropy_srcs=["medclip_nb"])
    file.file_meta.ImplementationVersionName = "MEDCLIP_NB"  # not pydicom's: its next version must not change the bytes
    file.save_as(path, enforce_file_format=True)


def _uid(visit: Visit, what: str) -> str:
    """The same study always has the same UID, under pydicom's root."""
    from pydicom.uid import generate_uid

    return generate_uid(entropy_srcs=[str(visit.seed), visit.study_id, what])


def _decimal(number: float | int):
    """A number as DICOM's decimal string: 16 characters at most."""
    from pydicom.valuerep import DSfloat

    return DSfloat(float(number), auto_format=True)


def project(image: Real[np.ndarray, "slice row column"], spacing: Spacing) -> Float32[np.ndarray, "height column"]:
    """Attenuation (nepers) along parallel rays from front to back: head up, the patient's left on the right, pixels square.

    Beer and Lambert: what a ray loses is the sum over its way of each voxel's attenuation, which follows from its HU.
    A pixel is as large as the volume's column spacing.
    """
    from PIL import Image as Picture

    hu = image.astype(np.float32)
    per_mm = np.maximum(1 + hu / 1000, 0) + BONE_GAIN * np.maximum(hu - 150, 0) / 1000
    rays = per_mm.sum(1) * np.float32(WATER_PER_MM * spacing[1])
    n_rows = round(len(image) * spacing[0] / spacing[2])
    return np.asarray(Picture.fromarray(rays[::-1]).resize((image.shape[2], n_rows), Picture.Resampling.BICUBIC))


def radiograph(
    image: Real[np.ndarray, "slice row column"], spacing: Spacing, rng: np.random.Generator
) -> UInt16[np.ndarray, "height column"]:
    """What a detector sees of `project`: photons are counted, dense tissue is bright; see GREY_PER_NEPER."""
    counts = np.maximum(rng.poisson(PHOTONS * np.exp(-project(image, spacing).astype(np.float64))), 1)
    return np.clip(np.rint(np.log(PHOTONS / counts) * GREY_PER_NEPER), 0, 65535).astype(np.uint16)


def save_radiograph(path: Path, pixels: UInt16[np.ndarray, "height column"]) -> None:
    """A PNG of 16 bits."""
    from PIL import Image as Picture

    Picture.fromarray(pixels).save(path, compress_level=1)
