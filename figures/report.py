"""One self-contained HTML page: what was run, what came out, the figures, and where everything is from."""

import base64
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from figures import FIGURES, style
from figures.results import MissingResult, summary, traces
from theory.trace import atomic

METHOD_COLUMNS = {
    "tokens_per_step": "tokens per step",
    "alpha": "alpha",
    "tokens_per_second": "tokens/s",
    "speedup": "net speedup",
    "generation_speedup": "learning left out",
    "relative_speedup": "against frozen",
    "hint_gain": "hint gain",
}
FACTS = {
    ("sim", "violations"): "bound violations",
    ("sim", "median_tightness"): "median bound / regret",
    ("real", "gap_closed"): "of the gap to the generalist closed",
}
SECTIONS = {
    "Decoder": ("acceptance", "speed", "speed_theorem"),
    "Simulator": ("regret", "tightness", "acceptance_bounds"),
    "Prediction against decoder": ("agreement",),
}
METHODS_NOTE = (
    "Speedups are ratios of total tokens to total seconds against plain decoding with the same kernels, everything "
    "charged, learning included; small figures are 95 % intervals (paired bootstrap over prompts)."
)
ROWS_NOTE = "Values at the horizon, means over seeds. Ratio: bound over regret, the smallest of all seeds; below 1 would be a violation."
CSS = """
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;color:#222;max-width:60rem;margin:2.5rem auto;padding:0 1.25rem}
h1{font-size:1.7rem;margin:0 0 .2rem}h2{font-size:1.2rem;margin:2.8rem 0 .8rem;border-bottom:1px solid #e4e4e4;padding-bottom:.3rem}
p,figcaption{max-width:46rem}.muted,figcaption,small,th{color:#6b6b6b}figcaption{font-size:.9rem;margin-top:.4rem}
figure{margin:1.6rem 0}img{max-width:100%;height:auto;display:block}
.facts{display:flex;flex-wrap:wrap;gap:.6rem 2.6rem;margin:1.5rem 0}.facts b{display:block;font-size:1.5rem;font-weight:600}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.87rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem 0 .3rem 1.3rem;border-bottom:1px solid #e4e4e4;text-align:right;white-space:nowrap;vertical-align:baseline}
th{font-weight:600}th:first-child,td:first-child{text-align:left;padding-left:0}td small{display:block;font-size:.78rem}
i{display:inline-block;width:.65em;height:.65em;border-radius:50%;margin-right:.5em}
"""

INTRODUCTION = (
    "Speculative decoding whose draft model learns while it serves: the same learners held against their regret bounds in "
    "simulation, run inside a lossless decoder, and the two checked against each other."
)
HEAD = (
    "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    f"<title>OnlineSpec report</title><style>{CSS}</style></head>"
    f"<body><h1>OnlineSpec</h1><p class=muted>{INTRODUCTION}</p>"
)


def write(root: Path, figures: Path) -> Path:
    """Write ``root/report.html`` from ``root``'s results and the PNG files in ``figures`` → its path.

    Raises:
        MissingResult: if there is neither a result nor a figure.
    """
    try:
        found = summary(root)
    except MissingResult:
        found = {}
    tables = {
        "Decoder": methods(found.get("real", {}).get("methods", {})),
        "Simulator": simulated(root),
        "Prediction against decoder": listing(found.get("agreement", {})),
    }
    page = ""
    for title, names in SECTIONS.items():
        body = tables[title] + "".join(picture(figures / f"{n}.png") for n in names if (figures / f"{n}.png").exists())
        page += f"<h2>{title}</h2>{body}" if body else ""
    if not page:
        raise MissingResult(f"nothing to report under {root}: run `make demo` first")
    remaining = {key: value for key, value in found.get("real", {}).items() if key != "methods"}
    page += f"<h2>Also recorded for the decoder</h2>{listing(remaining)}" if remaining else ""
    page += f"<h2>Provenance</h2>{listing(found.get('provenance', {}))}" if found.get("provenance") else ""
    path = root / "report.html"
    with atomic(path) as partial:
        partial.write_text(HEAD + facts(found) + page + "</body></html>\n", encoding="utf-8")
    return path


def number(value: Any) -> str:
    """A number to three or four figures, with its 95 % interval below where there is one; other things as text."""
    if isinstance(value, dict) and "value" in value:
        limits = (
            f"<small>{number(value['low'])} – {number(value['high'])}</small>" if value.get("low") is not None else ""
        )
        return number(value["value"]) + limits
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else escape(str(value))
    if isinstance(value, int):
        return f"{value:,}"
    if not np.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}" if 0.001 <= abs(value) < 10 else f"{value:.4g}"


def grid(heads: list[str], rows: list[list[str]]) -> str:
    """A table; the cells are HTML already."""
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=scroll><table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{body}</table></div>"


def name_of(method: str) -> str:
    """A method's name behind a dot of its colour, as in the figures."""
    return f"<i style='background:{style.color(method)}'></i>{escape(method)}"


def facts(found: dict) -> str:
    """The few numbers to see first."""
    cells = [
        f"<div><b>{number(found[part][key])}</b>{label}</div>"
        for (part, key), label in FACTS.items()
        if found.get(part, {}).get(key) is not None
    ]
    return f"<div class=facts>{''.join(cells)}</div>"


def methods(values: dict[str, dict]) -> str:
    """The table of methods from the summary."""
    if not values:
        return ""
    shown = [key for key in METHOD_COLUMNS if any(entry.get(key) is not None for entry in values.values())]
    rows = [[name_of(m), *(number(values[m].get(key)) for key in shown)] for m in style.order(values)]
    return grid(["method", *(METHOD_COLUMNS[key] for key in shown)], rows) + f"<p class=muted>{METHODS_NOTE}</p>"


def simulated(root: Path) -> str:
    """The table of simulator rows, from their traces."""
    try:
        found = traces(root, "sim", needs=["dynamic_regret"])
    except MissingResult:
        return ""
    rows = []
    for name, trace in found.items():
        environment, _, learner = name.rpartition("/")
        last = {key: column[-1] for key, column in trace.columns.items() if column.ndim == 2}
        regret, bound = last["dynamic_regret"], last.get("bound")
        ratio = np.min(bound[regret > 0] / regret[regret > 0], initial=np.inf) if bound is not None else None
        cells = [regret.mean(), None if bound is None else bound.mean(), ratio]
        cells += [last[key].mean() if key in last else None for key in ("alpha", "alpha_bound")]
        rows.append([escape(environment), name_of(learner), str(len(regret)), *map(number, cells)])
    heads = ["environment", "learner", "seeds", "dynamic regret", "bound", "ratio", "alpha", "its lower bound"]
    return grid(heads, rows) + f"<p class=muted>{ROWS_NOTE}</p>"


def flat(values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Nested dictionaries as (dotted name, leaf); a value with its interval is one leaf, a long list its length."""
    if isinstance(values, dict) and "value" not in values:
        return [pair for key, value in values.items() for pair in flat(value, f"{prefix}{key}.")]
    if isinstance(values, list):
        values = ", ".join(map(str, values)) if len(str(values)) <= 90 else f"{len(values)} entries"
    return [(prefix.rstrip("."), values)]


def listing(values: dict) -> str:
    """Names and values of whatever a summary holds, unknown entries included."""
    return grid(["", "value"], [[escape(name), number(value)] for name, value in flat(values)]) if values else ""


def picture(path: Path) -> str:
    """A figure, embedded, with its script's first line as caption."""
    caption = (import_module(FIGURES[path.stem]).__doc__ or "").splitlines()[0]
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<figure><img alt='{path.stem}' src='data:image/png;base64,{data}'><figcaption>{escape(caption)}</figcaption></figure>"
