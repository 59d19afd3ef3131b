"""Every exercise accepts its reference and tells each mistake by its own hint; every hidden bug is shipped as registered."""

import ast
import copy
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from medclip_nb.learn.losses import soft_contrastive_loss
from medclip_nb.learn.targets import from_relation
from medclip_nb.lesson import checks, planted, scaling_solutions, solutions, steps
from medclip_nb.lesson.checks import attempt, mend
from medclip_nb.lesson.exercises import EXERCISES
from medclip_nb.measure.statistics import mean_score
from medclip_nb.model.dual_encoder import DualEncoder, ModelConfig

BUGS = [name for name, exercise in EXERCISES.items() if exercise.bug]
NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
CELLS = {path.name[:2]: nbformat.read(path, 4).cells for path in NOTEBOOKS}
SHIPPED = {
    cell.metadata["name"]: (number, cell.source)
    for number, cells in CELLS.items()
    for cell in cells
    if "exercise" in cell.metadata.get("tags", [])
}
MISTAKES = [(name, i) for name, exercise in EXERCISES.items() for i in range(len(exercise.mistakes))]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_reference_is_correct(name, capsys):
    attempt(name, EXERCISES[name].reference)
    assert capsys.readouterr().out == "✓ correct\n"


@pytest.mark.parametrize(("name", "number"), MISTAKES)
def test_a_mistake_is_refused_with_its_own_hint(name, number):
    wrong, hint = EXERCISES[name].mistakes[number]
    with pytest.raises(AssertionError) as caught:
        (mend if name in BUGS else attempt)(name, wrong)
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


def test_every_exercise_is_in_a_lesson_and_there_are_enough_of_both_kinds():
    assert set(SHIPPED) == set(EXERCISES)
    assert len(EXERCISES) >= 30
    assert len(BUGS) >= 6


@pytest.mark.parametrize("number", [f"{i:02d}" for i in range(1, 15)])
def test_a_lesson_has_two_exercises_or_more(number):
    assert sum(lesson == number for lesson, _ in SHIPPED.values()) >= 2


@pytest.mark.parametrize("number", CELLS)
def test_an_exercise_is_followed_by_the_check_that_belongs_to_it(number):
    asked = None
    for cell in CELLS[number]:
        tags = cell.metadata.get("tags", [])
        if "exercise" in tags:
            assert asked is None
            asked = cell.metadata["name"]
        if "check" in tags:
            assert f'checks.{"mend" if asked in BUGS else "attempt"}("{asked}", ' in cell.source
            asked = None
    assert asked is None


def shipped(name: str):
    """The function of an exercise's cell, with what the lesson imports."""
    number, source = SHIPPED[name]
    (setup,) = [c.source for c in CELLS[number] if "setup" in c.metadata.get("tags", [])]
    imports = [n for n in ast.parse(setup).body if isinstance(n, ast.Import | ast.ImportFrom)]
    space = {}
    exec(compile(ast.Module([*imports, *ast.parse(source).body], []), name, "exec"), space)
    (function,) = [f for key, f in space.items() if key.startswith("my_")]
    return function


@pytest.mark.parametrize("name", BUGS)
def test_the_function_in_the_notebook_has_the_bug_that_is_registered(name):
    function, exercise = shipped(name), EXERCISES[name]
    assert exercise.bug is getattr(planted, name)
    for case in exercise.cases:
        got, wanted = function(*case), exercise.bug(*case)
        assert got == wanted if isinstance(wanted, str) else np.allclose(got, wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_still_there_until_the_function_is_mended(name, capsys):
    mend(name, shipped(name))
    said = capsys.readouterr().out
    assert said.startswith("○ the bug is still there: for input ")
    assert said.count("\n") == 1
    mend(name, EXERCISES[name].reference)
    assert capsys.readouterr().out == "✓ mended\n"


@pytest.mark.parametrize("name", BUGS)
def test_the_input_that_shows_a_bug_is_one_where_it_matters(name, capsys):
    mend(name, EXERCISES[name].bug)
    got, right = capsys.readouterr().out.split(" you get ")[1].strip().split(", right is ")
    assert got != right


def test_another_mistake_that_agrees_with_the_bug_on_some_input_is_refused():
    half_mended = lambda h, p, n: EXERCISES["interval"].bug(h, p, n) if h.mean() == 0.5 else solutions.interval(h, p, n)  # noqa: E731
    with pytest.raises(AssertionError, match="hint: "):
        mend("interval", half_mended)


@pytest.mark.parametrize("seed", range(3))
def test_an_interval_drawn_by_other_random_numbers_is_mended_too(seed, capsys):
    def mine(hits, patients, n):
        rng, table = np.random.default_rng(seed + 7), {p: hits[patients == p] for p in sorted(set(patients))}
        draws = (rng.choice(list(table), len(table)) for _ in range(n))
        return np.quantile([np.mean([table[p] for p in drawn]) for drawn in draws], (0.025, 0.975))

    mend("interval", mine)
    assert capsys.readouterr().out == "✓ mended\n"


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_the_exercise_is_the_packages(seed):
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, 12, 60).astype(str)
    hits = (rng.random(60) < 0.7).astype(float)
    ours = mean_score("x", hits, patients, chance=None, n_bootstrap=400)
    np.testing.assert_allclose(solutions.interval(hits, patients, 400), (ours.low, ours.high), rtol=1e-9)


@pytest.mark.parametrize("chunk", [1, 2, 4, 7])
def test_the_chunked_loss_mended_is_half_of_the_packages(chunk):
    rng = np.random.default_rng(chunk)
    images, texts = rng.normal(size=(2, 7, 3))
    wanted = torch.nn.functional.cross_entropy(torch.from_numpy(images @ texts.T), torch.arange(7)).item()
    assert scaling_solutions.chunked_loss(images, texts, chunk) == pytest.approx(wanted, rel=1e-9)
    assert (planted.chunked_loss(images, texts, chunk) < wanted - 1e-3) == (chunk < 7)


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_of_the_hidden_bug_mended_is_the_packages(seed):
    rng = np.random.default_rng(seed)
    right, logits = np.eye(6, dtype=bool) | (rng.random((6, 6)) < 0.3), rng.normal(size=(6, 6))
    sides = (side.double() for side in from_relation(torch.from_numpy(right)))
    wanted = soft_contrastive_loss(torch.from_numpy(logits), *sides).item()
    assert solutions.true_loss(logits, right) == pytest.approx(wanted, rel=1e-6)
    symmetric = right | right.T
    assert planted.true_loss(logits, symmetric) == pytest.approx(solutions.true_loss(logits, symmetric))


def test_nearest_images_are_those_of_the_smallest_cosine_distance():
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(0)
    texts, images = rng.normal(size=(5, 4)), rng.normal(size=(20, 4)) * rng.exponential(size=(20, 1))
    wanted = NearestNeighbors(n_neighbors=20, metric="cosine").fit(images).kneighbors(texts, return_distance=False)
    np.testing.assert_array_equal(solutions.nearest_images(texts, images, 20), wanted)


@pytest.mark.parametrize("every", [1, 2, 5])
def test_no_patient_crosses_the_mended_split_and_many_cross_the_other(every):
    patients = np.random.default_rng(0).integers(0, 30, 200).astype(str)
    studies = np.array([f"{p}-{i:03d}" for i, p in enumerate(patients)])
    kept = solutions.in_test(patients, studies, every)
    assert not set(patients[kept]) & set(patients[~kept])
    leaking = planted.in_test(patients, studies, every)
    assert bool(set(patients[leaking]) & set(patients[~leaking])) == (every > 1)


def test_raw_vectors_are_what_the_model_makes_unit_length():
    model = DualEncoder(ModelConfig()).eval()
    images = np.random.default_rng(0).integers(0, 255, (3, 3, 1, 32, 32), np.uint8)
    raw = steps.raw_vectors(model, images)
    with torch.inference_mode():
        unit = model.encode_images(torch.from_numpy(images))
    torch.testing.assert_close(normalize(torch.from_numpy(raw), dim=-1), unit, rtol=1e-5, atol=1e-6)
    assert np.linalg.norm(raw, axis=1).std() > 0
    assert not model.image_head._forward_hooks
