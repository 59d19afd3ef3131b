"""The audit's page: self-contained, escaped, and with the images that a finding speaks of."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medclip_nb.data.audit import audit
from medclip_nb.data.manifest import read_manifest, save_manifest
from medclip_nb.pages.audit_page import MOST_IMAGES, write_page

BAD = "<script>alert('x')</script>"


@pytest.fixture
def table(tmp_path):
    """Thirty pictures, each twice under another name and another patient; the texts try to break the page."""
    rng = np.random.default_rng(0)
    for i in range(30):
        Image.fromarray(rng.integers(0, 255, (24, 20), np.uint8)).save(tmp_path / f"{i}.png")
    rows = {"study_id": [f"{BAD}{i}" for i in range(60)], "patient_id": [f"p{i}" for i in range(60)]}
    rows |= {
        "image": [f"{i % 30}.png" for i in range(60)],
        "report": [f"{BAD} report of {i % 30} and {i % 30 + 9}" for i in range(60)],
    }
    return read_manifest(save_manifest(pd.DataFrame(rows), tmp_path / "manifest.csv"), lenient=True)


@pytest.fixture
def page(table, tmp_path) -> str:
    return write_page(audit(table), table, tmp_path / "audit.html").read_text(encoding="utf-8")


def section(page: str, check: str) -> str:
    (found,) = [s for s in page.split("<section")[1:] if f"<h3>{check} " in s]
    return found


def test_the_page_needs_nothing_from_outside_and_runs_nothing(page):
    assert "<script" not in page
    assert re.findall(r"""(?:src|href)=["'](?!data:image/png|#)""", page) == []
    assert "&lt;script&gt;" in page


def test_counts_come_first_and_lead_to_what_they_count(page):
    counted = re.findall(r"<strong>\d+</strong> <a href=\"#(\w+)\"", page)
    assert counted == ["serious", "warning", "note"]
    assert all(f'<h2 id="{severity}">' in page for severity in counted)
    assert page.index("<strong>") < page.index("<section")


def test_copies_stand_side_by_side_and_there_are_not_too_many(page):
    copies = section(page, "Identical images")
    groups = re.findall(r'<div class="group several">(.*?)</div>', copies, re.DOTALL)
    pictures = [re.findall(r"data:image/png;base64,([^\"]+)", group) for group in groups]
    assert copies.count("<img") == MOST_IMAGES
    assert all(len(pair) == 2 and pair[0] == pair[1] for pair in pictures)
    assert copies.count("alert(") > 60


def test_reports_are_shown_where_the_finding_is_about_them(page):
    assert "report of 0 and 9" in section(page, "Identical reports")
    assert "report of 0 and 9" not in section(page, "Identical images")


def test_images_that_are_missing_broken_or_outside_are_said_not_shown(table, tmp_path):
    (tmp_path / "root").mkdir()
    Image.new("L", (20, 20)).save(tmp_path / "secret.png")
    (tmp_path / "root" / "broken.png").write_bytes(b"no picture")
    table = table.head(3).assign(image=["../secret.png", "gone.png", "broken.png"])
    table = read_manifest(save_manifest(table, tmp_path / "root" / "manifest.csv"), lenient=True)
    page = write_page(audit(table), table, tmp_path / "audit.html").read_text(encoding="utf-8")
    assert page.count("not opened") == 2
    assert page.count("cannot be read</div>") == 1
    assert "<img" not in page


def test_some_of_the_findings_and_none_make_a_page_too(table, tmp_path):
    found = audit(table)
    serious = found[found["severity"] == "serious"]
    assert write_page(serious, table, tmp_path / "a.html").read_text(encoding="utf-8").count("<section") == len(serious)
    assert "Nothing was found" in write_page(found[:0], table, tmp_path / "b.html").read_text(encoding="utf-8")


def test_a_volume_is_shown_in_two_views(torso, tmp_path):
    found = audit(torso.manifest)
    page = write_page(found, torso.manifest, tmp_path / "audit.html").read_text(encoding="utf-8")
    assert 0 < page.count("<img") <= MOST_IMAGES * len(found)
