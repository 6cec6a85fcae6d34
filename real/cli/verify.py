"""Commands that ask whether it is right: lossless, audited, and foretold by the simulator."""

from pathlib import Path
from typing import Annotated

import typer

from real.cli import tables
from real.cli.asked import PairOptions
from real.cli.fields import Without
from real.cli.options import Families, Kept, Out, Room, Trust
from real.serving.settings import Serving
from theory.runs.outputs import FILE
from theory.runs.result import save_result
from theory.runs.table import Column, console, table
from theory.runs.terminal import Progress, busy, complaints

app = Room(panel="Verify")
MATRIX = (
    *(Column(name, name) for name in ("drafter", "sampling", "mode")),
    *(Column(name, name.replace("_", "-"), "d") for name in ("cells", "hold", "near_ties", "sensitive")),
    Column("largest_difference", "largest difference", ".1e"),
    Column("smallest_bias", "smallest bias", ".1%"),
)


@app.command()
def lossless(
    prompts: Annotated[int, typer.Option(help="Prompts per model family.")] = 50,
    compiled: Annotated[bool, typer.Option("--compile/--eager", help="torch.compile the models first.")] = False,
    target: Annotated[str, typer.Option(help="Check this folder or hub name instead; needs --draft.")] = "",
    draft: Annotated[str, typer.Option(help="Its draft.")] = "",
    trust: Trust = None,
    dtype: Annotated[str, typer.Option(help="bfloat16 or float16: greedy output alone, up to its ties.")] = "",
    device: Annotated[str, typer.Option(help="With --dtype: cpu or cuda.")] = "cpu",
    out: Kept = None,
) -> None:
    """Greedy output token for token equal to transformers' own; sampled output equal in law.

    Then models that nobody made for this decoder, 21 random ones and 13 generation configs: identical, or refused.
    """
    from real.models.load import load_pair
    from real.verify.lossless import lossless as check
    from real.verify.rounded import rounded
    from real.verify.strangers import strangers

    if bool(target) != bool(draft):
        raise ValueError(f"target={target!r}, draft={draft!r}: one pair is checked; name both, or neither")
    if device != "cpu" and not dtype:
        raise ValueError(f"--device {device}: goes with --dtype; the exact comparison runs on the CPU")
    if compiled and dtype:
        raise ValueError(f"--compile, --dtype {dtype}: ties are judged of eager models; leave one of them out")
    with busy("checking"):
        if dtype:
            load = (lambda: load_pair(target, draft, dtype, device, trust or ())) if target else None
            held = rounded(dtype, device, prompts, load=load)
        else:
            given = {"target": target or None, "draft": draft or None, "trust": trust or ()}
            held = check(prompts=prompts, compiled=compiled, **given)
            if not (target or compiled):
                held = strangers() and held
    if out is not None:
        save_result(
            out, "lossless", {"holds": held, "prompts": prompts, "compiled": compiled, "dtype": dtype, "target": target}
        )
    if not held:
        raise typer.Exit(1)


@app.command()
def check(
    drafter: Annotated[str, typer.Argument(help="NAME (python -m real list) or file.py:Class.")],
    drafter_set: Annotated[list[str] | None, typer.Option(help="Setting of the drafter, key=value.")] = None,
    family: Annotated[str, typer.Option(help="Of the tiny random models: llama, qwen2, qwen3 or gpt_neox.")] = "llama",
) -> None:
    """Hold a drafter, of your own too, to the laws that all drafters keep. Status 1 if one is broken."""
    from real.cli.options import drafter_settings
    from real.verify.drafter_laws import fault, laws
    from real.verify.on_trial import Subject, pair_of

    subject = Subject.of(drafter, pair_of(family), **drafter_settings(drafter_set or []))
    faults = {}
    with Progress() as progress:
        checked = laws(subject.kind)
        tell = progress.task(f"laws of {drafter}")
        for number, (name, law) in enumerate(checked.items(), start=1):
            faults[name] = fault(law, subject)
            tell(number, len(checked))
            if number == 1 and faults[name]:
                break  # all others rest on it
    for shown in tables.laws(checked, faults):
        console.print(shown)
    if any(faults.values()):
        raise typer.Exit(1)


@app.command()
def audit(
    tokens: Annotated[
        int, typer.Option(help="Tokens served in all, at least; requests are served whole, batches too.")
    ] = 100_000,
    family: Families = None,
    out: Kept = None,
) -> None:
    """Serve with every kind of drafter and bet against the text being the target's own."""
    from real.systems.loaded import FAMILIES
    from real.verify.audit import BETTOR
    from real.verify.audit import audit as served

    rows = []
    with busy("auditing"):
        for row in served(tokens, tuple(family or FAMILIES)):
            rows.append(row)
            console.print(tables.audited(row), highlight=False)
    alarms = [row for row in rows if row.alarm]
    total = sum(row.tokens for row in rows)
    if out is not None:
        content = {"rows": [vars(row) for row in rows], "tokens": total, "false_alarm": BETTOR.false_alarm}
        save_result(out, "audit", content)
    verdict = f"ALARM in {len(alarms)} of {len(rows)} systems" if alarms else f"no alarm in {total:,} tokens"
    console.print(f"{verdict} (each false with probability at most {BETTOR.false_alarm:g}, at any length)")
    if alarms:
        raise typer.Exit(1)


@app.command()
def record(
    out: Annotated[Path, typer.Option(help="The .npz file to write."), FILE],
    schedule: Annotated[str, typer.Option(help="Domains and prompts of each (first turns).")] = "prose:20,c:40",
    serving: Annotated[Serving, Without("confidence", "overlap")] = Serving(law_top_k=64),
    system: Annotated[str, typer.Option(help="heads, or the specialist's adapter if left out.")] = "",
    seed: int = 0,
    portable: Annotated[
        bool, typer.Option("--portable", help="Write what can be carried elsewhere, and the draft's readout beside it.")
    ] = False,
    pair: Annotated[PairOptions, Without("compiled", "tune")] = PairOptions(),
) -> None:
    """Record one frozen run, from which ``python -m sim replay`` predicts runs never made."""
    from real.verify.record import record as write

    models = pair.load()
    with Progress() as progress:
        write(models, schedule, serving, seed, out, progress.task(f"recording {out}"), system, portable)


@app.command()
def agree(out: Out = Path("out/demo")) -> None:
    """Hold the simulator's predictions against decoder runs: OUT/agreement.json."""
    from real.verify.agree import agree as compare
    from real.verify.agree import disagreements

    with busy("comparing"):
        wrong = disagreements(compare(out, console))
    if wrong:
        complaints.print(f"the two worlds disagree: {', '.join(wrong)}; see {out / 'agreement.json'}", style="red")
        raise typer.Exit(1)


@app.command()
def matrix(
    cells: Annotated[
        list[str] | None, typer.Argument(help="Patterns of cells, such as eager/heads-*/ogd-*; all if left out.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only record what foretells them, for `sim foretell`.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Groups of cells served at once, a thread each.")] = 1,
    out: Out = Path("out/demo"),
) -> None:
    """The same for every drafter × learner × draft length × sampling × way of serving: OUT/agreement_matrix.json."""
    from real.verify import matrix as made
    from theory.runs.experiment import select

    chosen, folder = list(select(made.every_cell(), cells or ["*"]).values()), out / "matrix"
    with Progress() as progress:
        if plan:
            made.plan(chosen, folder, jobs, progress.task("recordings"))
            return
        result = made.matrix(chosen, folder, jobs, progress.task("cells"))
    path = out / "agreement_matrix.json"
    save_result(path, "agreement matrix", result)
    console.print(table(result["groups"], MATRIX))
    if wrong := list(made.wrong(result)):
        complaints.print(f"the two worlds disagree: {', '.join(wrong)}; see {path}", style="red")
        raise typer.Exit(1)
