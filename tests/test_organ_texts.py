"""What a report says of each organ, left and right apart."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medclip_nb.data.phantoms import ORGAN_GROUPS
from medclip_nb.text.dictionary import Entry, entries
from medclip_nb.text.organ_texts import finding_prompts, normal_sentence, spoken, swapped, unit_entries, units_of
from medclip_nb.text.vocabulary import SIDED

NAMES = ("kidney_left", "kidney_right", "liver", "spleen", "lung_left", "lung_right")
CYST, STONE, NONE = frozenset({"cyst"}), frozenset({"stone"}), frozenset()
WORDS = st.lists(st.sampled_from(["left", "right", "Left", "RIGHT", "lung", "bright", "leftover", ",", ".", "left-sided", " "]))


def said(report: str, names: tuple[str, ...] = NAMES) -> dict[str, list[tuple[str, frozenset[str]]]]:
    """Organ -> what is found in it, without the organs that count as normal."""
    found: dict = {}
    for organ, text, findings in unit_entries(report, names):
        if findings:
            found.setdefault(organ, []).append((text, findings))
    return found


# sides


@pytest.mark.parametrize(
    ("report", "organs"),
    [
        ("Cyst in the left kidney.", ["kidney_left"]),
        ("Right renal stone.", ["kidney_right"]),
        ("Renal cyst.", ["kidney_left", "kidney_right"]),
        ("Bilateral renal cysts.", ["kidney_left", "kidney_right"]),
        ("There is a nodule in the left lower lobe.", ["lung_left"]),
        ("Right pleural effusion.", ["lung_right"]),
        ("Hepatic cyst in the left lobe.", ["liver"]),
        ("Splenomegaly.", ["spleen"]),
    ],
)
def test_a_finding_belongs_to_the_side_that_is_said_and_to_both_where_none_is(report, organs):
    assert sorted(said(report)) == organs


def test_left_and_right_have_their_own_sentences():
    found = said("Cyst in the left kidney. Stone in the right kidney.")
    assert found == {"kidney_left": [("Cyst in the left kidney.", CYST)], "kidney_right": [("Stone in the right kidney.", STONE)]}


def test_a_sentence_about_both_sides_goes_to_each_with_what_it_says_of_it():
    text = "Cyst in the left kidney and stone in the right kidney."
    assert said(text) == {"kidney_left": [(text, CYST)], "kidney_right": [(text, STONE)]}


@pytest.mark.parametrize(
    ("text", "organs"),
    [
        ("Two rounded nodules in the right lung (up to 21 mm), possible malignancy.", ["lung_right"]),
        ("Consolidation and pleural effusion on the left.", ["lung_left"]),
        ("The left kidney has a cyst and a stone.", ["kidney_left"]),
        ("Nodule in the left lung, bilateral pleural effusion.", ["lung_left", "lung_right"]),
    ],
)
def test_what_a_sentence_finds_beside_a_finding_of_one_side_is_not_put_on_the_other(text, organs):
    assert sorted(said(text)) == organs


@pytest.mark.parametrize("organ", sorted(SIDED))
@pytest.mark.parametrize("side", ["left", "right", "both", ""])
def test_units_of_a_paired_organ_are_its_sides(organ, side):
    names = (f"{organ}_left", f"{organ}_right", "liver")
    wanted = {"left": names[:1], "right": names[1:2]}.get(side, names[:2])
    assert units_of(organ, side, names) == list(wanted)
    assert units_of(organ, side, names[1:]) == [name for name in wanted if name != names[0]]


@pytest.mark.parametrize("side", ["left", "right", "both", ""])
@pytest.mark.parametrize("organ", ["liver", "brain", "thyroid_gland"])
def test_an_organ_with_one_mask_has_one_unit_whatever_side_is_said(organ, side):
    assert units_of(organ, side, (organ, "spleen")) == [organ]
    assert units_of(organ, side, ("spleen",)) == []


@pytest.mark.parametrize("organ", ["brain", "thyroid_gland"])
def test_a_finding_on_one_side_of_an_organ_with_one_mask_is_not_lost(organ):
    report = {"brain": "Hemorrhage in the left frontal lobe.", "thyroid_gland": "Nodule in the left thyroid lobe."}[organ]
    assert list(said(report, (organ,))) == [organ]


def test_the_dictionary_tells_sides_apart_only_if_asked():
    report = "Cyst in the left kidney. Renal stone. Bilateral renal cysts. Hepatic cyst."
    assert [e.organ for e in entries(report)] == ["kidney", "kidney", "kidney", "liver"]
    assert [e.organ for e in entries(report, sided=True)] == ["kidney_left", "kidney", "kidney", "liver"]
    assert [e[1:] for e in entries(report)] == [e[1:] for e in entries(report, sided=True)]


def test_one_sentence_about_two_sides_is_two_entries_with_sides_and_one_without():
    text = "Cyst in the left kidney and stone in the right kidney."
    assert entries(text) == [Entry("kidney", text, CYST | STONE)]
    assert entries(text, sided=True) == [Entry("kidney_left", text, CYST), Entry("kidney_right", text, STONE)]


# what counts as normal


@pytest.mark.parametrize(
    "report", ["", "Normal liver and spleen.", "No renal stone. The liver is without a cyst.", "<b>", "x" * 20_000]
)
def test_an_organ_that_is_called_normal_denied_or_not_mentioned_is_normal(report):
    assert unit_entries(report, NAMES) == [Entry(name, normal_sentence(name), NONE) for name in NAMES]


def test_every_organ_says_something_and_no_organ_is_both_ill_and_normal():
    found = unit_entries("Cyst in the left kidney. Hepatic cyst. No splenomegaly.", NAMES)
    assert {e.organ for e in found} == set(NAMES)
    assert [e.organ for e in found if not e.findings] == ["kidney_right", "spleen", "lung_left", "lung_right"]


def test_two_findings_in_one_organ_give_two_sentences():
    found = unit_entries("Cyst in the left kidney. Stone in the left kidney.", ("kidney_left",))
    assert found == [
        Entry("kidney_left", "Cyst in the left kidney.", CYST),
        Entry("kidney_left", "Stone in the left kidney.", STONE),
    ]


def test_two_findings_in_one_sentence_are_one_entry_with_both():
    text = "Stone and cyst in the left kidney."
    assert unit_entries(text, ("kidney_left",)) == [Entry("kidney_left", text, CYST | STONE)]


def test_a_sentence_says_of_an_organ_only_once_what_it_finds_in_it():
    text = "Cyst of the left kidney, bilateral renal stones."
    assert unit_entries(text, ("kidney_left", "kidney_right")) == [
        Entry("kidney_left", text, CYST | STONE),
        Entry("kidney_right", text, STONE),
    ]


def test_organs_that_were_not_asked_for_are_left_out():
    assert unit_entries("Hepatic cyst.", ("spleen",)) == [Entry("spleen", normal_sentence("spleen"), NONE)]


# words


@pytest.mark.parametrize(
    ("organ", "words"),
    [("kidney_left", "left kidney"), ("lung_right", "right lung"), ("liver", "liver"), ("urinary_bladder", "urinary bladder"),
     ("adrenal_gland_right", "right adrenal gland")],
)  # fmt: skip
def test_an_organ_is_named_as_a_sentence_names_it(organ, words):
    assert spoken(organ) == words
    assert normal_sentence(organ) == f"{words} shows no significant abnormality"


def test_organs_have_different_names_and_normal_sentences_that_state_nothing():
    assert len({spoken(name) for name in ORGAN_GROUPS}) == len(ORGAN_GROUPS)
    assert [e for name in ORGAN_GROUPS for e in entries(normal_sentence(name))] == []


@settings(max_examples=60, deadline=None)
@given(words=WORDS)
def test_swapping_sides_twice_changes_nothing(words):
    text = " ".join(words)
    assert swapped(swapped(text)) == text


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("a cyst of the left kidney", "a cyst of the right kidney"),
        ("right upper and left lower lobe", "left upper and right lower lobe"),
        ("pleural effusion on the right, moderate", "pleural effusion on the left, moderate"),
        ("left-sided hydronephrosis", "right-sided hydronephrosis"),
        ("effusion on the left", "effusion on the right"),
        ("a bright cyst, leftover", "a bright cyst, leftover"),
        ("hepatic cyst", "hepatic cyst"),
    ],
)
def test_sides_are_swapped_wherever_they_stand_as_words(text, other):
    assert swapped(text) == other
    assert swapped(other) == text


@pytest.mark.parametrize("organ", ["kidney_left", "liver"])
def test_prompts_of_a_finding_and_of_normal_differ(organ):
    sick, well = (finding_prompts(organ, "cyst", present=present) for present in (True, False))
    assert not set(sick) & set(well)
    assert len(set(sick)) == len(sick) > 1 < len(well) == len(set(well))
    assert all("cyst" in prompt and spoken(organ) in prompt for prompt in sick)
    assert all("cyst" not in prompt and spoken(organ) in prompt for prompt in well)
    assert normal_sentence(organ) in well


def test_normal_prompts_do_not_depend_on_the_finding():
    assert finding_prompts("liver", "cyst", present=False) == finding_prompts("liver", "mass", present=False)
