"""The report pages in a real browser: they show their pictures and ask no host for anything."""

import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from test_notebooks import reports  # noqa: F401  the fixture that ran the course

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (  # noqa: SIM905  a list of flags reads best as the command line
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--no-first-run --disable-default-apps --virtual-time-budget=3000 --proxy-bypass-list=<-loopback>"
).split()
BROWSERS_OWN = ("google.com", "googleapis.com", "gvt1.com", "gstatic.com")  # Chromium asks these on its own account
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")


class Recorder(BaseHTTPRequestHandler):
    """A proxy that refuses everything and remembers what was asked for."""

    asked: list[str]

    def _refuse(self):
        self.asked.append(self.path)
        self.send_error(403)

    do_GET = do_CONNECT = do_POST = do_HEAD = _refuse  # noqa: N815

    def log_message(self, *args):
        pass


def open_page(address: str, tmp_path) -> tuple[str, list[str]]:
    """The page's document after loading, and what it asked the network for."""
    recorder = type("OneRecorder", (Recorder,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        proxy = f"--proxy-server=http://127.0.0.1:{server.server_port}"
        command = [CHROMIUM, *FLAGS, proxy, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", address]
        document = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    finally:
        server.shutdown()
    return document, [a for a in recorder.asked if not any(host in a for host in BROWSERS_OWN)]


@needs_chromium
def test_pages_of_the_report_ask_the_network_for_nothing(reports, tmp_path):  # noqa: F811
    for page in ("index.html", *(p.name for p in sorted(reports.glob("[0-9]*.html")))):
        document, asked = open_page((reports / page).as_uri(), tmp_path)
        assert asked == []
        assert "<img" in document


@needs_chromium
def test_the_recorder_sees_a_page_that_does_ask(tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<img src="http://example.org/a.png">')
    assert any("example.org" in a for a in open_page(page.as_uri(), tmp_path)[1])
