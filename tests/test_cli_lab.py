"""`medclip-nb check` in broken environments, and what `medclip-nb lab` starts; no JupyterLab is started here."""

import json
import os
import socket
import subprocess
import sys
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pytest

from medclip_nb import checkup, cli, config
from medclip_nb.cli import lab as lab_command
from medclip_nb.pages import course, run_times
from medclip_nb.pages.site import Outcome, write_report

GIB = checkup.GIB


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def installed(monkeypatch) -> dict:
    """What metadata says is installed: a project that wants two packages, both there, and an extra of one."""
    here = {"numpy": "2.1", "torch": "2.7.0+cpu", "jupyterlab": "4.4", "minilm": "1"}

    def version(name):
        if name not in here:
            raise metadata.PackageNotFoundError(name)
        return here[name]

    wants = [
        "numpy>=2.0",
        "torch<2.14,>=2.6",
        'jupyterlab>=4.3; extra == "lab"',
        'minilm; extra == "offline"',
        'old; os_name=="x"',
    ]
    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", lambda name: wants)
    return here


def states(findings) -> dict[str, str]:
    return {f.name: f.state for f in findings}


def test_what_is_in_its_range_is_in_order(installed):
    found = [f for extra in checkup.EXTRAS for f in checkup.packages(extra)]
    assert states(found) == {"packages": "ok", "weights": "ok", "jupyterlab": "ok"}
    assert found[0].found == "numpy 2.1, torch 2.7.0+cpu"


@pytest.mark.parametrize(
    ("change", "extra", "state", "says", "mends"),
    [
        ({"numpy": "1.26.4"}, "", "problem", "numpy 1.26.4, wanted >=2.0", 'pip install "numpy>=2.0"'),
        ({"numpy": None}, "", "problem", "numpy is missing", 'pip install "numpy>=2.0"'),
        ({"minilm": None}, "offline", "problem", "minilm is missing", 'pip install "minilm"'),
        ({"jupyterlab": None}, "lab", "warning", "jupyterlab is missing", 'pip install "jupyterlab>=4.3"'),
        ({"torch": "2.20"}, "", "problem", "torch 2.20, wanted <2.14,>=2.6", "https://download.pytorch.org/whl/cpu"),
    ],
)
def test_a_missing_or_wrong_package_is_named_with_the_command_that_mends_it(
    installed, monkeypatch, change, extra, state, says, mends
):
    monkeypatch.setattr(checkup.shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "platform", "linux")
    for name, version in change.items():
        installed[name] = version
    (found,) = checkup.packages(extra)
    assert (found.state, found.found) == (state, says)
    assert mends in found.remedy
    assert found.remedy.startswith(checkup.PIP)


def test_a_torch_beside_a_gpu_is_not_sent_to_the_cpu_build(installed, monkeypatch):
    monkeypatch.setattr(checkup.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    del installed["torch"]
    assert "whl/cpu" not in checkup.packages("")[0].remedy


def test_a_python_that_is_too_old_is_a_problem(monkeypatch):
    monkeypatch.setattr(checkup.platform, "python_version", lambda: "3.9.1")
    found = checkup.python()
    assert found.state == "problem"
    assert found.found.startswith("3.9.1, wanted >=3.11")


def test_a_package_that_was_never_installed_says_how_to_install_it(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", absent)
    (found,) = checkup._look({"python": checkup.python})
    assert found.state == "problem"
    assert '-e ".[offline,lab]"' in found.remedy


def test_a_check_that_cannot_import_what_it_needs_is_a_finding_not_a_crash(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    (found,) = checkup._look({"memory": checkup.memory})
    assert (found.name, found.state) == ("memory", "problem")
    assert found.remedy.endswith("psutil")


Memory = namedtuple("Memory", "available")


@pytest.fixture
def measured(tmp_path, monkeypatch) -> list[run_times.RunTime]:
    """Shipped times of two lessons: smoke took 1 GiB each, cpu 2 and 3."""
    rows = [("smoke", "01", 10.0, 1024), ("smoke", "02", 20.0, 1024), ("cpu", "01", 60.0, 2048), ("cpu", "02", 90.0, 3072)]
    times = [run_times.RunTime(*row, benchmark_s=0.5) for row in rows]
    monkeypatch.setattr(run_times, "shipped", lambda: times)
    return times


@pytest.mark.parametrize(("gib", "state"), [(8, "ok"), (5, "ok"), (4.9, "warning"), (1.9, "problem")])
def test_memory_is_held_against_what_two_lessons_took_at_once(measured, monkeypatch, gib, state):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(gib * GIB))
    found = checkup.memory()
    assert found.state == state
    assert "2.0 at smoke, 5.0 at cpu" in found.found
    assert bool(found.remedy) == (state != "ok")


@pytest.mark.parametrize("home", ["/proc/nowhere", "/dev/null/x"])
def test_a_home_that_cannot_be_written_to_is_a_problem(monkeypatch, home):
    if not Path("/proc/self").exists():
        pytest.skip("no /proc on this system")
    monkeypatch.setenv("MEDCLIP_NB_HOME", home)
    (found,) = checkup._look({"disk": checkup.disk})
    assert found.state == "problem"
    assert "MEDCLIP_NB_HOME=" in found.remedy


def test_a_full_disk_is_a_problem_and_the_check_leaves_nothing_behind(monkeypatch, home):
    usage = namedtuple("Usage", "free")
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda folder: usage(0.1 * GIB))
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(home / "not" / "yet"))
    found = checkup.disk()
    assert found.state == "problem"
    assert "cache clear" in found.remedy
    assert list(home.iterdir()) == []


def kernel_spec(folder: Path, argv0: str) -> None:
    (folder / "kernels" / "python3").mkdir(parents=True)
    spec = {"argv": [argv0, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "x", "language": "python"}
    (folder / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec))


@pytest.mark.parametrize("argv0", ["python", sys.executable])
def test_a_kernel_of_this_python_is_in_order(tmp_path, monkeypatch, argv0):
    kernel_spec(tmp_path, argv0)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert checkup.kernel().state == "ok"


def test_a_kernel_of_another_environment_is_a_problem(tmp_path, monkeypatch):
    kernel_spec(tmp_path, "/old/env/bin/python")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    found = checkup.kernel()
    assert found.state == "problem"
    assert "/old/env/bin/python" in found.found
    assert "ipykernel install --sys-prefix" in found.remedy


def test_a_stale_kernel_of_the_user_does_not_win_over_this_environment(tmp_path, monkeypatch):
    kernel_spec(tmp_path, "/old/env/bin/python")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    assert checkup.kernel().state == "ok"
    assert os.environ["JUPYTER_PREFER_ENV_PATH"] == "0"


def test_threads_that_are_held_back_are_noted(monkeypatch):
    monkeypatch.setattr(checkup, "n_cores", lambda: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert (checkup.cores().state, checkup.cores().remedy) == ("note", "unset OMP_NUM_THREADS")


@pytest.mark.parametrize(("worst", "code"), [("ok", 0), ("note", 0), ("warning", 1), ("problem", 2)])
def test_the_exit_code_is_the_worst_finding(monkeypatch, capsys, worst, code):
    found = [checkup.Finding("a", "ok", "fine"), checkup.Finding("b", worst, "so so", "mend it")]
    monkeypatch.setattr(checkup, "quick", lambda: found)
    assert cli.main(["check", "--quick"]) == code
    assert capsys.readouterr().out == f"what  state{' ' * (len(worst) - 5)}  found\n" + (
        f"a     {'ok'.ljust(max(5, len(worst)))}  fine\nb     {worst.ljust(5)}  so so\n\nb ({worst}):\n  mend it\n"
    )


def test_json_says_the_same(monkeypatch, capsys, measured):
    monkeypatch.setattr(checkup, "full", lambda: [checkup.Finding("a", "warning", "x", "y")])
    monkeypatch.setattr(run_times, "benchmark", lambda: 1.0)
    assert cli.main(["check", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["findings"] == [{"name": "a", "state": "warning", "found": "x", "remedy": "y"}]
    assert said["lessons"][0]["seconds"] == {"smoke": 20.0, "cpu": 120.0, "gpu": None}
    assert (said["benchmark_s"], said["exit_code"]) == (1.0, 1)


def outcome(number: str, **changes) -> Outcome:
    (lesson,) = [x for x in course.lessons() if x.number == number]
    about = {"title": "", "question": "", "preset": "smoke", "dataset": lesson.parameters["DATASET"], "seed": 0, "date": ""}
    about |= {"number": number, "name": lesson.path.stem, "seconds": 12.5, "metrics": {"peak_memory_mib": 700}}
    return Outcome(**about | changes)


def ran(*outcomes: Outcome) -> None:
    import nbformat

    for one in outcomes:
        write_report(nbformat.v4.new_notebook(), one, config.reports_dir())


def test_what_ran_here_is_not_estimated(measured, monkeypatch, capsys):
    ran(outcome("01"), outcome("02", error="broke"), outcome("03", dataset="mine"))
    monkeypatch.setattr(checkup, "full", list)
    monkeypatch.setattr(checkup, "worst", lambda findings: 0)
    monkeypatch.setattr(run_times, "benchmark", lambda: 1.0)
    assert cli.main(["check"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "12 s *" in lines["01_curation"]
    assert "2 min 00 s" in lines["01_curation"]
    assert "40 s" in lines["02_images"]
    assert lines["03_reports"].count("not measured") == 3


def test_committed_times_replace_those_of_the_same_lesson_and_preset(measured, monkeypatch, tmp_path):
    monkeypatch.setattr(run_times, "_path", lambda: tmp_path / "run_times.csv")
    ran(outcome("01"))
    monkeypatch.setattr(run_times, "benchmark", lambda: 0.25)
    assert cli.main(["check", "--commit"]) == 0
    monkeypatch.undo()
    monkeypatch.setattr(run_times, "_path", lambda: tmp_path / "run_times.csv")
    new = {(t.preset, t.lesson): t for t in run_times.shipped()}
    assert new["smoke", "01"] == run_times.RunTime("smoke", "01", 12.5, 700, 0.25)
    assert [new[key] for key in new if key != ("smoke", "01")] == sorted(measured[1:], key=lambda t: (t.preset, t.lesson))


def test_times_are_not_committed_where_nothing_ran(capsys, monkeypatch):
    monkeypatch.setattr(run_times, "benchmark", lambda: 0.25)
    assert cli.main(["check", "--commit"]) == 2
    assert "no lesson has run here" in capsys.readouterr().err


def test_shipped_times_are_of_known_lessons_and_plausible():
    times = run_times.shipped()
    assert {t.preset for t in times} <= set(config.PRESETS)
    assert {t.lesson for t in times} <= {lesson.number for lesson in course.lessons()}
    assert all(t.seconds > 0 and t.peak_mib > 0 and t.benchmark_s > 0 for t in times)


def test_the_benchmark_gives_the_threads_back():
    import torch

    threads = torch.get_num_threads()
    assert run_times.benchmark() > 0
    assert torch.get_num_threads() == threads


class ReplacedError(Exception):
    """Raised where this process would have become another one."""


def lab(*options: str) -> int | None:
    """Exit code of `medclip-nb lab`; None if JupyterLab was started."""
    try:
        return cli.main(["lab", *options])
    except ReplacedError:
        return None


@pytest.fixture
def started(monkeypatch) -> list:
    """Commands and environments that would have replaced this process."""
    seen = []

    def execve(path, command, environment):
        seen.append((command, environment))
        raise ReplacedError

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(checkup, "quick", lambda: [checkup.Finding("a", "ok", "fine")])
    return seen


def test_lab_opens_the_lesson_with_this_python_and_this_home(started, home, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/mine")
    lab("--lesson", "5", "--no-browser")
    ((command, environment),) = started
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert "--LabApp.default_url=/lab/tree/05_pretrain_slices.ipynb" in command
    assert "--no-browser" in command
    assert environment["MEDCLIP_NB_HOME"] == str(home)
    assert "inline" in environment["MPLBACKEND"]
    assert environment["JUPYTER_PREFER_ENV_PATH"] == "1"
    assert environment["JUPYTER_CONFIG_PATH"].split(os.pathsep)[1] == "/mine"


def test_lab_asks_no_website_for_news(started):
    lab()
    settings = Path(started[0][1]["JUPYTER_CONFIG_PATH"].split(os.pathsep)[0]) / "labconfig" / "page_config.json"
    assert json.loads(settings.read_text())["disabledExtensions"] == {"@jupyterlab/apputils-extension:announcements": True}


@pytest.mark.parametrize(
    ("name", "state", "code"), [("disk", "problem", 2), ("jupyterlab", "warning", 2), ("widgets", "warning", None)]
)
def test_lab_stops_at_what_would_break_it_and_says_what_to_do(started, monkeypatch, capsys, name, state, code):
    monkeypatch.setattr(checkup, "quick", lambda: [checkup.Finding(name, state, "is bad", "pip install better")])
    assert lab() == code
    assert f"{state}: {name}: is bad\n  pip install better\n" in capsys.readouterr().err
    assert bool(started) == (code is None)


def test_lab_takes_the_port_it_is_given_and_no_other(started):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert lab("--port", str(port)) == 2
    lab("--port", str(port))
    ((command, _),) = started
    assert command[-2:] == [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]


def test_a_port_in_use_or_impossible_is_one_line_that_says_what_to_do(started, capsys):
    assert lab("--port", "99999") == 2
    err = capsys.readouterr().err
    assert err.startswith("medclip-nb: error: port 99999 cannot be used")
    assert "choose another --port" in err


def test_an_unknown_lesson_lists_the_known(started, capsys):
    assert lab("--lesson", "77") == 2
    assert "unknown lesson '77'; known lessons: 01, 02" in capsys.readouterr().err


def test_lab_from_a_wheel_copies_notebooks_and_overwrites_none(home, monkeypatch):
    package = home / "site" / "medclip_nb"
    (package / "notebooks").mkdir(parents=True)
    for name in ("01_a.ipynb", "02_b.ipynb"):
        (package / "notebooks" / name).write_text("shipped")
    monkeypatch.setattr(lab_command, "__file__", str(package / "cli" / "lab.py"))
    monkeypatch.setattr(config, "shipped", lambda folder: package / folder)
    (home / "my_notebooks").mkdir()
    (home / "my_notebooks" / "01_a.ipynb").write_text("mine")
    assert lab_command.writable_notebooks() == home / "my_notebooks"
    assert [p.read_text() for p in sorted((home / "my_notebooks").iterdir())] == ["mine", "shipped"]


def test_lab_in_a_checkout_opens_the_notebooks_in_place(monkeypatch):
    monkeypatch.setattr(config, "shipped", lambda folder: Path("/elsewhere") / folder)
    assert lab_command.writable_notebooks() == Path("/elsewhere/notebooks")


def test_check_works_where_nothing_but_python_is_installed():
    code = "import sys; from medclip_nb import cli; sys.exit(cli.main(['check']))"
    environment = {"PYTHONPATH": str(Path(config.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert "pip install" in done.stdout
    assert "Traceback" not in done.stderr
