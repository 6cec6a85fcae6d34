"""``results/README.md``: every number, from result files alone."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from figures.numbers import pays, proofs, ranks, replay, shifted, speed, systems
from figures.numbers.claims import Claim, claims
from figures.numbers.files import Results
from figures.numbers.markdown import table, yes
from theory.runs.files import write_whole
from theory.runs.measured import REPOSITORY

Section = Callable[[Results], Iterator[str]]
INTRODUCTION = """\
# Results

`python -m figures numbers` makes this page from the result files; a test holds it to them. Do not edit it.
`verdicts.json` has every claim (`python -m figures verdicts`), and [LOG.md](LOG.md) has the story: what was tried, what
failed, what was measured again. `make results`, `make systems`, `make bench`, `make lossless` and `make gpu` run the
commands again.

Intervals in brackets are 95 %, by a paired bootstrap over prompts unless a section says otherwise. A speedup is total
tokens over total seconds against plain decoding with the same kernels, on the same prompts, learning charged. Unless a
section says otherwise: the embedded pair, one CPU thread, float32."""
SECTIONS: tuple[tuple[str, tuple[str, ...], Section], ...] = (
    ("Learning on streams that shift", ("real",), shifted.shifted),
    ("What learning on acceptance pays", tuple(map(pays.source, pays.FILES)), pays.pays),
    ("What learning has saved after so many tokens", (replay.SOURCE,), replay.replay),
    ("Against transformers' own decoders", ("bench.json",), lambda results: speed.rivals(results, "bench.json")),
    ("Several requests at once", ("throughput.json",), speed.throughput),
    ("A long text", ("context.json",), speed.context),
    ("On a GPU", ("gpu/bench.json",), speed.gpu),
    ("What a step costs", ("profile.json",), speed.profile),
    ("The floor under plain decoding", ("floor.json",), speed.floor),
    ("Which limit binds", ("headroom.json",), speed.headroom),
    ("Every drafter with every learner", tuple(f"table1/{block}.json" for block in systems.BLOCKS), systems.blocks),
    ("Deep drafters by TV and by KL", (systems.DEEP,), systems.deep),
    ("Does regret predict speed?", (ranks.SOURCE,), ranks.ranks),
    ("Certificates of live runs", (), systems.certificates),
    ("Ensembles of step sizes", ("claims/claims.json",), systems.ensembles),
    ("Hints", (), systems.hints),
    ("How step sizes were chosen", ("tuning.json",), systems.tuning),
    ("Is the text the target's own?", ("audit.json",), proofs.audit),
    ("Every drafter, token for token", (proofs.LOSSLESS,), proofs.lossless),
    ("Two worlds, one answer", ("agreement.json",), proofs.agreement),
    ("Two worlds, cell by cell", (proofs.MATRIX,), proofs.matrix),
    ("Regret and bounds in the simulator", ("sim",), proofs.simulator),
    ("Mixtures of drafts in the simulator", (proofs.DRAFTS,), proofs.drafts),
    ("How tight the bounds are", ("theory/tightness.csv",), proofs.tightness),
    ("Faults planted in learners", (proofs.FAULTS,), proofs.faults),
    ("Faults planted in formulas", (proofs.MUTANTS,), proofs.mutants),
    ("A vocabulary of 151,936 tokens", (proofs.WIDE,), proofs.wide),
)
"""Title, the files that the section is made from if none before has named them, and what writes it."""
AWAITED = (proofs.MATRIX, proofs.LOSSLESS, proofs.MUTANTS, proofs.FAULTS, proofs.WIDE)
"""Files without which their section is left out."""
PICTURES = {
    "Learning on streams that shift": ("acceptance", "speed", "ledger"),
    "What learning has saved after so many tokens": ("curves", "returning"),
    "Which limit binds": ("headroom",),
    "Does regret predict speed?": ("regret_speed",),
    "Every drafter with every learner": ("systems",),
    "Ensembles of step sizes": ("step_sizes",),
    "Hints": ("hints",),
    "Two worlds, one answer": ("agreement", "speed_theorem"),
    "Regret and bounds in the simulator": ("regret", "acceptance_bounds"),
    "How tight the bounds are": ("tightness",),
}
"""Title → figures that show the same numbers."""
OTHERS = ("summary.json", "deep/specialist.csv", "gpu/run.txt", *map(pays.source, pays.AT_HOME),
          *(f"pays/{name}.csv" for name in (*pays.FILES, *pays.AT_HOME)),
          *(f"table1/{block}.csv" for block in systems.BLOCKS))  # fmt: skip
"""Files that sections read besides."""


def page(results: Results) -> str:
    """The whole page."""
    made = claims(results)
    missed = [claim for claim in made if not claim.holds]
    blocks = [INTRODUCTION, "## What does not hold"]
    blocks += [f"Of {len(made)} claims {len(missed)} do not hold. All claims are at the end.", asked(missed)]
    for title, files, section in sections(results):
        pictures = [f"![{name}](figures/{name}.png)" for name in PICTURES.get(title, ())]
        blocks += [f"## {title}", *map(command, [results] * len(files), files), *section(results), *pictures]
    record = json.loads((REPOSITORY / "real/assets/PROVENANCE.json").read_text())
    blocks += ["## The embedded models", *proofs.embedded(record)]
    blocks += ["## All claims", asked(made), "## The files", *sources(results)]
    return "\n\n".join(blocks) + "\n"


def sections(results: Results) -> list[tuple[str, tuple[str, ...], Section]]:
    """All sections but those whose files are awaited."""
    return [one for one in SECTIONS if all(name not in AWAITED or results.has(name) for name in one[1])]


def asked(found: list[Claim]) -> str:
    """Claims as a table."""
    rows = []
    for claim in found:
        rows.append([claim.subject, f"{claim.asked} {claim.limit:g}", claim.measured, yes(claim.holds)])
    return table(["claim", "asked", "measured", "holds"], rows)


def command(results: Results, name: str) -> str:
    """Which command made a file, at which commit, where and when."""
    if not has_header(name):
        return f"`results/{name}` was made by `python -m theory tightness --csv results/{name}`."
    lines = []
    for made in results.origins(name):
        commit = f"commit `{made.commit[:7]}`" if made.commit else "no commit"
        changed = " with changes beside it" if made.dirty else ""
        lines.append(f"`{made.command}` ({commit}{changed}, {made.device}, {made.date})")
    return f"`results/{name}` was made by {'; '.join(lines)}."


def has_header(name: str) -> bool:
    """Whether a file, or the files of a folder, say where they come from."""
    return name.endswith(".json") or "." not in name


def sources(results: Results) -> Iterator[str]:
    """A hash of every file that the page is made from, so that no digit of one changes unseen."""
    yield "The first digits of the SHA-256 of every file that this page is made from; of a folder, of all its files."
    names = [name for _, files, _ in sections(results) for name in files]
    yield table(["file", "SHA-256"], ([f"`{name}`", f"`{results.digest(name)}`"] for name in (*names, *OTHERS)))


def write(root: Path) -> Path:
    """Write ``root/README.md`` → its path.

    Raises:
        FileNotFoundError: if a result file is missing.
    """
    path = root / "README.md"
    write_whole(path, page(Results(root)))
    return path
