"""The console script ``onlinespec``: ``onlinespec sim run …`` does what ``python -m sim run …`` does."""

import sys
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec

from theory.runs.console import survive
from theory.runs.extras import needs
from theory.runs.version import VERSION

PACKAGES = {
    "theory": "theorems, and anyone's learner held against them",
    "sim": "learners against synthetic and recorded streams",
    "real": "drafts that learn inside a lossless decoder",
    "figures": "figures and a report, drawn from result files",
}
"""Package → what its commands are about."""

USAGE = "usage: onlinespec PACKAGE COMMAND …\n\n" + "\n".join(f"  {name:9}{line}" for name, line in PACKAGES.items())
USAGE += "\n\nonlinespec PACKAGE --help shows the commands of a package; --version the version.\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the named package with the arguments that follow its name → the exit status.

    Args:
        arguments: name first; those of this process if left out.
    """
    survive()
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    if name in ("--version", "-V"):
        print(f"onlinespec {VERSION}")
        return 0
    if name in ("", "--help", "-h"):
        print(USAGE, end="")
        return 0 if name else 2
    if problem := refusal(name):
        print(f"error: {problem}", file=sys.stderr)
        return 2
    sys.argv = [name, *rest]
    import_module(f"{name}.__main__").app()
    return 0


def refusal(name: str) -> str:
    """Why there is nothing to run under this name, with a remedy; empty if there is."""
    if name not in PACKAGES:
        near = get_close_matches(name, PACKAGES, n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        return f"onlinespec has no package {name!r}: it is one of {', '.join(PACKAGES)}{guess}"
    if name == "real" and find_spec("torch") is None:
        return needs("onlinespec real", "torch")
    return ""


if __name__ == "__main__":
    sys.exit(main())
