"""The words of a comparison: they follow from its figures, and claim no more."""

import numpy as np
import pytest

from medclip_nb.explore import verdict
from medclip_nb.explore.experiment_scores import compare
from medclip_nb.explore.page import _placed

NAMES = {"a": "clip", "b": "siglip", "c": "selip"}


def rows_of(gains: dict[str, float], *, spread: float, seeds: int = 3, level: float = 0.4, n: int = 200) -> list[dict]:
    """A comparison with "a": each other recipe is so much better, give or take `spread` over patients and half of it by seed."""
    rng = np.random.default_rng(0)
    figure = {"name": "R@10", "low": level - 0.05, "high": level + 0.05, "n": 30, "unit": "patients", "chance": 0.3, "key": True}
    runs = {}
    for seed in range(seeds):
        base = level + rng.normal(0, 0.02, n)
        for name, gain in {"a": 0.0, **gains}.items():
            noise = np.concatenate([[0], rng.normal(0, spread, n - 1)]) * (name != "a")
            values = base + gain + noise + (name != "a") * spread * (seed - 1) / 4
            runs[name, seed] = {"values": {"R@10": values}, "figures": [figure | {"value": values[0]}]}
    return compare(runs, ["a", *gains])


def test_a_clear_gain_is_named_with_its_size_and_interval():
    rows = rows_of({"b": 0.001, "c": 0.2}, spread=0.02)
    said = verdict.headline(rows, NAMES)
    assert said.startswith("Selip gains 0.20 on R@10 against clip (+0.")
    assert "siglip" not in said


def test_without_a_clear_difference_the_headline_says_so_and_gives_all():
    rows = rows_of({"b": 0.01, "c": -0.01}, spread=0.2)
    said = verdict.headline(rows, NAMES)
    assert said.startswith("Nothing is surely better or worse than clip on R@10: siglip +0.01 (")
    assert "selip −0.01 (" in said


def test_a_clear_loss_is_no_gain():
    said = verdict.headline(rows_of({"b": -0.2}, spread=0.02), NAMES)
    assert said.startswith("No other is surely better than clip on R@10; siglip loses 0.20")


def test_one_seed_settles_nothing_and_the_advice_asks_for_more():
    rows = rows_of({"b": 0.3}, spread=0.02, seeds=1)
    assert verdict.verdicts(rows) == {"b": "open"}
    assert any("--seed 0 1 2" in s for s in verdict.advice(rows, NAMES, n_patients=30, preset="cpu"))


def test_patients_may_be_sure_and_seeds_not():
    rows = rows_of({"b": 0.05}, spread=0.01)
    steady = dict(rows[1]["gain_by_seed"])
    assert verdict.verdicts(rows) == {"b": "better"}
    wild = rows[1]["gain_seeds"].__class__("", 0.05, -0.3, 0.4, 3, "seeds", 0.0)
    assert verdict.verdicts([rows[0], rows[1] | {"gain_seeds": wild}]) == {"b": "open"}
    assert len(steady) == 3


def test_many_held_against_the_first_must_be_surer_each():
    row = rows_of({"b": 0.05}, spread=0.01)[1] | {"p": 0.02}
    assert verdict.verdicts([row]) == {"b": "better"}
    assert set(verdict.verdicts([row | {"recipe": str(i)} for i in range(4)]).values()) == {"open"}


def test_what_cannot_be_seen_is_half_the_wider_interval():
    row = rows_of({"b": 0.0}, spread=0.1)[1]
    reach, whose = verdict.smallest_visible(row)
    halves = {"patients": (row["gain"].high - row["gain"].low) / 2, "seeds": (row["gain_seeds"].high - row["gain_seeds"].low) / 2}
    assert reach == pytest.approx(max(halves.values()))
    assert reach == halves[whose]
    said = verdict.advice([row | {"recipe": "a"}, row], NAMES, n_patients=30, preset="cpu")
    assert f"differences below {reach:.2f} on R@10 cannot be seen" in said[0]


def test_the_patients_needed_grow_with_the_square_of_what_the_interval_is_too_wide():
    row = rows_of({"b": 0.0}, spread=0.1)[1]
    half = (row["gain"].high - row["gain"].low) / 2
    gain = row["gain"].__class__("", half / 3, half / 3 - half, half / 3 + half, 3, "patients", 0.0)
    said = " ".join(verdict.advice([row | {"gain": gain}], NAMES, n_patients=30, preset="cpu"))
    assert "about 270 test patients would show it" in said


def test_chance_is_named_for_each_and_all():
    high, low = rows_of({"b": 0.0}, spread=0.01, level=0.6), rows_of({"b": 0.0}, spread=0.01, level=0.3)
    assert verdict.beside_chance(high, NAMES).startswith("Both lie above chance (0.30)")
    assert verdict.beside_chance(low, NAMES).startswith("None is surely above chance")
    assert any("more images" in s for s in verdict.advice(low, NAMES, n_patients=30, preset="cpu"))


def test_a_lone_recipe_is_stated_beside_chance():
    said = verdict.headline(rows_of({}, spread=0.1), NAMES)
    assert said.startswith("clip: R@10 is 0.4")
    assert said.endswith("where chance is 0.30.")


def test_differences_are_placed_around_the_middle_and_cut_at_the_ends():
    assert [_placed(0.2)(v) for v in (-0.4, -0.2, 0.0, 0.1)] == ["0.0", "0.0", "50.0", "75.0"]
