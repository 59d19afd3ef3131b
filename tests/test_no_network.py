"""Nothing here asks another machine: the blocker blocks, kernels too, and importing or loading by a name connects to nobody."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from test_course import write_lesson

from medclip_nb import config
from medclip_nb.pages import course

ROOT = Path(__file__).parents[1]
ELSEWHERE = "192.0.2.1"  # reserved for documentation: nobody answers there
TRIES = {
    "connect": f"socket.create_connection(('{ELSEWHERE}', 80), timeout=2)",
    "connect_ex": f"socket.socket().connect_ex(('{ELSEWHERE}', 80))",
    "sendto": f"socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('{ELSEWHERE}', 53))",
    "sendto with flags": f"socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', 0, ('{ELSEWHERE}', 53))",
    "look-up": "socket.getaddrinfo('example.org', 80)",
    "old look-up": "socket.gethostbyname('example.org')",
    "urllib": "import urllib.request; urllib.request.urlopen('http://example.org', timeout=2)",
    "requests": "import requests; requests.get('https://example.org', timeout=2)",
}


def child(code: str, **environment) -> subprocess.CompletedProcess:
    env = os.environ | environment
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=ROOT)


@pytest.mark.parametrize("how", TRIES)
def test_a_child_process_is_refused(how):
    done = child(f"import socket; {TRIES[how]}")
    assert done.returncode == 1
    assert "the tests block the network" in done.stderr


def test_this_process_is_refused_and_this_machine_is_not():
    with pytest.raises(OSError, match="the tests block the network"):
        socket.create_connection((ELSEWHERE, 80), timeout=2)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_the_kernel_of_a_lesson_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDCLIP_NB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(config, "shipped", lambda folder: tmp_path / folder)
    asks = f"import socket\ntry:\n    {TRIES['connect']}\nexcept OSError as error:\n    print(error)"
    write_lesson(tmp_path / "notebooks", "01_asks", [asks])
    course.run_course(preset="smoke")
    cells = nbformat.read(tmp_path / "home" / "reports" / "01_asks.ipynb", as_version=4).cells
    assert any("the tests block the network" in o.get("text", "") for c in cells for o in c.get("outputs", []))


RECORD = """
import socket
asked = []
def refuse(*a, **k):
    asked.append(a)
    raise OSError("refused")
socket.getaddrinfo = socket.gethostbyname = socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
"""
IMPORT_ALL = """
import importlib, pkgutil, medclip_nb
names = [m.name for m in pkgutil.walk_packages(medclip_nb.__path__, "medclip_nb.") if not m.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(len(names) > 100, asked)
"""
BY_NAME = """
from medclip_nb.explore.evaluate_models import load_judged
from medclip_nb.model.encoders import image_tower
from medclip_nb.model.text_tower import TextTower
for load in (load_judged, TextTower, lambda name: image_tower(name, channels=3)):
    try:
        load("some/model")
    except ValueError as error:
        pass
    else:
        print("loaded")
print(True, asked)
"""


@pytest.mark.parametrize("code", [IMPORT_ALL, BY_NAME], ids=["importing everything", "loading by a name"])
def test_nobody_is_asked_also_where_hugging_face_may_go_online(code, tmp_path):
    done = child(RECORD + code, HF_HUB_OFFLINE="0", TRANSFORMERS_OFFLINE="0", HF_HOME=str(tmp_path))
    assert done.stdout.splitlines()[-1:] == ["True []"], done.stderr[-1000:]
