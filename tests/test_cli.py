"""Exit codes and messages of the command line; no kernel is started here."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from toy import lps_volume, write_nifti

from medclip_nb import __version__, bench, cli, config
from medclip_nb.claims import runner
from medclip_nb.claims.studies import STUDIES
from medclip_nb.data import audit, catalog, download
from medclip_nb.pages import audit_page, course


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
        (["run", "--seed", "x"], "'x' is no seed"),
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


def test_data_list_has_a_line_per_card_and_says_what_is_here(capsys, monkeypatch):
    card = {"name": "toy", "title": "Toys", "modality": "CT", "licence": "CC0", "how": "embedded"}
    monkeypatch.setattr(
        catalog, "list_cards", lambda: [card, card | {"name": "far", "how": "gated"}, card | {"name": "got", "how": "x"}]
    )
    catalog.local_copy("got").mkdir(parents=True)
    assert cli.main(["data", "list"]) == 0
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert lines == [["name", "here"], ["toy", "yes"], ["far", "-"], ["got", "yes"]]


def test_data_get_shows_the_licence_and_then_what_was_measured(capsys, home, monkeypatch):
    assert cli.main(["data", "get", "mednist"]) == 2
    assert "licence: CC BY-SA 4.0" in capsys.readouterr().err
    asked = []

    def get(name, **options):
        asked.append((name, options))
        (home / "download.json").write_text(json.dumps({"licence": "CC0", "files": [{"url": "u", "bytes": 5, "sha256": "ab"}]}))
        return home

    monkeypatch.setattr(download, "get", get)
    assert cli.main(["data", "get", "mednist", "--accept-licence", "--to", "d", "--timeout", "5"]) == 0
    assert asked == [("mednist", {"accept_licence": True, "folder": "d", "timeout_s": 5.0})]
    assert capsys.readouterr().out == f"u: 5 bytes, sha256 ab\n{home} (licence: CC0)\n"


def test_data_check_counts_what_is_there(picture_folder, capsys):
    assert cli.main(["data", "check", str(picture_folder), "--images"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{picture_folder.name}: 12 rows, 6 patients, all images opened"
    assert out[2:4] == ["  modality: not given 12", "  body_part: not given 12"]
    assert out[4:] == ["  spacing mm (slices x rows x columns): not stated (12)"]


def test_data_check_opens_images_only_when_asked_and_names_the_first_bad_row(picture_folder, capsys):
    for name in ("3.png", "7.png"):
        (picture_folder / name).write_bytes(b"no picture")
    assert cli.main(["data", "check", str(picture_folder)]) == 0
    assert cli.main(["data", "check", str(picture_folder), "--images"]) == 2
    err = capsys.readouterr().err
    assert f"{picture_folder / 'texts.csv'}: row 5, column 'image': {picture_folder / '3.png'}: " in err
    assert err.endswith("(and 1 more of 12 images)\n")


def test_data_check_says_when_patients_cross_splits_and_what_was_assumed(picture_folder, capsys):
    table = (picture_folder / "texts.csv").read_text().splitlines()
    split = ["split", *["train", "test"] * 6]
    rows = [f"{row},{s}" for row, s in zip(table, split, strict=True)]
    (picture_folder / "texts.csv").write_text("\n".join(rows))
    assert cli.main(["data", "check", str(picture_folder)]) == 0
    assert "note: 6 patients are in more than one split: see `data audit`" in capsys.readouterr().out


@pytest.mark.parametrize(("severity", "code"), [("serious", 1), ("warning", 0), ("note", 0)])
def test_data_audit_groups_by_severity_and_fails_only_for_what_is_serious(picture_folder, capsys, monkeypatch, severity, code):
    found = pd.DataFrame({"check": ["leak"], "severity": [severity], "rows": [[1, 2]], "what": ["two rows"], "advice": ["drop"]})
    monkeypatch.setattr(audit, "audit", lambda table: found)
    monkeypatch.setattr(audit_page, "write_page", lambda found, table, path: path)
    assert cli.main(["data", "audit", str(picture_folder)]) == code
    out = capsys.readouterr().out.splitlines()
    assert out[out.index(f"{severity}: 1") + 1] == "  leak (2 rows): two rows"
    assert out[-1] == str(config.reports_dir() / f"audit-{picture_folder.name}.html")


def test_data_audit_looks_at_what_strict_reading_refuses(picture_folder, tmp_path, capsys):
    (picture_folder / "3.png").unlink()
    assert cli.main(["data", "check", str(picture_folder)]) == 2
    assert cli.main(["data", "audit", str(picture_folder), "-o", str(tmp_path / "page.html")]) == 1
    assert "3.png" in (tmp_path / "page.html").read_text()


def test_the_cache_is_measured_and_cleared(home, capsys):
    file = home / "artifacts" / "cache" / "a" / "b.npy"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"0" * 2_000_000)
    assert [cli.main(argv) for argv in (["cache"], ["cache", "clear"], ["cache"])] == [0, 0, 0]
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{file.parents[1]}: 1 files, 2.0 MB", "freed 2.0 MB", f"{file.parents[1]}: 0 files, 0.0 MB"]


DATA_COMMANDS = [
    "data",
    "data list",
    "data get",
    "data check",
    "data audit",
    "data organs",
    "data deidentify",
    "cache",
    "cache clear",
]


@pytest.mark.parametrize("command", ["", "run", "experiment", *DATA_COMMANDS, "claims", "bench", "lab", "check"])
def test_every_help_has_an_example(command, capsys):
    assert cli.main([*command.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert f"examples:\n  medclip-nb {command}".rstrip() in out


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"medclip-nb {__version__}\n"


def test_the_command_line_imports_nothing_heavy():
    code = "import sys, medclip_nb.cli; print([m for m in ('torch','pandas','numpy','nbformat','papermill') if m in sys.modules])"
    root = str(Path(config.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"


def test_check_says_what_one_file_says(tmp_path, capsys):
    path = write_nifti(tmp_path / "v.nii.gz", lps_volume(), "RAS")
    assert cli.main(["data", "check", str(path)]) == 0
    said = capsys.readouterr().out
    assert "6 x 10 x 8 voxels (slices x rows x columns)" in said
    assert "orientation: RAS" in said


def test_check_of_images_says_their_spacings(tmp_path, capsys):
    write_nifti(tmp_path / "v.nii.gz", lps_volume(), "LPS")
    (tmp_path / "texts.csv").write_text("image,text,modality\nv.nii.gz,a scan,CT\n")
    assert cli.main(["data", "check", str(tmp_path), "--images"]) == 0
    said = capsys.readouterr().out
    assert "spacing mm (slices x rows x columns): " in said
    assert "(1)" in said


def test_benchmarks_print_tables_and_write_json_and_a_figure(monkeypatch, capsys, home):
    monkeypatch.setattr(bench, "BENCHES", {"loss_memory": "losses"})
    assert cli.main(["bench", "loss_memory", "--quick"]) == 0
    said, path = capsys.readouterr().out, home / "reports" / "bench.json"
    assert re.search(r"^what +ours +rival +unit +ratio +budget +met +note$", said, re.M)
    assert re.search(r"^growth of memory of the loss +1.0 .* 1.1 +yes ", said, re.M)
    assert re.search(r"^memory of the loss, MiB +256 +512 +1,024 +exponent$", said, re.M)
    assert "small sizes (--quick)" in said
    assert said.endswith(f"{path}\n{path.with_suffix('.png')}\n")
    assert len(json.loads(path.read_text())["rows"]) == 2
    assert path.with_suffix(".png").stat().st_size > 0


def test_an_unknown_benchmark_is_one_line_that_names_them_all(capsys):
    assert cli.main(["bench", "two"]) == 2
    assert f"unknown benchmark 'two'; choose from: {', '.join(bench.BENCHES)}" in capsys.readouterr().err


def test_the_help_of_bench_names_them_all(capsys):
    assert cli.main(["bench", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert ", ".join(bench.BENCHES) in said


@pytest.fixture
def studied(monkeypatch, home) -> list:
    """What `runner.run` is asked for; it measures nothing and saves a toy. Shipped notebooks lie in the temporary home."""
    asked = []

    def run(names, *, into, **settings):
        asked.append((names, settings))
        found = {"toy": pd.DataFrame({"variant": ["a"], "value": [0.123456]})}
        runner.save(found, into)
        return found

    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr(config, "shipped", lambda folder: home / folder)
    return asked


def test_claims_write_a_table_and_say_where(studied, capsys, home):
    assert cli.main(["claims", "toy", "--preset", "smoke", "--seed", "4", "2", "4"]) == 0
    assert studied == [(["toy"], {"preset": "smoke", "seeds": (4, 2)})]
    file = home / "reports" / "claims" / "toy.csv"
    assert capsys.readouterr().out == f"{file}\n{file.with_name('claims.csv')}\n"
    assert file.read_text() == "variant,value\na,0.1235\n"


def test_claims_go_where_they_are_told(studied, capsys, home):
    assert cli.main(["claims", "-o", str(home / "here")]) == 0
    assert (home / "here" / "toy.csv").exists()
    names = [name for name, study in STUDIES.items() if not study.data]
    assert studied == [(names, {"preset": "cpu", "seeds": (0, 1, 2, 3, 4)})]
    assert "pictures is left out: `medclip-nb data get medpix2` first\n" in capsys.readouterr().err


def test_a_named_study_whose_data_are_not_here_is_refused_with_how_to_get_them(capsys, home):
    assert cli.main(["claims", "stacks", "--preset", "smoke"]) == 2
    assert "medpix2" in capsys.readouterr().err
    assert not (home / "artifacts" / "claims").exists()


def test_committed_claims_go_beside_the_lessons(studied, home):
    assert cli.main(["claims", "toy", "--commit"]) == 0
    assert (home / "notebooks" / "results" / "toy.csv").exists()


@pytest.mark.parametrize("options", [["--seed", "0"], ["--seed", "0", "0", "0"], ["--seed", "0", "1"], ["--preset", "smoke"]])
def test_claims_of_few_seeds_or_little_work_are_not_committed(studied, capsys, options):
    assert cli.main(["claims", "--commit", *options]) == 2
    err = capsys.readouterr().err
    assert err == "medclip-nb: error: --commit goes with preset cpu and at least three different seeds\n"
    assert studied == []


def test_an_unknown_study_lists_the_known_and_runs_nothing(capsys, home):
    assert cli.main(["claims", "slices", "tea_leaves", "--preset", "smoke"]) == 2
    assert "error: unknown study 'tea_leaves'; choose one of: slices, slices_search, towers, pooling" in capsys.readouterr().err
    assert not (home / "artifacts").exists()
