"""Which organ a word belongs to, on which side, how large."""

import pytest

from medclip_nb.text.mentions import abnormalities_named, organs_named, side_of, side_words, sizes_mm


def named(sentence: str) -> set[tuple[str, str]]:
    return {hit[:2] for hit in abnormalities_named(sentence, organs_named(sentence))}


def sides(sentence: str) -> list[str]:
    organs = organs_named(sentence)
    hits = abnormalities_named(sentence, organs)
    return [side_of(sentence, hit, hits=hits, organs=organs, sides=side_words(sentence)) for hit in hits]


def sizes(sentence: str) -> list[float]:
    return list(sizes_mm(sentence, abnormalities_named(sentence, organs_named(sentence))).values())


@pytest.mark.parametrize(
    ("sentence", "pairs"),
    [
        ("a cyst in the left kidney", {("kidney", "cyst")}),
        ("cysts in the liver and both kidneys", {("liver", "cyst"), ("kidney", "cyst")}),
        ("a stone in the gallbladder, a cyst in the kidney", {("gallbladder", "gallstone"), ("kidney", "cyst")}),
        ("pericardial-pleural effusion", {("heart", "pericardial effusion"), ("lung", "pleural effusion")}),
        (
            "calcific plaques in the aortic arch and coronary arteries",
            {("aorta", "calcification"), ("coronary arteries", "calcification")},
        ),
        ("the spleen is enlarged", {("spleen", "splenomegaly")}),
        ("enlargement of the heart", {("heart", "cardiomegaly")}),
        ("thickening of the interlobular septa", {("lung", "septal thickening")}),
        ("nodule in the right lobe of the thyroid", {("thyroid_gland", "nodule")}),
        ("left rib fracture", {("ribs", "fracture")}),
        ("small nodules", {("lung", "nodule")}),
        ("calcified gallstone", {("gallbladder", "gallstone")}),
        ("white matter of normal signal", set()),
        ("an old infarct in the left thalamus", {("brain", "infarct")}),
        ("the patient was seen", set()),
    ],
)
def test_the_nearest_organ_tells_what_a_general_word_means(sentence, pairs):
    assert named(sentence) == pairs


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("left pleural effusion", ["left"]),
        ("pleural effusion on the right", ["right"]),
        ("bilateral effusions", ["both"]),
        ("nodules in both lungs", ["both"]),
        ("emphysema of the right upper and left lower lobe", ["both"]),
        ("left effusion and right consolidation", ["left", "right"]),
        ("consolidation and atelectasis in the left lower lobe", ["left", "left"]),
        ("the right lung is clear, the left lung shows emphysema", ["left"]),
        ("in the right lung, a nodule", ["right"]),
        ("no pneumothorax, but a left effusion", ["", "left"]),
        ("dilated left collecting system, mild hydronephrosis", ["left", "left"]),
        ("nodule in the lung", [""]),
        ("cyst in the left lobe of the liver", [""]),
    ],
)
def test_the_side_is_that_of_the_own_clause_or_of_none_elses(sentence, expected):
    assert sides(sentence) == expected


@pytest.mark.parametrize(
    ("text", "mm"),
    [
        ("12 x 9 mm", 12), ("9x12 mm", 12), ("1.2 cm", 12), ("1,2 cm", 12), ("2-3 mm", 3), ("3 mm x 4 mm", 4), ("12-mm", 12),
        ("1.0 x 2.5 x 0.5 cm", 25), ("0.8 cm", 8), ("15mm", 15),
    ],
)  # fmt: skip
def test_the_largest_diameter_is_taken_in_mm(text, mm):
    assert sizes(f"a nodule of {text} in the left lung") == [pytest.approx(mm)]


def test_each_size_belongs_to_the_finding_nearest_to_it():
    assert sizes("a nodule of 5 mm in the lung, cyst of 3 cm in the liver") == [5, 30]


@pytest.mark.parametrize("text", ["previously 7 mm", "in segment 4", "on day 12", "7 mmhg", "mm", "1.2.3 m"])
def test_what_is_no_size_of_now_is_not_taken(text):
    assert sizes(f"a nodule, {text}") == []
