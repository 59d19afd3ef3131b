"""The README's section on security: each claim names tests, and each of them exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Security and privacy\n")[2].partition("\n## ")[0]
ROWS = [line.strip("| ").split(" | ") for line in SECTION.splitlines() if line.startswith("| ")][1:]
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", SECTION)))
NOTHING_TO_TEST = "(nothing to test)"


def test_there_are_claims_and_each_names_a_test_or_says_that_it_has_none():
    assert len(ROWS) >= 10
    assert [
        claim for claim, tests in ROWS if not re.search(r"`test_\w+\.py::test_\w+`", tests) and tests != NOTHING_TO_TEST
    ] == []
    assert sum(tests == NOTHING_TO_TEST for _, tests in ROWS) == 1


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_the_named_test_exists(file, name):
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
