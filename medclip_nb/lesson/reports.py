"""What lesson 03 looks up: reports with something to see, sentences that mislead, truth and labels to measure against."""

import json

import numpy as np
import pandas as pd

from ..data import catalog
from ..data.phantoms.vocabulary import kind_of
from ..measure.statistics import Score, mean_score
from ..text.dictionary import Dictionary
from ..text.reports import Finding, findings
from ..text.scores import triples
from ..text.sections import told

# sentence, and what it says of an effusion: side and state
TRAPS = (
    ("There is a left pleural effusion.", "left present"),
    ("There is no left pleural effusion.", "left denied"),
    ("There is a right pleural effusion.", "right present"),
    ("No pneumothorax or pleural effusion on the left.", "left denied"),
    ("The heart is enlarged without pleural effusion.", "denied"),
    ("A small left pleural effusion cannot be excluded.", "left doubted"),
    ("No pneumothorax, but a left pleural effusion.", "left present"),
    ("No significant change of the left pleural effusion.", "left present"),
    ("Bilateral pleural effusions, larger on the right.", "both present"),
)
HEALTHY = ("The lungs are clear. The liver is normal.", "Clear lungs. No focal liver lesion.")
SICK = {
    "one finding": "There is a left pleural effusion. The liver is normal.",
    "the same, other words": "Fluid in the left pleural space. No focal liver lesion.",
    "other side": "There is a right pleural effusion. The liver is normal.",
    "two findings": "There is a left pleural effusion. A cyst lies in the liver.",
}
LABEL_FOLDER, REPORT_FOLDER = "multi_abnormality_labels", "radiology_text_reports"  # of CT-RATE


def report_with_most(table: pd.DataFrame) -> str:
    """The report with most states of findings (present, denied, doubted), then most findings.

    Raises ValueError if the rules read no finding in any of them.
    """
    found = [findings(report) for report in table["report"]]
    if not any(found):
        raise ValueError(f"no finding is read in any of {len(found)} reports: lesson 03 needs English radiology reports")
    rank = [(len({(f.present, f.uncertain) for f in fs}), len(fs)) for fs in found]
    return table["report"].iloc[max(range(len(rank)), key=rank.__getitem__)]


def traps() -> pd.DataFrame:
    """Sentences about an effusion with what is right and what the rules read: columns sentence, right, read."""
    read = [next((_state(f) for f in findings(s) if f.finding == "pleural effusion"), "nothing") for s, _ in TRAPS]
    return pd.DataFrame(TRAPS, columns=["sentence", "right"]).assign(read=read)


def present(table: pd.DataFrame) -> pd.DataFrame:
    """Each finding that the rules read as present in a sentence: columns finding, sentence, name (as written there)."""
    sentences = [s for report in table["report"] for s in told(report)]
    rows = [(f.finding, s, s[f.start : f.end]) for s in sentences for f in findings(s) if f.present and not f.uncertain]
    return pd.DataFrame(rows, columns=["finding", "sentence", "name"])


def truth_of(table: pd.DataFrame) -> list[set[tuple[str, str, str]]]:
    """(organ, finding, side) of each report where they are known for all, else nothing."""
    if not (table["findings"] != "").all():
        return []
    return [{(kind_of(f["organ"]), f["finding"], f["side"]) for f in json.loads(text)} for text in table["findings"]]


def read_scores(table: pd.DataFrame, truth: list[set], *, n_bootstrap: int) -> list[Score]:
    """Share of reports read without any error, for wordings that training has and for test reports with their held-out ones.

    Chance is a reader that finds nothing. Without truth it is the share of reports in which a finding is read at all.
    """
    judged = {triple[:2] for known in truth for triple in known}  # a report may name what nobody listed
    said = [{t for f in findings(report) if f.present for t in triples(f)} for report in table["report"]]
    read = [{t for t in found if not truth or t[:2] in judged} for found in said]
    patients = table["patient_id"].to_numpy(str)
    if not truth:
        return [_share("reports with a finding read", [bool(r) for r in read], patients, None, n_bootstrap)]
    right = np.array([r == t for r, t in zip(read, truth, strict=True)])
    healthy, test = np.array([not t for t in truth]), (table["split"] == "test").to_numpy()
    groups = {"training and validation": ~test, "test (held-out wordings)": test}
    return [
        _share(f"reports read without error, {name}", right[rows], patients[rows], float(healthy[rows].mean()), n_bootstrap)
        for name, rows in groups.items()
    ]


def real_reports(name: str) -> pd.DataFrame:
    """Texts and label columns of real reports if a copy is on this machine, else an empty table.

    A sample (`reports.csv` with a column `text`) gives its second half, since the rules were written by its first; CT-RATE
    in its own layout gives all reports.
    """
    root = catalog.local_copy(name)
    if (root / "reports.csv").is_file():
        sample = pd.read_csv(root / "reports.csv").fillna({"text": ""})
        return sample.iloc[len(sample) // 2 :]
    texts, labels = (sorted((root / folder).glob("*.csv")) for folder in (REPORT_FOLDER, LABEL_FOLDER))
    if not texts or not labels:
        return pd.DataFrame()
    said, marked = (pd.concat(map(pd.read_csv, files)) for files in (texts, labels))
    said["text"] = said["Findings_EN"].fillna("") + " " + said["Impressions_EN"].fillna("")
    return said[["VolumeName", "text"]].merge(marked, on="VolumeName")


def busiest(phrases: Dictionary) -> tuple[str, frozenset[str]]:
    """The organ with most different findings in the dictionary, and the findings of its most frequent phrase."""
    organ = max(phrases, key=lambda o: len({f for p in phrases[o].values() for f in p.findings}))
    return organ, next(iter(phrases[organ].values())).findings


def six_reports() -> tuple[list[str], list[str]]:
    """Names and texts of six short reports that show where rulers differ."""
    return ["healthy", "healthy, too", *SICK], [*HEALTHY, *SICK.values()]


def _state(finding: Finding) -> str:
    state = "doubted" if finding.uncertain else "present" if finding.present else "denied"
    return f"{finding.side} {state}".strip()


def _share(name: str, hits, patients: np.ndarray, chance: float | None, n_bootstrap: int) -> Score:
    return mean_score(name, np.asarray(hits, float), patients, chance=chance, n_bootstrap=n_bootstrap)
