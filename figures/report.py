"""One self-contained HTML page: what was run, what came out, the figures, and where everything is from."""

import base64
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from figures import FIGURES, style
from figures.results import MissingResult, summary, traces
from theory.runs.files import write_whole

METHOD_COLUMNS = {
    "tokens_per_step": "tokens per step",
    "alpha": "alpha",
    "tokens_per_second": "tokens/s",
    "speedup": "net speedup",
    "generation_speedup": "learning left out",
    "relative_speedup": "against frozen",
    "learn_share": "learning's share",
    "hint_gain": "hint gain",
    "gap_closed": "gap closed",
}
ROW_COLUMNS = {
    "dynamic_regret": ("dynamic regret", "≤", ("certificate", "bound")),
    "alpha": ("alpha", "≥", ("alpha_bound",)),
    "tokens_per_step": ("tokens per step", "≥", ("tokens_per_step_bound",)),
}
"""Measured column → its name, the sign of its bounds, and their columns, the sharpest first."""
FACTS = {
    "sim.rows": "simulator rows",
    "sim.violations": "violated bounds",
    "sim.median_tightness": "median tightness (measured / bound)",
    "real.methods.frozen.speedup": "net speedup, frozen draft",
    "real.methods.ensemble.speedup": "net speedup, ensemble",
    "real.gap_closed.ensemble": "of the gap to the generalist closed",
}
SECTIONS = {
    "Decoder": ("acceptance", "speed", "ledger", "headroom", "speed_theorem", "paper_formulas"),
    "Simulator": ("regret", "tightness", "acceptance_bounds"),
    "Prediction against decoder": ("agreement",),
    "Systems": ("systems", "step_sizes", "hints", "curves", "returning", "regret_speed"),
}
METHODS_NOTE = (
    "Speedups are ratios of total tokens to total seconds against plain decoding with the same kernels, everything "
    "charged, learning included; small figures are 95 % intervals (paired bootstrap over prompts)."
)
ROWS_NOTE = (
    "At the horizon, means over seeds, each beside its sharpest bound. Tightness: measured over bound, greatest of all "
    "seeds; above 1 it would be a violation. Violations are counted over all rounds, seeds and claims."
)
CSS = """
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;color:#222;background:#fff;
 max-width:60rem;margin:2.5rem auto;padding:0 1.25rem}
h1{font-size:1.7rem;margin:0 0 .2rem}
h2{font-size:1.2rem;margin:2.8rem 0 .8rem;border-bottom:1px solid #e4e4e4;padding-bottom:.3rem}
p,figcaption{max-width:46rem}.muted,figcaption,small,th{color:#6b6b6b}figcaption{font-size:.9rem;margin-top:.4rem}
figure{margin:1.8rem 0}img{max-width:100%;height:auto;display:block}
.facts{display:flex;flex-wrap:wrap;gap:.6rem 2.6rem;margin:1.5rem 0}.facts b{display:block;font-size:1.5rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.87rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem 0 .3rem 1.3rem;border-bottom:1px solid #e4e4e4;text-align:right;
 white-space:nowrap;vertical-align:baseline}
th:first-child,td:first-child{text-align:left;padding-left:0}
.two th:nth-child(2),.two td:nth-child(2){text-align:left}
td small{display:block;font-size:.78rem}
h3{font-size:1rem;margin:1.6rem 0 .5rem}details{margin:.6rem 0}summary{color:#6b6b6b;cursor:pointer}
i{display:inline-block;width:.65em;height:.65em;border-radius:50%;margin-right:.5em}
"""
INTRODUCTION = (
    "Speculative decoding whose draft model learns while it serves: the same learners held against their regret bounds "
    "in simulation, run inside a lossless decoder, and the two checked against each other."
)
HEAD = (
    "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    f"<title>OnlineSpec report</title><style>{CSS}</style></head>"
    f"<body><h1>OnlineSpec</h1><p class=muted>{INTRODUCTION}</p>"
)


def write(root: Path, figures: Path, path: Path | None = None) -> Path:
    """Write ``path``, by default ``root/report.html``, from ``root``'s results and the PNG files in ``figures``.

    Raises:
        MissingResult: if there is neither a result nor a figure.
    """
    try:
        found = summary(root)
    except MissingResult:
        found = {}
    tables = {
        "Decoder": decoder(found.get("real", {}), found.get("others", {})),
        "Simulator": simulated(root),
        "Prediction against decoder": listing(
            {k: v for k, v in (found.get("agreement") or {}).items() if k != "provenance"}
        ),
    }
    page = ""
    for title, names in SECTIONS.items():
        body = tables.get(title, "") + "".join(
            picture(figures / f"{n}.png") for n in names if (figures / f"{n}.png").exists()
        )
        page += f"<h2>{title}</h2>{body}" if body else ""
    if not page:
        raise MissingResult(f"nothing to report under {root}: run `make demo` first")
    page += f"<h2>Provenance</h2>{listing(found.get('provenance', {}))}" if found.get("provenance") else ""
    path = path or root / "report.html"
    write_whole(path, HEAD + facts(found) + page + "</body></html>\n")
    return path


def number(value: Any, interval: bool = True) -> str:
    """A number to three or four figures, with its 95 % interval below where there is one; other things as text."""
    if isinstance(value, dict) and "value" in value:
        limits = interval and value.get("low") is not None
        small = f"<small>{number(value['low'])} – {number(value['high'])}</small>" if limits else ""
        return number(value["value"]) + small
    if isinstance(value, list):
        pair = len(value) == 2 and all(isinstance(part, int) for part in value)
        return (
            f"{value[0]} of {value[1]}"
            if pair
            else f"{len(value)} entries"
            if len(str(value)) > 90
            else escape(str(value))
        )
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else escape(str(value))
    if isinstance(value, int):
        return f"{value:,}"
    if not np.isfinite(value):
        return "–"
    size = abs(value)
    places = 0 if size >= 1000 else 2 if size >= 10 else 3
    return f"{value:,.{places}f}" if size >= 0.001 or size == 0 else f"{value:.2e}"


def grid(heads: list[str], rows: list[list[str]], kind: str = "") -> str:
    """A table; the cells are HTML already. ``kind`` "two": two columns of labels instead of one."""
    top = "".join(f"<th>{head}</th>" for head in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=scroll><table class='{kind}'><tr>{top}</tr>{body}</table></div>"


def name_of(method: str) -> str:
    """A method's name behind a dot of its colour, as in the figures."""
    return f"<i style='background:{style.color(method)}'></i>{escape(method)}"


def facts(found: dict) -> str:
    """The few numbers to see first."""
    leaves = dict(flat(found))
    cells = [
        f"<div><b>{number(leaves[key], interval=False)}</b>{label}</div>"
        for key, label in FACTS.items()
        if leaves.get(key) is not None
    ]
    return f"<div class=facts>{''.join(cells)}</div>"


def decoder(main: dict, others: dict[str, dict]) -> str:
    """The main experiment's tables, the other experiments' folded away."""
    if not main.get("methods"):
        return ""
    folded = "".join(
        f"<details><summary>{escape(name)}</summary>{parts(part)}</details>" for name, part in others.items()
    )
    return parts(main) + f"<p class=muted>{METHODS_NOTE}</p>" + folded


def parts(experiment: dict) -> str:
    """Tables of methods over the whole stream and the last half of the shifted segment; each segment's, folded away."""
    text = methods(experiment["methods"])
    for name, values in experiment.get("parts", {}).items():
        if name == "shifted_last_half":
            text += f"<h3>Last half of the shifted segment</h3>{methods(values)}"
        else:
            text += f"<details><summary>Segment {escape(name)}</summary>{methods(values)}</details>"
    settings = listing(experiment.get("settings"))
    return text + (f"<details><summary>Settings</summary>{settings}</details>" if settings else "")


def methods(values: dict[str, dict]) -> str:
    """A table of methods with intervals."""
    shown = [key for key in METHOD_COLUMNS if any(known(entry.get(key)) for entry in values.values())]
    rows = [[name_of(m), *(number(values[m].get(key)) for key in shown)] for m in style.order(values)]
    return grid(["method", *(METHOD_COLUMNS[key] for key in shown)], rows)


def known(value: Any) -> bool:
    """Whether there is a number."""
    return value is not None and not (isinstance(value, dict) and value.get("value") is None)


def simulated(root: Path) -> str:
    """The table of simulator rows, from their traces' headers."""
    try:
        found = traces(root, "sim", needs=["dynamic_regret"])
    except MissingResult:
        return ""
    rows = []
    for name in sorted(found, key=lambda name: (name.rpartition("/")[0], style.rank(name.rpartition("/")[2]))):
        (environment, _, learner), header = name.rpartition("/"), found[name].header
        cells = [number(header["seeds"]), number(header["rounds"])]
        for key, (_title, sign, limits) in ROW_COLUMNS.items():
            limit = next((header["final"][name] for name in limits if name in header["final"]), None)
            beside = f" <span class=muted>{sign} {number(limit)}</span>" if limit is not None else ""
            cells.append(number(header["final"].get(key)) + beside)
        cells += [number(header["tightness"]), number(header["violations"])]
        rows.append([escape(environment), name_of(learner), *cells])
    heads = ["environment", "learner", "seeds", "rounds", *(column[0] for column in ROW_COLUMNS.values())]
    heads += ["tightness", "violations"]
    return grid(heads, rows, "two") + f"<p class=muted>{ROWS_NOTE}</p>"


def flat(values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Nested dictionaries as (dotted name, leaf); a value with its interval is one leaf, a list is one."""
    if isinstance(values, dict) and "value" not in values:
        return [pair for key, value in values.items() for pair in flat(value, f"{prefix}{key}.")]
    return [(prefix.rstrip("."), values)]


def listing(values: dict | None) -> str:
    """Names and values of whatever a summary holds, unknown entries included; lists of records as tables."""
    text, rows = "", []
    for name, value in flat(values or {}):
        if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
            heads = list(dict.fromkeys(key for entry in value for key in entry))
            text += (
                f"<h3>{escape(name)}</h3>{grid(heads, [[number(entry.get(key)) for key in heads] for entry in value])}"
            )
        else:
            rows.append([escape(name), number(value)])
    return (grid(["", "value"], rows) if rows else "") + text


def picture(path: Path) -> str:
    """A figure, embedded in its natural size, with its script's first line as caption."""
    caption = (import_module(FIGURES[path.stem]).__doc__ or "").splitlines()[0]
    content = path.read_bytes()
    pixels = int.from_bytes(content[16:20])  # the width in a PNG's header
    size = round(pixels / style.DPI * 96 * 1.35)
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    image = f"<img width={size} alt='{path.stem}' src='{source}'>"
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"
