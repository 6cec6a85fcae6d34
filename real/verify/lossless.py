"""`python -m real lossless`: is the output exactly the target's, with every drafter and with learning on?

Greedy: every method's text equals ``model.generate(do_sample=False)`` token for token; in float64 without exception, in
float32 up to near-ties, each listed with the gap between the target's two largest logits. Sampled by the Gumbel rule:
the same, with the seed's noise added to the logits, and a gap of ``TIE`` or more fails. Sampled otherwise: the laws
are recomputed by one plain transformers forward over the finished text, and the committed tokens' randomised
probability integral transforms are tested for uniformity (theory/speculation/audit.py) with a stated false-alarm
probability.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from real.drafters import DRAFTERS
from real.models.hf import Pair
from real.models.load import load_pair
from real.models.random import perturbed, random_model
from real.models.sampling import Sampling
from real.models.text import Text, shaped
from real.serving.decoder import in_order
from real.serving.ledger import Ledger
from real.serving.settings import Serving
from real.systems.loaded import decoder_of, drafter_of
from real.systems.rows import METHODS, Method
from theory.learners.hedge import Hedge
from theory.learners.ogd import OGD
from theory.speculation.audit import pit
from theory.speculation.gumbel_rule import key, noise

Prompts = Sequence[list[int]]
Served = Callable[[Pair, Prompts, int, Sampling, int], Iterable[list[int]]]
"""(pair, prompts, new tokens each, sampling, seed) → for each prompt in order, the tokens committed."""

FALSE_ALARM = 1e-6  # of each uniformity test
FLOAT32_PROMPTS = 50  # at most: float32 flips and the sampled law are reported beside the exact check
TIE = 1e-4
"""Where the two largest logits, noise included, are closer than this, float32 may fall either way."""
SEED = 3  # of what is sampled by the Gumbel rule
ROUND, BURN_IN = 16, 64  # committed tokens between weight swaps, and before the first


def served(method: Method, gamma: int = 4, **settings: Any) -> Served:
    """Decode with a method of ``real/systems/rows.py``, weights swapped inside requests every ``ROUND`` tokens.

    settings: others of ``Serving``.
    """

    def texts(pair: Pair, prompts: Prompts, new: int, sampling: Sampling, seed: int) -> Iterator[list[int]]:
        serving = Serving(gamma, ROUND, sampling, new, burn_in=BURN_IN, **settings)
        decoder = decoder_of(pair, method, drafter_of(pair, method, serving), serving, seed)
        for prompt in prompts:
            yield decoder.serve(prompt, Ledger(pair.device))[0]

    return texts


CHECKED: dict[str, Served] = {name: served(method) for name, method in METHODS.items() if method.draft == "specialist"}
"""Every method of the main results; those that differ only in which draft they load are one."""

MATRIX: dict[str, Method] = {
    **{name: Method(name, kind.trial) for name, kind in DRAFTERS.items()},
    "routing": Method("mixture", Hedge(0.5), settings=(("mode", "route"),)),
}
"""One system of every kind of drafter, all learning, each checked under every rule that applies."""
BY_UNIFORMS = ("token", "block")
CHECKED |= {f"{name} {rule}": served(method, rule=rule) for name, method in MATRIX.items() for rule in BY_UNIFORMS}


def in_rows(method: Method, rows: int, gamma: int = 4, rule: str = "token") -> Served:
    """The same, several prompts at a time (rows of one decoder)."""

    def texts(pair: Pair, prompts: Prompts, new: int, sampling: Sampling, seed: int) -> Iterator[list[int]]:
        serving = Serving(gamma, ROUND, sampling, new, burn_in=BURN_IN, rule=rule)
        decoder = decoder_of(pair, method, drafter_of(pair, method, serving), serving, seed, rows=rows)
        for request in in_order(decoder.serve_all(prompts, Ledger(pair.device))):
            yield request.tokens

    return texts


BATCHES: dict[str, tuple[Method, int]] = {
    f"{name}, {rows} rows": (method, rows)
    for name, method in {"plain": Method(None), **MATRIX}.items()
    for rows in ((4, 16) if name in ("plain", "independent", "adapter") else (4,))
}
"""Several texts at once, by every kind of drafter."""
IN_ROWS = {name: in_rows(method, rows) for name, (method, rows) in BATCHES.items()}
IN_ROWS["adapter block, 4 rows"] = in_rows(MATRIX["adapter"], 4, rule="block")
CHECKED |= IN_ROWS
COSTS, SWITCH_COST = (1.0, 1.3, 1.5, 1.6, 1.7), 0.2
"""Of drafts of 0 … 4 tokens and of a switch, at which lengths chosen by cost take several values."""
CHECKED["lengths by cost"] = served(Method("adapter", OGD(8.0)), costs=COSTS, switch_cost=SWITCH_COST)
LOWER_COSTS = (1.0, 1.26, 1.42, 1.48, 1.54), (1.0, 1.28, 1.46, 1.54, 1.62)
"""Of a mixture's lower levels, at which it works at all of them."""
CHECKED["mixture, levels by cost"] = served(Method("mixture", Hedge(0.3)), costs=COSTS, lower_costs=LOWER_COSTS)
WAY_COSTS = (1.0, 1.28, 1.44, 1.5, 1.56), (1.0, 1.04, 1.06, 1.08, 1.1)
"""Where nothing is found to copy, and of copies alone, which draft then wherever they find something."""
BY_WAYS: dict[str, Any] = {"costs": COSTS, "lower_costs": LOWER_COSTS, "way_costs": WAY_COSTS}
CHECKED |= {f"mixture, ways {rule}": served(MATRIX["mixture"], rule=rule, **BY_WAYS) for rule in BY_UNIFORMS}
CHECKED["copies, ways"] = served(Method("backoff"), costs=COSTS, way_costs=WAY_COSTS)

GUMBEL: dict[str, Served] = {
    f"{name} gumbel": served(method, rule="gumbel") for name, method in {"plain": Method(None), **MATRIX}.items()
}
GUMBEL["plain gumbel, 4 rows"] = in_rows(Method(None), 4, rule="gumbel")
GUMBEL["adapter gumbel, 4 rows"] = in_rows(MATRIX["adapter"], 4, rule="gumbel")
GUMBEL["mixture gumbel, ways"] = served(MATRIX["mixture"], rule="gumbel", **BY_WAYS)
GUMBEL["adapter gumbel, confidence"] = served(MATRIX["adapter"], rule="gumbel", confidence=0.2)
IN_ROWS |= {name: method for name, method in GUMBEL.items() if name.endswith("rows")}
"""Where the seed fixes a sampled text: what drafts, how much, and beside what may not show in it."""


@dataclass(frozen=True)
class Flip:
    """A text that leaves the reference: prompt, position after the prompt, the reference's top-2 logit gap there.

    Where noise is added to the logits, it is the gap of the sums.
    """

    prompt: int
    position: int
    gap: float


@dataclass(frozen=True)
class Noisy:
    """One request's noise for ``generate``: the Gumbel rule at temperature 1 is greedy decoding with it."""

    key: int

    def __call__(self, ids: Tensor, logits: Tensor) -> Tensor:
        """Logits ``[1, V]`` after ``ids`` ``[1, n]`` → their log probabilities plus the noise of this place."""
        place = torch.tensor([ids.shape[1]], device=ids.device)
        return Sampling().law(logits).double().log() - noise(place * 0 + self.key, place, logits.shape[-1]).log()


def reference(pair: Pair, prompts: Prompts, new: int, seed: int | None = None) -> list[list[int]]:
    """What transformers' own greedy ``generate`` commits after each prompt; with a seed, where its noise is added."""
    texts = []
    for i, prompt in enumerate(prompts):
        ids = torch.tensor([prompt], device=pair.device)
        settings = {"do_sample": False, "max_new_tokens": new, "pad_token_id": 0, "tokenizer": pair.tokenizer}
        settings["return_dict_in_generate"] = False  # what a generation config may ask for
        if seed is not None:
            settings["logits_processor"] = [Noisy(key(seed, i))]
        output = pair.target.model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
        texts.append(output[0, len(prompt) :].tolist())
    return texts


@torch.inference_mode()
def compare(
    pair: Pair, prompts: Prompts, texts: Iterable[list[int]], wanted: list[list[int]], seed: int | None = None
) -> list[Flip]:
    """Where ``texts`` first leave the reference ``wanted``, of this seed's noise; one flip per differing prompt."""
    flips = []
    for i, (prompt, text, want) in enumerate(zip(prompts, texts, wanted, strict=True)):
        if text != want:
            shared = min(len(text), len(want))
            at = next((j for j in range(shared) if text[j] != want[j]), shared)
            ids = torch.tensor([prompt + want[:at]], device=pair.device)
            logits = pair.target.model(ids).logits[:, -1]
            top = (logits if seed is None else Noisy(key(seed, i))(ids, logits))[0].double().topk(2).values
            flips.append(Flip(i, at, float(top[0] - top[1])))
    return flips


@torch.inference_mode()
def transforms(pair: Pair, prompt: list[int], text: list[int], sampling: Sampling, rng: torch.Generator) -> Tensor:
    """Randomised probability integral transforms of ``text``, i.i.d. uniform if it was sampled from the target.

    See ``fresh_laws`` and ``theory.speculation.audit.pit``. Returns float64 ``[len(text)]``.
    """
    laws = fresh_laws(pair, prompt, text, sampling).double().cpu()
    return pit(laws, torch.tensor(text), torch.rand(len(text), generator=rng, dtype=torch.float64))


@torch.inference_mode()
def fresh_laws(pair: Pair, prompt: list[int], text: list[int], sampling: Sampling) -> Tensor:
    """The target's laws of every token of ``text`` ``[len(text), V]``, by one plain forward over it when finished."""
    ids = torch.tensor([[*prompt, *text[:-1]]], device=pair.device)
    logits = pair.target.model(ids).logits[0, len(prompt) - 1 :]
    shape = pair.target.generation.shape(prompt, len(prompt) + len(text), pair.device)
    if shape is not None:
        whole = Text(prompt + text, shape=shape)
        logits = torch.cat([shaped([whole.until(len(prompt) + i)], [], row[None]) for i, row in enumerate(logits)])
    return sampling.law(logits)


def uniformity(values: Tensor) -> float:
    """p-value of the Kolmogorov–Smirnov test that ``values`` are uniform on [0, 1]."""
    from scipy.stats import kstest  # slow to import

    return float(kstest(values.numpy(), "uniform").pvalue)


def random_prompts(count: int, vocab: int, seed: int) -> list[list[int]]:
    """``count`` prompts of 1 to 32 random ids."""
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 33, (count,), generator=rng).tolist()
    return [torch.randint(0, vocab, (length,), generator=rng).tolist() for length in lengths]


def random_pair(family: str, dtype: str, noise: float = 0.03) -> Pair:
    """A tiny random target and a perturbed copy as its draft, so that acceptance is partial."""
    target = random_model(family, 0, dtype)
    return Pair(target, perturbed(target, noise, 1), None)


def check_greedy(
    label: str,
    pair: Pair,
    prompts: Prompts,
    new: int,
    methods: dict[str, Served],
    varied: bool = True,
    seed: int | None = None,
    tie: float = 0.0,
) -> bool:
    """Print one line per method and the flips; True if every text is the reference's, up to gaps below ``tie``.

    With a seed the methods sample by the Gumbel rule, which is greedy decoding by its noise.

    varied: also ask for a median of 20 distinct tokens a text, without which the comparison says little.
    """
    wanted, sampling = reference(pair, prompts, new, seed), Sampling(0.0 if seed is None else 1.0)
    distinct = median(len(set(text)) for text in wanted)
    clean = not varied or distinct >= min(20, new)
    for name, method in methods.items():
        texts = list(method(pair, prompts, new, sampling, seed or 0))
        flips = compare(pair, prompts, texts, wanted, seed)
        same = len(prompts) - len(flips)
        count = f"identical {same:4d}/{len(prompts)}"
        print(f"{label:22} {name:26} {count}   median distinct tokens {distinct:g}", flush=True)
        for flip in flips:
            print(f"    prompt {flip.prompt}, position {flip.position}: top-2 logit gap {flip.gap:.2e}")
        clean = clean and all(flip.gap < tie for flip in flips)
    return clean


def check_sampled(label: str, pair: Pair, prompts: Prompts, new: int, methods: dict[str, Served]) -> bool:
    """Print one p-value per method; True if none falls below the stated false-alarm probability."""
    clean, sampling = True, Sampling(1.0)
    for name, method in methods.items():
        texts = method(pair, prompts, new, sampling, 1)
        rng = torch.Generator().manual_seed(2)
        values = torch.cat([transforms(pair, p, text, sampling, rng) for p, text in zip(prompts, texts, strict=True)])
        p_value = uniformity(values)
        print(f"{label:22} {name:26} uniformity p = {p_value:.3g} over {len(values)} tokens", flush=True)
        clean = clean and p_value >= FALSE_ALARM
    return clean


def _compile(pair: Pair, longest: int, gamma: int = 4) -> None:
    pair.compile((gamma,), longest + gamma + 1)
    if pair.target.compiled is None or (pair.draft is not None and pair.draft.compiled is None):
        raise ValueError("compiled=True: a model stayed eager, see the warning; nothing was checked")


def lossless(
    prompts: int = 50,
    new: int = 32,
    families: Sequence[str] = ("llama", "qwen3", "gpt_neox"),
    target: str | None = None,
    draft: str | None = None,
    texts: Prompts | None = None,
    methods: dict[str, Served] | None = None,
    compiled: bool = False,
    trust: Collection[str] = (),
) -> bool:
    """Run all checks and print the table; False if any float64 or sampled check fails.

    With ``target`` and ``draft`` that pair is checked instead of random models; ``texts`` are then its prompts as token
    ids (default: random ids). ``methods`` replaces all of them. With ``compiled`` models, the reference stays eager.

    Raises:
        ValueError: for no prompt or no new token, or where a model does not compile.
    """
    if prompts < 1 or new < 1:
        raise ValueError(f"prompts={prompts!r}, new={new!r}: both must be at least 1")
    torch.set_num_threads(1)
    by_seed: dict[str, Served] = {}
    if methods is None:  # batches are not compiled
        methods, by_seed = (
            {name: served for name, served in some.items() if not (compiled and name in IN_ROWS)}
            for some in (CHECKED, GUMBEL)
        )
    failed = []
    for name in ["given"] if target is not None else families:
        for dtype in ("float64", "float32"):
            pair = random_pair(name, dtype) if target is None else load_pair(target, draft, dtype, trust=trust)
            ids = list(texts)[:prompts] if texts is not None else random_prompts(prompts, pair.target.vocab, 7)
            ids = ids if dtype == "float64" else ids[:FLOAT32_PROMPTS]
            label = f"{name} {dtype}" + ", compiled" * compiled
            if compiled:
                _compile(pair, max(map(len, ids)) + new)
            if not check_greedy(label, pair, ids, new, methods, varied=target is None) and dtype == "float64":
                failed.append(f"greedy {label}")
            tie = 0.0 if dtype == "float64" else TIE
            if by_seed and not check_greedy(label, pair, ids, new, by_seed, False, SEED, tie):
                failed.append(f"sampled by seed {label}")
            if dtype == "float32" and not check_sampled(label, pair, ids, new, methods):
                failed.append(f"sampled {label}")
    verdict = f"lossless: all float64 texts identical, no p below {FALSE_ALARM:g}"
    print(f"FAILED: {', '.join(failed)}" if failed else verdict)
    return not failed
