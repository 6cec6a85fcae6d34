"""Numbers of speed: against transformers, rows of a batch, long texts, a GPU, what a step costs, what limits it."""

from collections.abc import Iterator, Mapping
from typing import Any

from figures.numbers.files import Results
from figures.numbers.markdown import counted, limits, number, percent, table, yes

MEBIBYTE = 2**20


def rivals(results: Results, name: str) -> Iterator[str]:
    """Every contender of a benchmark, and what was asked of ours over theirs."""
    found = results.json(name)
    yield (
        f"Target `{found['target']}`, draft `{found['draft']}`, {found['prompts']} prompts of up to {found['new']} "
        f"new tokens, γ = {found['gamma']}, {found['dtype']}, every contender serves every prompt in turn. Theirs "
        "draft by a constant schedule with threshold 0. *Outside* is time of a step that no model forward takes."
    )
    heads = ["", "mode", "tokens/s", "tokens/step", "outside, ms a step", "outside, share"]
    yield table(heads, (row for mode, part in found["rows"].items() for row in _contenders(mode, part["contenders"])))
    yield "What was asked: ours at least so many times as fast as theirs, by the lower limit."
    heads = ["ours ÷ theirs", "mode", "ratio", "asked", "holds"]
    targets = [(mode, target) for mode, part in found["rows"].items() for target in part["targets"]]
    yield table(heads, ([f"{target['ours']} ÷ {target['theirs']}", mode, limits(target["ratio"]),
                         number(target["factor"], 1), yes(target["holds"])] for mode, target in targets))  # fmt: skip
    yield "What drafting gains over plain decoding with the same kernels (tokens/s over tokens/s):"
    yield table(
        ["", *found["rows"]],
        (
            [f"{name} ÷ plain{kernels}", *(number(gain(part, name + kernels, f"plain{kernels}"))
                                           for part in found["rows"].values())]
            for name, kernels in (("draft", ""), ("draft", ", compiled"), ("ngram", ", compiled"))
            if all({name + kernels, f"plain{kernels}"} <= {*part["contenders"]} for part in found["rows"].values())
        ),
    )  # fmt: skip


def _contenders(mode: str, contenders: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    for name, entry in contenders.items():
        outside = [number(entry["outside_ms_per_step"]), percent(entry["outside_share"])]
        yield [name, mode, number(entry["tokens_per_second"], 0), number(entry["tokens_per_step"]), *outside]


def gain(part: Mapping[str, Any], ours: str, theirs: str) -> float:
    """Tokens a second of one contender over another's."""
    contenders = part["contenders"]
    return contenders[ours]["tokens_per_second"] / contenders[theirs]["tokens_per_second"]


def throughput(results: Results) -> Iterator[str]:
    """Rows of a batch against transformers' batched ``generate``."""
    found = results.json("throughput.json")
    yield (
        f"`{found['prompts']}`, {found['new']} new tokens, γ = {found['gamma']}, {found['dtype']}, eager. Intervals "
        "are over groups of requests; sixteen rows are two groups, too few for an interval. On one CPU core rows "
        "share little but calls: with sixteen of them arithmetic takes the time, and drafting does not pay."
    )
    rows = []
    for mode, entries in found["rows"].items():
        for entry in entries:
            speeds = [number(speed, 0) for speed in entry["tokens_per_second"].values()]
            ratios = [limits(ratio) for ratio in entry["ratios"].values()]
            rows.append([str(entry["rows"]), mode, *speeds, number(entry["tokens_per_step"]), *ratios])
    first = next(iter(found["rows"].values()))[0]
    speeds = (f"{name}, tokens/s" for name in first["tokens_per_second"])
    yield table(["rows", "mode", *speeds, "tokens/step", *first["ratios"]], rows)


def context(results: Results) -> Iterator[str]:
    """One long text."""
    found = results.json("context.json")
    same = "The texts are the same." if found["same"] else "**The texts differ.**"
    yield (
        f"One prompt on the embedded pair ({found['models']}), {found['new']} new tokens, greedily, {found['dtype']}, "
        f"with other work on the machine. Memory is what is used above the weights, in MiB. {same} The models were "
        "made for 1,024 tokens: at this length the draft is never right."
    )
    heads = ["", "prompt tokens", "prefill, s", "tokens/s", "tokens/step", "peak", "of it caches", "of it one mask"]
    rows = []
    for name, entry in found["rows"].items():
        cells = [counted(entry["tokens"]), number(entry["prefill_seconds"], 0), number(entry["tokens_per_second"], 1)]
        memory = [counted(entry[key] / MEBIBYTE) for key in ("peak", "caches", "mask")]
        rows.append([name, *cells, number(entry["tokens_per_step"]), *memory])
    yield table(heads, rows)


def gpu(results: Results) -> Iterator[str]:
    """The benchmark on a GPU, and one served run there."""
    yield (
        "The pair was *inflated*: the embedded models' law at the cost of Qwen3-8B and Qwen3-0.6B. Forwards are "
        "captured in CUDA graphs. The prompts were put into a chat template, which the embedded models do not know, "
        "so the draft commits fewer tokens a step than it should. Sampling and n-gram laws have been changed since, "
        "and were not measured again on a GPU."
    )
    yield from rivals(results, "gpu/bench.json")
    yield "One run that learns, as it was printed (`results/gpu/run.txt`):"
    yield f"```text\n{results.text('gpu/run.txt').rstrip()}\n```"


def profile(results: Results) -> Iterator[str]:
    """What a step costs by its length, and speed foretold from it."""
    found = results.json("profile.json")
    settings = found["settings"]
    yield (
        f"Costs are in plain steps, of the {settings['method']['draft']} draft, "
        f"{'compiled' if settings['compiled'] else 'eager'}, {settings['dtype']}; `cost_ratio` is "
        f"{number(found['cost_ratio'], 3)}. From them and the tokens per step, the speed law foretells the net speedup "
        "on other requests. It holds if the error is at most max(5 %, half the 95 % interval)."
    )
    heads = ["drafted", "cost", "upper limit", "tokens/step", "foretold", "measured", "error", "holds"]
    rows = []
    for row in found["foretold"]:
        cells = [number(row["cost"]), number(found["cautious_costs"][row["gamma"]]), number(row["tokens_per_step"])]
        told = [number(row["predicted"]), limits(row["measured"]), percent(row["error"]), yes(row["holds"])]
        rows.append([str(row["gamma"]), *cells, *told])
    yield table(heads, rows)
    yield f"A draft after plain steps costs {number(found['measured']['switch_cost'])} plain steps more."


def floor(results: Results) -> Iterator[str]:
    """The lowest net speed of every drafter on every domain, draft lengths chosen by cost."""
    found = results.json("floor.json")
    rows = found["rows"]
    domains, drafters = (list(dict.fromkeys(row[key] for row in rows)) for key in ("domain", "drafter"))
    yield (
        f"Draft lengths up to γ = {found['gamma']} are chosen by cost; the drafters do not learn. {found['prompts']} "
        f"requests a domain, {found['new']} new tokens, temperature {found['temperature']:g}, the {found['family']} "
        "target. Cells are net speed over plain decoding and its one-sided 95 % limit. The limit was asked to be "
        "0.98 or more; bold is below."
    )
    cells = {(row["drafter"], row["domain"]): _floor_cell(row) for row in rows}
    yield table(["", *domains], ([name, *(cells[name, domain] for domain in domains)] for name in drafters))
    yield "Tokens drafted a step, and the cost of one drafted token after a plain step, in plain steps:"
    of_all = [row for row in rows if row["domain"] == "all"]
    heads = ["", "tokens/step", "drafted/step", "one token after a plain step"]
    yield table(heads, ([row["drafter"], number(row["tokens_per_step"], 3), number(row["drafted_per_step"], 3),
                         number(row["costs"][1] + row["switch_cost"])] for row in of_all))  # fmt: skip


def _floor_cell(row: Mapping[str, Any]) -> str:
    cell = f"{number(row['speedup']['value'], 3)}, {number(row['one_sided'], 3)}"
    return cell if row["holds"] else f"**{cell}**"


def headroom(results: Results) -> Iterator[str]:
    """What each limit costs a run."""
    found = results.json("headroom.json")
    first = found["rows"][0]
    yield (
        f"`{first['system']}`, eager, γ = {found['gamma']}. Each column is the net speedup that the run would have had "
        "without one limit: without the time of learning; of overhead; of drafting; with a draft that is the target; "
        "with verification that only reads the weights once; with the block rule; with two drafts a position. *Read "
        "share* is the time to read the weights once, over that of a verification."
    )
    heads = ["", "net speedup", *(f"no limit: {name}" for name in first["without"]), "binds", "read share"]
    rows = []
    for row in found["rows"]:
        without = [number(value) for value in row["without"].values()]
        rows.append(
            [row["domain"], number(row["speedup"]), *without, row["binds"], percent(row["of_memory"])]
        )  # fmt: skip
    yield table(heads, rows)
    yield "The ledger: share of the time."
    shares = first["shares"]
    yield table(["", *shares], ([row["domain"], *map(percent, row["shares"].values())] for row in found["rows"]))
