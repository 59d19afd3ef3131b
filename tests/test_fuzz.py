"""Properties that hold for any input: files of mutated bytes, tables, reports, findings. `fuzz/run.py` goes on with coverage."""

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties import FILES, dataset_or_refused, read_or_refused, report_holds, similarity_holds, table_or_refused

from medclip_nb.text import reports

FEW = settings(max_examples=30, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
SOME = settings(FEW, max_examples=60)
HEADER = b"study_id,patient_id,modality,image,report,split\n"
TABLE = HEADER + 'a,p,CT,a.png,"one, two",train\nb,q,CT,b.png,"a ""ß"" line",test\n'.encode()
VALID = [(name, content) for name, contents in FILES.items() for content in contents]
# what fuzzing found, kept: a tag inside one that is never closed made a tag of the rest when cleaned again
REPORTS = ["1. ;Ple b0 no <b>Cardiomegaly?</b.\n• <b>C/aS: No nodule. >\x00\x00°", "nodule <a 5 mm, mass <b>6 mm</b> >7 mm"]
PIECES = [
    "no ", "left ", "right ", "nodule", "12 x 8 mm ", "liver", ", ", ". ", "\n", "FINDINGS:", "IMPRESSION: ", "and ", "without ",
    "<b>", "</b", ">", "&lt;", "?", "1. ", "– ", "İ", "ß", "\x00", "\u2028", "\ud800", "0.5 cm", "(", ")", "•",
]  # fmt: skip


@st.composite
def mutated(draw, valid):
    """Bytes of a valid input with some changed, cut out, doubled or cut off."""
    data = bytearray(draw(st.sampled_from(valid)) if isinstance(valid, list) else valid)
    for _ in range(draw(st.integers(1, 6))):
        at, how = draw(st.integers(0, max(0, len(data) - 1))), draw(st.sampled_from(["set", "cut", "double", "end"]))
        length = draw(st.integers(1, 8))
        data[at : at + length] = {
            "set": draw(st.binary(min_size=length, max_size=length)), "cut": b"", "double": data[at : at + length] * 2,
            "end": data[at : at + length],
        }[how]  # fmt: skip
        if how == "end" and draw(st.booleans()):
            del data[at:]
    return bytes(data)


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith(".npz")])
@FEW
@given(data=st.data())
def test_a_mutated_image_file_is_an_image_or_refused(name, data):
    read_or_refused(name, data.draw(mutated(FILES[name])))


@pytest.mark.parametrize(("name", "content"), VALID)
def test_what_is_mutated_was_valid(name, content):
    assert (dataset_or_refused if name.endswith(".npz") else read_or_refused)(name, content) is not None


@FEW
@given(mutated(FILES["organamnist.npz"]))
def test_a_mutated_archive_of_images_is_a_dataset_or_refused(data):
    dataset_or_refused("organamnist.npz", data)


def test_an_archive_whose_checksum_is_wrong_is_refused():
    (valid,) = FILES["organamnist.npz"]
    at = valid.rindex(b"\x93NUMPY")
    assert dataset_or_refused("organamnist.npz", valid[:at] + b"\x00" + valid[at + 1 :]) is None


@pytest.mark.parametrize("lenient", [False, True])
@FEW
@given(data=mutated(TABLE))
def test_a_mutated_table_is_a_manifest_or_refused(lenient, data):
    table_or_refused(data, lenient=lenient)


@FEW
@given(st.lists(st.lists(st.text(max_size=8), min_size=6, max_size=6), max_size=4))
def test_a_table_of_random_cells_is_a_manifest_or_refused(rows):
    cells = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    table_or_refused(HEADER + "\n".join(cells).encode(errors="replace"))


def test_the_table_that_is_mutated_was_valid():
    assert len(table_or_refused(TABLE)) == 2


@SOME
@given(st.text(max_size=200))
def test_any_text_can_be_read_as_a_report(text):
    report_holds(text)


@SOME
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_any_row_of_what_reports_are_made_of_can_be_read(text):
    report_holds(text)


@pytest.mark.parametrize("text", REPORTS)
def test_what_fuzzing_found_in_reports_stays_mended(text):
    report_holds(text)


def n_calls(text: str) -> int:
    """Calls of Python and C functions while a report is read; what happens inside one regular expression is not seen."""
    reports._read.cache_clear()
    count = 0

    def tick(*_):
        nonlocal count
        count += 1

    sys.setprofile(tick)
    try:
        reports.findings(text)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("piece", ["No left nodule, 5 mm. ", "<b", "a < b > ", "FINDINGS:\n", "is seen and is not seen, ", "?,"])
def test_a_report_twice_as_long_takes_at_most_thrice_the_work(piece):
    assert n_calls(piece * 400) <= 3 * n_calls(piece * 200)


WORDS = st.sampled_from(["left lung", "liver", "", "high signal", "低信号", "a b", "mass"])


@FEW
@given(st.lists(st.lists(st.tuples(WORDS, WORDS), max_size=4), max_size=6))
def test_similarities_are_what_they_are_said_to_be(found):
    similarity_holds(found)
