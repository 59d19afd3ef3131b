"""What lesson 10 asks of a space."""

import numpy as np
import pandas as pd
import pytest
from toy import unit_vectors

from medclip_nb.lesson import maps
from medclip_nb.measure import geometry

PATIENTS = np.repeat(list("pqrstu"), 4)


def table(**columns) -> pd.DataFrame:
    plain = {"body_part": "chest", "modality": "CT", "finding": "", "scanner": "", "text": "", "patient_id": PATIENTS}
    return pd.DataFrame(plain | columns)


def test_only_what_varies_between_patients_is_asked():
    region = np.tile(["chest", "pelvis"], 12)
    assert list(maps.questions(table(body_part=region))) == ["region", "patient"]
    alone = np.where(PATIENTS == "p", "A", "B")  # a scanner that one patient alone was in
    assert list(maps.questions(table(scanner=alone, body_part=region))) == ["region", "patient"]
    for nothing in (table(), table(scanner=alone), table(patient_id=[f"x{i}" for i in range(24)])):
        with pytest.raises(ValueError, match="no two labels that two patients share; give more patients, or a column"):
            maps.questions(nothing)


def test_of_pictures_with_texts_and_nothing_else_the_text_is_asked():
    text = np.tile(["a cyst.", "a stone."], 12)
    assert list(maps.questions(table(text=text))) == ["text", "patient"]
    assert list(maps.questions(table(text=text, body_part=np.tile(["chest", "pelvis"], 12)))) == ["region", "patient"]


def test_which_finding_is_asked_of_images_that_show_one_and_whether_of_all():
    finding = np.tile(["cyst", "stone", "", ""], 6)
    found = maps.questions(table(finding=finding))
    assert found["which finding"].tolist() == finding.tolist()
    assert found["finding or none"].tolist() == ["finding", "finding", "none", "none"] * 6
    near, labels, patients = maps.asked(unit_vectors(24, 5), found["which finding"], PATIENTS)
    assert set(labels) == {"cyst", "stone"}
    assert near.shape == (12, 10)
    assert not (patients[near] == patients[:, None]).any()


def test_asked_for_the_patient_the_own_patient_is_among_the_neighbours():
    vectors = np.eye(6)[np.repeat(range(6), 4)] + 0.1 * unit_vectors(24, 6)
    near, _, patients = maps.asked(vectors, PATIENTS, PATIENTS)
    assert (patients[near[:, :3]] == patients[:, None]).all()
    (score,) = maps.told(vectors, {"patient": PATIENTS}, PATIENTS, n_bootstrap=20)
    assert (score.name, score.chance) == ("patient", pytest.approx(1 / 6))


def test_a_map_that_is_the_space_is_wholly_faithful():
    points = np.random.default_rng(0).normal(size=(24, 2))
    trust, kept = maps.faithful(points, points, PATIENTS, n_bootstrap=20)
    assert (trust.value, kept.value) == (1, 1)
    assert trust.chance == geometry.chance_trustworthiness(24)
    assert kept.chance == pytest.approx(15 / 23)


def test_the_figures_of_a_space_are_those_of_the_geometry_beside_random_directions():
    images, texts = unit_vectors(24, 6), unit_vectors(24, 6, seed=1)
    found = {s.name: s for s in maps.space_figures(images, texts, PATIENTS, n_bootstrap=20)}
    assert found["alignment"].value == pytest.approx(geometry.alignment(images, texts).mean())
    assert found["uniformity"].value == geometry.uniformity(images)
    assert found["effective rank"].value == geometry.effective_rank(images)
    assert found["hubness"].value == geometry.hubness(geometry.neighbours(images))
    assert found["nobody's neighbour"].value == geometry.never_neighbours(geometry.neighbours(images))
    assert found["modality gap"].value == geometry.modality_gap(images, texts)
    assert all(s.low <= s.value <= s.high and s.chance is not None for s in found.values())


def test_scores_stand_beside_each_other_with_their_intervals():
    points = np.random.default_rng(0).normal(size=(24, 2))
    scores = maps.faithful(points, points[::-1], PATIENTS, n_bootstrap=20)
    shown = maps.beside({"one": scores, "two": scores})
    assert shown.columns.tolist() == ["one", "two", "chance"]
    s = scores[1]
    assert shown.loc["neighbours kept", "two"] == f"{s.value:.2f} ({s.low:.2f} to {s.high:.2f})"


def test_islands_drawn_by_lot_keep_patients_together_and_are_drawn_again_with_another_seed():
    vectors = maps.drawn_by_lot(PATIENTS, 64, seed=0)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    same = PATIENTS[:, None] == PATIENTS
    cosine = vectors @ vectors.T
    assert cosine[same & ~np.eye(24, dtype=bool)].mean() > cosine[~same].mean() + 0.2
    assert not np.allclose(vectors, maps.drawn_by_lot(PATIENTS, 64, seed=1))
