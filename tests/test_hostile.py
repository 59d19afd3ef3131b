"""No wrong answer is silent: every kind of hostile input is refused by name, or repaired as stated, and touches nothing else."""

import re
import warnings

import pytest
from hostile import Refused, kinds

REFUSALS = (ValueError, OSError, ImportError, Refused)  # what the command line turns into one line and exit code 2


@pytest.fixture
def around(tmp_path, home):
    """A folder for the kind inside another that must stay as it is."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "bystander.txt").write_text("untouched")
    yield inside
    assert {p.name for p in tmp_path.iterdir()} == {"inside", "bystander.txt"}, "written outside the chosen folder"
    assert (tmp_path / "bystander.txt").read_text() == "untouched"


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: f"{kind.group}: {kind.name}")
def test_a_hostile_input_is_refused_or_repaired(kind, around, record_property):
    record_property("hostile", f"{kind.group}|{kind.name}|{'repaired' if kind.ask else 'refused'}|{kind.expect}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind.ask:
            assert kind.ask(kind.act(around)), f"not so: {kind.expect}"
            return
        with pytest.raises(REFUSALS) as caught:
            kind.act(around)
    assert re.search(kind.expect, str(caught.value)), f"{kind.expect!r} is not in: {caught.value}"


def test_there_are_as_many_kinds_as_the_readme_says_and_no_name_twice():
    names = [(kind.group, kind.name) for kind in kinds()]
    assert len(set(names)) == len(names) > 400
