"""The tables: nothing in them names what another does not have, and every spelling can match."""

import re

import pytest

from medclip_nb.text import vocabulary as words

PAIRS = set(words.ABNORMALITIES) | {pair for pairs in words.GENERAL.values() for pair in pairs.values()}
MAPS = {"CT_RATE": words.CT_RATE, "CHEXPERT": words.CHEXPERT, "CT_GLIP_LIKE": words.CT_GLIP_LIKE}


@pytest.mark.parametrize(("name", "size"), [("CT_RATE", 18), ("CHEXPERT", 14), ("CT_GLIP_LIKE", 16)])
def test_a_label_map_has_all_its_labels_and_only_findings_we_know(name, size):
    assert len(MAPS[name]) == size
    assert set().union(*MAPS[name].values()) <= PAIRS


def test_the_sixteen_abnormalities_lie_in_seven_organs():
    assert len({organ for pairs in words.CT_GLIP_LIKE.values() for organ, _ in pairs}) == 7


def test_every_organ_of_a_finding_is_an_organ():
    assert {organ for organ, _ in PAIRS} - set(words.ORGANS) == {"device", "diaphragm"}
    assert set(words.PART_OF) | set(words.PART_OF.values()) | set(words.SIDED) <= set(words.ORGANS)


def test_parts_are_counted_with_their_organ():
    assert {organ for organ, _ in PAIRS} & set(words.PART_OF) == set()


def test_every_embedded_abnormality_is_covered():
    from medclip_nb.data.phantoms.vocabulary import KINDS

    assert set(KINDS) <= PAIRS


def test_totalsegmentator_names_of_the_embedded_organs_are_the_embedded_ones():
    from medclip_nb.data.phantoms.vocabulary import ORGAN_GROUPS, kind_of

    ours = words.TOTALSEGMENTATOR
    assert [name for group, names in ORGAN_GROUPS.items() for name in names if name not in ours[kind_of(group)]] == []


def test_totalsegmentator_names_belong_to_one_organ_each():
    names = [name for group in words.TOTALSEGMENTATOR.values() for name in group]
    assert len(names) == len(set(names))
    assert set(words.TOTALSEGMENTATOR) <= set(words.ORGANS)


def test_every_spelling_is_a_lower_case_pattern_that_matches_no_empty_text():
    spellings = [s for table in (words.ORGANS, words.ABNORMALITIES, words.TRIGGERS) for group in table.values() for s in group]
    spellings += [*words.GENERAL, *words.NORMAL, *words.SIDES.values(), *words.TERMINATORS]
    assert [s for s in spellings if re.search(s, "")] == []
    assert [s for s in spellings if re.search(r"(?<!\\)[A-Z]", s)] == []


def test_no_language_shares_its_function_words_with_english():
    assert not set(words.FUNCTION_WORDS["english"]) & set(words.FUNCTION_WORDS["other"])
