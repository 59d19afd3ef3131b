"""The rules against labels of real reports: written with the first half of each collection in view, measured on the second."""

import tarfile
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from medclip_nb.text.reports import findings
from medclip_nb.text.scores import label_f1
from medclip_nb.text.vocabulary import CT_RATE

N_SEEN = 500  # rows of ct_rate_reports that the rules were written with


@pytest.fixture(scope="module")
def ct_labels(real_data) -> pd.DataFrame:
    table = pd.read_csv(real_data / "ct_rate_reports" / "reports.csv")
    unseen = table[N_SEEN:]
    unseen = unseen[~unseen.text.isin(table.text[:N_SEEN])]
    return label_f1(list(unseen.text), unseen)


def test_labels_of_unseen_ct_reports_are_found(ct_labels):
    assert set(ct_labels.index) == set(CT_RATE)
    assert (ct_labels.f1 >= 0.75).sum() >= 15
    assert ct_labels.f1.mean() >= 0.75


def test_each_label_of_the_ct_reports_occurs_often_enough_to_be_scored(ct_labels):
    assert ct_labels.n.min() >= 30


@pytest.fixture(scope="module")
def chest_films(real_data) -> pd.DataFrame:
    """Report and coded state of every other report of the second half of Open-I, read out of the archive."""
    rows = []
    with tarfile.open(real_data / "openi_reports" / "NLMCXR_reports.tgz") as archive:
        for member in (m for m in archive if m.name.endswith(".xml")):
            tree = ElementTree.fromstring(archive.extractfile(member).read())
            parts = {part.get("Label"): part.text or "" for part in tree.iter("AbstractText")}
            codes = [code.text for code in tree.iter("major")]
            if (parts.get("FINDINGS") or parts.get("IMPRESSION")) and codes != ["No Indexing"]:
                text = "\n\n".join(f"{name}: {said}" for name, said in parts.items() if said)
                rows.append({"name": member.name, "report": text, "abnormal": codes != ["normal"]})
    table = pd.DataFrame(rows)
    return table[len(table) // 2 :: 2].assign(found=lambda t: [any(f.present for f in findings(r)) for r in t.report])


def test_normal_and_abnormal_chest_films_are_told_apart_as_coded(chest_films):
    assert len(chest_films) > 900
    agree = np.mean(chest_films.found == chest_films.abnormal)
    by_chance = max(chest_films.abnormal.mean(), 1 - chest_films.abnormal.mean())
    assert agree >= 0.9 > by_chance
