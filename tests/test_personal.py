"""What in a text leads to a person is found and masked; what only looks like it is left."""

import pytest

from medclip_nb.data.personal import REMOVED, date_forms, masked, name_parts, personal

NAMING = {
    "Patient: Wexquill, Ann, MRN 664422. No nodule.": {"name", "number"},
    "Mrs. Wexquill came back.": {"name"},
    "Discussed with Dr. R. Roe by phone.": {"name"},
    "Wexquill^Ann^M, chest": {"name"},
    "Ann Wexquill, a 62-year-old woman.": {"name"},
    "Dictated by: Richard Roe": {"name"},
    "Accession no. A-12345": {"number"},
    "Write to roe@hospital.org": {"e-mail address"},
    "Tel. +49 30 1234567": {"telephone"},
    "Compared with 12/03/2019.": {"date"},
    "Compared with 2019-03-12.": {"date"},
    "Compared with March 12, 2019.": {"date"},
    "Seen on 20190312.": {"date"},
}
HARMLESS = (
    "No pleural effusion. Heart size is normal.",
    "A 12 x 8 mm nodule at T12/L1, image 45/120.",
    "Hounsfield units of 120, kVp 100, 3.5/2.5 cm.",
    "White matter lesions; Young patient with Wilson disease.",
    "DR CHEST, two views. The patient: stable.",
    "Crohn disease, Ghon focus, Hill-Sachs lesion",
    "XXXX-year-old male with XXXX.",
    "Name of the vessel: left anterior descending",
)


@pytest.mark.parametrize("text", NAMING)
def test_what_leads_to_a_person_is_found_by_its_kind(text):
    assert {kind for *_, kind in personal(text)} == NAMING[text]


@pytest.mark.parametrize("text", NAMING)
def test_a_masked_text_leads_to_nobody(text):
    shown = masked(text)
    assert REMOVED in shown
    assert not any(word in shown for word in ("Wexquill", "Roe", "664422", "12345", "2019", "roe@", "1234567"))


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_findings_are_left_as_they_are(text):
    assert masked(text) == text


def test_a_known_name_is_found_where_it_is_written_like_one():
    known = name_parts("White^Zenobia")
    assert masked("ZENOBIA White has white matter; whitewash_Zenobia", known=known) == (
        "[removed] [removed] has white matter; whitewash_[removed]"
    )


def test_a_date_of_birth_is_known_as_people_write_it():
    days = ("17.04.1961", "04/17/1961", "1961-04-17", "19610417")
    assert date_forms("19610417") >= set(days)
    assert [masked(f"born {day} here") for day in days] == ["born [removed] here"] * 4


def test_overlapping_places_are_masked_once_and_the_rest_stays():
    assert masked("Patient: Wexquill, Ann, MRN 664422. No nodule.") == "[removed]. No nodule."


def test_a_text_of_nothing_and_one_of_all_stay_in_order():
    assert (masked(""), personal("")) == ("", [])
    places = personal("Mr. Roe and Mrs. Poe on 1.2.2020")
    assert [s for s, *_ in places] == sorted(s for s, *_ in places)
    assert len(places) == 3
