"""Nothing runs on in secret when a parent is killed: notebooks' kernels and workers of pools end with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[1]
ENV = os.environ | {"PYTHONPATH": str(ROOT)}
GRANDCHILD = """
import subprocess
kernel = subprocess.Popen(["sleep", "99"], start_new_session=True)
print(kernel.pid, flush=True)
kernel.wait()
"""
POOL = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from medclip_nb.leash import end_with_parent
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=end_with_parent)
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 99).result()
"""
RUN = """
import subprocess, sys, pathlib
from medclip_nb.pages.execute import Runner, kernel_environment
command = [sys.executable, "-m", "medclip_nb.leash", "grandchild"]
env = kernel_environment() | {"PYTHONPATH": sys.argv[2]}
Runner().run(command, cwd=sys.argv[1], env=env, log=pathlib.Path(sys.argv[1], "log"))
"""


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def waited(condition, seconds: float = 60) -> object:
    """What a condition comes to once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.05)
    return found


def test_a_worker_of_a_pool_ends_with_the_process_that_was_killed(tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    with subprocess.Popen([sys.executable, str(script)], env=ENV, stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
        waited(lambda: is_gone(worker))


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def test_a_lesson_and_its_kernel_end_with_the_process_that_was_killed(tmp_path, signum):
    (tmp_path / "grandchild.py").write_text(GRANDCHILD)
    (tmp_path / "parent.py").write_text(RUN)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    parent = subprocess.Popen([sys.executable, "parent.py", str(tmp_path), path], cwd=tmp_path, env=ENV)
    log = tmp_path / "log"
    kernel = int(waited(lambda: log.exists() and log.read_text().strip()))
    lesson = psutil.Process(kernel).ppid()
    parent.send_signal(signum)
    parent.wait()
    waited(lambda: is_gone(kernel) and is_gone(lesson))


def test_what_runs_on_a_leash_has_its_arguments_its_exit_code_and_nothing_to_read(tmp_path):
    (tmp_path / "said.py").write_text("import sys; print(sys.argv[1:], sys.stdin.read()); sys.exit(7)")
    command = [sys.executable, "-m", "medclip_nb.leash", "said", "a", "b c"]
    env = ENV | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.read() == "['a', 'b c'] \n"
        assert process.wait() == 7
