"""The abnormality dictionary: what it holds, what it refuses, and what it never draws."""

import json

import numpy as np
import pytest

from medclip_nb.text import dictionary
from medclip_nb.text.dictionary import Entry, Phrase, build, collision_rate, counts, entries, load, normalise, sample, save

CYST, STONE, BOTH = frozenset({"cyst"}), frozenset({"stone"}), frozenset({"cyst", "stone"})
PHRASES = {"a": Phrase(16, CYST), "b": Phrase(4, STONE), "c": Phrase(1, BOTH), "d": Phrase(9, frozenset({"mass"}))}
FOUND = [
    Entry("kidney", "The left kidney has a 12 mm cyst.", CYST),
    Entry("kidney", "The left kidney has a 3.5 cm cyst", CYST),
    Entry("kidney", "Stone, 4 mm.", STONE),
    Entry("liver", "Cyst", CYST),
    Entry("kidney", "The kidneys are normal.", frozenset()),
    Entry("kidney", "12 mm.", CYST),
]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("A 12 mm Cyst of the LEFT kidney.", "a cyst of the left kidney"),
        ("The spleen is enlarged, measuring 154 mm.", "the spleen is enlarged"),
        ("nodule (12 x 9 mm) in the right lung", "nodule in the right lung"),
        ("a cyst of up to 1,2 cm, seen", "a cyst, seen"),
        ("Opacity, 28 mm; a\n nodule", "opacity; a nodule"),
        ("12x9x4mm stone", "stone"),
        ("T12 fracture, 2-3 mm retropulsion", "t12 fracture, retropulsion"),
        ("two nodules", "two nodules"),
        ("of the left", "of the left"),
        ("", ""),
        ("3.2", ""),
    ],
)
def test_a_phrase_loses_its_numbers_and_keeps_its_side(text, phrase):
    assert normalise(text) == phrase
    assert normalise(phrase) == phrase


@pytest.mark.parametrize("text", ["of " * 17_000, "1 x " * 12_000, "(" * 50_000, "1." * 25_000, "size 1," * 7_000, " ," * 25_000])
def test_hostile_texts_of_50000_characters_go_through_and_stay_as_they_are_the_second_time(text):
    once = normalise(text)
    assert len(once) <= len(text)
    assert normalise(once) == once


def test_phrases_are_counted_by_organ_most_frequent_first():
    built = build(FOUND, splits=["train"] * len(FOUND))
    assert counts(built) == {"kidney": {"the left kidney has a cyst": 2, "stone": 1}, "liver": {"cyst": 1}}
    assert list(built["kidney"]) == ["the left kidney has a cyst", "stone"]
    assert built["kidney"]["stone"].findings == STONE


def test_one_phrase_said_of_several_findings_states_them_all():
    built = build([Entry("kidney", "Lesion", CYST), Entry("kidney", "lesion.", STONE)])
    assert built == {"kidney": {"lesion": Phrase(2, BOTH)}}


@pytest.mark.parametrize("split", ["val", "test", ""])
def test_anything_but_training_texts_is_refused(split):
    with pytest.raises(ValueError, match=f"entry 1 is of split '{split}': build the dictionary from training texts only"):
        build(FOUND, splits=["train", split, "train", "train", "train", "train"])


def test_a_split_too_few_is_refused():
    with pytest.raises(ValueError, match="1 splits for 6 entries"):
        build(FOUND, splits=["train"])


def test_a_report_gives_its_abnormal_sentences_by_organ_and_no_denied_one():
    report = "FINDINGS: There is a 12 mm nodule in the left lung. No renal stone. Normal liver.\n\nIMPRESSION: Lung nodule."
    assert entries(report) == [
        Entry("lung", "There is a 12 mm nodule in the left lung.", frozenset({"nodule"})),
        Entry("lung", "Lung nodule.", frozenset({"nodule"})),
    ]


@pytest.mark.parametrize("text", ["", "\x00", "<b>", "x" * 50_000])
def test_a_report_without_a_finding_gives_nothing(text):
    assert entries(text) == []


@pytest.mark.parametrize("positive", [CYST, STONE, BOTH, frozenset()])
def test_a_negative_never_shares_a_finding_with_the_positive(positive):
    drawn = sample(PHRASES, 99, positive=positive, rng=np.random.default_rng(0))
    assert sorted(drawn) == [text for text, phrase in PHRASES.items() if not phrase.findings & positive]


def test_at_most_m_are_drawn_without_repeats_and_the_same_for_the_same_seed():
    first, second = (sample(PHRASES, 3, positive=frozenset(), rng=np.random.default_rng(5)) for _ in range(2))
    assert first == second
    assert len(set(first)) == 3


@pytest.mark.parametrize(("phrases", "m", "positive"), [({}, 3, CYST), (PHRASES, 0, CYST), ({"a": Phrase(1, CYST)}, 3, CYST)])
def test_nothing_is_drawn_from_nothing(phrases, m, positive):
    assert sample(phrases, m, positive=positive, rng=np.random.default_rng(0)) == []


@pytest.mark.parametrize(("power", "shares"), [(0.5, (4, 2, 1, 3)), (0.0, (1, 1, 1, 1)), (1.0, (16, 4, 1, 9))])
def test_phrases_are_drawn_by_their_count_to_the_power(power, shares):
    rng = np.random.default_rng(0)
    drawn = [sample(PHRASES, 1, positive=frozenset(), rng=rng, power=power)[0] for _ in range(4000)]
    seen = np.array([drawn.count(text) for text in PHRASES]) / 4000
    assert np.allclose(seen, np.array(shares) / sum(shares), atol=0.04)  # five standard errors


def test_the_collision_rate_is_the_share_of_weight_that_collides():
    assert collision_rate({"kidney": PHRASES}, [("kidney", CYST)]) == pytest.approx((4 + 1) / 10)
    assert collision_rate({"kidney": PHRASES}, [("kidney", CYST)], power=0.0) == pytest.approx(2 / 4)
    assert collision_rate({"kidney": PHRASES}, [("kidney", CYST), ("kidney", frozenset()), ("liver", CYST)]) == pytest.approx(
        0.5 / 3
    )


def test_a_collision_rate_without_positives_is_refused():
    with pytest.raises(ValueError, match="no positives to collide with"):
        collision_rate({"kidney": PHRASES}, [])


def test_a_dictionary_survives_saving_in_its_order_and_the_same_one_gives_the_same_bytes(tmp_path):
    built = build([*FOUND, Entry("liver", "Zyste 低", CYST)])
    again = load(save(built, tmp_path / "a.json"))
    assert again == built
    assert [list(p) for p in again.values()] == [list(p) for p in built.values()]
    assert save(again, tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = save(build(FOUND), tmp_path / "a.json")
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save({"kidney": {"x": Phrase(object(), CYST)}}, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


BROKEN = [
    "", "[]", "{", '{"kidney": []}', '{"kidney": {"x": 3}}', '{"kidney": {"x": {"count": 0, "findings": []}}}',
    '{"kidney": {"x": {"count": 1, "findings": "cyst"}}}', '{"kidney": {"x": {"count": 1, "findings": [], "more": 1}}}',
    '{"kidney": {"x": {"count": true, "findings": ["cyst"]}}}', '{"kidney": {"x": {"count": 1, "findings": [3]}}}',
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_a_file_that_is_no_dictionary_is_named(text, tmp_path):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"broken\.json is no abnormality dictionary"):
        load(path)


def test_the_file_is_plain_json(tmp_path):
    plain = json.loads(save({"kidney": {"stone": Phrase(2, STONE)}}, tmp_path / "a.json").read_text())
    assert plain == {"kidney": {"stone": {"count": 2, "findings": ["stone"]}}}


def test_a_cohort_gives_a_dictionary_from_its_training_reports_only(torso):
    train = torso.manifest[torso.manifest["split"] == "train"]["report"]
    built = build([e for report in train for e in entries(report)])
    assert {"lung", "liver", "kidney"} <= set(built)
    assert all(not any(c.isdigit() for c in text) for phrases in built.values() for text in phrases)
    assert dictionary.POWER == 0.5
