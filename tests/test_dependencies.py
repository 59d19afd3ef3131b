"""What is installed: as pinned, with licences that go with ours, and no version known to do harm. Works without a network."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

CONSTRAINTS = Path(__file__).parents[1] / ".ci" / "constraints.txt"
OF_THE_MACHINE = {"pip", "setuptools", "wheel", "medclip-nb"}
COPYLEFT = re.compile(r"\b(A?GPL|Affero|GNU General Public)", re.IGNORECASE)  # the lesser one does not reach those who import it
LESSER = re.compile(r"Lesser|Library|LGPL", re.IGNORECASE)
HARMFUL = {("lightning", "2.6.2"), ("lightning", "2.6.3"), ("pytorch-lightning", "2.6.2"), ("pytorch-lightning", "2.6.3")}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(text: str) -> dict[str, str]:
    lines = (line.split("#")[0].split(";")[0].strip() for line in text.splitlines())
    return {plain(name): version for name, _, version in (line.partition("==") for line in lines if line)}


def installed() -> dict[str, metadata.Distribution]:
    return {plain(d.metadata["Name"]): d for d in metadata.distributions()}


def licences(about) -> list[str]:
    """What a distribution says of its licence; the text of one, where it fills the field, by its first line."""
    expression, free = about.get("License-Expression") or "", (about.get("License") or "").strip().split("\n")[0]
    return [c for c in about.get_all("Classifier", []) if c.startswith("License ::")] + [t for t in (expression, free) if t]


def is_copyleft(said: list[str]) -> bool:
    """Whether every licence on offer is one that reaches those who import it."""
    offers = [part for text in said for part in re.split(r"\bOR\b", text)]
    strict = [bool(COPYLEFT.search(offer)) and not LESSER.search(offer) for offer in offers]
    return bool(strict) and all(strict)


def closure() -> set[str]:
    """Names of what this package needs, with all extras, and of what that needs: others may lie in the same environment."""
    from packaging.requirements import Requirement

    here, seen, waiting = installed(), set(), [("medclip-nb", {"offline", "lab", "test"})]
    while waiting:
        name, extras = waiting.pop()
        if name in seen or name not in here:
            continue
        seen.add(name)
        for need in map(Requirement, here[name].requires or []):
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in (extras or {""})):
                waiting.append((plain(need.name), set(need.extras)))
    return seen - OF_THE_MACHINE


def test_every_pin_is_exact_and_what_is_needed_is_pinned():
    pins = pinned(CONSTRAINTS.read_text())
    assert [name for name, version in pins.items() if not version] == []
    assert closure() - set(pins) == set()


def test_what_is_installed_is_what_is_pinned():
    pins, here = pinned(CONSTRAINTS.read_text()), installed()
    other = {n: here[n].version for n in closure() if here[n].version.split("+")[0] != pins.get(n, here[n].version)}
    if len(other) > len(pins) / 4:
        pytest.skip(f"{len(other)} versions differ: this environment was not made with the constraints")
    assert other == {}


def test_no_dependency_is_under_a_licence_that_would_reach_ours():
    here = installed()
    assert {name: said for name in closure() if is_copyleft(said := licences(here[name].metadata))} == {}


@pytest.mark.parametrize(
    ("said", "strict"),
    [(["GPL-3.0-only"], True), (["License :: OSI Approved :: GNU General Public License v3 (GPLv3)"], True), (["AGPL-3.0"], True)]
    + [(["LGPL-2.1"], False), (["MIT OR GPL-2.0-only"], False), (["BSD", "GPL"], False), ([], False), (["Apache-2.0"], False)],
)
def test_the_licence_test_knows_them_apart(said, strict):
    assert is_copyleft(said) == strict


def test_nothing_known_to_do_harm_is_installed_or_pinned():
    here = {(name, d.version) for name, d in installed().items()}
    assert (here | set(pinned(CONSTRAINTS.read_text()).items())) & HARMFUL == set()


def test_torchvision_is_neither_needed_nor_pinned():
    assert "torchvision" not in closure() | set(pinned(CONSTRAINTS.read_text()))


def test_no_installed_package_lacks_another():
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    if "No module named pip" in done.stderr:
        pytest.skip("pip is not installed here")
    assert done.returncode == 0, done.stdout
