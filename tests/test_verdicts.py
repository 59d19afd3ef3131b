"""Verdicts for a reader: tables, fewer seeds, the README's summary, figures; and that README and lesson say what is so."""

import re

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from test_register import table_of

from medclip_nb.claims import register, verdicts
from medclip_nb.claims.register import CLAIMS, NOT_MEASURED, Claim, judged
from medclip_nb.config import N_SEEDS
from medclip_nb.lesson.claims import read
from medclip_nb.measure.comparisons import HOLDS, NOT_SHOWN, REVERSED
from medclip_nb.show import claims as draw

CLAIM = Claim("ours", "new beats old", "toy", "new", "old", "AUC")
LESSON = ROOT / "notebooks" / "15_claims.ipynb"
RESULTS = ROOT / "notebooks" / "results"


@pytest.fixture
def few() -> pd.DataFrame:
    """One claim of each verdict."""
    tables = {
        "good": table_of([0.8, 0.82, 0.81], [0.7, 0.71, 0.72], (0.1, 0.05, 0.15)),
        "bad": table_of([0.6, 0.61, 0.6], [0.7, 0.71, 0.72], (-0.1, -0.15, -0.05)),
        "open": table_of([0.8, 0.7, 0.75], [0.7, 0.78, 0.72], (0.01, 0.0, 0.05)),
    }
    claims = [Claim("ours", f"{name} | new", name, "new", "old", "AUC") for name in (*tables, "gone")]
    return judged(tables, tuple(claims))


def test_with_fewer_seeds_the_interval_over_seeds_is_of_those(monkeypatch):
    monkeypatch.setattr(verdicts, "judged", lambda tables: judged(tables, (CLAIM,)))
    tables = {"toy": table_of([0.8, 0.82, 0.6], [0.7, 0.71, 0.72], (0.05, 0.01, 0.15))}
    two, three = (verdicts.with_seeds(tables, n).iloc[0] for n in (2, 3))
    assert (two["seeds"], three["seeds"]) == (2, 3)
    assert two[["low", "high"]].tolist() == three[["low", "high"]].tolist()
    assert two["seeds_low"] != three["seeds_low"]
    found = verdicts.stability(tables)
    assert found[list(verdicts.VERDICTS)].sum(axis=1).eq(1).all()


def test_what_is_shown_names_scores_chance_both_intervals_and_the_verdict(few):
    shown = verdicts.shown(few)
    assert shown["verdict"].tolist() == [HOLDS, REVERSED, NOT_SHOWN, NOT_MEASURED]
    first = shown.iloc[0]
    assert first[["scores", "chance", "effect", "over patients", "n"]].tolist() == [
        "0.810, 0.710", "0.500", "+0.100", "+0.050 to +0.150", "40 patients, 3 seeds",
    ]  # fmt: skip
    assert (shown.iloc[3].drop("verdict") == "").all()


def test_a_summary_goes_between_the_readmes_marks_again_and_again(few, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- claims -->\nold \\1 words\n<!-- /claims -->\nafter\n", encoding="utf-8")
    once = verdicts.into_readme(readme, few).read_text(encoding="utf-8")
    assert once.startswith("before\n<!-- claims -->\n")
    assert once.endswith("<!-- /claims -->\nafter\n")
    assert "old" not in once.split("|")[0]
    assert "| ours | good / new |" in once
    assert "| ours | 1 | 1 | 1 | 1 |" in once
    assert f"| **{HOLDS}** |" in once
    assert f"| {NOT_SHOWN} |" in once
    assert verdicts.into_readme(readme, few).read_text(encoding="utf-8") == once


def test_a_readme_without_a_place_is_left_alone_and_named(few, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("nothing here", encoding="utf-8")
    with pytest.raises(ValueError, match="README.md: has no place for the claims"):
        verdicts.into_readme(readme, few)
    assert readme.read_text(encoding="utf-8") == "nothing here"


def test_a_forest_has_a_line_per_claim_with_the_verdict_in_words(few):
    known = few[few["verdict"] != NOT_MEASURED]
    ax = draw.forest(known)
    assert [t.get_text() for t in ax.get_yticklabels()] == known["says"].tolist()
    words = [t.get_text() for t in ax.child_axes[0].get_yticklabels()]
    assert words == ["0.71 → 0.81  holds", "0.71 → 0.60  reversed", "0.73 → 0.75  not shown"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    thick = [line.get_xdata() for line in ax.lines if line.get_linewidth() == 4]
    assert [tuple(map(float, x)) for x in thick] == [tuple(row) for row in known[["low", "high"]].to_numpy(float)]
    plt.close(ax.figure)


@pytest.fixture
def search(monkeypatch) -> pd.DataFrame:
    """A search of two changes, of which the one that gains less on validation patients gains more on test patients."""
    gains = {"good": (0.02, 0.01), "better": (0.03, -0.01)}
    rows = [("base", measure, str(seed), 0.5, 0.4, 0.6) for measure in ("validation, AUC", "AUC") for seed in (0, 1)]
    for name, values in gains.items():
        for measure, gain in zip(("validation, AUC", "AUC"), values, strict=True):
            rows += [(name, measure, seed, 0.5, 0.4, 0.6) for seed in ("0", "1", "mean")]
            rows.append((name, measure, "minus base", gain, gain - 0.01, gain + 0.01))
    table = pd.DataFrame(rows, columns=["variant", "measure", "seed", "value", "low", "high"])
    monkeypatch.setattr(verdicts, "published", {"toy": table}.get)
    return verdicts.searched("toy", "AUC")


def test_what_a_search_tried_comes_by_its_gain_on_validation_patients(search):
    assert search[["name", "seeds"]].to_numpy().tolist() == [["better", 2], ["good", 2]]
    assert search[["validation_value", "value"]].to_numpy().tolist() == [[0.03, -0.01], [0.02, 0.01]]


def test_neighbours_write_what_they_have_in_common_once():
    names = pd.Series(["a beats b, probe", "a beats b, words, R@1", "c beats b, probe", "c beats b", "c beats b, words"])
    assert draw._once(names) == ["a beats b, probe", "… words, R@1", "c beats b, probe", "c beats b", "… words"]


def test_what_was_measured_twice_is_drawn_with_both_effects(search):
    ax = draw.twice(search, {"validation_": "chosen on", "": "tested on"}, over="patients")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["better", "good"]
    drawn = {line.get_label(): list(line.get_xdata()) for line in ax.lines}
    assert drawn["chosen on"] == [0.03, 0.02]
    assert drawn["tested on"] == [-0.01, 0.01]
    plt.close(ax.figure)


def test_a_claim_whose_study_ran_again_has_both_verdicts(few, monkeypatch):
    first = few.iloc[:2].assign(effect=0.5, verdict=NOT_SHOWN)
    monkeypatch.setattr(verdicts, "published", {verdicts.FIRST: first, verdicts.SUMMARY: few}.get)
    found = verdicts.repeated()
    assert found["name"].tolist() == few["says"].tolist()[:2]
    assert found[["first_verdict", "verdict"]].to_numpy().tolist() == [[NOT_SHOWN, HOLDS], [NOT_SHOWN, REVERSED]]
    assert found["first_value"].tolist() == [0.5, 0.5]
    assert (
        found[["value", "low", "high"]].to_numpy().tolist() == few[["effect", "seeds_low", "seeds_high"]].to_numpy().tolist()[:2]
    )


def test_bars_of_verdicts_say_their_counts():
    table = pd.DataFrame({HOLDS: [3, 4], REVERSED: [0, 1], NOT_SHOWN: [4, 2]}, index=[2, 3])
    ax = draw.stability_bars(table)
    assert sorted(t.get_text() for t in ax.texts) == ["1", "2", "3", "4", "4"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["2 seeds", "3 seeds"]
    plt.close(ax.figure)


def test_the_table_of_verdicts_is_that_of_the_studies_beside_it():
    told, made = verdicts.table(), judged(verdicts.study_tables()).round(4)
    assert told["says"].tolist() == [claim.says for claim in CLAIMS]
    assert told["verdict"].tolist() == made["verdict"].tolist()
    numbers = list(register.FIGURES[:8])
    assert np.allclose(told[numbers].to_numpy(float), made[numbers].to_numpy(float), atol=1e-4, equal_nan=True)


def test_every_claim_was_measured_with_all_seeds():
    told = verdicts.table()
    assert (told["verdict"] != NOT_MEASURED).all()
    assert (told["seeds"] == N_SEEDS).all()


def test_the_first_run_of_what_ran_again_is_of_the_same_claims_and_another_run():
    again = verdicts.repeated()
    assert set(again["name"]) < {claim.says for claim in CLAIMS}
    assert (again["first_value"] != again["value"]).any()


def test_the_readme_carries_the_summary_of_the_table():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert verdicts.markdown(verdicts.table()) in text


def outputs(kind: str) -> str:
    cells = nbformat.read(LESSON, as_version=4).cells
    found = [o for c in cells if c.cell_type == "code" for o in c.outputs]
    return "\n".join("".join(o.get("data", {}).get(kind, "")) for o in found)


def test_the_lesson_shows_the_numbers_of_the_table():
    page = outputs("text/html")
    for cells in verdicts.shown(read(RESULTS / "claims.csv")).itertuples(index=False):
        for cell in cells:
            assert cell in page, cell


def test_no_number_of_the_results_is_typed_into_the_lessons_prose():
    prose = "\n".join(c.source for c in nbformat.read(LESSON, as_version=4).cells if c.cell_type == "markdown")
    told = prose.replace("Differences of .02, .04, .03, .05 and .01 give .0196", "")
    assert re.findall(r"(?<!\d)\.\d+|\d+\.\d+", told) == []
