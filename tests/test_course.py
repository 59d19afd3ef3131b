"""Running lessons and what becomes of them, on tiny throw-away notebooks."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from medclip_nb import config
from medclip_nb.pages import course, site
from medclip_nb.pages.execute import literals
from medclip_nb.pages.render import cells_html, markdown_html, math_html, sections
from medclip_nb.pages.tidy import committed, scrub

PARAMETERS = 'PRESET = "cpu"\nSEED = 0\nDATASET = "torso"'
FINISH = """import json
from medclip_nb import config
folder = config.run_dir("01", preset=PRESET, dataset=DATASET, seed=SEED)
folder.mkdir(parents=True, exist_ok=True)
figure = dict(name="R@1 <i>", value=0.61, low=0.55, high=0.66, n=200, unit="patients", chance=0.05, key=True)
_ = (folder / "metrics.json").write_text(json.dumps(dict(synthetic=True, figures=[figure], versions={}, thumbnail=None)))"""
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def write_lesson(folder: Path, name: str, cells: list[str], *, title: str = "A title", needs: tuple[str, ...] = ()):
    new = nbformat.v4
    parameters = new.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    first = new.new_markdown_cell(f"# {name[:2]} · {title}\n\n> Is it *so*?\n\nText.")
    body = [new.new_markdown_cell(c[3:]) if c.startswith("md:") else new.new_code_cell(c) for c in cells]
    notebook = new.new_notebook(cells=[first, parameters, *body], metadata={"medclip_nb": {"needs": list(needs)}})
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")


@pytest.fixture
def notebooks(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(config, "shipped", lambda folder: tmp_path / folder)
    return tmp_path / "notebooks"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Three lessons, run once: one that works, one that fails, one that needs the failing one."""
    root = tmp_path_factory.mktemp("course")
    here = "import os, sys; print(PRESET, SEED, DATASET); print(os.getcwd()); print('oops', file=sys.stderr)"
    write_lesson(root / "notebooks", "01_good", ["md:## Part one", here, FINISH], title="Good <script>alert(1)</script>")
    write_lesson(root / "notebooks", "02_bad", ["1 + 1", "raise KeyError('organ')", "print('never')"])
    mark = "from medclip_nb import config; print((config.reports_dir() / '02_bad.html').exists())"
    write_lesson(root / "notebooks", "03_needy", [mark], needs=("02",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDCLIP_NB_HOME", str(root / "home"))
        patch.setattr(config, "shipped", lambda folder: root / folder)
        stale = config.run_dir("03", preset="smoke", dataset="torso", seed=3) / "metrics.json"
        stale.parent.mkdir(parents=True)
        stale.write_text('{"figures": [{"name": "old", "value": 1}]}')
        outcomes = course.run_course(preset="smoke", seed=3)
        yield outcomes, root / "home" / "reports"


def output_text(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "".join(o.get("text", "") for c in cells if c.cell_type == "code" for o in c.outputs)


def test_parameters_reach_the_notebook(ran):
    assert "smoke 3 torso" in output_text(ran[1] / "01_good.ipynb")


def test_a_failing_lesson_names_its_cell_and_the_others_run(ran):
    errors = {o.number: o.error for o in ran[0]}
    assert errors == {"01": None, "02": "cell [4]: KeyError: 'organ'", "03": None}
    page = (ran[1] / "02_bad.html").read_text()
    assert "This lesson stopped" in page
    assert "not run" in page


def test_a_lesson_waits_for_what_it_needs(ran):
    assert "True" in output_text(ran[1] / "03_needy.ipynb")


def test_the_index_shows_key_figure_interval_and_failure(ran):
    index = (ran[1] / "index.html").read_text()
    assert "0.61" in index
    assert "0.55 to 0.66" in index
    assert "chance 0.05" in index
    assert "KeyError: &#39;organ&#39;" in index
    assert "preset smoke" in index


def test_pages_escape_titles_and_figures_and_hold_no_script(ran):
    for page in ran[1].glob("*.html"):
        assert "<script" not in page.read_text().lower()
    page = (ran[1] / "01_good.html").read_text()
    assert "Good &lt;script&gt;alert(1)" in page
    assert "R@1 &lt;i&gt;" in page


def test_pages_load_nothing_from_the_network(ran):
    for page in ran[1].glob("*.html"):
        text = page.read_text()
        assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text.replace("&#39;", "'")
        assert not re.search(r"(src|<link[^>]*href)\s*=\s*[\"']?(https?:)?//|url\(|@import", text)


def test_reports_hold_no_folder_of_this_machine(ran):
    for path in filter(Path.is_file, ran[1].rglob("*")):
        assert str(ran[1].parents[1]) not in path.read_text()
        assert "papermill" not in path.read_text()
    assert "medclip_nb_" not in output_text(ran[1] / "01_good.ipynb")


def test_an_unchanged_metrics_file_of_an_earlier_run_is_not_shown(ran):
    assert ran[0][2].metrics == {}


def test_a_later_run_keeps_the_other_lessons_on_the_index(tmp_path):
    for number in ("05", "11"):
        outcome = site.Outcome(number, f"{number}_x", f"Title {number}", "", "cpu", "torso", 0, 1.0, "2026-01-02T03:04:05")
        site.write_report(nbformat.v4.new_notebook(), outcome, tmp_path)
        site.write_index(tmp_path)
    index = (tmp_path / "index.html").read_text()
    assert "Title 05" in index
    assert "Title 11" in index


def test_committed_outputs_are_numbered_from_one_without_stderr(notebooks):
    show = "import sys; print('warn', file=sys.stderr); 6 * 7"
    write_lesson(notebooks, "01_good", [show])
    before = nbformat.read(notebooks / "01_good.ipynb", as_version=4)
    course.render_committed("01")
    after = nbformat.read(notebooks / "01_good.ipynb", as_version=4)
    assert [c.source for c in after.cells] == [c.source for c in before.cells]
    assert [c.metadata for c in after.cells] == [c.metadata for c in before.cells]
    assert [c.execution_count for c in after.cells if c.cell_type == "code"] == [1, 2]
    assert [o.data["text/plain"] for o in after.cells[-1].outputs] == ["42"]


def test_an_unknown_lesson_lists_the_known(notebooks):
    write_lesson(notebooks, "05_x", [])
    with pytest.raises(ValueError, match="unknown lesson '07'; known lessons: 05"):
        course.choose(["7"])


def test_a_lesson_for_its_own_data_is_left_out_of_a_run_on_other_data(notebooks):
    write_lesson(notebooks, "01_any", [])
    write_lesson(notebooks, "02_own", [])
    path = notebooks / "02_own.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["medclip_nb"] = {"own_data": "it needs masks"}
    nbformat.write(notebook, path)
    numbers = lambda *given: [lesson.number for lesson in course.fitting(*given)]  # noqa: E731
    assert numbers(None, None) == ["01", "02"]
    assert numbers(None, "other") == ["01"]
    with pytest.raises(ValueError, match="lesson 02 runs on its own data only: it needs masks"):
        numbers(["02"], "other")


def test_a_notebook_without_parameters_cell_is_refused_before_anything_runs(notebooks):
    notebooks.mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(), notebooks / "01_x.ipynb")
    with pytest.raises(ValueError, match="01_x.ipynb: no cell tagged 'parameters' that sets PRESET, SEED, DATASET"):
        course.run_course(preset="smoke")


def test_a_circle_of_needs_is_named(notebooks):
    write_lesson(notebooks, "01_a", [], needs=("02",))
    write_lesson(notebooks, "02_b", [], needs=("01",))
    with pytest.raises(ValueError, match="circle: 0"):
        course.run_course(preset="smoke")


def test_an_interrupt_ends_the_kernels_and_leaves_whole_files(tmp_path):
    write_lesson(
        tmp_path / "notebooks",
        "01_slow",
        ["import os, pathlib, time", "pathlib.Path(DATASET).write_text(str(os.getpid()))", "time.sleep(99)"],
    )
    pid_file = tmp_path / "pid.txt"
    code = (
        "import sys, pathlib; from medclip_nb import cli, config\n"
        f"config.shipped = lambda f: pathlib.Path({str(tmp_path)!r}) / f\n"
        f"cli._dataset = lambda name, preset: name\nsys.exit(cli.main(['run', '--preset', 'smoke', '--data', {str(pid_file)!r}]))"
    )
    env = os.environ | {"MEDCLIP_NB_HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(config.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-c", code], env=env, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: pid_file.exists() and pid_file.read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130  # on a busy machine, whose kernels start slowly
    assert process.stderr.read().strip().splitlines()[-1] == "medclip-nb: interrupted"
    wait_for(lambda: not alive(int(pid_file.read_text())))
    assert not list(tmp_path.rglob("*.part"))


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited 60 s in vain"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    import psutil

    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_figure_is_named_by_its_cell_or_by_the_heading_above():
    new = nbformat.v4
    image = new.new_output("display_data", {"image/png": PNG})
    cells = [new.new_markdown_cell('## Where it "is"'), new.new_code_cell("x", outputs=[image])]
    named = new.new_code_cell("x", outputs=[image], metadata={"alt": "a <b> map"})
    html = cells_html(new.new_notebook(cells=[*cells, named]))
    assert re.findall('alt="([^"]*)"', html) == ["Where it &quot;is&quot;", "a &lt;b&gt; map"]
    assert [title for _, title in sections(html)] == ["Where it &quot;is&quot;"]


def test_equations_are_drawn_and_unknown_commands_stay_as_written():
    assert 'aria-label="x_i"' in markdown_html("Take $x_i$.")
    assert math_html(r"\unknown{x}", block=True) == r'<code class="math">\unknown{x}</code>'


def test_scripts_in_outputs_show_as_text():
    output = nbformat.v4.new_output("display_data", {"text/html": "<b>a</b><SCRIPT>x</SCRIPT ><b>c</b>"})
    html = cells_html(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output])]))
    assert "<b>a</b>&lt;SCRIPT&gt;x" in html
    assert "<script" not in html.lower()


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("/home/me/data/x.csv", "data/x.csv"),
        ("File \x1b[32m/home/me/a.py:3", "File \x1b[32m~/a.py:3"),
        ("/home/mellow and https://example.org/home/me", "/home/mellow and https://example.org/home/me"),
        ("/tmp/ipykernel_12/345.py:2: UserWarning", "cell:2: UserWarning"),
    ],
)
def test_folders_are_replaced_only_where_they_are_folders(text, clean):
    assert scrub(text, {"/home/me/data": "data", "/home/me": "~"}) == clean


def test_numbers_and_times_read_well():
    numbers = [site.number_text(v) for v in (0.6123, 0.0134, 12.34, 1204, -0.25, None, float("nan"))]
    assert numbers == ["0.61", "0.013", "12.3", "1,204", "−0.25", "–", "–"]
    assert [site.duration_text(s) for s in (8.21, 59.7, 185, 3720)] == ["8.2 s", "1 min 00 s", "3 min 05 s", "1 h 02 min"]


def test_literals_reads_plain_and_annotated_assignments():
    assert literals('A = 1\nB: str = "x"  # help') == {"A": 1, "B": "x"}


def test_committing_refuses_a_run_of_another_notebook():
    one = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    with pytest.raises(ValueError, match="zip"):
        committed(one, nbformat.v4.new_notebook())


def test_outcomes_survive_the_notebook(tmp_path):
    outcome = site.Outcome("05", "05_x", "T", "Q", "cpu", "torso", 0, 1.0, "2026-01-02", metrics={"figures": [{"value": 1}]})
    site.write_report(nbformat.v4.new_notebook(), outcome, tmp_path)
    (tmp_path / "06_foreign.ipynb").write_text(json.dumps({"cells": []}))
    assert site.read_outcomes(tmp_path) == [outcome]
