"""What lesson 03 looks up."""

import json

import pandas as pd
import pytest

from medclip_nb.lesson import reports as look
from medclip_nb.text.dictionary import Phrase

LEFT = [{"organ": "lung_left", "finding": "pleural effusion", "side": "left"}]


@pytest.fixture
def table() -> pd.DataFrame:
    reports = ["There is a left pleural effusion.", "No pleural effusion.", *["There is a right pleural effusion."] * 2]
    truth, splits = [json.dumps(LEFT), "[]", *[json.dumps(LEFT)] * 2], ["train", "train", "test", "test"]
    return pd.DataFrame({"report": reports, "findings": truth, "patient_id": list("abcd"), "split": splits})


def test_a_report_on_the_wrong_side_is_an_error(table):
    train, test = look.read_scores(table, look.truth_of(table), n_bootstrap=10)
    assert (train.value, test.value) == (1, 0)
    assert (train.chance, test.chance) == (0.5, 0)


def test_without_truth_the_share_of_reports_with_a_finding_is_told(table):
    unknown = table.assign(findings=["[]", "", "[]", "[]"])
    assert look.truth_of(unknown) == []
    (score,) = look.read_scores(unknown, [], n_bootstrap=10)
    assert score.value == pytest.approx(3 / 4)
    assert score.chance is None


def test_the_report_with_most_states_is_shown(table):
    varied = "There is a left pleural effusion. No nodule. Pneumonia cannot be excluded."
    assert look.report_with_most(pd.DataFrame({"report": [*table["report"], varied]})) == varied


def test_reports_without_any_finding_are_refused_by_name():
    with pytest.raises(ValueError, match="no finding is read in any of 2 reports"):
        look.report_with_most(pd.DataFrame({"report": ["finding 1", "Hallo Welt."]}))


def test_every_trap_is_read_right():
    traps = look.traps()
    assert traps["read"].tolist() == traps["right"].tolist()
    assert len(set(traps["right"])) >= 5


def test_labels_are_joined_to_texts_in_the_publishers_layout(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path))
    assert look.real_reports("ct_rate").empty
    root = tmp_path / "artifacts" / "datasets" / "ct_rate"
    for folder, columns in (
        (look.REPORT_FOLDER, "VolumeName,Findings_EN,Impressions_EN"),
        (look.LABEL_FOLDER, "VolumeName,Emphysema"),
    ):
        (root / folder).mkdir(parents=True)
        rows = ["b,Emphysema.,x", "a,Clear.,"] if "Impressions" in columns else ["a,0", "b,1"]
        (root / folder / "train.csv").write_text("\n".join([columns, *rows]))
    assert look.real_reports("ct_rate").set_index("text")["Emphysema"].to_dict() == {"Emphysema. x": 1, "Clear. ": 0}


def test_a_sample_gives_the_half_that_the_rules_were_not_written_by(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path))
    root = tmp_path / "artifacts" / "datasets" / "ct_rate"
    root.mkdir(parents=True)
    (root / "reports.csv").write_text("text,Emphysema\n" + "".join(f"r{i},0\n" for i in range(10)))
    assert look.real_reports("ct_rate")["text"].tolist() == [f"r{i}" for i in range(5, 10)]


def test_the_busiest_organ_has_most_findings():
    one, two = {"x": Phrase(9, frozenset("a"))}, {"y": Phrase(2, frozenset("a")), "z": Phrase(1, frozenset("b"))}
    assert look.busiest({"liver": one, "lung": two}) == ("lung", frozenset("a"))


def test_findings_that_are_there_come_with_their_sentence_and_the_word_in_it():
    report = "FINDINGS: No effusion. A noncalcified nodule in the left lung. A liver cyst cannot be excluded. Two renal stones."
    said = look.present(pd.DataFrame({"report": [report, ""]}))
    assert said["name"].tolist() == ["nodule", "stones"]
    assert said["sentence"].str.startswith(("A noncalcified", "Two")).all()


def test_without_findings_there_is_nothing_to_count_and_no_error():
    said = look.present(pd.DataFrame({"report": ["The lungs are clear."]}))
    assert said.columns.tolist() == ["finding", "sentence", "name"]
    assert said.empty
