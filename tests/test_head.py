"""Synthetic head MR: what is listed can be seen, lies where it is said to lie, and is all that is written."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from medclip_nb.config import PRESETS
from medclip_nb.data.manifest import patients_across_splits, read_manifest
from medclip_nb.data.phantoms import head, list_visits
from medclip_nb.data.phantoms.head import KINDS, MIN_VISIBLE, PLACES, REGIONS, SEQUENCES, VISIBLE, make_study
from medclip_nb.data.phantoms.head import cohort as cohort_module
from medclip_nb.data.phantoms.head.geometry import corners, middles, sample, smooth_noise
from medclip_nb.data.phantoms.head.plans import draw_plans, follow_up
from medclip_nb.data.phantoms.head.reports import write_reports
from medclip_nb.data.phantoms.head.sequences import GAIN
from medclip_nb.data.phantoms.head.study import visit_plans
from medclip_nb.data.phantoms.head.template import ORIGIN_MM, SHAPE, STEP_MM, template
from medclip_nb.data.phantoms.head.truth import MIN_SHARE, MIXED, seen, structured
from medclip_nb.data.phantoms.head.vocabulary import BOTH, OEDEMA, SIDES, SYSTEMS
from medclip_nb.data.phantoms.head.wordings import (
    ABNORMAL,
    CALLED,
    DENIAL,
    IMPRESSION,
    N_HELD_OUT,
    NORMAL,
    NORMAL_PLACES,
    SHORT,
)  # fmt: skip
from medclip_nb.text.similarity import GRAMMARS, parse

SIZE = (24, 64, 64)
COUNTS = {"n_train": 4, "n_val": 2, "n_test": 3}
# smallest and largest |x|, y, z (MNI mm) of a lesion's middle, read off an atlas, not from the rules
BOXES = {
    "pons": ((2, 14), (-40, -18), (-44, -20)), "cerebellum": ((8, 52), (-88, -36), (-64, -14)),
    "thalamus": ((4, 20), (-32, -4), (-1, 16)), "basal ganglia": ((12, 36), (-18, 22), (-10, 18)),
    "periventricular white matter": ((8, 46), (-66, 46), (3, 36)), "centrum semiovale": ((8, 44), (-56, 36), (25, 52)),
    "frontal lobe": ((4, 60), (-30, 74), (-24, 76)), "parietal lobe": ((4, 66), (-80, -8), (18, 78)),
    "temporal lobe": ((24, 70), (-62, 22), (-46, 16)), "occipital lobe": ((4, 50), (-106, -64), (-24, 36)),
}  # fmt: skip
# kind -> the signal that its name promises; haemorrhages go through all of them
PROMISED = {
    "acute infarct": {"T1": "low", "T2": "high", "FLAIR": "high", "DWI": "high"},
    "old infarct": {"T1": "low", "T2": "high", "FLAIR": "low", "DWI": "low"},
    "white-matter hyperintensity": {"T2": "high", "FLAIR": "high"},
    "oedema": {"T1": "low", "T2": "high", "FLAIR": "high"},
}


@pytest.fixture(scope="module")
def visits(home):
    return list_visits(40, 0, 0, 5)


@pytest.fixture(scope="module")
def studies(visits):
    return [make_study(v, SIZE) for v in visits]


@pytest.fixture(scope="module")
def cohort(home, tmp_path_factory):
    return head.write_head_cohort(tmp_path_factory.mktemp("heads"), **COUNTS, size=SIZE, seed=2, workers=1)


def each_finding(studies, *, focal=False):
    """(study, sequence, finding)"""
    found = [(s, name, f) for s in studies for name in SEQUENCES for f in s.findings[name]]
    return [one for one in found if not focal or one[2]["side"]]


def labels_of(study):
    return {f["label"]: f for found in study.findings.values() for f in found}


def sentences(text, section="FINDINGS"):
    return re.split(r"(?<=\.) (?=[A-Z])", re.search(rf"{section}: (.*?)(?:\n\n|$)", text)[1])


def pattern(wording):
    """A regular expression that a filled-in wording matches, whatever its slots hold."""
    return re.compile(re.sub(r"\\\{\w+\\\}", ".*?", re.escape(wording)), re.IGNORECASE)


def said_by(tables):
    return [(key, pattern(w)) for key, table in tables.items() for w in table]


def test_every_label_is_listed_and_every_listed_finding_is_labelled(studies):
    for study in studies:
        assert set(np.unique(study.lesions)) - {0} == set(labels_of(study))


def test_a_listed_finding_has_its_minimum_of_visible_voxels(studies):
    for study, _, finding in each_finding(studies):
        n = np.count_nonzero(study.lesions == finding["label"])
        assert max(MIN_VISIBLE, MIN_SHARE * n) <= finding["n_voxels"] <= n


def test_what_is_visible_agrees_with_a_slow_count():
    rng = np.random.default_rng(0)
    for n in (3, 6, 20, 60):
        difference = (rng.normal(0, 0.1, (n, 4)) * rng.uniform(0, 2, 4)).astype(np.float32)
        found = seen(difference)
        for name, column in zip(SEQUENCES, difference.T, strict=True):
            up, down = sum(v > VISIBLE for v in column), sum(v < -VISIBLE for v in column)
            assert (name in found) == (up + down >= 6 and up + down >= 0.2 * n)
            if name in found:
                mixed = min(up, down) / (up + down) >= MIXED
                assert found[name] == ("mixed" if mixed else "high" if up > down else "low", up + down)


def test_the_images_show_what_is_listed_and_hide_what_is_not(visits, studies):
    """Against the same head, in the same noise, without its focal lesions (tumours also move what lies around them)."""
    n_hidden = 0
    for visit, study in zip(visits, studies, strict=True):
        kinds = {p.kind for p in visit_plans(visit)}
        if "tumour" in kinds or not kinds - set(SYSTEMS):
            continue
        twin = make_study(visit, SIZE, plans=[p for p in visit_plans(visit) if p.kind in SYSTEMS])
        for name, image, plain in zip(SEQUENCES, study.images.astype(int), twin.images.astype(int), strict=True):
            listed = {f["label"]: f["signal"] for f in study.findings[name]}
            for label in (k for k, f in labels_of(study).items() if f["side"]):
                change = (image - plain)[study.lesions == label]
                n_hidden += label not in listed
                assert shows(change, listed.get(label, "")), (visit, name, listed.get(label), change)
    assert n_hidden > 5


def shows(change, signal):
    """Whether grey levels changed as a signal says; the gain is between those of GAIN, coils may add a third."""
    least, most = VISIBLE * GAIN[0] * 0.6, VISIBLE * GAIN[1] * 1.5
    if not signal:
        return (abs(change) > most).sum() < max(MIN_VISIBLE, MIN_SHARE * len(change))
    up, down = (change > least).sum(), (change < -least).sum()
    return {"high": up > down, "low": down > up, "mixed": min(up, down) > 0}[signal.split()[1]]


def test_signals_are_those_that_the_kinds_promise(studies):
    for _, name, finding in each_finding(studies):
        promised = PROMISED.get(finding["kind"], {}).get(name)
        assert promised is None or f" {promised} " in finding["signal"] or " mixed " in finding["signal"], finding


def test_lesions_stand_out_from_the_brain_around_them(studies):
    right = []
    for study, name, finding in each_finding(studies, focal=True):
        lesion, around = surroundings(study, finding["label"])
        image = study.images[SEQUENCES.index(name)]
        if " mixed " not in finding["signal"] and around.sum() > 20:
            right.append((np.median(image[lesion]) > np.median(image[around])) == (" high " in finding["signal"]))
    assert len(right) > 100
    assert np.mean(right) > 0.95


def surroundings(study, label):
    """A lesion and the brain within two pixels of it that holds no other lesion."""
    from scipy.ndimage import binary_dilation

    lesion = study.lesions == label
    brain = (study.regions > 0) & (study.regions <= REGIONS["other brain"]) & (study.lesions == 0)
    return lesion, binary_dilation(lesion, np.ones((1, 3, 3)), iterations=2) & brain


def test_acute_infarcts_are_the_brightest_of_the_brain_on_dwi(studies):
    pairs = [(s, f) for s, name, f in each_finding(studies) if f["kind"] == "acute infarct" and name == "DWI"]
    assert len(pairs) > 5
    for study, finding in pairs:
        lesion, around = surroundings(study, finding["label"])
        assert np.median(study.images[3][lesion]) > 1.5 * np.median(study.images[3][around])


def test_lesions_lie_where_they_are_said_to_lie(studies):
    found = {(id(s), f["label"]): (s, f) for s, _, f in each_finding(studies, focal=True) if f["kind"] != OEDEMA}
    for study, finding in found.values():
        at = study.points_mm[study.lesions == finding["label"]]
        for side in SIDES if finding["side"] == BOTH else (finding["side"],):
            half = at[(at[:, 0] < 0) == (side == "left")]
            assert len(half) >= (MIN_VISIBLE if finding["kind"].startswith("white") else 0.95 * len(at))
            middle = [abs(half[:, 0]).mean(), *half[:, 1:].mean(0)]
            assert all(low <= v <= high for v, (low, high) in zip(middle, BOXES[finding["place"]], strict=True)), finding


def test_the_region_mask_has_the_lesion_in_its_place(studies):
    for study, _, finding in each_finding(studies, focal=True):
        either = finding["kind"].startswith("white")  # a few voxels on the other side may be too faint to be named
        names = [REGIONS[f"{side} {finding['place']}"] for side in SIDES if either or finding["side"] == side]
        inside = np.isin(study.regions[study.lesions == finding["label"]], names)
        assert inside.mean() > 0.7 or finding["kind"] == OEDEMA, finding


def test_oedema_surrounds_its_tumour(studies):
    pairs = [(s, f) for s in studies for f in labels_of(s).values() if f["kind"] == OEDEMA]
    assert pairs
    for study, finding in pairs:
        tumour = next(f for f in labels_of(study).values() if f["kind"] == "tumour")
        middles_mm = [study.points_mm[study.lesions == f["label"]].mean(0) for f in (finding, tumour)]
        assert finding["location"] == tumour["location"]
        assert np.linalg.norm(np.subtract(*middles_mm)) < tumour["size_mm"]


def test_left_is_left_by_the_affine(cohort):
    import nibabel as nib

    row = read_manifest(cohort).iloc[0]
    regions, image = nib.load(cohort.parent / row["mask"]), nib.load(cohort.parent / row["image"])
    assert nib.aff2axcodes(regions.affine) == ("R", "A", "S")
    np.testing.assert_array_equal(regions.affine, image.affine)
    np.testing.assert_allclose(image.header.get_zooms(), np.divide(head.FIELD_MM, SIZE)[::-1])
    centre = lambda n: (regions.affine @ [*np.argwhere(np.asarray(regions.dataobj) == REGIONS[n]).mean(0), 1])[:3]  # noqa: E731
    for place in PLACES:
        assert centre(f"left {place}")[0] < centre(f"right {place}")[0]  # x grows to the right
    assert centre("left occipital lobe")[1] < centre("left frontal lobe")[1]  # y grows to the front
    assert centre("left cerebellum")[2] < centre("left parietal lobe")[2]  # z grows upwards


def test_lesions_in_the_files_lie_on_their_side_of_the_head(cohort):
    import nibabel as nib

    for row in read_manifest(cohort).to_dict("records"):
        lesions, regions = (nib.load(cohort.parent / row[c]) for c in ("lesions", "mask"))
        mean_x = lambda image, label: np.argwhere(np.asarray(image.dataobj) == label)[:, 0].mean()  # noqa: E731
        for finding in (f for f in json.loads(row["findings"]) if f["side"] in ("left", "right") and "infarct" in f["kind"]):
            other = "right" if finding["side"] == "left" else "left"
            own, far = (mean_x(regions, REGIONS[f"{side} {finding['place']}"]) for side in (finding["side"], other))
            assert abs(mean_x(lesions, finding["label"]) - own) < abs(mean_x(lesions, finding["label"]) - far)


def test_both_sides_of_the_template_have_the_same_places():
    counts = np.bincount(template().region, minlength=len(REGIONS) + 1)
    for place in PLACES:
        left, right = counts[REGIONS[f"left {place}"]], counts[REGIONS[f"right {place}"]]
        assert min(left, right) * STEP_MM**3 > 3000
        assert left == pytest.approx(right, rel=0.12)


def test_middles_of_lesions_are_inside_their_places():
    plans = [p for seed in range(60) for p in draw_plans(np.random.default_rng(seed)) if p.side]
    for plan in plans:
        for side, middle in zip(plan.sides, middles(plan), strict=True):
            x, y, z = np.rint((middle - ORIGIN_MM) / STEP_MM).astype(int)
            assert template().region.reshape(SHAPE)[z, y, x] == REGIONS[f"{side} {plan.place}"]


def test_interpolation_agrees_with_a_slow_loop():
    rng = np.random.default_rng(0)
    points = rng.uniform((-80, -110, -60), (80, 80, 80), (40, 3)).astype(np.float32)
    index, weights = corners(points)
    np.testing.assert_allclose(weights.sum(0), 1, rtol=1e-5)
    place = np.stack(np.unravel_index(index, SHAPE)[::-1], -1) * STEP_MM + ORIGIN_MM
    np.testing.assert_allclose((weights[..., None] * place).sum(0), points, atol=1e-3)
    tissue = template().packed.view(np.uint8).reshape(-1, 8)[:, :6] / 255
    slow = [sum(w * tissue[i] for i, w in zip(index[:, n], weights[:, n], strict=True)) for n in range(len(points))]
    np.testing.assert_allclose(sample(points).tissue[:, :6], slow, atol=1e-5)


def test_smooth_noise_has_mean_zero_and_standard_deviation_one():
    fields = smooth_noise(np.random.default_rng(0), (3, 4, 4), (6, 8, 8), 4000)
    assert abs(fields.mean()) < 0.02
    np.testing.assert_allclose(fields.std(1), 1, atol=0.06)


def test_grey_and_white_matter_look_as_they_do_on_each_sequence(studies):
    study = next(s for s in studies if not labels_of(s))
    images = dict(zip(SEQUENCES, study.images, strict=True))
    mean = lambda name, *places: np.mean([images[name][study.regions == REGIONS[p]].mean() for p in places])  # noqa: E731
    white, fluid = ("left centrum semiovale", "right centrum semiovale"), ("ventricles",)
    assert mean("T1", *white) > 2 * mean("T1", *fluid)
    assert mean("T2", *fluid) > 1.5 * mean("T2", *white)
    assert mean("FLAIR", *white) > 1.5 * mean("FLAIR", *fluid)
    assert mean("DWI", *white) > 1.5 * mean("DWI", *fluid)
    assert mean("T1", *white) > mean("T1", "left thalamus", "right thalamus")


def test_all_kinds_and_places_occur():
    plans = [p for seed in range(250) for p in draw_plans(np.random.default_rng(seed))]
    assert {p.kind for p in plans} == set(KINDS)
    assert {p.place for p in plans} == {*PLACES, *SYSTEMS.values()}
    assert {p.side for p in plans} == {"left", "right", BOTH, ""}


def test_no_two_lesions_share_a_place():
    for seed in range(150):
        for one, other in combinations(draw_plans(np.random.default_rng(seed)), 2):
            assert one.place != other.place or not set(one.sides) & set(other.sides)


def test_most_lesions_stay_until_the_next_visit():
    kept = total = 0
    for seed in range(150):
        plans = draw_plans(np.random.default_rng(seed))
        keys = {p.key for p in follow_up(np.random.default_rng([seed, 1]), plans)}
        kept, total = kept + sum(p.key in keys for p in plans), total + len(plans)
    assert 0.8 < kept / total < 1


def test_a_patient_keeps_anatomy_and_findings_from_visit_to_visit():
    later = next(v for v in list_visits(60, 0, 0, 5) if v.visit == 1 and len(visit_plans(v)) > 1)
    first, second = (make_study(replace(later, visit=k), SIZE) for k in (0, 1))
    where = [{f["location"] for f in labels_of(s).values()} for s in (first, second)]
    volumes = [np.bincount(s.regions.ravel(), minlength=len(REGIONS) + 1)[1:] for s in (first, second)]
    assert where[0] & where[1]
    assert np.corrcoef(*volumes)[0, 1] > 0.99
    assert not np.array_equal(first.images, second.images)


def test_another_seed_gives_other_images():
    images = [make_study(list_visits(1, 0, 0, seed)[0], SIZE).images for seed in (0, 1)]
    assert not np.array_equal(*images)


def test_the_same_seed_gives_the_same_bytes(cohort, tmp_path):
    head.write_head_cohort(tmp_path, **COUNTS, size=SIZE, seed=2, workers=1)
    files = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(cohort.parent) for p in cohort.parent.rglob("*") if p.is_file())
    assert all((tmp_path / f).read_bytes() == (cohort.parent / f).read_bytes() for f in files)


def test_processes_write_the_same_manifest(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr("medclip_nb.data.phantoms.cohort.MIN_PARALLEL", 1)
    assert head.write_head_cohort(tmp_path, **COUNTS, size=SIZE, seed=2, workers=2).read_bytes() == cohort.read_bytes()


def test_an_interrupted_cohort_leaves_whole_studies_and_continues(cohort, tmp_path, monkeypatch):
    real, seen_parts = cohort_module._fill, []
    monkeypatch.setattr(
        cohort_module, "_fill", lambda part, *rest: (seen_parts.append(part), real(part, *rest), _stop(len(seen_parts) == 3))
    )
    with pytest.raises(KeyboardInterrupt):
        head.write_head_cohort(tmp_path, **COUNTS, size=SIZE, seed=2, workers=1)
    assert len(list(tmp_path.glob("H*"))) == 2
    assert not list(tmp_path.glob(".*"))
    assert not (tmp_path / "manifest.csv").exists()
    monkeypatch.setattr(cohort_module, "_fill", real)
    assert head.write_head_cohort(tmp_path, **COUNTS, size=SIZE, seed=2, workers=1).read_bytes() == cohort.read_bytes()


def _stop(now):
    if now:
        raise KeyboardInterrupt


def test_a_folder_of_another_cohort_is_refused(cohort):
    with pytest.raises(ValueError, match="other settings"):
        head.write_head_cohort(cohort.parent, **COUNTS, size=SIZE, seed=3)


def test_a_preset_is_written_once_and_another_seed_elsewhere(home, monkeypatch):
    monkeypatch.setitem(cohort_module.STUDIES, "smoke", (1, 1, 1))
    first = head.head_cohort(PRESETS["smoke"])
    before = first.stat().st_mtime_ns
    assert head.head_cohort(PRESETS["smoke"]) == first
    assert first.stat().st_mtime_ns == before
    assert head.head_cohort(PRESETS["smoke"], seed=1) != first


def test_an_unknown_preset_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match="huge.*smoke"):
        head.head_cohort(replace(PRESETS["smoke"], name="huge"))


def test_the_manifest_has_a_row_for_each_sequence_of_each_examination(cohort):
    table = read_manifest(cohort)
    assert table["split"].value_counts().to_dict() == {"train": 16, "val": 8, "test": 12}
    assert set(table.groupby(table["study_id"].map(head.examination))["sequence"].apply(tuple)) == {SEQUENCES}
    assert table["study_id"].str.fullmatch(r"H\d{6}-\d-(t1|t2|flair|dwi)").all()
    assert table["sha256"].is_unique
    assert (table["patient_id"] == table["study_id"].str[:7]).all()


def test_no_patient_crosses_splits(cohort):
    assert patients_across_splits(read_manifest(cohort)) == []


def test_the_truth_in_the_manifest_is_the_truth_in_the_masks(cohort):
    import nibabel as nib

    for _, rows in read_manifest(cohort).groupby("lesions"):
        labels = np.unique(np.asarray(nib.load(cohort.parent / rows["lesions"].iloc[0]).dataobj))
        listed = {f["label"] for findings in rows["findings"] for f in json.loads(findings)}
        assert listed == set(labels.tolist()) - {0}


def test_reports_say_every_listed_finding_and_nothing_else(studies):
    others = said_by(NORMAL) + said_by(DENIAL) + [("short", pattern(w)) for w in SHORT]
    for i, study in enumerate(studies):
        for name, text in write_reports(study.findings, np.random.default_rng(i), held_out=i % 2 == 0).items():
            left = [s for s in sentences(text) if not any(p.fullmatch(s) for _, p in others)]
            for finding in study.findings[name]:
                left.remove(next(s for s in left if tells(s, finding)))
            assert left == [], text


def tells(sentence, finding):
    """Whether a sentence is a wording of the finding, with its place and side."""
    parts = finding["signal"].split()
    state = "surrounding" if finding["kind"] == OEDEMA else parts[0] if finding["kind"] in SYSTEMS else parts[1]
    side = {"": "", BOTH: "bilateral|both"}.get(finding["side"], finding["side"])
    place = "|".join(CALLED.get(finding["place"], ("",)))
    said = any(p.fullmatch(sentence) for _, p in said_by({state: ABNORMAL[state]}))
    right_shape = finding["side"] == "" or finding["kind"] == OEDEMA or parts[0] in sentence.lower()
    return said and right_shape and re.search(side, sentence.lower()) and re.search(place, sentence.lower())


def test_the_impression_names_each_kind_with_its_place(studies):
    for i, study in enumerate(studies):
        for name, text in write_reports(study.findings, np.random.default_rng(i), held_out=True).items():
            read = sentences(text, "IMPRESSION")
            named = [f for f in study.findings[name] if f["kind"] != OEDEMA]
            for sentence, finding in zip(read, named, strict=False):
                assert any(p.fullmatch(sentence) for _, p in said_by({0: IMPRESSION[finding["kind"]]})), text
                assert re.search("|".join(CALLED.get(finding["place"], ("",))), sentence.lower())
            assert len(read) == max(1, len(named))


def test_reports_deny_nothing_that_is_there(studies):
    for i, study in enumerate(studies):
        kinds = {f["kind"] for f in labels_of(study).values()}
        for name, text in write_reports(study.findings, np.random.default_rng(i), held_out=True).items():
            sick = {f["place"] for f in study.findings[name]}
            for sentence in sentences(text):
                assert not [k for k, p in said_by(DENIAL) if p.fullmatch(sentence) and k in kinds]
                assert not [k for k, p in said_by(NORMAL) if p.fullmatch(sentence) and sick & set(NORMAL_PLACES[k])]


def test_restricted_diffusion_is_denied_on_dwi_only(studies):
    for i, study in enumerate(studies):
        for name, text in write_reports(study.findings, np.random.default_rng(i)).items():
            assert name == "DWI" or "diffusion" not in text.lower()


def test_held_out_wordings_are_in_test_reports_only(studies):
    tables = [*ABNORMAL.values(), *IMPRESSION.values(), *NORMAL.values(), *DENIAL.values()]
    patterns = [pattern(w) for table in tables for w in table[-N_HELD_OUT:]]
    hits = dict.fromkeys((False, True), 0)
    for i, study in enumerate(studies):
        for held in hits:
            for text in write_reports(study.findings, np.random.default_rng(i), held_out=held).values():
                said = sentences(text) + sentences(text, "IMPRESSION")
                hits[held] += sum(bool(p.fullmatch(s)) for p in patterns for s in said)
    assert hits[False] == 0 < hits[True]


def test_each_state_has_eight_common_wordings_and_two_held_out():
    tables = [*ABNORMAL.values(), *IMPRESSION.values(), *DENIAL.values(), *NORMAL.values()]
    assert {len(set(table)) for table in tables} == {len(table) for table in tables} == {8 + N_HELD_OUT}
    assert set(IMPRESSION) == set(KINDS)
    assert set(CALLED) == set(PLACES)


def test_healthy_reports_are_often_identical_but_not_all():
    bodies = [sentences(write_reports({n: [] for n in SEQUENCES}, np.random.default_rng(i))["T2"]) for i in range(60)]
    assert 4 < len({" ".join(b) for b in bodies}) < 40


def test_some_reports_are_in_doubt(studies):
    texts = [t for i, s in enumerate(studies) for t in write_reports(s.findings, np.random.default_rng(i)).values()]
    share = np.mean([bool(re.search("possible|likely|suspected|probabl|suspicious|suggest", t.lower())) for t in texts])
    assert 0.1 < share < 0.9


def test_structured_findings_come_back_from_selips_grammar(studies):
    grammar = GRAMMARS["en"]
    for study in studies:
        for found in study.findings.values():
            pairs = structured(found)
            text = grammar.join.join(f"{grammar.place}{place}{grammar.signal}{signal}" for place, signal in pairs)
            assert parse(text, grammar) == pairs


def test_importing_loads_neither_torch_nor_nilearn():
    code = (
        "import sys, medclip_nb.data.phantoms.head; sys.exit(any(m in sys.modules for m in ('torch', 'nilearn', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
