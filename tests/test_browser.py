"""The report pages and JupyterLab in a real browser: what is shown, what is asked of the network, what the keyboard reaches.

`MEDCLIP_NB_REPORTS=DIR` looks at the pages of a run instead of pages made from the shipped notebooks.
`MEDCLIP_NB_SCREENSHOTS=DIR` also saves the README's pictures there; lesson 02 then runs at preset cpu, in the home of that run.
"""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from PIL import Image

from medclip_nb import config
from medclip_nb.data import audit, catalog
from medclip_nb.pages import audit_page, course, site

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install -e '.[test]'")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
REPORTS = os.environ.get("MEDCLIP_NB_REPORTS") and os.path.abspath(os.environ["MEDCLIP_NB_REPORTS"])
SHOTS = os.environ.get("MEDCLIP_NB_SCREENSHOTS")
LONGEST_S = 300  # of waiting for JupyterLab; a loaded machine is slow
MOST_BYTES = 200 * 1024  # of a screenshot
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 380, "height": 800}}
# Tab goes to the chosen one of several radio buttons; arrow keys go on from there
CONTROLS = "a[href], summary, button, input:not([type='radio']), input[type='radio']:checked, select, [tabindex='0']"
OWN = "(file|data|blob):|https?://127\\.0\\.0\\.1[:/]"

BLANK_PICTURES = "[...document.images].filter(i => !i.naturalWidth).map(i => i.alt)"
# an absolutely placed element scrolls with the box it is placed in, not with the one it is written in
OUTSIDE = """() => {
  const up = e => getComputedStyle(e).position === 'absolute' ? e.offsetParent : e.parentElement;
  const scrolls = e => e && e !== document.body && (getComputedStyle(e).overflowX !== 'visible' || scrolls(up(e)));
  const out = [...document.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > innerWidth + 1);
  return out.filter(e => !scrolls(up(e))).map(e => `${e.tagName}.${e.className}: ${e.textContent.trim().slice(0, 40)}`);
}"""
HEADINGS = "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(h => +h.tagName[1])"
# notes which controls get the focus, with a visible ring around them or their card
WATCH_FOCUS = f"""() => {{
  const seen = [...document.querySelectorAll("{CONTROLS}")].filter(e => e.checkVisibility());
  const ring = e => e && getComputedStyle(e).outlineStyle !== 'none';
  window.reached = {{}};
  document.addEventListener('focusin', ({{target: e}}) => {{
    window.reached[seen.indexOf(e)] = Boolean(ring(e) || ring(e.closest('.card')));
  }});
  return seen.map(e => `${{e.tagName}} ${{e.textContent.trim().slice(0, 40)}}`);
}}"""
# the WCAG's contrast of every piece of text with what lies behind it
FAINT = """() => {
  const part = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = c => 0.2126 * part(c[0]) + 0.7152 * part(c[1]) + 0.0722 * part(c[2]);
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const solid = c => c.length < 4 || c[3] === 1;
  const behind = e => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor);
    if (solid(c)) return c; } return [255, 255, 255]; };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), faint = new Set();
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement, look = getComputedStyle(e);
    if (!texts.currentNode.data.trim() || !e.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    if (e.closest('[aria-hidden]')) continue;
    const [a, b] = [light(numbers(look.color)), light(behind(e))].sort((x, y) => x - y), ratio = (b + 0.05) / (a + 0.05);
    const large = parseFloat(look.fontSize) >= 24 || (parseFloat(look.fontSize) >= 18.6 && look.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) faint.add(`${ratio.toFixed(1)} ${e.tagName}.${e.className} ${look.color}`);
  }
  return [...faint];
}"""


@pytest.fixture(scope="session")
def browser():
    """One Chromium for all tests."""
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """A new window; `page.foreign` lists what it asked other hosts for (and was refused), `page.errors` the console's."""
    context = browser.new_context(viewport=SIZES["desktop"])
    made = watched(context.new_page())
    yield made
    context.close()


def watched(page):
    page.foreign, page.errors = [], []
    page.context.route(re.compile(f"^(?!{OWN})"), lambda route: route.abort())
    page.on("request", lambda request: None if re.match(OWN, request.url) else page.foreign.append(request.url))
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.set_default_timeout(LONGEST_S * 1000)
    return page


FIGURE = {"name": "share of something that was found", "value": 0.61, "low": 0.5, "high": 0.7, "n": 24, "unit": "patients"}
FIGURES = [FIGURE | {"chance": 0.25, "key": True}, FIGURE | {"name": "voxels", "value": 12000, "low": None, "high": None}]
METRICS = {"synthetic": True, "notes": ["A note."], "figures": FIGURES, "versions": {"torch": "2"}, "data_sha256": "ab" * 32}


def made_pages(folder: Path) -> Path:
    """The shipped notebooks as report pages, with made-up key figures, and an audit."""
    for lesson in course.lessons():
        about = {"preset": "cpu", "dataset": "torso", "seed": 0, "seconds": 61.0, "date": "2026-01-01T00:00:00"}
        failed = {"error": "cell [3]: ValueError: something"} if lesson.number == course.TEMPLATE else {"metrics": METRICS}
        names = {"number": lesson.number, "name": lesson.path.stem, "title": lesson.title, "question": lesson.question}
        site.write_report(nbformat.read(lesson.path, as_version=4), site.Outcome(**names, **about, **failed), folder)
    site.write_index(folder)
    return folder


@pytest.fixture(scope="session")
def pages(tmp_path_factory) -> Path:
    """A folder of report pages."""
    return Path(REPORTS) if REPORTS else made_pages(tmp_path_factory.mktemp("pages"))


def look_at(page, path: Path) -> dict:
    """What is wrong with one page, at both sizes, in light and dark."""
    page.foreign, page.errors = [], []
    page.emulate_media(reduced_motion="reduce")
    page.goto(path.as_uri())
    found = {"blank": page.evaluate(BLANK_PICTURES), "headings": page.evaluate(HEADINGS), "outside": {}, "faint": {}}
    for size, viewport in SIZES.items():
        page.set_viewport_size(viewport)
        wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        found["outside"] |= {size: page.evaluate(OUTSIDE) or ["the page"]} if wide else {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found["faint"] |= {scheme: faint} if (faint := page.evaluate(FAINT)) else {}
    page.set_viewport_size(SIZES["desktop"])
    return found | {"controls": untabbed(page), "foreign": page.foreign, "errors": page.errors}


def untabbed(page) -> list[str]:
    """Controls that Tab does not reach, or does not show to be reached."""
    controls = page.evaluate(WATCH_FOCUS)
    for _ in range(len(controls) + 40):  # what scrolls is reached, too
        page.keyboard.press("Tab")
    reached = page.evaluate("window.reached")
    said = {True: "", False: "no ring", None: "not reached"}
    return [f"{control}: {said[state]}" for i, control in enumerate(controls) if not (state := reached.get(str(i)))]


@pytest.fixture(scope="session")
def seen(browser, pages, picture_audit) -> dict[str, dict]:
    """What is wrong with each page, by its name."""
    context = browser.new_context()
    page = watched(context.new_page())
    yield {path.name: look_at(page, path) for path in [*sorted(pages.rglob("*.html")), picture_audit]}
    context.close()


@pytest.fixture(scope="session")
def picture_audit(tmp_path_factory) -> Path:
    """An audit page with pictures: a folder in which one image has a copy."""
    folder = tmp_path_factory.mktemp("audited")
    for i in range(4):
        Image.linear_gradient("L").rotate(90 * (i % 3)).save(folder / f"{i}.png")
    (folder / "texts.csv").write_text("image,text,patient_id\n" + "".join(f"{i}.png,text {i},p{i}\n" for i in range(4)))
    table = catalog.load(str(folder), config.PRESETS["smoke"]).manifest
    return audit_page.write_page(audit.audit(table), table, folder / "audit.html")


def wrong(seen: dict[str, dict], what: str) -> dict:
    return {name: found[what] for name, found in seen.items() if found[what]}


def test_pages_ask_the_network_for_nothing(seen):
    assert len(seen) > 3
    assert wrong(seen, "foreign") == {}


def test_pages_show_their_pictures_and_raise_no_error(seen):
    assert wrong(seen, "blank") == {}
    assert wrong(seen, "errors") == {}


def test_nothing_sticks_out_of_a_desktop_or_a_phone(seen):
    assert wrong(seen, "outside") == {}


def test_headings_go_down_one_step_at_a_time_from_a_single_title(seen):
    levels = {name: found["headings"] for name, found in seen.items()}
    assert {name: x for name, x in levels.items() if x[0] != 1 or x.count(1) != 1} == {}
    assert {name: x for name, x in levels.items() if any(b > a + 1 for a, b in zip(x, x[1:], strict=False))} == {}


def test_text_can_be_read_in_light_and_dark(seen):
    assert wrong(seen, "faint") == {}


def test_tab_reaches_every_control_and_shows_where_it_is(seen):
    assert wrong(seen, "controls") == {}


def test_the_eye_for_faults_sees_a_faulty_page(page, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<h1>a</h1><h3>b</h3><img src='http://example.org/a.png' alt='a'><p style='width:2000px;color:#ccc'>wide</p>"
        "<button tabindex='-1'>never</button><script>boom()</script>"
    )
    found = look_at(page, bad)
    assert found["foreign"] == ["http://example.org/a.png"]
    assert (found["blank"], found["headings"]) == (["a"], [1, 3])
    assert list(found["outside"]) == ["desktop", "phone"]
    assert "wide" in found["outside"]["phone"][0]
    assert "204" in found["faint"]["light"][0]
    assert found["controls"] == ["BUTTON never: not reached"]
    assert any("boom" in error for error in found["errors"])


LAUNCH = """import sys; from pathlib import Path; from medclip_nb import cli, config
config.shipped = lambda folder: Path(sys.argv[1]) / folder
sys.exit(cli.main(sys.argv[2:]))"""
BOARD = """import numpy as np
from medclip_nb.show.prompt_board import Gallery, PromptBoard

organs = ["liver", "lung", "heart"]
embed = lambda texts: np.array([[float(organ in text) for organ in organs] for text in texts])
PromptBoard([Gallery("organs", embed, np.eye(3), organs)], presets=("a liver", "a heart"))"""


def lab_notebooks(folder: Path) -> None:
    """Lesson 02, cheap and without outputs, and a notebook with a toy board."""
    (lesson,) = course.choose(["02"])
    notebook = nbformat.read(lesson.path, as_version=4)
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        cell.outputs, cell.execution_count = [], None
        cell.source = cell.source if SHOTS else cell.source.replace('PRESET: str = "cpu"', 'PRESET: str = "smoke"')
    folder.mkdir()
    nbformat.write(notebook, folder / lesson.path.name)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    board = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(BOARD)], metadata=kernel)
    nbformat.write(board, folder / "board.ipynb")


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """`medclip-nb lab` on copies of notebooks: its process and the address it printed."""
    folder = tmp_path_factory.mktemp("lab")
    lab_notebooks(folder / "notebooks")
    command = [sys.executable, "-c", LAUNCH, str(folder), "lab", "--no-browser", "--lesson", "02", "--port", "0"]
    log = folder / "log"
    with log.open("w") as sink:
        environment = (
            os.environ | {"HOME": str(folder)} | ({"MEDCLIP_NB_HOME": str(Path(REPORTS).parent)} if SHOTS and REPORTS else {})
        )
        process = subprocess.Popen(command, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, env=environment, cwd=folder)
    try:
        yield process, address(process, log)
    finally:
        for child in [*psutil.Process(process.pid).children(recursive=True), process] if process.poll() is None else []:
            child.kill()


def address(process: subprocess.Popen, log: Path) -> str:
    for _ in range(600):
        if found := re.search(r"http://127\.0\.0\.1:\d+/lab\S+", log.read_text()):
            return found.group()
        assert process.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError(f"no address within two minutes: {log.read_text()}")


def open_and_run(page, address: str, name: str) -> None:
    """Opens a notebook, runs all cells through the menu, as a student does, and waits for the last one."""
    page.goto(address.replace("02_images.ipynb", name))
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    wait_for_kernel(page, address, name)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    last = page.locator(".jp-CodeCell").last.locator(".jp-InputPrompt").first
    sync_api.expect(last).to_have_text(re.compile(r"\[\d+\]:"), timeout=LONGEST_S * 1000)


def wait_for_kernel(page, address: str, name: str) -> None:
    """Until the page is connected to the notebook's kernel: JupyterLab asks which one to take if cells are run before."""
    sessions = re.sub(r"/lab/tree/.*\?", "/api/sessions?", address)
    for _ in range(LONGEST_S * 5):
        kernels = [s["kernel"] for s in page.request.get(sessions).json() if s["path"] == name]
        if any(k["connections"] and k["execution_state"] == "idle" for k in kernels):
            return
        page.wait_for_timeout(200)
    raise AssertionError(f"{name}: no kernel within {LONGEST_S} s")


def test_lesson_02_runs_in_jupyterlab_and_its_slider_moves_by_mouse_and_keyboard(lab, page):
    open_and_run(page, lab[1], "02_images.ipynb")
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    viewer = page.locator(".medclip-slice-viewer").first
    viewer.scroll_into_view_if_needed()
    picture, slider = viewer.locator("img").first, viewer.locator(".noUi-base").first
    first = picture.get_attribute("src")
    box = slider.bounding_box()
    slider.click(position={"x": 0.7 * box["width"], "y": box["height"] / 2})
    sync_api.expect(picture).not_to_have_attribute("src", first)
    moved = picture.get_attribute("src")
    viewer.locator(".noUi-handle").first.press("ArrowRight")
    sync_api.expect(picture).not_to_have_attribute("src", moved)
    assert picture.evaluate("i => i.naturalWidth") > 0
    assert page.foreign == []
    shoot(page, "jupyterlab_lesson02", middle=viewer)


def test_the_prompt_board_answers_typed_sentences_and_buttons(lab, page):
    open_and_run(page, lab[1], "board.ipynb")
    board = page.locator(".medclip-prompt-board")
    best = board.locator("ol li").first
    sync_api.expect(best).to_contain_text("liver")
    board.locator("input").fill("a lung")
    board.locator("input").press("Enter")
    sync_api.expect(best).to_contain_text("lung")
    board.get_by_role("button", name="a heart").press("Space")
    sync_api.expect(best).to_contain_text("heart")
    board.locator("input").fill(" ")
    board.locator("input").press("Enter")
    sync_api.expect(board.get_by_role("alert")).to_contain_text("the sentence is empty")
    assert page.foreign == []


def test_ctrl_c_ends_jupyterlab_with_its_kernels(lab):
    process, _ = lab
    kernels = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert psutil.wait_procs(kernels, timeout=20)[1] == []


@pytest.mark.skipif(not SHOTS, reason="set MEDCLIP_NB_SCREENSHOTS=DIR to save the README's pictures")
@pytest.mark.parametrize("size", SIZES)
def test_the_index_is_photographed(page, pages, size):
    page.set_viewport_size(SIZES[size])
    page.goto((pages / "index.html").as_uri())
    shoot(page, f"site_{size}")


def shoot(page, name: str, middle=None) -> None:
    """Saves a picture of the window as a small PNG, if pictures are wanted."""
    if not SHOTS:
        return
    if middle:
        middle.evaluate("e => e.scrollIntoView({block: 'center'})")
        page.wait_for_timeout(1000)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    path = Path(SHOTS) / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    assert path.stat().st_size <= MOST_BYTES
