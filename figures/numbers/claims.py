"""Every claim that the project makes of a number, with what was asked and what was measured.

A claim holds or does not by its own words: *surely* means the 95 % interval's lower limit. What was asked of a number
in vain stays here and is a miss.
"""

import re
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any, NamedTuple

from figures.numbers import pays, ranks, replay
from figures.numbers.files import Results
from figures.numbers.markdown import limits, number
from figures.numbers.proofs import DRAFTS, FAULTS, LOSSLESS, MATRIX, MUTANTS, broken, tightest_rows, tightest_streams
from figures.numbers.shifted import LATE, experiments
from figures.numbers.speed import gain
from figures.numbers.systems import BLOCKS, smallest_slack

RULES = {
    "at least": lambda claim: claim.value >= claim.limit,
    "at most": lambda claim: claim.value <= claim.limit,
    "surely at least": lambda claim: claim.low is not None and claim.low >= claim.limit,
    "surely above": lambda claim: claim.low is not None and claim.low > claim.limit,
}
"""What may be asked → whether it holds."""


OF_MIXTURES = ("hedge", "adahedge", "fixed_share", "mixture_rounds")
"""Bounds of the theorem on mixtures, which a game attains."""


class Claim(NamedTuple):
    """What is asked of one number, and the number with its limits; ``source`` is the file or folder that holds it.

    ``code`` is the kind of code that was measured (``measured.ENTRIES``); None for theorems, whose games say all.
    """

    subject: str
    asked: str
    limit: float
    value: float
    low: float | None
    high: float | None
    source: str
    code: str | None = "decoder"
    not_of: str = ""
    """What the command of a run says that has no part in this number, where the file sums up others too."""

    @property
    def name(self) -> str:
        """The claim as a sentence."""
        return f"{self.subject}: {self.asked} {self.limit:g}"

    @property
    def measured(self) -> str:
        """The number with its limits, to read."""
        if self.low is not None and self.high is None:
            return f"{number(self.value, 3)}, limit {number(self.low, 3)}"
        if self.low is None and (float(self.value).is_integer() or abs(self.value) < 0.001):
            return f"{self.value:.3g}" if self.value < 1 else f"{self.value:.0f}"
        return limits(self._asdict(), 3)

    @property
    def holds(self) -> bool:
        """Whether it is so."""
        return bool(RULES[self.asked](self))


def interval_claim(subject: str, asked: str, limit: float, found: dict[str, Any], source: str) -> Claim:
    """A claim about a value with its interval."""
    return Claim(subject, asked, limit, found["value"], found.get("low"), found.get("high"), source)


def number_claim(
    subject: str, asked: str, limit: float, count: float, source: str, code: str | None = "decoder"
) -> Claim:
    """A claim about a number that has no interval."""
    return Claim(subject, asked, limit, count, None, None, source, code)


def claims(results: Results) -> list[Claim]:
    """All claims; no two have one name."""
    parts = (learning, learning_pays, at_home, replayed, regret_speed, rivals, on_gpu, rows_of_a_batch, long_text,
             foretold, lowest_speed, systems, steps_and_hints, correctness, two_worlds, every_cell,
             planted, theorems)  # fmt: skip
    return [claim for part in parts for claim in part(results)]


def learning(results: Results) -> Iterator[Claim]:
    """Does the learner named beforehand pay after a shift?"""
    for name, found in experiments(results).items():
        if not found["claim"]:
            continue
        pace, net = (found["parts"][LATE][found["claim"]["learner"]][key] for key in
                     ("relative_tokens_per_step", "relative_speedup"))  # fmt: skip
        subject, source = f"{name} after the shift, {found['claim']['learner']} ÷ frozen", f"real/{name}"
        yield interval_claim(f"{subject}, tokens per step", "at least", 1.1, pace, source)
        yield interval_claim(f"{subject}, tokens per step", "surely above", 1, pace, source)
        yield interval_claim(f"{subject}, net speed", "surely above", 1, net, source)


def learning_pays(results: Results) -> Iterator[Claim]:
    """Does a mixture learned on acceptance pay on the clock, every system by its own costs?"""
    for one in pays.headlines(results):
        for claim in _of_block(results, one):
            yield claim._replace(not_of="--domain returns")


def _of_block(results: Results, one: Mapping[str, Any]) -> Iterator[Claim]:
    block, greedy, source = one["block"], one["block"].endswith("greedy"), pays.source(one["file"])
    subject, cells = f"mixture, {block}", pays.cells_of(results, block)
    if one["family"] != pays.FAMILIES[0]:  # of which more is reported than claimed
        if not greedy:
            value, low = one["pooled"]["value"], one["pooled_limit"]
            named = f"{subject}, {one['family']}, pooled net ÷ draft, one-sided"
            yield Claim(named, "surely at least", 0.985, value, low, None, source)
        return
    yield number_claim(f"{subject}, median net ÷ draft", "at least", one["least"], one["median_net"], source)
    if greedy:
        whole = one["pooled_against_best_rival"]
        named = f"{subject}, pooled ÷ {one['best_rival']}, its best rival"
        yield interval_claim(named, "at least", 0.97, whole, source)
        return
    value, low = one["pooled"]["value"], one["pooled_limit"]
    pooled = f"{subject}, pooled net ÷ draft, one-sided"
    yield Claim(pooled, "surely at least", 0.985, value, low, None, source)
    if block.startswith("specialist"):
        against, first = one["median_against_best_rival"], one["median_calm_first"]
        named = f"{subject}, median net ÷ best that learns nothing from traffic, shifted domains"
        yield number_claim(named, "at least", 1.05, against, source)
        named = f"{subject}, median low-noise net in the first 1,000 tokens after a shift"
        yield number_claim(named, "at least", 1.03, first, source)
    if block == "specialist":
        for place, limit in ((1, 1.24), (2, 1.2)):
            ratio, which = one["steps_ratios"][place - 1], "best" if place == 1 else "second best"
            named = f"{subject}, tokens per step ÷ draft, {which} domain"
            yield number_claim(named, "at least", limit, ratio, source)
        for domain in pays.HELD_OUT:
            net, named = pays.interval_of(cells[domain], "net"), f"{subject}, net ÷ draft on held-out {domain}"
            yield interval_claim(named, "at least", 1.05, net, source)


def at_home(results: Results) -> Iterator[Claim]:
    """What does a mixture cost where nothing shifts, and where a shift is over? The low-noise net decides."""
    for source, where, found in pays.at_home(results):
        words = "at home" if where == "home" else "at home after shifts"
        families = ", ".join(sorted(cell.split("/")[1] for cell in found["cells"]))
        block, other = found["cells"][0].split("/")[0], "prose" if where == "returns" else "returns"
        for kind, net, limit in (("low-noise", "calm", "calm_limit"), ("measured", "net", "limit")):
            if net in found:
                named = f"mixture, {block}, {kind} net ÷ draft {words} ({families}), one-sided"
                claim = Claim(named, "surely at least", 0.985, found[net]["value"], found[limit], None, source)
                yield claim._replace(not_of=f"--domain {other}")


def replayed(results: Results) -> Iterator[Claim]:
    """Is a mixture as good as the best of its parts, and does what is served agree with replay?"""
    rows, source = results.json(replay.SOURCE)["rows"], replay.SOURCE
    best = [one["of_best_part"]["value"] for row in rows for one in row["mixtures"].values()]
    yield number_claim(
        "replay, mixture ÷ the best of its parts, least of all streams", "at least", 0.99, min(best), source
    )
    agree = [one["holds"] for row in rows for one in row["agreement"].values() if not replay.shifts(row)]
    subject = "replay ÷ requests that were served, tokens per step within max(3 %, interval)"
    yield number_claim(subject, "at least", len(agree), sum(agree), source)
    paces = [row["systems"][pays.LEARNS]["relative"]["value"] for row in rows
             if row["start"] == "specialist" and not replay.shifts(row)]  # fmt: skip
    for limit, pace, which in zip((1.24, 1.2), sorted(paces, reverse=True), ("best", "second best"), strict=False):
        subject = f"replay at four drafted tokens, mixture ÷ specialist's draft, tokens per step, {which} domain"
        yield number_claim(subject, "at least", limit, pace, source)


def regret_speed(results: Results) -> Iterator[Claim]:
    """Does a lower loss go with a higher speed, and were enough pairs decided to say so?"""
    one = ranks.share(results, "tv", "tokens_per_step")
    subject = "pairs of learners, lower TV goes with more tokens per step"
    yield interval_claim(f"{subject}, share of decided pairs", "at least", 0.9, one["share"], ranks.SOURCE)
    yield number_claim(f"{subject}, decided pairs", "at least", 100, one["decided"], ranks.SOURCE)


def rivals(results: Results, name: str = "bench.json", where: str = "bench") -> Iterator[Claim]:
    """Are we faster than transformers' own decoders?"""
    for mode, part in results.json(name)["rows"].items():
        for target in part["targets"]:
            subject = f"{where} {mode}, {target['ours']} ÷ {target['theirs']}"
            yield interval_claim(subject, "surely at least", target["factor"], target["ratio"], name)


def on_gpu(results: Results) -> Iterator[Claim]:
    """The same on a GPU; does drafting pay there, and what is lost outside model forwards?"""
    name = "gpu/bench.json"
    yield from rivals(results, name, "GPU bench")
    for mode, part in results.json(name)["rows"].items():
        for ours in ("draft, compiled", "ngram, compiled"):
            ratio, share = gain(part, ours, "plain, compiled"), part["contenders"][ours]["outside_share"]
            yield number_claim(f"GPU bench {mode}, {ours} ÷ plain, compiled", "at least", 1, ratio, name)
            yield number_claim(
                f"GPU bench {mode}, {ours}, share of time outside forwards", "at most", 0.05, share, name
            )
    yield number_claim("GPU run, learning's share of time", "at most", 0.03, _learning_share(results), "gpu/run.txt")


def _learning_share(results: Results, name: str = "gpu/run.txt") -> float:
    share = re.search(r"^ *ensemble .* ([\d.]+) %$", results.text(name), re.MULTILINE)
    if share is None:
        raise ValueError(
            f"{results.root / name}: no line of the ensemble ends with a share in %; keep the printed table"
        )
    return float(share[1]) / 100


def rows_of_a_batch(results: Results) -> Iterator[Claim]:
    """Is a batch with a draft at least as fast as transformers' batched ``generate``, and as our plain decoding?"""
    for mode, rows in results.json("throughput.json")["rows"].items():
        for row in rows:
            for pair in ("draft ÷ generate", "draft ÷ plain"):
                subject = f"throughput {mode}, {row['rows']} rows, {pair}"
                yield interval_claim(subject, "at least", 1, row["ratios"][pair], "throughput.json")


def long_text(results: Results) -> Iterator[Claim]:
    """Is a long text served, and the same with a draft as without?"""
    found, source = results.json("context.json"), "context.json"
    tokens = min(row["tokens"] for row in found["rows"].values())
    yield number_claim("context, tokens of a prompt that is served", "at least", 32768, tokens, source)
    yield number_claim("context, plain and drafting serve the same text", "at least", 1, int(found["same"]), source)


def foretold(results: Results) -> Iterator[Claim]:
    """Does a profile foretell the speed of other requests?"""
    rows, source = results.json("profile.json")["foretold"], "profile.json"
    right = sum(row["holds"] for row in rows)
    yield number_claim(
        "profile, draft lengths foretold within max(5 %, interval)", "at least", len(rows), right, source
    )


def lowest_speed(results: Results) -> Iterator[Claim]:
    """Is a draft whose length is chosen by cost never much slower than plain decoding? One-sided limits."""
    rows = results.json("floor.json")["rows"]
    for drafter in dict.fromkeys(row["drafter"] for row in rows):
        mine = [row for row in rows if row["drafter"] == drafter]
        worst = min((row for row in mine if row["domain"] != "all"), key=lambda row: row["one_sided"])
        whole = next(row for row in mine if row["domain"] == "all")
        for row, where in ((whole, "over all domains"), (worst, "on its worst domain")):
            subject = f"floor, {drafter} ÷ plain {where}, one-sided"
            value, low = row["speedup"]["value"], row["one_sided"]
            yield Claim(subject, "surely at least", 0.98, value, low, None, "floor.json")


def systems(results: Results) -> Iterator[Claim]:
    """Does learning pay within a cell, and is every certificate kept?"""
    for block, limit in zip(BLOCKS, (1.05, 1.05, 1.15), strict=True):
        source = f"table1/{block}.json"
        best = max(row["relative_speedup"] for row in results.json(source)["headline"][block].values())
        yield number_claim(f"systems {block}, best median of net speed ÷ at rest", "at least", limit, best, source)
        slack = smallest_slack(results, block)
        yield number_claim(f"certificates {block}, smallest bound minus regret", "at least", 0, slack, source)


def steps_and_hints(results: Results) -> Iterator[Claim]:
    """Is the ensemble as good as the best step, and does a hint do what its theorem suggests?"""
    found, source = results.json("claims/claims.json"), "claims/claims.json"
    for row in found["ensembles"]:
        subject = f"ensemble ÷ best step in hindsight, net speed, {row['stream']}"
        yield interval_claim(subject, "at least", 0.98, row["ensemble"], source)
    verdict = found["verdict"]
    for against, key in (("the same step", ""), ("reading the prompt", "_against_one_that_reads_the_prompt")):
        right, made = verdict[f"agreeing{key}"], verdict[f"decided{key}"]
        subject = f"hints against {against}, decided comparisons with the theorem's sign"
        yield number_claim(subject, "at least", made, right, source)


def correctness(results: Results) -> Iterator[Claim]:
    """Is the served text the target's own?"""
    alarms = sum(row["alarm"] for row in results.json("audit.json")["rows"])
    yield number_claim("audit of served text, alarms", "at most", 0, alarms, "audit.json")
    tokens = results.json("audit.json")["tokens"]
    yield number_claim("audit of served text, tokens", "at least", 100_000, tokens, "audit.json")
    if results.has(LOSSLESS):
        held = int(results.json(LOSSLESS)["holds"])
        yield number_claim("lossless matrix, all texts identical or refused", "at least", 1, held, LOSSLESS)


def two_worlds(results: Results) -> Iterator[Claim]:
    """Does the decoder do what the simulator foretold?"""
    for name, (held, made) in results.json("agreement.json")["holds"].items():
        yield number_claim(f"agreement, {name}", "at least", made, held, "agreement.json", "both worlds")


def every_cell(results: Results) -> Iterator[Claim]:
    """Does it in every cell of the matrix, once that was made?"""
    if not results.has(MATRIX):
        return
    found, code = results.json(MATRIX), "both worlds"
    yield number_claim("agreement matrix, cells", "at least", 200, len(found["rows"]), MATRIX, code)
    for name, (held, made) in found["holds"].items():
        yield number_claim(f"agreement matrix, {name}", "at least", made, held, MATRIX, code)
    right = int(found["inside"]["holds"])
    named = "agreement matrix, 99 % interval of the share of sampled cells inside theirs holds 0.95"
    yield number_claim(named, "at least", 1, right, MATRIX, code)
    third = found["confirmed"]
    named = "agreement matrix, columns of the replay against the pseudocode"
    yield number_claim(named, "at most", third["limit"], third["largest"], MATRIX, code)
    named = "agreement matrix, replays that are the pseudocode's"
    yield number_claim(named, "at least", third["runs"], third["held"], MATRIX, code)


def planted(results: Results) -> Iterator[Claim]:
    """Are faults in learners and in formulas noticed, once that was tried?"""
    if results.has(MUTANTS):
        found = results.json(MUTANTS)
        share = found["killed"] / found["mutants"]
        yield number_claim("mutants of formulas, share killed", "at least", 0.95, share, MUTANTS, None)
    if results.has(FAULTS):
        found, false = results.json(FAULTS), results.json(FAULTS)["correct"]["false alarms"]
        for subject, asked, limit, count in (
            ("caught", "at least", 57, found["caught"]),
            ("held out, caught", "at least", 9, found["held out, caught"]),
            ("median rounds of a counterexample", "at most", 4, found["median rounds"]),
            ("counterexamples that play again", "at least", found["caught"], found["replayed"]),
            ("longest seconds a learner", "at most", 20, found["longest seconds"]),
            ("false alarms on correct learners", "at most", 0, len(false)),
        ):
            yield number_claim(f"planted faults, {subject}", asked, limit, count, FAULTS, None)


def theorems(results: Results) -> Iterator[Claim]:
    """Is any bound broken, or so loose that it says little?"""
    found = results.headers("sim")
    yield number_claim("simulator, broken bounds", "at most", 0, broken(found), "sim", "simulator")
    swept = results.json(DRAFTS)
    for subject, asked, limit, count in (
        ("broken bounds", "at most", 0, swept["violations"]),
        ("rows with bounds", "at least", 200, swept["with_bounds"]),
        ("copies of every row", "at least", 100, swept["copies"]),
    ):
        subject = f"simulator, mixtures of drafts, {subject}"
        yield number_claim(subject, asked, limit, count, DRAFTS, "simulator")
    rows, source = results.rows("theory/tightness.csv"), "theory/tightness.csv"
    raised = sum(row["broken"] != "False" for row in rows)
    yield number_claim("search for the worst game, broken bounds", "at most", 0, raised, source, None)
    best = tightest_rows(rows)
    yield number_claim("tightest row of every bound, median", "at least", 0.5, median(best.values()), source, None)
    least = min(best[name] for name in OF_MIXTURES)
    subject = f"tightest row of {', '.join(OF_MIXTURES)}, least"
    yield number_claim(subject, "at least", 0.9, least, source, None)
    streams = median(tightest_streams(found).values())
    subject = "simulator, tightest row of every learner's bounds on regret, median"
    yield number_claim(subject, "at least", 0.5, streams, "sim", "simulator")
