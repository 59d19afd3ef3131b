"""Every exercise accepts its reference and tells each mistake by its own hint."""

import copy

import numpy as np
import pytest

from medclip_nb.lesson import checks, solutions
from medclip_nb.lesson.checks import attempt
from medclip_nb.lesson.exercises import EXERCISES

MISTAKES = [(name, i) for name, exercise in EXERCISES.items() for i in range(len(exercise.mistakes))]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_reference_is_correct(name, capsys):
    attempt(name, EXERCISES[name].reference)
    assert capsys.readouterr().out == "✓ correct\n"


@pytest.mark.parametrize(("name", "number"), MISTAKES)
def test_a_mistake_is_refused_with_its_own_hint(name, number):
    wrong, hint = EXERCISES[name].mistakes[number]
    with pytest.raises(AssertionError) as caught:
        attempt(name, wrong)
    assert str(caught.value).endswith(f"hint: {hint}")
    assert [word for word in ("input ", "expected ", "got ") if word not in str(caught.value)] == []


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_knows_two_mistakes_or_more(name):
    assert len(EXERCISES[name].mistakes) >= 2


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_left_alone_is_not_an_error(name, capsys):
    def untouched(*_):
        raise NotImplementedError

    attempt(name, untouched)
    assert capsys.readouterr().out == "○ not attempted yet\n"


@pytest.mark.parametrize("name", EXERCISES)
@pytest.mark.parametrize("answer", [None, "text", np.nan, np.zeros(99), ["x"], {}])
def test_nonsense_is_refused_without_a_crash(name, answer):
    with pytest.raises(AssertionError, match="hint: "):
        attempt(name, lambda *_: answer)


@pytest.mark.parametrize("name", EXERCISES)
def test_trying_an_answer_leaves_the_cases_as_they_were(name):
    before = copy.deepcopy(EXERCISES[name].cases)
    attempt(name, EXERCISES[name].reference)
    np.testing.assert_equal(EXERCISES[name].cases, before)


def test_an_answer_of_another_type_but_the_same_value_is_accepted(capsys):
    attempt("recall_at", lambda ranks, k: [int(r <= k) for r in ranks])
    attempt("first_ranks", lambda s, r: EXERCISES["first_ranks"].reference(s, r).astype(float))
    assert capsys.readouterr().out == "✓ correct\n" * 2


def test_an_unforeseen_mistake_gets_general_advice():
    with pytest.raises(AssertionError, match="hint: work the input through by hand"):
        attempt("recall_at", lambda ranks, k: ranks + 17.0)


def test_a_long_input_is_shortened_in_the_message():
    assert len(checks._show(list(range(10_000)))) == 300


def test_a_class_embedding_is_a_unit_vector_between_its_prompts():
    assert solutions.class_embedding(np.array([[1.0, 0], [0, 1]])).tolist() == pytest.approx([0.5**0.5] * 2)


def test_patients_across_splits_are_read_by_eye():
    assert solutions.patients_across_splits(["b", "a", "a", "b"], ["val", "train", "test", "val"]) == ["a"]


def test_the_share_of_repeated_texts_counts_every_twin():
    assert solutions.share_repeated(["x", "y", "x", "x"]) == 0.75
