"""From manifest rows to units: images, unique texts, and the table that joins them."""

import numpy as np
import pandas as pd
import pytest
from toy import lps_volume, toy_units, write_nifti

from medclip_nb.config import PRESETS
from medclip_nb.data import studies
from medclip_nb.data.catalog import load
from medclip_nb.data.manifest import ManifestError, patients_across_splits
from medclip_nb.data.preprocessing import preprocess
from medclip_nb.data.readers import read_image, read_mask
from medclip_nb.data.studies import draw_epoch, load_units, thumbnails

SMOKE = PRESETS["smoke"]


def test_each_picture_is_a_unit_with_its_own_text(picture_folder):
    data = load(picture_folder, SMOKE)
    units = load_units(data)
    assert units.texts == sorted(set(data.manifest["report"]))
    assert [units.texts[i] for i in units.table["text_id"]] == data.manifest["report"].tolist()
    assert units.table["image"].tolist() == list(range(12))
    for picture, name in zip(units.images, data.manifest["image"], strict=True):
        assert np.array_equal(picture, preprocess(read_image(picture_folder / name), data.contract))


def test_an_unreadable_picture_is_named_not_replaced(picture_folder):
    (picture_folder / "7.png").write_bytes(b"no picture")
    with pytest.raises(ManifestError, match=r"texts.csv: row 9, column 'image': .*7.png: cannot be read as a picture") as caught:
        load_units(load(picture_folder, SMOKE))
    assert "\n" not in str(caught.value)


def test_blank_lines_in_the_table_count_as_rows_when_an_image_is_named(picture_folder):
    lines = (picture_folder / "texts.csv").read_text().splitlines()
    (picture_folder / "texts.csv").write_text("\n".join([*lines[:3], "", *lines[3:]]))
    (picture_folder / "7.png").write_bytes(b"no picture")
    with pytest.raises(ManifestError, match="row 10, column 'image'"):
        load_units(load(picture_folder, SMOKE))


def test_volumes_of_the_users_own_are_refused(tmp_path):
    write_nifti(tmp_path / "v.nii.gz", lps_volume())
    table = {"study_id": ["s"], "patient_id": ["p"], "image": ["v.nii.gz"], "report": ["x"], "modality": ["CT"]}
    pd.DataFrame(table).to_csv(tmp_path / "manifest.csv", index=False)
    with pytest.raises(ManifestError, match="row 2, column .image.: volumes of your own"):
        load_units(load(tmp_path, SMOKE))


def test_rows_of_the_splits_share_out_the_table():
    units = toy_units(splits=("train", "val", "test"))
    rows = [units.rows(s) for s in ("train", "val", "test")]
    assert np.array_equal(np.sort(np.concatenate(rows)), np.arange(len(units.table)))


def test_one_per_image_keeps_the_first_unit_of_each():
    units = toy_units(6, splits=("train",))
    units.table["image"] = [3, 0, 0, 3, 5, 1]
    assert units.one_per_image(np.array([1, 2, 3, 4, 5])).tolist() == [1, 5, 3, 4]


def findings(n_normal: int, n_shown: int):
    units = toy_units(n_normal + n_shown, splits=("train",))
    units.table["finding"] = [""] * n_normal + ["mass"] * n_shown
    return units, units.rows("train")


def test_an_epoch_has_every_finding_and_half_as_many_normals():
    units, rows = findings(50, 20)
    drawn = draw_epoch(units, rows, np.random.default_rng(0))
    assert len(set(drawn)) == len(drawn) == 30
    assert set(rows[50:]) <= set(drawn)


def test_an_epoch_with_few_normals_takes_all_of_them():
    units, rows = findings(3, 20)
    assert set(draw_epoch(units, rows, np.random.default_rng(0))) == set(rows)


def test_without_findings_an_epoch_is_every_unit_shuffled():
    units, rows = findings(30, 0)
    drawn = draw_epoch(units, rows, np.random.default_rng(0))
    assert sorted(drawn) == rows.tolist() != drawn.tolist()


def with_organs(organs: list[list[str]], sites: list[list[str]]):
    """One unit per entry; those with a site show a finding there."""
    units = toy_units(len(organs), splits=("train",))
    units.table["finding"] = ["mass" if site else "" for site in sites]
    units.table["organs"], units.table["site"] = pd.Series(organs), pd.Series(sites)
    return units, units.rows("train")


@pytest.mark.parametrize("normals", ["any", "same_organ"])
def test_epochs_depend_on_the_generator_only(normals):
    units, rows = with_organs([["liver"]] * 70, [[]] * 50 + [["liver"]] * 20)
    a, b, c = (draw_epoch(units, rows, np.random.default_rng(s), normals=normals) for s in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_normals_of_the_same_organ_are_as_many_and_show_an_organ_of_a_finding():
    organs = [["liver"], ["spleen"], ["lung"]] * 20 + [["liver"]] * 12
    units, rows = with_organs(organs, [[]] * 60 + [["liver", "gallbladder"]] * 12)
    drawn = draw_epoch(units, rows, np.random.default_rng(0), normals="same_organ")
    assert set(rows[60:]) <= set(drawn)
    assert len(drawn) == 18
    assert {organ for i in drawn for organ in units.table["organs"][i]} == {"liver"}


def test_an_organ_that_no_normal_slice_shows_gets_no_normal():
    units, rows = with_organs([["liver"]] * 4 + [["spleen"]] * 6, [[]] * 4 + [["spleen"]] * 6)
    assert set(draw_epoch(units, rows, np.random.default_rng(0), normals="same_organ")) == set(rows[4:])


@pytest.mark.parametrize(("n_normal", "n_shown"), [(0, 6), (6, 1)])
def test_an_epoch_that_needs_no_normals_of_the_same_organ_has_none(n_normal, n_shown):
    units, rows = with_organs([["liver"]] * (n_normal + n_shown), [[]] * n_normal + [["liver"]] * n_shown)
    assert set(draw_epoch(units, rows, np.random.default_rng(0), normals="same_organ")) == set(rows[n_normal:])


def test_units_that_do_not_say_what_they_show_have_no_normals_of_the_same_organ():
    with pytest.raises(ValueError, match="do not say which organs they show: draw normals anywhere"):
        draw_epoch(*findings(6, 6), np.random.default_rng(0), normals="same_organ")


@pytest.mark.parametrize("seed", range(3))
def test_drawn_normals_of_the_torso_cohort_show_an_organ_of_a_drawn_finding(torso_units, seed):
    rows, table = torso_units.rows("train"), torso_units.table
    drawn = table.iloc[draw_epoch(torso_units, rows, np.random.default_rng(seed), normals="same_organ")]
    shown = drawn[drawn["finding"] != ""]
    sites = {frozenset(site) for site in shown["site"]}
    assert len(shown) == (table["finding"].iloc[rows] != "").sum()
    assert len(drawn) - len(shown) == len(shown) // 2
    for organs in drawn["organs"][drawn["finding"] == ""]:
        assert any(site & set(organs) for site in sites)


def test_the_site_of_a_finding_is_among_the_organs_of_its_study_and_a_normal_slice_has_none(torso_units):
    table = torso_units.table
    seen = table.groupby("study_id")["organs"].agg(lambda lists: set().union(*lists))
    assert ((table["site"].map(len) > 0) == (table["finding"] != "")).all()
    for study, site in zip(table["study_id"], table["site"], strict=True):
        assert not len(site) or seen[study] & set(site)


def test_thumbnails_are_the_middle_slices_of_the_rows_asked_for(picture_folder):
    data = load(picture_folder, SMOKE)
    assert thumbnails(data, [3, 0], side_px=16).shape == (2, 1, 1, 16, 16)
    assert np.array_equal(thumbnails(data, [3, 0])[1], thumbnails(data, [0])[0])


def test_slices_of_the_torso_cohort_stay_with_their_study(torso, torso_units):
    n_slices = torso.contract.size[0]
    table = torso_units.table
    assert torso_units.images.shape[1:] == (3, 1, *torso.contract.size[1:])
    assert (table["image"] == table["image"] // n_slices * n_slices + table["slice"]).all()
    assert (torso.manifest["study_id"].to_numpy()[table["image"] // n_slices] == table["study_id"]).all()
    assert patients_across_splits(table) == []


def test_a_slice_of_the_torso_cohort_is_that_slice_of_its_volume(torso, torso_units):
    n_slices = torso.contract.size[0]
    volume = preprocess(read_image(torso.root / torso.manifest["image"].iloc[2], units="HU"), torso.contract)
    assert np.array_equal(torso_units.images[2 * n_slices + 7, :, 0], volume[:, 7])


def test_a_finding_is_captioned_exactly_where_its_lesion_is(torso, torso_units):
    study = torso.manifest[torso.manifest["study_id"].isin(torso_units.table.query("finding != ''")["study_id"])].iloc[0]
    lesions = read_mask(torso.root / study["lesions"])
    rows = torso_units.table.query("study_id == @study.study_id and finding != ''")
    assert set(rows["slice"]) <= set(np.flatnonzero(lesions.any((1, 2))))


def test_captions_are_read_once_but_never_for_another_number_of_slices(torso, monkeypatch):
    n_slices = torso.contract.size[0]
    first = studies.slice_captions_table(torso, n_slices)
    monkeypatch.setattr(studies, "_read_captions", lambda dataset, n: pd.DataFrame({"n": [n]}))
    pd.testing.assert_frame_equal(studies.slice_captions_table(torso, n_slices), first)
    assert studies.slice_captions_table(torso, n_slices + 1)["n"].tolist() == [n_slices + 1]
