"""Denial and doubt: what each kind of trigger reaches and where it stops."""

import re

import pytest

from medclip_nb.text.context import is_within, scopes
from medclip_nb.text.vocabulary import TRIGGERS


def status(sentence: str, word: str) -> str:
    found = scopes(sentence.lower())
    span = re.search(rf"\b{word}\b", sentence.lower()).span()
    kinds = [kind for kind in ("negated", "uncertain") if is_within(found, kind, span)]
    return " ".join(kinds)


@pytest.mark.parametrize(
    "sentence",
    [
        "No X.", "No Y or X.", "No Y, Z, or X is seen.", "Y without X.", "No evidence of X.", "Negative for X.",
        "The Y is free of X.",
        "X is not seen.", "X was not clearly identified.", "X is absent.", "X has resolved.", "Previously seen X has resolved.",
        "X is no longer seen.", "No longer visible X.", "X ruled out.", "X is unlikely.", "Unlikely to represent X.",
        "Neither Y nor X.",
        "There is no Y and no X.", "Absence of X.", "Resolution of X.", "X has been removed.",
    ],
)  # fmt: skip
def test_denied(sentence):
    assert status(sentence, "x") == "negated"


@pytest.mark.parametrize(
    "sentence",
    [
        "X.", "Unchanged X.", "No change in X.", "No significant change in X.", "No significant interval change of X.",
        "Not only X.",
        "X is not significantly changed.", "X, without change.", "No Y, but X is present.", "No Y, although X is seen.",
        "No Y is seen, however X is.", "No Y; X.", "X without Y.", "No Y and there is X.", "Y is absent and X is present.",
        "X is seen, Y is absent.", "No Y is seen in the lung, X is present in the liver.", "X and no Y.", "No Y, 5 mm X.",
        "No Y except X.", "X cannot be evaluated.", "X is present in the left and Y is not seen.",
    ],
)  # fmt: skip
def test_neither_denied_nor_doubted(sentence):
    assert status(sentence, "x") == ""


@pytest.mark.parametrize(
    "sentence",
    [
        "Possible X.", "X cannot be excluded.", "X can not be ruled out.", "Cannot exclude X.", "X is suspected.",
        "Suspicious for X.",
        "May represent X.", "X?", "Lesion (X?) seen.", "Probably X.", "Concerning for X.", "Y versus X.", "X is not excluded.",
    ],
)  # fmt: skip
def test_doubted(sentence):
    assert status(sentence, "x") == "uncertain"


def test_a_question_mark_doubts_its_bracket_only():
    assert status("Y in the liver (X?).", "y") == ""
    assert status("Y, X?", "y") == ""


def test_a_list_after_there_is_no_stays_denied_up_to_the_next_clause():
    sentence = "There is no A, B, or C and X is normal."
    assert [status(sentence, letter) for letter in "abcx"] == ["negated", "negated", "negated", ""]


def test_a_list_before_is_not_seen_is_denied_from_the_end_of_the_clause_before():
    sentence = "X is seen, B and C are not seen."
    assert [status(sentence, letter) for letter in "xbc"] == ["", "negated", "negated"]


def test_a_span_that_a_trigger_divides_counts_as_denied():
    assert is_within(scopes("the heart is not enlarged"), "negated", (4, 25))


@pytest.mark.parametrize("kind", TRIGGERS)
def test_no_trigger_matches_inside_a_word(kind):
    assert scopes("nodule notch nonspecific mayor absently") == []


def test_a_scope_lies_within_its_sentence_and_names_its_trigger():
    (scope,) = scopes("effusion without stones")
    assert (scope.kind, scope.start, scope.end, scope.trigger) == ("negated", 16, 23, "without")


@pytest.mark.parametrize("sentence", ["", "no", "not seen", "?", "without", "no no no", ", and"])
def test_a_sentence_of_triggers_alone_is_no_error(sentence):
    assert all(0 <= s.start <= s.end <= len(sentence) for s in scopes(sentence))
