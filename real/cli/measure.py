"""Commands that measure speed: rivals, rows at once, long texts, what a step costs, floors and headroom."""

from pathlib import Path
from typing import Annotated

import typer

from real.cli import tables
from real.cli.asked import PairOptions
from real.cli.fields import Without
from real.cli.options import Domains, Dtype, Family, Gamma, Kept, New, Prompts, Room
from real.serving.settings import Serving
from theory.runs.outputs import FILE
from theory.runs.result import save_result
from theory.runs.table import console
from theory.runs.terminal import Progress, busy

app = Room(panel="Measure")

EAGER = Without("family", "compiled", "tune")
"""Settings of a pair that contests with other decoders decide themselves."""

FROZEN = Without("law_top_k", "rule", "confidence", "overlap")
"""Settings that mean nothing where every step drafts all it is asked to, by the token rule, and nothing learns."""


@app.command()
def bench(
    pair: Annotated[PairOptions, EAGER] = PairOptions(),
    prompts: Prompts = "prose:24",
    new: New = 64,
    gamma: Gamma = 4,
    contender: Annotated[
        list[str] | None,
        typer.Option(help="Name or pattern of `python -m real list`, repeatable; all if left out."),
    ] = None,
    out: Kept = None,
) -> None:
    """Our frozen decoder against transformers' assisted generation, interleaved.

    Every decoder is asked the turns of a prompt in sequence, after its own answers.
    """
    from real.cli.prepare import stream_of
    from real.measure.rivals import bench as measure
    from real.traffic.streams import ASSETS

    asked = stream_of(prompts, 0).prompts
    chat = None if pair.target else False  # the embedded target continues text
    target, draft = pair.target or str(ASSETS / "target"), pair.draft or str(ASSETS / "specialist")
    with busy("measuring"):
        measure(target, draft, asked, new, gamma, pair.dtype, pair.device, chat, contender, out, pair.trust or ())


@app.command()
def throughput(
    pair: Annotated[PairOptions, EAGER] = PairOptions(),
    prompts: Prompts = "prose:64",
    rows: Annotated[list[int] | None, typer.Option(help="Requests at once, repeatable; 1, 4, 16 if left out.")] = None,
    new: New = 64,
    gamma: Gamma = 4,
    out: Kept = None,
) -> None:
    """Several requests at once: ours, plain and drafting, against transformers' batched generate, interleaved.

    A prompt's next turn enters when the one before has ended, after the decoder's own answers.
    """
    from real.cli.prepare import stream_of
    from real.measure.rivals import SAMPLINGS
    from real.measure.served import device_name
    from real.measure.throughput import AT_ONCE, show
    from real.measure.throughput import throughput as measure
    from real.traffic.turns import FollowUps

    if gamma < 1 or new < 1:
        raise ValueError(f"gamma={gamma!r}, new={new!r}: both must be at least 1")
    models, stream = pair.load(), stream_of(prompts, 0)
    ids, left_out = models.encoded(stream.prompts), dict[str, str]()

    def following(part: slice) -> FollowUps:
        return FollowUps(models.pair, stream.prompts[part], models.chat, left_out)

    with busy("measuring"):
        found = {
            name: measure(models.pair, ids, new, how, gamma, rows or AT_ONCE, following)
            for name, how in SAMPLINGS.items()
        }
    for line in left_out.values():
        console.print(line, highlight=False, soft_wrap=True)
    show(found)
    if out is not None:
        settings = {"models": models.names, "prompts": prompts, "new": new, "gamma": gamma, "dtype": pair.dtype}
        settings |= {"left_out": list(left_out.values())}
        save_result(out, "throughput", {**settings, "rows": found}, device_name(pair.device))


@app.command()
def context(
    tokens: Annotated[int, typer.Option(help="Of the prompt: requests of every domain, one after the other.")] = 32_768,
    new: Annotated[int, typer.Option(help="New tokens after it.")] = 64,
    gamma: Gamma = 4,
    pair: Annotated[PairOptions, Without("target", "draft", "family", "compiled", "tune", "trust")] = PairOptions(),
    out: Kept = None,
) -> None:
    """A long text on the embedded pair, plain and drafting, greedily: seconds, and memory above the weights."""
    from real.measure.context import lengthened, long_prompt, measure
    from real.measure.served import device_name
    from real.traffic.streams import ASSETS

    models = lengthened(str(ASSETS / "target"), str(ASSETS / "specialist"), tokens + new, pair.dtype, pair.device)
    prompt, rows = long_prompt(models, tokens), {}
    for name, drafter in (("plain", ""), ("draft", "independent")):
        with busy(f"{name}, {tokens:,} tokens"):
            rows[name] = measure(models, drafter, prompt, new, gamma)
    same = rows["plain"].pop("text") == rows["draft"].pop("text")
    for shown in tables.context(rows):
        console.print(shown)
    console.print(f"the same text both times: {'yes' if same else 'no'}")
    if out is not None:
        settings = {"models": "target with specialist", "new": new, "gamma": gamma, "dtype": pair.dtype, "same": same}
        save_result(out, "context", {**settings, "rows": rows}, device_name(pair.device))
    if not same:
        raise typer.Exit(1)


@app.command()
def profile(
    row: Annotated[
        str, typer.Argument(help="A named system, whose drafter is profiled at rest; sd, frozen on models of your own.")
    ] = "",
    pair: PairOptions = PairOptions(),
    prompts: Annotated[
        str, typer.Option(help="JSONL, of which first turns are asked, or a schedule; half of them are foretold.")
    ] = "prose:32",
    serving: Annotated[Serving, FROZEN] = Serving(gamma=8, max_new_tokens=64),
    out: Annotated[Path | None, typer.Option(help="Keep it in this JSON file."), FILE] = None,
) -> None:
    """What a step costs by the tokens it drafts, and whether the speed law foretells runs from it."""
    from real.cli.prepare import stream_of
    from real.measure import profile as profiling
    from real.systems.choose import row_of

    method, stream = row_of(row or ("frozen" if pair.own else "sd")), stream_of(prompts, 0)
    if len(stream.prompts) < 2:
        raise ValueError(f"--prompts {prompts}: one request; take two or more, half of them are foretold")
    models = pair.load()
    pair.compile(models, [method], stream, serving, varied=True)
    ids = models.encoded(stream.prompts)
    FILE.check("the profile", profiling.place(models, method, serving))
    with Progress() as progress:
        runs = [
            profiling.measure(models, method, serving, ids[half::2], progress.task(name))
            for half, name in enumerate(("measuring", "foretelling"))
        ]
    found = profiling.profile(runs[0])
    rows = profiling.foretold(found, runs[1])
    console.print(tables.profile(found, rows))
    if min(found.step) < found.step[0]:
        console.print("a drafting step was measured faster than a plain one: the machine was busy, measure again")
    kept = [profiling.place(models, method, serving), *([] if out is None else [out])]
    for path in kept:
        profiling.keep(path, profiling.settings_of(models, method, serving), found, rows)
    console.print(f"kept in {kept[0]}: --by-cost takes it up where models, drafter and options are the same")


@app.command()
def wide(
    like: Annotated[str, typer.Option(help="A size of `python -m real list`, but for its depth.")] = "qwen3-0.6b",
    dtype: Dtype = "bfloat16",
    top_k: Annotated[int, typer.Option(min=1, help="Tokens that laws are cut to, to see what it does to losses.")] = 64,
    schedule: Annotated[str, typer.Option(help="Two requests, as domain:prompts; the first warms up.")] = "c:2",
    out: Kept = None,
) -> None:
    """Every drafter with every learner at a large vocabulary, on inflated models: milliseconds, bytes, losses."""
    from real.build.inflate import shallow_pair
    from real.measure.served import device_name
    from real.measure.wide import SERVING
    from real.measure.wide import wide as measured
    from real.traffic.streams import scheduled
    from real.traffic.turns import encoded

    with busy("inflating"):
        pair = shallow_pair(like, dtype)
    prompts, rows = encoded(pair, scheduled(schedule, 0).prompts, False), []
    with Progress() as progress:
        for row in measured(pair, prompts, top_k):
            rows.append(row)
            progress.say(f"{row['drafter']} with {row['learner']}: {row['milliseconds_step']:.0f} ms a step")
    console.print(tables.wide(rows, top_k))
    told = {"like": like, "vocab": pair.target.vocab, "width": pair.target.width, "dtype": dtype, "top_k": top_k}
    told |= {"gamma": SERVING.gamma, "nu": SERVING.nu, "new": SERVING.max_new_tokens, "schedule": schedule}
    if out is not None:
        save_result(out, "wide", {**told, "rows": rows}, device_name(str(pair.device)))


@app.command()
def floor(
    prompts: Annotated[int, typer.Option(help="Requests of every domain.")] = 12,
    serving: Annotated[Serving, FROZEN] = Serving(max_new_tokens=64),
    family: Family = "qwen3",
    drafter: Annotated[
        list[str] | None,
        typer.Option(help="uniform, sd, ngram, heads, hydra, eagle or mixture; repeatable, all if left out."),
    ] = None,
    domain: Domains = None,
    out: Kept = None,
) -> None:
    """Is a draft whose length is chosen by cost ever slower than plain decoding? Every drafter, every domain."""
    from real.measure import floor as flooring
    from real.measure.served import device_name
    from real.systems.loaded import Models
    from real.traffic.streams import domains

    models = Models(family=family)
    with Progress() as progress:
        reports = {name: progress.task(name) for name in drafter or flooring.AT_REST}
        rows = flooring.floor(
            models, serving, domain or domains(), prompts, list(reports),
            lambda name, done, total: reports[name](done, total),
        )  # fmt: skip
    console.print(tables.floor(rows))
    if out is not None:
        settings = {"gamma": serving.gamma, "new": serving.max_new_tokens, "temperature": serving.sampling.temperature}
        settings |= {"prompts": prompts, "family": family}
        save_result(out, "floor", {**settings, "rows": rows}, device_name(models.device))


@app.command()
def headroom(
    row: Annotated[str, typer.Argument(help="A named system; adapter-ensemble, ensemble on models of your own.")] = "",
    pair: PairOptions = PairOptions(),
    prompts: Annotated[int, typer.Option(help="Requests of every domain.")] = 8,
    serving: Annotated[Serving, Without("rule", "confidence", "overlap")] = Serving(),
    domain: Domains = None,
    out: Kept = None,
) -> None:
    """What each limit costs a system on every domain, and which one binds."""
    from real.cli.prepare import stream_of
    from real.measure.headroom import measure
    from real.measure.served import device_name
    from real.systems.choose import row_of
    from real.traffic.streams import domains

    row = row or ("ensemble" if pair.own else "adapter-ensemble")
    models, method, named = pair.load(), row_of(row), domain or domains()
    if pair.compiled:
        pair.compile(models, [method], stream_of(",".join(f"{name}:{prompts}" for name in named), 0), serving)
    with Progress() as progress:
        rows = measure(models, row, method, serving, named, prompts, progress.task(row))
    console.print(tables.headroom(rows))
    if out is not None:
        save_result(out, "headroom", {"rows": rows, "gamma": serving.gamma}, device_name(models.device))
