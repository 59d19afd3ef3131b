"""Notebook cells -> HTML that needs no network and runs no script; nbconvert's filters do the single conversions.

The cells are the author's, so HTML in their markdown stays. Outputs hold what data said: HTML from there shows as text.
"""

import base64
import re
from functools import cache
from html import escape, unescape

import nbformat
from nbconvert.filters.ansi import ansi2html
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors.sanitize import SanitizeHTML

OPEN_LINES = 14  # longer code cells start closed
CLOSED_TAGS = {"parameters", "injected-parameters", "setup"}
# what outputs are made of: pandas tables and marked reports
TAGS = "b br caption code div em hr i li mark ol p pre small span strong sub sup table tbody td tfoot th thead tr ul".split()  # noqa: SIM905
ATTRIBUTES = {"*": ["style", "title"], "td": ["colspan", "rowspan"], "th": ["colspan", "rowspan", "scope", "valign"]}
STYLES = [
    "background",
    "font-size",
    "color",
    "font-weight",
    "line-height",
    "padding",
    "text-align",
    "text-decoration",
    "white-space",
]
_HEADING = re.compile(r'<h([1-6]) id="([^"]*)">(.*?)</h\1>', re.DOTALL)


def sections(body: str) -> list[tuple[str, str]]:
    """Anchor and title (HTML without tags) of every H2, for a table of contents."""
    return [(anchor, _plain(title)) for level, anchor, title in _HEADING.findall(body) if level == "2"]


def cells_html(notebook: nbformat.NotebookNode) -> str:
    """All cells in order; a figure without `alt` in its cell's metadata is named by the heading above it."""
    parts, heading = [], "Figure"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            html = markdown_html(cell.source)
            heading = ([_plain(h[2]) for h in _HEADING.findall(html)] or [heading])[-1]
            parts.append(f'<section class="prose">{html}</section>')
        elif cell.cell_type == "code" and cell.source.strip():
            alt = escape(str(cell.metadata["alt"])) if cell.metadata.get("alt") else heading
            pictures = [i for i, output in enumerate(cell.outputs) if _picture(output)]
            which = {i: f" ({k} of {len(pictures)})" for k, i in enumerate(pictures, start=1) if len(pictures) > 1}
            outputs = "".join(_output_html(output, alt + which.get(i, "")) for i, output in enumerate(cell.outputs))
            parts.append(_code_html(cell) + (f'<div class="outputs">{outputs}</div>' if outputs else ""))
    return "\n".join(parts)


def _plain(html: str) -> str:
    # the anchor link that nbconvert adds is no part of a title
    text = re.sub(r"<a class=\"anchor-link\".*?</a>|<[^>]+>", "", html).strip()
    # markdown leaves quotes as they are; an attribute may not
    return escape(unescape(text))


class _Renderer(IPythonRenderer):
    """nbconvert's, with equations as pictures: MathJax would come from the network."""

    def inline_math(self, body: str) -> str:
        return math_html(body, block=False)

    def block_math(self, body: str) -> str:
        return math_html(body, block=True)

    def table(self, text: str) -> str:
        return f'<div class="scroll" tabindex="0"><table>{text}</table></div>'

    def block_mermaidjs(self, code: str) -> str:
        # nbconvert hands it to a script that is not here, unescaped
        return f"<pre>{escape(code)}</pre>"


def markdown_html(source: str, *, trusted: bool = True) -> str:
    """One text in markdown. HTML in it stays, scripts go; where it is not `trusted` all HTML shows as text."""
    renderer = _Renderer(escape=not trusted, exclude_anchor_links=False, allow_harmful_protocols=False)
    return without_scripts(MarkdownWithMath(renderer=renderer).render(source))


@cache
def _cleaner() -> SanitizeHTML:
    return SanitizeHTML(tags=TAGS, attributes=ATTRIBUTES, styles=STYLES)


def harmless(html: str) -> str:
    """HTML of an output with the tags that tables and marked reports need; every other tag shows as text."""
    # the sheet that pandas sends along; ours says how tables look
    html = re.sub(r"\A(\s*<div>)?\s*<style\b[^>]*>.*?</style>", r"\1", html, count=1, flags=re.DOTALL)
    # what is as long as a sentence may be broken into lines
    return re.sub(r"<(td|th)>(?=[^<]{26})", r'<\1 class="long">', _cleaner().sanitize_html_tags(html))


def without_scripts(html: str) -> str:
    """HTML without script elements; the page's content policy stops what else could run."""
    return re.sub(r"<script\b.*?(</script\s*>|$)", "", html, flags=re.DOTALL | re.IGNORECASE)


@cache
def math_html(tex: str, *, block: bool) -> str:
    """An equation as an SVG in the text's colour; what matplotlib's mathtext cannot set stays as written."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    tex = " ".join(tex.split())
    shown = tex.replace(r"\frac", r"\dfrac") if block else tex
    try:
        path = TextPath((0, 0), f"${shown}$", size=100, prop=FontProperties(math_fontfamily="stix"))
    except ValueError:
        return f'<code class="math">{escape(tex)}</code>'
    svg = _svg(path, alt=tex)
    return f'<span class="equation">{svg}</span>' if block else svg


def _svg(path, *, alt: str) -> str:
    letters = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}  # matplotlib's path codes
    steps = [
        letters[int(code)] + ("" if code == 79 else " ".join(f"{v:.0f}" for v in points * ([1, -1] * (len(points) // 2))))
        for points, code in path.iter_segments(simplify=False)
    ]
    x0, y0, x1, y1 = path.get_extents().padded(4).extents
    return (
        f'<svg class="math" role="img" aria-label="{escape(alt)}" viewBox="{x0:.0f} {-y1:.0f} {x1 - x0:.0f} {y1 - y0:.0f}" '
        f'style="width:{(x1 - x0) / 100:.2f}em;height:{(y1 - y0) / 100:.2f}em;vertical-align:{y0 / 100:.2f}em">'
        f'<path d="{"".join(steps)}"/></svg>'
    )


def _code_html(cell) -> str:
    n_lines = len(cell.source.splitlines())
    closed = n_lines > OPEN_LINES or CLOSED_TAGS & set(cell.metadata.get("tags", []))
    number = "not run" if cell.execution_count is None else f"In [{cell.execution_count}]"
    first = next((line for line in cell.source.splitlines() if line.strip() and not line.startswith("#")), "")
    return (
        f'<details class="code"{"" if closed else " open"}><summary><span class="prompt">{number}</span>'
        f'<code class="first">{escape(first)}</code><span class="count">{n_lines} line{"s" * (n_lines != 1)}</span></summary>'
        f'<div class="highlight">{highlighted(cell.source)}</div></details>'
    )


def highlighted(source: str) -> str:
    """Python source with classes for the style sheet."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)).join(('<pre tabindex="0"><code>', "</code></pre>"))


def _output_html(output, alt: str) -> str:
    if output.output_type == "stream":
        return f'<pre class="{escape(output.name)}" tabindex="0">{ansi2html(output.text)}</pre>'
    if output.output_type == "error":
        return f'<pre class="error" tabindex="0">{ansi2html(chr(10).join(output.traceback))}</pre>'
    data = output.data
    if kind := _picture(output):
        return _image_html(kind, data[kind], output.metadata.get(kind, {}), alt)
    if "text/html" in data:
        return f'<div class="scroll html" role="group" aria-label="Output" tabindex="0">{harmless(data["text/html"])}</div>'
    if "text/markdown" in data:
        return f'<div class="prose">{markdown_html(data["text/markdown"], trusted=False)}</div>'
    return f'<pre tabindex="0">{ansi2html(data.get("text/plain", ""))}</pre>'


def _picture(output) -> str:
    """The kind of picture that an output shows; empty if it shows none."""
    return next((kind for kind in ("image/png", "image/jpeg", "image/svg+xml") if kind in output.get("data", {})), "")


def _image_html(kind: str, content: str, size: dict, alt: str) -> str:
    # an SVG goes in as a picture too: nothing in it can run or reach out
    content = base64.b64encode(content.encode()).decode() if kind == "image/svg+xml" else "".join(content.split())
    given = int(size["width"]) if str(size.get("width", "")).isdigit() else None
    width = given or (_png_width(content) if kind == "image/png" else None)
    look = f' width="{width}" style="--width:{width}px"' if width else ""
    alt = escape(str(size["alt"])) if size.get("alt") else alt
    return f'<figure><img src="data:{kind};base64,{escape(content)}" alt="{alt}"{look}></figure>'


def _png_width(content: str) -> int | None:
    # bytes 16 to 19 of the file; a phone lets wide figures scroll rather than shrink beyond reading
    start = re.match(r"iVBORw0KGgo[A-Za-z0-9+/]{21}", content)
    return int.from_bytes(base64.b64decode(start.group())[16:20], "big") if start else None
