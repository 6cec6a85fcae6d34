"""`python -m figures [NAME|all|report|numbers|verdicts|list] [ROOT]`: figures and pages, from result files alone."""

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from figures import FIGURES, drawn, report, style, verdicts
from figures.numbers import page
from figures.results import MissingResult
from theory.runs.console import new_console, visible
from theory.runs.outputs import FILE, FOLDER
from theory.runs.terminal import Commands

app = Commands()
console = new_console(highlight=False, soft_wrap=True)
PAGES = {"numbers": page.write, "verdicts": verdicts.write}
"""Name → what writes it, over the results that are kept."""


def build(name: str, root: Path, out: Path, rows: list[str], width: float | None = None) -> list[Path]:
    """Build one figure from the results under ``root`` → the written paths.

    Raises:
        MissingResult: if its result files are not there.
    """
    figure, table = drawn(name, root, rows, width)
    return style.save(figure, table, out, name)


def build_all(root: Path, out: Path, page: Path, rows: list[str], width: float | None = None) -> int:
    """Build every figure whose results are there, and the report ``page`` → how many were built."""
    built = 0
    for name in FIGURES:
        try:
            paths = build(name, root, out, rows, width)
            built += 1
            console.print(f"{name:18} {paths[1]}")
        except MissingResult as missing:
            console.print(Text(f"{name:18} ").append(f"not yet: {visible(str(missing))}", "dim"))
    if built:
        console.print(f"{'report':18} {report.write(root, out, page)}")
    return built


@app.command(no_args_is_help=True)
def main(
    name: Annotated[str, typer.Argument(help="A figure, or: all, report, numbers, verdicts, list.")] = "all",
    root: Annotated[Path | None, typer.Argument(help="Folder of results [default: out/demo or results].")] = None,
    rows: Annotated[list[str] | None, typer.Option(help="Only rows matching, e.g. 'drift/*'. May be repeated.")] = None,
    width: Annotated[float | None, typer.Option(help="Width in inches, e.g. 3.25 for one column.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write to, the report too [default: ROOT/figures, ROOT/report.html]."),
        FOLDER,
    ] = None,
) -> None:
    """Draw figures (PDF, PNG, and the plotted numbers as CSV) and one self-contained HTML report.

    numbers writes ROOT/README.md and verdicts writes ROOT/verdicts.json, from all files of results/; the second also
    prints the claims that do not hold, and those whose code has changed since.
    """
    if name in PAGES:
        write_page(name, root or Path("results"))
        return
    root = root or next((path for path in (Path("out/demo"), Path("results")) if path.exists()), Path("out/demo"))
    if name == "list":
        for known, module in FIGURES.items():
            console.print(f"{known:18} {(import_module(module).__doc__ or '').splitlines()[0]}")
        return
    if name not in (*FIGURES, "all", "report"):
        there = f"{', '.join(FIGURES)}, all, report, {', '.join(PAGES)}, list"
        raise ValueError(f"unknown figure {name!r}; there are: {there}")
    if width is not None and not 1 <= width <= 20:
        raise ValueError(f"--width is in inches, between 1 and 20, not {width:g}")
    folder, page = out or root / "figures", (out or root) / "report.html"
    FILE.check("the report", page)
    if name == "report":
        console.print(report.write(root, folder, page))
    elif name == "all":
        if not build_all(root, folder, page, rows or [], width):
            raise ValueError(f"no result files under {root}: run `make demo` first")
    else:
        for path in build(name, root, folder, rows or [], width):
            console.print(path)


def write_page(name: str, root: Path) -> None:
    """Write one of ``PAGES`` over the results in ``root``; of verdicts, show what does not hold and what is old."""
    path = PAGES[name](root)
    if name == "verdicts":
        verdicts.show(root, console if console.is_terminal else new_console(width=200))
    console.print(path)


if __name__ == "__main__":
    app()
