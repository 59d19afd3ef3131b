"""Scores of the rules, read by eye."""

import numpy as np
import pandas as pd
import pytest

from medclip_nb.text.scores import label_f1, labels_of, truth_scores
from medclip_nb.text.vocabulary import CHEXPERT


def test_labels_of_a_report():
    assert labels_of("Pleural effusion. No consolidation. Possible lung nodule.") == {"Pleural effusion", "Lung nodule"}
    assert labels_of("Possible lung nodule.", uncertain=False) == set()


def test_no_finding_is_what_no_other_label_is():
    assert labels_of("The lungs are clear.", CHEXPERT) == {"No Finding"}
    assert "No Finding" not in labels_of("Fracture.", CHEXPERT)


def test_f1_per_label_is_counted_by_hand():
    texts = ["Emphysema.", "Emphysema.", "No emphysema.", "No emphysema."]
    found = label_f1(texts, pd.DataFrame({"Emphysema": [1, 0, 1, 1], "Cardiomegaly": [0, 0, 0, 0], "other": [1, 1, 1, 1]}))
    assert list(found.index) == ["Cardiomegaly", "Emphysema"]
    assert found.loc["Emphysema"].tolist() == pytest.approx([3, 1 / 2, 1 / 3, 2 / 5])
    assert np.isnan(found.loc["Cardiomegaly", "f1"])


def test_texts_and_labels_must_have_the_same_number_of_rows():
    with pytest.raises(ValueError, match="2 texts but 1 rows"):
        label_f1(["a", "b"], pd.DataFrame({"Emphysema": [1]}))


def test_truth_scores_are_counted_by_hand():
    reports = ["Left pleural effusion.", "Bilateral pleural effusions.", "No pleural effusion."]
    truths = [
        {("lung", "pleural effusion", "left")},
        {("lung", "pleural effusion", "left")},
        {("lung", "pleural effusion", "right")},
    ]
    found = truth_scores(reports, truths)
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert found["negation_error"] == pytest.approx(1 / 3)
    assert (found["n"], found["n_mentions"]) == (3, 3)


def test_what_no_truth_lists_is_not_judged():
    assert truth_scores(["Emphysema."], [set()])["n_mentions"] == 0
