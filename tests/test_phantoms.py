"""Synthetic torsos: what is listed is drawn, what is drawn is where it should be, what is written is true."""

import json
import re

import numpy as np
import pytest

from medclip_nb.data import phantoms
from medclip_nb.data.manifest import patients_across_splits, read_manifest
from medclip_nb.data.phantoms import KINDS, ORGAN_GROUPS, ORGANS, group_mask, list_visits, make_study, slice_captions
from medclip_nb.data.phantoms.reports import abnormal_sentence, caption, finding_phrase, write_report
from medclip_nb.data.phantoms.vocabulary import FINDING_PHRASES, REGION_ORGANS, kind_of
from medclip_nb.data.phantoms.wordings import ABNORMAL, DENIAL, N_HELD_OUT, NORMAL, NORMAL_SIDE

SIZE = (24, 48, 48)
CPU_SIZE = (32, 64, 64)
COUNTS = {"n_train": 7, "n_val": 3, "n_test": 5}
WORDS = {
    "nodule": "nodul", "consolidation": "consolidat", "pleural effusion": "pleural effusion", "emphysema": "emphysema",
    "cardiomegaly": "cardiomegaly|enlarge", "pericardial effusion": "pericardi", "steatosis": "steatosis", "cyst": "cyst",
    "metastases": "metasta", "splenomegaly": "splenomegaly|spleen|splenic", "stone": "stone|calculus|lithiasis",
    "hydronephrosis": "hydronephro", "mass": "mass", "gallstone": "gallstone", "aneurysm": "aneurysm", "calcification": "calcif",
}  # fmt: skip


@pytest.fixture(scope="module")
def studies():
    return [make_study(v, SIZE) for v in list_visits(48, 0, 0, 3)]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return phantoms.write_cohort(tmp_path_factory.mktemp("cohort"), **COUNTS, size=SIZE, seed=2, workers=1)


def each_finding(studies):
    return [(study, finding) for study in studies for finding in study.findings]


def pattern(wording):
    """A regular expression that a filled-in wording matches, whatever its slots hold."""
    return re.compile(r"\b" + re.sub(r"\\\{\w+\\\}", ".*?", re.escape(wording)).replace("a\\ ", "an?\\ "), re.IGNORECASE)


def held_out(sentence_tables):
    return [w for table in sentence_tables for w in table[-N_HELD_OUT:]]


def test_every_listed_finding_has_its_minimum_of_visible_voxels(studies):
    for study, finding in each_finding(studies):
        n = int((study.lesions == finding["label"]).sum())
        assert n == finding["n_voxels"] >= KINDS[kind_of(finding["organ"]), finding["finding"]].min_voxels


def test_every_lesion_that_is_drawn_is_listed(studies):
    for study in studies:
        assert set(np.unique(study.lesions)) - {0} == {f["label"] for f in study.findings}


def test_lesions_lie_in_their_organ(studies):
    for study, finding in each_finding(studies):
        inside = group_mask(study.organs, finding["organ"])[study.lesions == finding["label"]]
        assert inside.mean() > 0.9, finding


def test_all_abnormalities_occur_and_some_organs_have_two(studies):
    found = {(kind_of(f["organ"]), f["finding"]) for _, f in each_finding(studies)}
    organs = [[f["organ"] for f in study.findings] for study in studies]
    assert found == set(KINDS)
    assert any(len(set(names)) < len(names) for names in organs)


def test_no_organ_is_missing_in_any_study(studies):
    for name, label in ORGANS.items():
        assert min(np.count_nonzero(study.organs == label) for study in studies) >= 3, name


def test_the_gallbladder_has_enough_voxels_for_a_stone():
    volumes = [make_study(v, CPU_SIZE).organs for v in list_visits(12, 0, 0, 1)]
    assert min(group_mask(v, "gallbladder").sum() for v in volumes) >= 30


@pytest.mark.parametrize(("organ", "low", "high"), [
    ("liver", 60, 140), ("kidney_left", 100, 190), ("lung_left", -1000, -600), ("spleen", 80, 150), ("aorta", 70, 200),
    ("pancreas", 55, 130), ("vertebrae", 150, 700), ("urinary_bladder", -30, 60),
])  # fmt: skip
def test_healthy_organs_have_plausible_hu(studies, organ, low, high):
    well = [s for s in studies if organ not in {f["organ"] for f in s.findings}]
    for study in well:
        assert low < np.median(study.image[group_mask(study.organs, organ)]) < high


def test_left_is_left_by_the_affine(cohort):
    import nibabel as nib

    organs = nib.load(cohort.parent / read_manifest(cohort)["mask"].iloc[0])
    assert nib.aff2axcodes(organs.affine) == ("R", "A", "S")
    assert organs.header.get_zooms()[2] == pytest.approx(phantoms.spacing_mm(SIZE)[0])
    centre = lambda name: organs.affine[:3, :3] @ np.argwhere(np.asarray(organs.dataobj) == ORGANS[name]).mean(0)  # noqa: E731
    assert centre("kidney_left")[0] < centre("kidney_right")[0]  # x grows to the right
    assert centre("vertebrae")[1] < centre("liver")[1]  # y grows to the front
    assert centre("urinary_bladder")[2] < centre("heart")[2]  # z grows upwards


def test_lesions_of_sided_organs_lie_on_their_side(studies):
    for study, finding in each_finding(studies):
        if finding["side"]:
            columns = np.argwhere(study.lesions == finding["label"])[:, 2]
            assert (columns.mean() > SIZE[2] / 2) == (finding["side"] == "left")


def test_the_same_body_in_mm_whatever_the_grid():
    visit = list_visits(1, 0, 0, 0)[0]
    litres = [
        np.count_nonzero(group_mask(make_study(visit, size).organs, "liver")) * np.prod(phantoms.spacing_mm(size)) / 1e6
        for size in ((24, 48, 48), (32, 96, 96))
    ]
    assert litres[0] == pytest.approx(litres[1], rel=0.1)


def test_a_patient_keeps_the_anatomy_and_most_findings():
    visits = [v for v in list_visits(300, 0, 0, 0) if v.visit == 1][:8]
    kept, before = 0, 0
    for later in visits:
        first = type(later)(later.seed, later.split, later.patient, 0)
        old, new = ({(f["organ"], f["finding"]) for f in make_study(v, SIZE).findings} for v in (first, later))
        kept, before = kept + len(old & new), before + len(old)
    assert kept > 0.6 * before


def test_the_same_seed_gives_the_same_bytes(cohort, tmp_path):
    again = phantoms.write_cohort(tmp_path, **COUNTS, size=SIZE, seed=2, workers=1)
    files = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(cohort.parent) for p in cohort.parent.rglob("*") if p.is_file())
    assert all((tmp_path / f).read_bytes() == (cohort.parent / f).read_bytes() for f in files)
    assert again.name == "manifest.csv"


def test_processes_write_the_same_manifest(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr("medclip_nb.data.phantoms.cohort.MIN_PARALLEL", 1)
    assert phantoms.write_cohort(tmp_path, **COUNTS, size=SIZE, seed=2, workers=2).read_bytes() == cohort.read_bytes()


def test_another_seed_gives_other_images():
    images = [make_study(list_visits(1, 0, 0, seed)[0], SIZE).image for seed in (0, 1)]
    assert not np.array_equal(*images)


def test_splits_have_exactly_as_many_studies_as_asked_for(cohort):
    table = read_manifest(cohort)
    assert table["split"].value_counts().to_dict() == {"train": 7, "val": 3, "test": 5}
    assert (table["mask"] != "").all()
    assert table["sha256"].is_unique


def test_some_patients_have_several_studies_and_none_crosses_splits(cohort):
    import pandas as pd

    visits = list_visits(200, 40, 80, 0)
    table = pd.DataFrame({"patient_id": [v.patient_id for v in visits], "split": [v.split for v in visits]})
    several = (table["patient_id"].value_counts() > 1).mean()
    assert patients_across_splits(table) == patients_across_splits(read_manifest(cohort)) == []
    assert 0.15 < several < 0.35


def test_an_interrupted_cohort_leaves_whole_studies_and_continues(cohort, tmp_path, monkeypatch):
    from medclip_nb.data.phantoms import cohort as module

    real, seen = module._fill, []
    monkeypatch.setattr(module, "_fill", lambda part, *rest: (seen.append(part), real(part, *rest), _stop(len(seen) == 5)))
    with pytest.raises(KeyboardInterrupt):
        phantoms.write_cohort(tmp_path, **COUNTS, size=SIZE, seed=2, workers=1)
    assert len(list(tmp_path.glob("P*"))) == 4
    assert not list(tmp_path.glob(".*"))
    monkeypatch.setattr(module, "_fill", real)
    assert phantoms.write_cohort(tmp_path, **COUNTS, size=SIZE, seed=2, workers=1).read_bytes() == cohort.read_bytes()


def _stop(now):
    if now:
        raise KeyboardInterrupt


def test_a_folder_of_another_cohort_is_refused(cohort):
    with pytest.raises(ValueError, match="other settings"):
        phantoms.write_cohort(cohort.parent, **COUNTS, size=SIZE, seed=3)


def test_a_written_study_is_kept_not_redrawn(cohort):
    image = next(cohort.parent.glob("*/image.nii.gz"))
    before = image.stat().st_mtime_ns
    phantoms.write_cohort(cohort.parent, **COUNTS, size=SIZE, seed=2, workers=1)
    assert image.stat().st_mtime_ns == before


def test_the_truth_in_the_manifest_is_the_truth_in_the_masks(cohort):
    import nibabel as nib

    for row in read_manifest(cohort).to_dict("records"):
        counts = np.bincount(np.asarray(nib.load(cohort.parent / row["lesions"]).dataobj).ravel(), minlength=20)
        assert [counts[f["label"]] for f in json.loads(row["findings"])] == [f["n_voxels"] for f in json.loads(row["findings"])]


def test_reports_mention_every_finding_with_its_side(studies):
    for i, (_, finding) in enumerate(each_finding(studies)):
        for held in (False, True):
            text = abnormal_sentence(finding, np.random.default_rng(i), held_out=held).lower()
            assert re.search(WORDS[finding["finding"]], text), text
            assert finding["side"] in text


def test_reports_deny_nothing_that_is_there(studies):
    for i, study in enumerate(studies):
        text = write_report(study.findings, np.random.default_rng(i), held_out=True).lower()
        for finding in study.findings:
            table = DENIAL.get((kind_of(finding["organ"]), finding["finding"]), ())
            assert not any(f" {denial}" in text for denial in table)
            assert not any(f" {normal}" in text for normal in NORMAL[kind_of(finding["organ"])])


def test_reports_name_no_finding_that_is_absent(studies):
    for i, study in enumerate(studies):
        text = write_report(study.findings, np.random.default_rng(i)).lower().split("impression:")[1]
        named = {phrase for phrase in FINDING_PHRASES.values() if phrase in text}
        assert named <= {finding_phrase(f) for f in study.findings}


def test_held_out_wordings_are_in_test_reports_only(studies):
    patterns = [pattern(w) for w in held_out([*ABNORMAL.values(), *NORMAL.values(), *NORMAL_SIDE.values(), *DENIAL.values()])]
    hits = dict.fromkeys((False, True), 0)
    for i, study in enumerate(studies):
        for held in hits:
            text = write_report(study.findings, np.random.default_rng(i), held_out=held)
            sentences = re.split(r"(?<=\.) ", text.split("FINDINGS: ")[1].split("\n\nIMPRESSION")[0])
            hits[held] += sum(bool(p.fullmatch(s)) for p in patterns for s in sentences)
    assert hits[False] == 0 < hits[True]


def test_each_state_has_eight_common_wordings_and_two_held_out():
    tables = [*ABNORMAL.values(), *DENIAL.values(), *NORMAL.values(), *NORMAL_SIDE.values()]
    assert {len(set(table)) for table in tables} == {len(table) for table in tables} == {8 + N_HELD_OUT}
    assert set(ABNORMAL) == set(KINDS)


def test_an_organ_with_several_findings_can_deny_each_of_them():
    several = {pair for pair in KINDS if sum(organ == pair[0] for organ, _ in KINDS) > 1}
    assert set(DENIAL) == several


def test_every_organ_with_findings_has_fifteen_phrases():
    for organ in {organ for organ, _ in KINDS}:
        wordings = [w for table in (ABNORMAL, DENIAL) for pair, words in table.items() if pair[0] == organ for w in words]
        assert len({*wordings, *NORMAL[organ], *NORMAL_SIDE.get(organ, ())}) >= 15


def test_reports_of_healthy_studies_are_often_identical():
    reports = [write_report([], np.random.default_rng(i)).split("FINDINGS:")[1] for i in range(60)]
    assert len(set(reports)) < 40


def test_slice_captions_agree_with_a_slow_count(studies):
    for study in studies[:6]:
        for z, (region, names, shown) in enumerate(slice_captions(study.organs, study.lesions, study.findings)):
            pixels = {r: sum((study.organs[z] == ORGANS[n]).sum() for n in organs) for r, organs in REGION_ORGANS.items()}
            assert pixels[region] == max(pixels.values())
            assert names == [n for n, label in ORGANS.items() if label in study.organs[z]]
            assert shown == [i for i, f in enumerate(study.findings) if slow_shows(study.lesions == f["label"], z)]


def slow_shows(lesion, z):
    return lesion[z].sum() >= min(4, max(1, max(s.sum() for s in lesion) / 3))


def test_every_finding_is_shown_by_a_slice(studies):
    for study in studies:
        shown = {i for _, _, numbers in slice_captions(study.organs, study.lesions, study.findings) for i in numbers}
        assert shown == set(range(len(study.findings)))


def test_captions_merge_left_and_right():
    left, right = ({"organ": f"kidney_{s}", "finding": "cyst"} for s in ("left", "right"))
    assert caption("abdomen", finding_phrase(left)) == caption("abdomen", finding_phrase(right)) == "Abdomen CT, renal cyst"
    assert caption("chest", "lung nodule") == "Chest CT, lung nodule"
    assert caption("pelvis") == "Pelvis CT"


def test_groups_name_known_classes():
    assert {name for names in ORGAN_GROUPS.values() for name in names} <= set(ORGANS)


def test_importing_the_phantoms_loads_neither_torch_nor_matplotlib():
    import subprocess
    import sys

    code = "import sys, medclip_nb.data.phantoms; sys.exit(any(m in sys.modules for m in ('torch', 'matplotlib')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
