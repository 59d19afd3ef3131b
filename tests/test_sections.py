"""Sections and sentences: the usual spellings, none at all, and stops that end nothing."""

import pytest

from medclip_nb.text.sections import MAX_SENTENCE, clean, section_spans, sections, sentences, told


def said(text: str) -> list[str]:
    return [text[a:b] for a, b in sentences(text)]


def test_the_usual_headings_are_found_whatever_their_spelling():
    report = (
        "CLINICAL HISTORY: Cough.\nComparison: None.\n\nTechnique\nCT with contrast.\n\nFindings:\nClear.\n\nCONCLUSION: Normal."
    )
    assert sections(report) == {
        "indication": "Cough.",
        "comparison": "None.",
        "technique": "CT with contrast.",
        "findings": "Clear.",
        "impression": "Normal.",
    }


def test_headings_in_one_running_line_are_found():
    report = "Indication: fever. Findings: no effusion. Impression: normal."
    assert sections(report) == {"indication": "fever.", "findings": "no effusion.", "impression": "normal."}


@pytest.mark.parametrize(
    "heading", ["FINDINGS AND IMPRESSION:", "FINDINGS (CT chest):", "**Findings**:", "  findings :", "Findings\n"]
)
def test_a_heading_may_be_dressed_up(heading):
    assert list(sections(f"HISTORY: Cough.\n\n{heading} Clear lungs.")) == ["indication", "findings"]


def test_a_report_without_headings_is_all_findings():
    assert sections("The lungs are clear.") == {"findings": "The lungs are clear."}


def test_a_word_that_is_also_a_heading_opens_no_section_within_a_sentence():
    assert list(sections("These findings: nodule and mass. No comparison was made.")) == ["findings"]


def test_text_before_the_first_heading_is_findings_only_if_there_is_no_such_section():
    assert sections("Clear lungs.\nIMPRESSION: Normal.") == {"findings": "Clear lungs.", "impression": "Normal."}
    assert list(sections("CT chest.\nFINDINGS: Clear.")) == ["preamble", "findings"]


def test_a_repeated_section_is_joined_and_an_empty_one_left_out():
    assert sections("FINDINGS: A.\nIMPRESSION:\nFINDINGS: B.") == {"findings": "A.\nB."}


def test_spans_point_into_the_report():
    report = "HISTORY: Cough.\nFINDINGS: Clear."
    assert [report[a:b].strip() for _, a, b in section_spans(report)] == ["Cough.", "Clear."]


@pytest.mark.parametrize(
    "sentence",
    [
        "A nodule of 1.2 cm in segment 4.5 is seen.",
        "Seen by Dr. Smith.",
        "A nodule of approx. 5 mm.",
        "Benign lesions, e.g. cysts.",
        "Atelectasis vs. consolidation.",
        "1. No effusion.",
        "Lesion (cyst?) in the liver.",
        "wrapped over\ntwo lines of text.",
    ],
)
def test_what_ends_no_sentence(sentence):
    assert said(f"{sentence} Next one.") == [sentence, "Next one."]


def test_an_enumeration_is_one_sentence_per_item():
    assert said("1. No effusion. 2. Nodule, 3.5 mm.\n3) Old fracture") == [
        "1. No effusion.",
        "2. Nodule, 3.5 mm.",
        "3) Old fracture",
    ]


def test_bullets_paragraphs_and_missing_blanks_end_a_sentence():
    assert said("Clear lungs\n\nNo effusion.Heart normal. • Nodule • Cyst") == [
        "Clear lungs", "No effusion.", "Heart normal.", "Nodule", "Cyst",
    ]  # fmt: skip


def test_nothing_but_blanks_is_lost():
    text = 'a. B "c" d! E? f.G\n\n• h  1. i; j... k'
    assert "".join(said(text)).replace(" ", "") == "".join(c for c in text if c not in " \n•")


@pytest.mark.parametrize("text", ["", " \n\t ", "\x00\x07", "<br><br>", "\u200b\u2028"])
def test_a_text_without_a_sign_has_no_sentence_and_no_section(text):
    assert sentences(text) == []
    assert sections(text) == {}


def test_a_sentence_without_end_is_cut():
    spans = sentences("word " * 10_000)
    assert max(b - a for a, b in spans) <= MAX_SENTENCE
    assert sum(b - a for a, b in spans) >= 49_000


@pytest.mark.parametrize(
    "text", ["<p>No <b>nodule</b></p>", "İ ½ × – \u200b\ud800 \x1b[0m", "a\r\nb\tc&nbsp;d", "<script>let nodule = 1;</script>"]
)
def test_cleaning_keeps_every_character_in_its_place(text):
    cleaned = clean(text)
    assert len(cleaned) == len(text)
    assert all(c.isprintable() or c == "\n" for c in cleaned)
    assert "script" not in cleaned
    assert "<" not in cleaned


def test_what_is_told_are_the_sentences_of_findings_and_impression():
    report = "HISTORY: Cough.\nTECHNIQUE: CT. With contrast.\nFINDINGS: Clear lungs.\nA nodule of 1.2 cm.\nIMPRESSION: 1. Nodule."
    assert told(report) == ["Clear lungs.", "A nodule of 1.2 cm.", "1. Nodule."]
    assert told(report, names=("technique",)) == ["CT.", "With contrast."]


def test_all_of_a_report_without_those_sections_is_told():
    assert told("Clear lungs. No nodule.") == ["Clear lungs.", "No nodule."]
    assert told("HISTORY: Cough. COMPARISON: None.") == ["HISTORY: Cough.", "COMPARISON: None."]


def test_a_sentence_that_is_told_is_on_one_line_with_single_blanks():
    assert told("FINDINGS: wrapped  over\ntwo\tlines of text.\n\nNext one.") == ["wrapped over two lines of text.", "Next one."]


@pytest.mark.parametrize("text", ["", " \n\t ", "<br><br>", "\u200b\u2028"])
def test_of_nothing_nothing_is_told(text):
    assert told(text) == []


def test_a_sentence_that_is_told_twice_is_there_twice():
    assert told("FINDINGS: Cyst.\nIMPRESSION: Cyst.") == ["Cyst.", "Cyst."]
