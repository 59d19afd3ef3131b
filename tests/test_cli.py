"""Exit codes and messages of the command line; no kernel is started here."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from medclip_nb import __version__, cli, config
from medclip_nb.data import catalog
from medclip_nb.lesson import course


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def calls(monkeypatch) -> list:
    """Arguments of every `run_course`, which runs nothing; lesson 02 fails if it is asked for."""
    seen = []

    def run(numbers, **settings):
        seen.append((numbers, settings))
        return [SimpleNamespace(error="broke" if "02" in numbers else None)]

    monkeypatch.setattr(course, "run_course", run)
    return seen


def test_a_run_hands_its_options_on_and_says_where_the_index_is(calls, capsys, home):
    assert cli.main(["run", "05", "--preset", "smoke", "--seed", "3"]) == 0
    assert calls == [(["05"], {"preset": "smoke", "dataset": None, "seed": 3})]
    assert capsys.readouterr().out == f"{home / 'reports' / 'index.html'}\n"


def test_a_failing_lesson_makes_exit_code_one(calls):
    assert cli.main(["run", "02"]) == 1


def test_data_that_is_a_path_becomes_absolute_before_it_runs(calls, picture_folder, monkeypatch):
    monkeypatch.chdir(picture_folder.parent)
    cli.main(["run", "05", "--preset", "smoke", "--data", picture_folder.name])
    assert calls[0][1]["dataset"] == str(picture_folder)


def test_a_known_name_stays_a_name_even_beside_a_folder_of_that_name(calls, home, monkeypatch):
    monkeypatch.chdir(home)
    (home / "torso").mkdir()
    cli.main(["run", "05", "--data", "torso"])
    assert calls[0][1]["dataset"] == "torso"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["run", "--data", "no/such/folder"], "no/such/folder"),
        (["run", "05", "--commit", "--preset", "smoke"], "--commit goes with preset cpu"),
        (["run", "--preset", "huge"], "invalid choice: 'huge'"),
        (["run", "--seed", "x"], "invalid int value: 'x'"),
        (["fly"], "invalid choice: 'fly'"),
        ([], "required"),
    ],
)
def test_errors_are_one_line_and_exit_code_two(argv, says, calls, capsys):
    assert cli.main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("medclip-nb: error: ")
    assert says in err
    assert err.count("\n") == 1
    assert not calls


def test_an_unknown_lesson_lists_the_known(capsys, home, monkeypatch):
    monkeypatch.setattr(config, "shipped", lambda folder: home / folder)
    assert cli.main(["run", "77"]) == 2
    assert capsys.readouterr().err == "medclip-nb: error: unknown lesson '77'; known lessons: none\n"


@pytest.mark.parametrize("argv", [["--debug", "run"], ["run", "--debug"]])
def test_debug_shows_the_traceback(argv, capsys, monkeypatch):
    monkeypatch.setattr(course, "run_course", lambda *a, **k: 1 / 0 if not a else (_ for _ in ()).throw(OSError("disk full")))
    assert cli.main(argv) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("medclip-nb: error: disk full\n")


def test_an_interrupt_is_exit_code_130(capsys, monkeypatch):
    monkeypatch.setattr(course, "run_course", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    assert cli.main(["run"]) == 130
    assert capsys.readouterr().err == "medclip-nb: interrupted\n"


def test_data_list_has_a_line_per_card(capsys, monkeypatch):
    card = {"name": "toy", "title": "Toys", "modality": "CT", "licence": "CC0", "how": "embedded"}
    monkeypatch.setattr(catalog, "list_cards", lambda: [card, SimpleNamespace(**card | {"name": "other"})])
    assert cli.main(["data", "list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["name", "toy", "other"]


@pytest.mark.parametrize("argv", [[], ["run"], ["data"], ["data", "list"], ["lab"]])
def test_every_help_has_an_example(argv, capsys):
    assert cli.main([*argv, "--help"]) == 0
    out = capsys.readouterr().out
    assert "examples:\n  medclip-nb" in out


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"medclip-nb {__version__}\n"


def test_the_command_line_imports_nothing_heavy():
    code = "import sys, medclip_nb.cli; print([m for m in ('torch','pandas','numpy','nbformat','papermill') if m in sys.modules])"
    root = str(Path(config.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"


def test_lab_from_a_wheel_copies_notebooks_and_overwrites_none(home, monkeypatch):
    package = home / "site" / "medclip_nb"
    (package / "notebooks").mkdir(parents=True)
    for name in ("01_a.ipynb", "02_b.ipynb"):
        (package / "notebooks" / name).write_text("shipped")
    monkeypatch.setattr(cli, "__file__", str(package / "cli.py"))
    monkeypatch.setattr(config, "shipped", lambda folder: package / folder)
    (home / "my_notebooks").mkdir()
    (home / "my_notebooks" / "01_a.ipynb").write_text("mine")
    assert cli.writable_notebooks() == home / "my_notebooks"
    assert [p.read_text() for p in sorted((home / "my_notebooks").iterdir())] == ["mine", "shipped"]


def test_lab_in_a_checkout_opens_the_notebooks_in_place(monkeypatch):
    monkeypatch.setattr(config, "shipped", lambda folder: Path("/elsewhere") / folder)
    assert cli.writable_notebooks() == Path("/elsewhere/notebooks")
