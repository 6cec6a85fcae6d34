"""The import rules: who may import whom, lazy imports included, and that ``theory`` stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("theory", "sim", "real", "figures")
OURS = {"theory": {"theory"}, "sim": {"sim", "theory"}, "real": {"real", "theory"}, "figures": {"figures", "theory"}}
FORBIDDEN = {
    "theory": {"torch", "jax", "transformers", "matplotlib"},
    "sim": {"torch", "transformers", "matplotlib"},
    "real": {"matplotlib"},
    "figures": {"torch", "transformers"},
}
TRANSFORMERS_ALLOWED = {
    f"real/{name}.py"
    for name in ("build/inflate", "build/train", "drafters/layer", "measure/rivals", "models/cache", "models/hf")
}
"""The only files that may import transformers (besides tests)."""
FIGURES_MAY_READ = {"theory.runs.trace", "theory.speculation.speedup", "theory.speculation.paper_speed"}
"""All of ``theory`` that figures need: what runs recorded, and the curves of the speed theorems to draw beside it."""


def imported(source: str, package: str = "") -> set[str]:
    """Full names of the modules a source text imports, anywhere in it; relative ones resolved against ``package``."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            names.add(".".join(filter(None, [base, node.module])))
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if function in ("__import__", "import_module"):
                names.add(str(node.args[0].value))
    return names


def violations(package: str, path: str, source: str) -> list[str]:
    """What one file imports against the rules, as readable sentences."""
    found = []
    for name in sorted(imported(source, path.removesuffix(".py").rsplit("/", 1)[0].replace("/", "."))):
        top = name.split(".")[0]
        if (top in PACKAGES and top not in OURS[package]) or top in FORBIDDEN[package] or top == "tests":
            found.append(f"{path} imports {name}")
        if top == "transformers" and package == "real" and path not in TRANSFORMERS_ALLOWED:
            found.append(f"{path} imports {name}: only {sorted(TRANSFORMERS_ALLOWED)} may")
        if package == "figures" and top == "theory" and name not in FIGURES_MAY_READ:
            found.append(f"{path} imports {name}: figures may read {sorted(FIGURES_MAY_READ)} only")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_it_may(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"no such package: {package}"
    found = [v for f in files for v in violations(package, f.relative_to(ROOT).as_posix(), f.read_text("utf-8"))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("theory", "def f():\n    import torch.nn"),
        ("theory", "from sim import simulator"),
        ("theory", "import importlib\nimportlib.import_module('jax')"),
        ("sim", "from real.serving.step import generate"),
        ("real", "import sim.replay as replay"),
        ("real", "if True:\n    import matplotlib.pyplot"),
        ("real", "from transformers import AutoModel"),
        ("figures", "from theory.learners import OGD"),
        ("figures", "import torch"),
    ],
)
def test_the_checker_catches(package, source):
    assert violations(package, f"{package}/planted.py", source)


def test_relative_imports_stay_inside():
    assert imported("from .arrays import Array\nfrom . import arrays", "theory") == {"theory.arrays", "theory"}
    assert imported("from ..loss import Loss", "theory.learners") == {"theory.loss"}


def test_theory_is_light():
    heavy = ("torch", "jax", "transformers", "matplotlib")
    modules = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in sorted((ROOT / "theory").rglob("*.py"))]
    modules = [m.removesuffix(".__init__") for m in modules if not m.endswith("__main__")]
    code = f"import sys, {', '.join(modules)}\nprint([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_every_folder_of_modules_is_a_package():
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    bare = [folder.relative_to(ROOT).as_posix() for folder in folders if not (folder / "__init__.py").exists()]
    assert not bare, f"without __init__.py these would be left out of the distribution: {bare}"
