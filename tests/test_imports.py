"""The import rules: who may import whom, lazy imports included; rooms in their order, no circles; light packages."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
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
    for name in (
        "build/inflate",
        "build/train",
        "drafters/layer",
        "measure/rivals",
        "models/cache",
        "models/generation",
        "models/hf",
        "models/load",
        "models/random",
        "verify/strangers",
    )
}
"""The only files that may import transformers (besides tests)."""
ROOMS = {
    "theory": ("", "speculation", "learners", "runs", "checker", "testing"),
    "sim": ("environments", "pseudocode", ""),
    "real": (
        "models", "drafters", "serving", "traffic", "systems", "measure", "verify", "studies", "build", "", "cli"
    ),
    "figures": ("numbers", ""),
}  # fmt: skip
"""The rooms of every package, foundations first: a room imports only from itself and rooms before it; "" is what
lies in the package's own folder. What is not a room (``__main__``, the package itself) may import all of them."""
FIGURES_MAY_READ = {
    "theory.runs.files",
    "theory.runs.kind",
    "theory.runs.measured",
    "theory.runs.terminal",
    "theory.runs.outputs",
    "theory.runs.console",
    "theory.runs.result",
    "theory.runs.trace",
    "theory.speculation.speedup",
    "theory.speculation.paper_speed",
}
"""All of ``theory`` that figures need: how commands speak, err and write, what runs recorded, and the curves of the
speed theorems."""


def imported(source: str, package: str = "") -> set[str]:
    """Full names of the modules a source text imports, anywhere in it; relative ones resolved against ``package``.

    Of ``from a import b`` both ``a`` and ``a.b``, which is a module or a name in one.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
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
        if package == "figures" and top == "theory" and not name.startswith(tuple(FIGURES_MAY_READ)):
            found.append(f"{path} imports {name}: figures may read {sorted(FIGURES_MAY_READ)} only")
    return found


def room(module: str) -> str | None:
    """The room of a module of ours by its full name; None if it stands above them."""
    package, *rest = module.split(".")
    if rest and rest[0] in ROOMS[package]:
        return rest[0]
    return "" if rest and rest[0] != "__main__" and "" in ROOMS[package] else None


def against_the_order(module: str, source: str) -> list[str]:
    """What the module imports from rooms after its own, as readable sentences."""
    package, here = module.split(".")[0], room(module)
    if here is None:
        return []
    order, found = ROOMS[package], []
    for name in sorted(imported(source, module.rpartition(".")[0])):
        there = room(name) if name.split(".")[0] == package else None
        if there is not None and order.index(there) > order.index(here):
            found.append(f"{module} imports {name}: {here or package} comes before {there or package}")
    return found


def modules(package: str) -> dict[str, str]:
    """Every module of a package by its full name, with its source."""
    paths = sorted((ROOT / package).rglob("*.py"))
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    return {name.removesuffix(".__init__"): path.read_text("utf-8") for name, path in zip(names, paths, strict=True)}


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import one another in a circle, in order; empty if there is none."""
    order = TopologicalSorter(imports)
    try:
        order.prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def arrows(sources: dict[str, str]) -> dict[str, set[str]]:
    """Which of these modules each imports; ``from package import module`` is the module alone."""
    found: dict[str, set[str]] = {}
    for module, source in sources.items():
        ours = (imported(source, module.rpartition(".")[0]) & set(sources)) - {module}
        found[module] = {name for name in ours if not any(other.startswith(f"{name}.") for other in ours)}
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_import_only_from_rooms_before_them(package):
    found = [sentence for name, source in modules(package).items() for sentence in against_the_order(name, source)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("real.models.planted", "from real.drafters import Drafter"),
        ("real.drafters.planted", "def f():\n    import real.serving.step"),
        ("theory.planted", "from theory.learners.ogd import OGD"),
        ("theory.runs.planted", "from theory.checker import checks"),
        ("sim.environments.planted", "from sim.simulator import play"),
        ("real.serving.planted", "from ..cli import options"),
    ],
)
def test_an_import_against_the_order_is_caught(module, source):
    assert against_the_order(module, source)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_one_another_in_a_circle(package):
    assert not circle(arrows(modules(package)))


def test_a_circle_is_caught():
    sources = {"a.b": "from a.c import x", "a.c": "def f():\n    from a import d", "a.d": "import a.b"}
    assert set(circle(arrows(sources))) == set(sources)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_is_a_room_in_the_order(package):
    folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    assert folders <= set(ROOMS[package])


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
    assert imported("from .arrays import Array\nfrom . import arrays", "theory") >= {"theory.arrays", "theory"}
    assert imported("from ..loss import Loss", "theory.learners") >= {"theory.loss"}


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
