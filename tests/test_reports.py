"""Findings and organ texts: the embedded cohort's reports against their truth, traps, and texts that are none."""

import json

import numpy as np
import pandas as pd
import pytest

from medclip_nb.data.phantoms.reports import abnormal_sentence, write_report
from medclip_nb.data.phantoms.vocabulary import KINDS, SIDED, kind_of
from medclip_nb.data.phantoms.wordings import DENIAL, NORMAL
from medclip_nb.text.reports import findings, normal_organs, organ_texts, stating
from medclip_nb.text.scores import truth_scores

F1, NEGATION_ERROR = 0.97, 0.01


def triples(truth: list[dict]) -> set[tuple[str, str, str]]:
    return {(kind_of(f["organ"]), f["finding"], f["side"]) for f in truth}


def drawn(pair: tuple[str, str], rng: np.random.Generator) -> dict:
    """A finding as the phantoms list it."""
    side = rng.choice(["left", "right"]) if pair[0] in SIDED else ""
    size, severity = rng.uniform(10, 60), rng.choice(["mild", "moderate", "severe"])
    organ = f"{pair[0]}_{side}".rstrip("_")
    return {
        "organ": organ,
        "finding": pair[1],
        "side": str(side),
        "place": "",
        "size_mm": size,
        "count": 1,
        "severity": str(severity),
    }


@pytest.fixture(scope="module")
def written() -> tuple[list[str], list[list[dict]]]:
    """Three hundred reports, half of them with held-out wordings, and their truth."""
    rng = np.random.default_rng(0)
    pairs = list(KINDS)
    truths = [[drawn(pairs[i], rng) for i in rng.choice(len(pairs), rng.integers(0, 7), replace=False)] for _ in range(300)]
    return [write_report(t, rng, held_out=n % 2 == 0) for n, t in enumerate(truths)], truths


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_findings_of_the_embedded_cohort_are_recovered(torso, split):
    table = pd.read_csv(torso.manifest) if not isinstance(torso.manifest, pd.DataFrame) else torso.manifest
    table = table[table.split == split]
    scores = truth_scores(list(table.report), [triples(json.loads(f)) for f in table.findings])
    assert scores["f1"] >= F1
    assert scores["negation_error"] <= NEGATION_ERROR
    assert scores["n_mentions"] > len(table)


def test_findings_of_many_written_reports_are_recovered(written):
    reports, truths = written
    scores = truth_scores(reports, [triples(t) for t in truths])
    assert scores["f1"] >= F1
    assert scores["negation_error"] <= NEGATION_ERROR


@pytest.mark.parametrize("word", ["No ", " is not identified", " not "])
def test_reports_without_their_denials_are_misread(written, word):
    reports, truths = written
    scores = truth_scores([r.replace(word, " ") for r in reports], [triples(t) for t in truths])
    assert scores["negation_error"] > 0


@pytest.mark.parametrize("pair", KINDS)
def test_every_wording_of_a_finding_is_read_with_side_and_size(pair):
    rng = np.random.default_rng(1)
    for held_out in (False, True) * 40:
        truth = drawn(pair, rng)
        text = abnormal_sentence(truth, rng, held_out=held_out)
        read = [f for f in findings(text) if (f.organ, f.finding) == pair]
        assert {(f.side, f.present) for f in read} == {(truth["side"], True)}, text
        assert [f.size_mm for f in read if f.size_mm] in ([], [pytest.approx(truth["size_mm"], abs=0.51)]), text


@pytest.mark.parametrize("pair", DENIAL)
def test_no_wording_of_a_denial_is_read_as_present(pair):
    assert [text for text in DENIAL[pair] if any(f.present for f in findings(text))] == []


@pytest.mark.parametrize("organ", sorted(set(NORMAL) - {"stomach"}))
def test_every_wording_of_a_normal_organ_is_read_as_normal(organ):
    assert [text for text in NORMAL[organ] if organ not in normal_organs(text.capitalize())] == []


def test_organ_texts_are_the_findings_of_sick_organs_and_a_template_for_normal_ones(written):
    for report, truth in zip(*written, strict=True):
        texts, sick = organ_texts(report), {kind_of(f["organ"]) for f in truth}
        assert {organ for organ, text in texts.items() if "no significant abnormality" not in text} == sick
        assert normal_organs(report) == set(texts) - sick


def test_what_is_not_mentioned_has_no_text():
    assert organ_texts("FINDINGS: Left renal cyst, 2 cm. The liver and spleen are normal.\nINDICATION: Lung nodule.") == {
        "kidney": "Left renal cyst, 2 cm.",
        "liver": "Liver shows no significant abnormality.",
        "spleen": "Spleen shows no significant abnormality.",
    }


@pytest.mark.parametrize(
    ("text", "organs"),
    [
        ("The liver, spleen and pancreas are normal.", {"liver", "spleen", "pancreas"}),
        ("The kidneys are normal; the spleen is not normal.", {"kidney"}),
        ("The left lung shows emphysema, the heart is normal.", {"heart"}),
        ("The left lung is normal. Emphysema of the right lung.", set()),
        ("The aorta is wider than normal.", set()),
        ("LUNGS: Clear. HEART: Unremarkable.", {"lung", "heart"}),
        ("", set()),
    ],
)
def test_organs_said_to_be_normal(text, organs):
    assert normal_organs(text) == organs


def test_a_finding_says_everything_and_points_at_its_words():
    report = "HISTORY: Mass.\n\nFINDINGS: Clear heart. Possible <b>nodule</b> of 1.2 x 0.9 cm in the right upper lobe."
    (found,) = findings(report)
    assert (found.organ, found.finding, found.side, found.size_mm) == ("lung", "nodule", "right", pytest.approx(12))
    assert (found.present, found.uncertain, found.sentence) == (True, True, 1)
    assert report[found.start : found.end] == "nodule"


def test_only_findings_and_impression_are_searched_unless_asked():
    report = "INDICATION: Pneumothorax. COMPARISON: Nodule seen.\nFINDINGS: Effusion.\nIMPRESSION: Emphysema."
    assert [f.finding for f in findings(report)] == ["pleural effusion", "emphysema"]
    assert [f.finding for f in findings(report, names=("indication",))] == ["pneumothorax"]


def test_pleura_counts_with_the_lung_and_pericardium_with_the_heart():
    assert [f.organ for f in findings("Pleural effusion. Pericardial effusion.")] == ["lung", "heart"]


@pytest.mark.parametrize(
    "text",
    [
        "", " \n\t", "\x00\x01\x1b[31m", "\ud800", "\U0001fac1" * 500, "İ" * 1000, "<p><br></p>" * 2000,
        "<a title='lung nodule'></a>",
        "<script>let nodule = 'effusion';</script>", "<style>.nodule{}</style>", "<!-- nodule -->", "&nbsp;" * 8000,
        "a" * 50_000, "lorem ipsum " * 4200, "(" * 50_000, "<" * 50_000, "1. " * 16_000, "1 x " * 12_500, "no " * 16_000,
        "- " * 25_000, "\n" * 50_000, "FINDINGS: " * 5000, "left and right " * 3300, "is seen, and " * 3800,
        "peribronchial " * 3500,
        "Kein Pleuraerguss, keine Infiltrate. Die Lunge ist frei von Nodules.", "Pas de nodule ni de consolidation du poumon.",
        "Sin derrame. Atelectasia en el lóbulo inferior con fibrosis.", "Sem derrame; cardiomegalia com edema de uma parede.",
        "Geen infiltraten, het hart is normaal.", "Ingen pneumothorax och normal storlek.",
        "肺部未见结节。心脏正常。", "Лёгкие чистые.",
    ],
    ids=lambda t: f"{t[:15]!r}*{len(t)}",
)  # fmt: skip
def test_a_text_that_is_no_english_report_passes_and_no_finding_is_invented(text):
    assert [f for f in findings(text) if f.present] == []
    assert [text for text in organ_texts(text).values() if "no significant" not in text] == []


def test_random_characters_pass_and_hold_no_finding():
    rng = np.random.default_rng(0)
    text = "".join(map(chr, rng.integers(0, 0x11000, 50_000)))
    assert findings(text) == []


def test_a_long_report_has_the_findings_of_its_parts():
    part = "Nodule of 5 mm in the left lung. No effusion. "
    found = findings(part * 1000)
    assert len(found) == 2000
    assert {(f.finding, f.present, f.side) for f in found} == {("nodule", True, "left"), ("pleural effusion", False, "")}
    assert [f.start for f in found[2:]] == [f.start + len(part) for f in found[:-2]]


def test_markup_and_odd_blanks_change_no_finding():
    plain = "Left pleural effusion. No nodule. Cyst of 12 x 9 mm in the liver."
    dressed = "<p>Left pleural\u00a0effusion.</p><ul><li>No\tnodule</li><li>Cyst of 12 × 9 mm in the\nliver.</li></ul>"
    first, second = ([(f.organ, f.finding, f.side, f.present, f.size_mm) for f in findings(t)] for t in (plain, dressed))
    assert first == second


@pytest.mark.parametrize(
    ("sentence", "states"),
    [
        ("Gallstone of 12 mm.", [("gallbladder", "gallstone")]),
        ("A 2 cm nodule and a 3 cm nodule in the left lung.", [("lung", "nodule")]),
        ("Possible nodule in the right lung.", [("lung", "nodule")]),  # doubted, not denied
        ("Left pleural effusion and a lung nodule.", []),
        ("No nodule, but a left pleural effusion.", []),
        ("No pleural effusion.", []),
        ("Cysts in the liver and in the left kidney.", []),
        ("The heart is normal.", []),
        ("", []),
    ],
)
def test_a_sentence_states_a_finding_if_it_names_it_and_nothing_else(sentence, states):
    assert stating([sentence]) == {pair: [sentence] for pair in states}


def test_stating_sentences_keep_their_words_and_their_order():
    said = ["Lung nodule, 8 mm.", "The heart is normal.", "Hepatic cyst.", "NODULE in the left lung.", "Lung nodule, 8 mm."]
    assert stating(iter(said)) == {("lung", "nodule"): [said[0], said[3], said[4]], ("liver", "cyst"): [said[2]]}


@pytest.mark.parametrize("pair", KINDS)
def test_no_wording_of_a_finding_states_another(pair):
    rng = np.random.default_rng(2)
    said = [abnormal_sentence(drawn(pair, rng), rng, held_out=held_out) for held_out in (False, True) * 20]
    assert set(stating(said)) == {pair}  # some name a second finding, too ("possible pneumonia"), and state neither
    assert len(stating(said)[pair]) >= len(said) / 4
