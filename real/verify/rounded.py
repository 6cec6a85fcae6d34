"""Lossless in a type that rounds: greedy text is transformers' own, up to ties that the type's rounding makes.

A forward over several positions rounds otherwise than one over a single position, as transformers' own forwards do
too. Where the two likeliest tokens are nearly alike, either may be chosen. The rule for such ties is explicit: over
the reference texts transformers reads each text whole and again token by token; d is the most by which the logit of
one of the two likeliest tokens differs between its two readings. A token that is not the reference's is a tie if its
logit is at most 2·d below the largest; anything more is a fault. After a tie the reference goes on from the token that
was chosen, so that the rest of the text is held against it as well.
"""

from collections.abc import Callable, Sequence

import torch

from real.models.hf import Pair
from real.models.sampling import Sampling
from real.verify.lossless import CHECKED, MATRIX, Flip, Prompts, Served, random_pair, random_prompts, reference

ONCE: tuple[str, ...] = ("plain", *(f"{name} token" for name in MATRIX), "adapter, 4 rows")
"""Each kind of drafter once, plain decoding, and rows."""


@torch.inference_mode()
def rounding(pair: Pair, texts: Sequence[list[int]]) -> float:
    """d: how far the target's two readings of these texts are apart, at the two likeliest tokens of any position."""
    worst = 0.0
    for text in texts:
        ids, cache, rows = torch.tensor([text], device=pair.device), None, []
        whole = pair.target.model(ids).logits[0].double()
        for token in ids.split(1, 1):
            read = pair.target.model(token, past_key_values=cache, use_cache=True)
            cache = read.past_key_values
            rows.append(read.logits[0].double())
        likeliest = whole.topk(2).indices
        worst = max(worst, float((whole - torch.cat(rows)).gather(1, likeliest).abs().max()))
    return worst


@torch.inference_mode()
def held(pair: Pair, prompt: list[int], text: list[int], want: list[int], tie: float) -> tuple[int, Flip | None]:
    """How many ties a text has, and the first token that no tie explains."""
    ties = 0
    while text != want:
        at = next((i for i, (one, other) in enumerate(zip(text, want, strict=False)) if one != other), None)
        if at is None:  # one ends before the other
            return ties, Flip(0, min(len(text), len(want)), float("inf"))
        logits = pair.target.model(torch.tensor([prompt + text[:at]], device=pair.device)).logits[0, -1].double()
        gap = float(logits.max() - logits[text[at]])
        if not gap <= tie:
            return ties, Flip(0, at, gap)
        ties, kept = ties + 1, text[: at + 1]
        rest = len(want) - len(kept)
        want = kept + (reference(pair, [prompt + kept], rest)[0] if rest else [])
    return ties, None


def check(label: str, pair: Pair, prompts: Prompts, new: int, methods: dict[str, Served]) -> bool:
    """Print d, then one line per method and its faults; True if there are none."""
    wanted = reference(pair, prompts, new)
    apart = rounding(pair, [prompt + text for prompt, text in zip(prompts, wanted, strict=True)])
    print(f"{label:22} transformers' two readings differ by {apart:.3g}; a tie is a gap of at most {2 * apart:.3g}")
    clean = True
    for name, method in methods.items():
        texts = method(pair, prompts, new, Sampling(0.0), 0)
        found = [held(pair, *one, 2 * apart) for one in zip(prompts, texts, wanted, strict=True)]
        ties, faults = sum(count for count, _ in found), [(i, flip) for i, (_, flip) in enumerate(found) if flip]
        count = f"identical up to ties {len(prompts) - len(faults):4d}/{len(prompts)}"
        print(f"{label:22} {name:18} {count}, {ties} ties in {len(prompts) * new} tokens", flush=True)
        for i, flip in faults:
            print(f"    prompt {i}, position {flip.position}: {flip.gap:.3g} below the largest logit")
        clean = clean and not faults
    return clean


def rounded(
    dtype: str = "bfloat16",
    device: str = "cpu",
    prompts: int = 20,
    new: int = 32,
    families: Sequence[str] = ("llama", "qwen3", "gpt_neox"),
    load: Callable[[], Pair] | None = None,
) -> bool:
    """Run the matrix in ``dtype`` on ``device``; False if a text differs by more than ties.

    ``load`` gives a pair of one's own, which is checked instead of the random ones.

    Raises:
        ValueError: for no prompt or no new token.
    """
    if prompts < 1 or new < 1:
        raise ValueError(f"prompts={prompts!r}, new={new!r}: both must be at least 1")
    torch.set_num_threads(1)
    methods, clean = {name: CHECKED[name] for name in ONCE}, True
    for name in ["given"] if load else families:
        pair = load() if load else random_pair(name, dtype)
        if not load:
            for model in (pair.target, pair.draft):
                if model is not None:
                    model.model.to(device)
        ids = random_prompts(prompts, min(pair.target.vocab, pair.target.readable), 7)
        clean = check(f"{name} {dtype}", pair, ids, new, methods) and clean
    print(f"lossless in {dtype}: " + ("every text is the target's up to ties" if clean else "FAILED"))
    return clean
