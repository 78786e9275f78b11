"""The house's rules that no other test would notice: what imports what, and what stays out of the files."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import alexnet_explorer

PACKAGE = Path(alexnet_explorer.__file__).parent
PROJECT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# What a part may import stands above it; parts on one line know nothing of each other.
LAYERS = (
    {"config", "files", "weights_file", "words"},
    {"model", "data", "script", "commands", "document", "notes"},
    {"runs", "weights", "onnx_import"},
    {"trash"},
    {"weights_import", "onnx_export", "catalogue", "training"},
    {"inspection", "comparing", "listing", "transfer", "launch"},
    {"figures", "studies", "bench", "bench_attribution"},
    {"report"},
    {"ui", "cli"},
    {"__main__", "ready"},
)
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}


def part_of(path):
    """`training` of alexnet_explorer/training/loop.py, `runs` of alexnet_explorer/runs.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """The dotted names that a file imports, anywhere in it, relative ones made absolute."""
    package = ["alexnet_explorer", *path.relative_to(PACKAGE).parts[:-1]] if PACKAGE in path.parents else []
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def test_arrows_point_one_way():
    wrong = []
    for path in MODULES:
        own = part_of(path)
        if own == "__init__":
            continue
        for name in imports(path):
            package, _, rest = name.partition(".")
            other = rest.split(".")[0]
            if package == "alexnet_explorer" and other in RANK and other != own and RANK[other] >= RANK[own]:
                wrong.append(f"{own} imports {name}")
    assert wrong == []


def test_every_part_has_its_layer():
    assert {part_of(path) for path in MODULES} - {"__init__", "gallery"} <= set(RANK)


def test_only_the_pages_import_streamlit():
    allowed = {PROJECT / "app.py", *(PROJECT / "pages").glob("*.py"), *(PACKAGE / "ui").rglob("*.py")}
    found = [path for path in MODULES if any(name.split(".")[0] == "streamlit" for name in imports(path))]
    assert set(found) <= allowed


def test_pages_hold_no_tensor_code():
    for path in [PROJECT / "app.py", *(PROJECT / "pages").glob("*.py")]:
        assert not {name.split(".")[0] for name in imports(path)} & {"torch", "torchvision", "captum"}, path.name


def python(code):
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_training_runs_where_there_is_no_streamlit_plotly_or_captum():
    names = []
    for path in MODULES:
        if part_of(path) not in ("__init__", "__main__", "ui", "figures"):
            name = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
            names.append(name.removesuffix(".__init__"))
    assert "alexnet_explorer.training.loop" in names and "alexnet_explorer.inspection.attribution" in names
    python(
        "import sys, importlib\n"
        "for name in ('streamlit', 'plotly', 'captum'): sys.modules[name] = None\n"
        f"for name in {names}: importlib.import_module(name)"
    )


@pytest.mark.parametrize(
    "module",
    ["catalogue", "runs", "config", "weights_file", "cli", "launch.local", "launch.queue", "listing", "data.sources"],
)
def test_what_a_page_lists_needs_no_pytorch(module):
    slow = {"torch", "torchvision", "sklearn", "skimage", "captum", "plotly", "pandas", "matplotlib"}
    loaded = python(f"import sys, alexnet_explorer.{module}; print(*sys.modules)").split()
    assert not slow & set(loaded)


def test_no_file_names_a_machines_folders():
    folders = [PROJECT / name for name in ("alexnet_explorer", "pages", "tests", ".streamlit", ".ci")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    files += [path for path in PROJECT.iterdir() if path.is_file()]
    machine = re.compile(rb"(?<![\w.~])/(?:root|home/\w+|Users/\w+|work)/")
    assert [str(path.relative_to(PROJECT)) for path in files if machine.search(path.read_bytes())] == []
