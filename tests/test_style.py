"""The rules of the house: who may import whom, how long things are, and what a notebook looks like."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "medclip_nb"
MODULES = sorted(PACKAGE.rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LEVEL = {
    "__init__": 0,
    "config": 0,
    "files": 0,
    "leash": 0,
    "data": 1,
    "text": 1,
    "model": 2,
    "learn": 3,
    "measure": 4,
    "pages": 5,
    "lesson": 5,
    "bench": 5,
    "claims": 6,
    "explore": 6,
    "checkup": 6,
    "cli": 7,
    "__main__": 8,
}
MAY_PRINT = ("pages", "lesson", "explore", "cli")
MAY_IMPORT_SHOW = ("show", *MAY_PRINT)
# lines of code a room may have, vocabulary tables left aside: it does not grow without somebody deciding so here
MOST_LINES = {
    "data": 8_000,  # 2,500 of them draw the synthetic cohorts
    "text": 1_200,
    "model": 1_550,
    "learn": 2_420,
    "measure": 1_880,
    "show": 2_050,
    "lesson": 5_100,
    "pages": 1_300,
    "explore": 2_100,
}
MOST_MODULE_LINES, MOST_FUNCTION_LINES = 230, 30
FRAMEWORK_NAMES = {"forward", "error"}  # documented by the class they override
CLOSING = ("What could mislead you", "Summary", "Next")
CHECKS = ("checks.that(", "checks.found(", "checks.attempt(", "checks.mend(", "expect_error(", "assert ")
MAGICS = ("!", "%", "import *", "filterwarnings(")
FOREIGN = (str(ROOT), "/tmp/", "/root/", "/home/", "/Users/")


def room(path: Path) -> str:
    """The top-level part of the package that a module belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_rooms(path: Path) -> set[str]:
    """Rooms of the package that a module imports from, wherever in it."""
    inside = path.relative_to(ROOT).parts[:-1]
    names = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(inside[: len(inside) - node.level + 1]) if node.level else ""
            source = ".".join(filter(None, [base, node.module]))
            names += [f"{source}.{alias.name}" for alias in node.names]
    ours = [n.split(".") for n in names if n.split(".")[0] == "medclip_nb"]
    return {parts[1] for parts in ours if len(parts) > 1 and (parts[1] in LEVEL or parts[1] == "show")}


def is_table(path: Path) -> bool:
    """Whether a module is a vocabulary: no functions, only names and numbers. It does not count as code."""
    return not any(isinstance(n, ast.FunctionDef | ast.ClassDef) for n in ast.walk(tree(path)))


def functions(path: Path):
    return [n for n in ast.walk(tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def code_length(node: ast.FunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    doc = node.body[0] if ast.get_docstring(node) else None
    return node.end_lineno - node.lineno + 1 - (doc.end_lineno - doc.lineno + 1 if doc else 0)


def public(nodes: list) -> list:
    """Public functions, classes and their public methods; properties, whose name says it, and nested functions left aside."""
    found = []
    for node in nodes:
        named = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if named and "property" not in [getattr(d, "id", "") for d in node.decorator_list]:
            found += [node] + (public(node.body) if isinstance(node, ast.ClassDef) else [])
    return found


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_imports_point_downwards(path):
    here, used = room(path), imported_rooms(path)
    if here == "show":
        assert used <= {"show", "config", "files"}
        return
    assert "show" not in used or here in MAY_IMPORT_SHOW
    assert [name for name in used - {"show"} if LEVEL[name] > LEVEL[here]] == []
    assert not {here, *used} >= {"data", "text"} or here not in ("data", "text")


def test_the_import_test_sees_all_kinds_of_import(tmp_path, monkeypatch):
    module = tmp_path / "medclip_nb" / "data" / "phantoms" / "x.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "from ...measure import a\nfrom ... import cli\nimport medclip_nb.learn.losses\nfrom ..catalog import load\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert imported_rooms(module) == {"measure", "cli", "learn", "data"}


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_public_things_say_what_they_are(path):
    named = [n for n in public(tree(path).body) if n.name not in FRAMEWORK_NAMES]
    assert [n.name for n in named if not ast.get_docstring(n)] == []
    assert ast.get_docstring(tree(path)) or not path.read_text(encoding="utf-8").strip()


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_functions_and_modules_are_short(path):
    assert {f.name: code_length(f) for f in functions(path) if code_length(f) > MOST_FUNCTION_LINES} == {}
    assert is_table(path) or len(path.read_text(encoding="utf-8").splitlines()) <= MOST_MODULE_LINES


@pytest.mark.parametrize("name", MOST_LINES)
def test_a_room_is_small(name):
    modules = [p for p in MODULES if room(p) == name and not is_table(p)]
    assert sum(len(p.read_text(encoding="utf-8").splitlines()) for p in modules) <= MOST_LINES[name]


@pytest.mark.parametrize("path", [p for p in MODULES if room(p) not in MAY_PRINT], ids=label)
def test_only_lessons_and_the_command_line_print(path):
    called = [n.func.id for n in ast.walk(tree(path)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    assert "print" not in called


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_no_error_is_swallowed_and_no_input_is_checked_by_assert(path):
    nodes = list(ast.walk(tree(path)))
    assert [n.lineno for n in nodes if isinstance(n, ast.ExceptHandler) and n.type is None] == []
    assert [n.lineno for n in nodes if isinstance(n, ast.Assert)] == []


WRITERS = (
    "write_bytes",
    "savefig",
    "to_csv",
    "to_parquet",
    "savez",
    "save_file",
    "copyfile",
    "mkdir",
    "save",
    "save_as",
    "extractall",
)
# where a file is written by other means than `whole`, `write_text` or `explained`, and why that is no half file
BARE = {
    "__main__.py": "the null device",
    "cli/measure.py": "runner.save writes through write_text",
    "bench/images.py": "into a temporary folder",
    "lesson/teamwork.py": "into a temporary folder",
    "data/download.py": "unpack and _place fill the part of a `whole`",
    "data/adapters/volumes.py": "`converted` gives them the part of a `whole`",
    "data/phantoms/cohort.py": "kept_study gives _fill the part of a `whole`",
    "data/phantoms/head/cohort.py": "the same",
    "data/phantoms/formats.py": "writes what it is told to, the part of a `whole`",
    "explore/examples.py": "into memory",
    "explore/evaluate_page.py": "into memory",
    "show/uris.py": "into memory",
    "show/widget_parts.py": "into memory",
    "files.py": "is `whole` itself",
    "learn/checkpoint.py": "_copy_tower is called inside a `whole`",
    "pages/execute.py": "into a temporary folder",
}


def bare_writers(module: ast.Module) -> list[int]:
    """Lines that write a file outside of a `with whole(...)` or `explained(...)`: a call of WRITERS, or open() for writing."""
    inside = {
        id(node)
        for block in ast.walk(module)
        if isinstance(block, ast.With) and {"whole", "explained"} & {_name(item.context_expr) for item in block.items}
        for node in ast.walk(block)
    }
    calls = [n for n in ast.walk(module) if isinstance(n, ast.Call) and id(n) not in inside]
    return [n.lineno for n in calls if _writes(n)]


def _name(node: ast.expr) -> str:
    function = node.func if isinstance(node, ast.Call) else node
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _writes(call: ast.Call) -> bool:
    modes = [
        a.value for a in (*call.args[:2], *(k.value for k in call.keywords if k.arg == "mode")) if isinstance(a, ast.Constant)
    ]
    if _name(call) == "open":
        return any(isinstance(m, str) and len(m) <= 3 and set(m) & set("wax+") and set(m) <= set("rwaxbt+") for m in modes)
    if _name(call) == "write_text":
        return isinstance(call.func, ast.Attribute)  # ours is a function of its own
    text_only = _name(call) == "to_csv" and not call.args  # gives a text
    called = call.func.value if isinstance(call.func, ast.Attribute) else None
    ours = _name(call) == "save" and (called is None or _name(called) in ("run_times", "bench", "claims", "self"))
    return _name(call) in WRITERS and not text_only and not ours


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_files_are_written_whole(path):
    found, name = bare_writers(tree(path)), path.relative_to(PACKAGE).as_posix()
    assert found == [] or name in BARE, f"lines {found}: write through files.whole or files.write_text, or say in BARE why not"


def test_the_writing_test_sees_bare_writers_and_no_others():
    code = "Path(a).write_text(t)\nopen(a, 'wb')\np.open('a')\nt.to_csv(p)\nplt.savefig(p)\nwith whole(a) as part:\n"
    code += "    part.write_text(t)\n    t.to_csv(part)\nwrite_text(a, t)\nt.to_csv(index=False)\nopen(a)\nopen(a, 'rb')\n"
    assert bare_writers(ast.parse(code)) == [1, 2, 3, 4, 5]


def test_importing_the_package_is_light():
    heavy = "{'torch', 'transformers', 'pandas', 'matplotlib'}"
    code = f"import sys, medclip_nb; print(sorted({heavy} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert shown.strip() == "[]"


@pytest.fixture(params=NOTEBOOKS, ids=lambda p: p.name)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook) -> list:
    return [c for c in notebook.cells if c.cell_type == "code"]


def code_lines(source: str) -> list[str]:
    return [line for line in source.splitlines() if line.strip()]


def sections(notebook) -> dict[str, str]:
    """Code below each H2, by heading; code above the first is left out."""
    found, name = {}, None
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if name:
                found[name] += cell.source + "\n"
            continue
        for line in cell.source.splitlines():
            if line.startswith("## "):
                name = line[3:].strip()
                found[name] = ""
    return found


def top_level_names(notebook) -> list[str]:
    """Functions and classes that the cells define, magics left aside."""
    bodies = [
        ast.parse("\n".join(x for x in c.source.splitlines() if not x.startswith(("%", "!")))).body for c in code_cells(notebook)
    ]
    return [n.name for body in bodies for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)]


def exported_names() -> set[str]:
    return {n.name for path in MODULES for n in tree(path).body if isinstance(n, ast.FunctionDef | ast.ClassDef)}


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_a_notebook_keeps_its_measures(notebook):
    lengths = [len(code_lines(c.source)) for c in code_cells(notebook)]
    assert max(lengths) <= 25
    assert sum(lengths) <= 180
    assert len(notebook.cells) <= 60
    assert len(top_level_names(notebook)) <= 4


def test_no_more_than_three_code_cells_follow_each_other(notebook):
    row = 0
    for cell in notebook.cells:
        row = row + 1 if cell.cell_type == "code" else 0
        assert row <= 3, cell.source


def test_every_section_ends_in_something_checked(notebook):
    content = {name: code for name, code in sections(notebook).items() if not name.startswith(CLOSING)}
    assert content
    assert [name for name, code in content.items() if not any(c in code for c in CHECKS)] == []


def test_a_notebook_ends_with_pitfalls_a_summary_and_what_is_next(notebook):
    assert [name for name in CLOSING if not any(h.startswith(name) for h in sections(notebook))] == []


def test_a_notebook_defines_nothing_that_the_package_has(notebook):
    assert set(top_level_names(notebook)) & exported_names() == set()


def test_a_notebook_has_its_parameters_and_says_what_it_needs(notebook):
    (cell,) = [c for c in code_cells(notebook) if "parameters" in c.metadata.get("tags", [])]
    assert [
        name for name in ("PRESET", "SEED", "DATASET") if f"{name}: " not in cell.source and f"{name} =" not in cell.source
    ] == []
    assert isinstance(notebook.metadata["medclip_nb"]["needs"], list)
    assert notebook.metadata["kernelspec"]["name"] == "python3"


def test_every_exercise_names_a_reference_that_exists(notebook):
    from importlib import import_module

    from medclip_nb.lesson.exercises import EXERCISES

    for cell in (c for c in code_cells(notebook) if "exercise" in c.metadata.get("tags", [])):
        module, name = cell.metadata["reference"].split(":")
        assert callable(getattr(import_module(module), name))
        hidden_bug = EXERCISES[cell.metadata["name"]].bug is not None
        assert ("raise NotImplementedError" in cell.source) != hidden_bug


def test_a_notebook_was_run_from_top_to_bottom_or_not_at_all(notebook):
    counts = [c.execution_count for c in code_cells(notebook)]
    assert counts in ([None] * len(counts), list(range(1, len(counts) + 1)))


def test_a_notebook_uses_no_shell_no_magic_and_hides_no_warning(notebook):
    lines = [line for c in code_cells(notebook) for line in code_lines(c.source)]
    assert [line for line in lines if line.startswith(MAGICS[:2]) or any(m in line for m in MAGICS[2:])] == []


def test_outputs_hold_no_error_no_stderr_and_no_folder_of_a_machine(notebook):
    outputs = [o for c in code_cells(notebook) for o in c.outputs]
    assert [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"] == []
    texts = [json.dumps({k: v for k, v in (o.get("data") or o).items() if not k.startswith("image/")}) for o in outputs]
    assert [text for text in texts if any(folder in text for folder in FOREIGN)] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=label)
def test_a_notebook_is_light(path):
    assert path.stat().st_size <= 700 * 1024
