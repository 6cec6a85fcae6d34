"""What importing ``theory`` costs beyond numpy and scipy."""

import subprocess
import sys
from pathlib import Path
from statistics import median

FOUNDATION = ("numpy", "scipy.optimize", "scipy.special")


def modules() -> list[str]:
    """Every module of ``theory`` except what only command lines and suites of tests import."""
    root = Path(__file__).parents[1]
    paths = (path.relative_to(root.parent).with_suffix("") for path in sorted(root.rglob("*.py")))
    return [
        ".".join(path.parts).removesuffix(".__init__")
        for path in paths
        if path.stem not in ("__main__", "table", "terminal", "workers") and "strategies" not in path.parts
    ]


def import_seconds(repeats: int = 5) -> dict[str, float]:
    """Median seconds, each in a fresh interpreter, to import the foundation and then ``theory`` and all its modules."""
    clock = "from time import perf_counter as now; a = now()"
    parts = [f"import {name}" for name in FOUNDATION], ["import theory"], [f"import {name}" for name in modules()]
    code = "; ".join(
        [clock, *parts[0], "b = now()", *parts[1], "c = now()", *parts[2], "print(b - a, c - b, now() - c)"]
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(repeats)
    ]
    names = "numpy and scipy", "import theory", "all modules of theory"
    return {name: median(float(run[i]) for run in runs) for i, name in enumerate(names)}
