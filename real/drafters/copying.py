"""A draft of copies alone: no model runs, and what is copied nowhere has no probability.

A drafter that copies says what it would copy, and with what mass (``Drafter.copied_after``); its law is that mass,
normalised. A draft ends before the first token for which nothing is found.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from real.drafters.base import Drafter
from real.drafters.proposal import Proposal, chain, ended
from real.models.sampling import Sampling, drawn, has_law
from real.models.text import shaped


@torch.inference_mode()
def propose_copies(
    drafter: Drafter, lengths: Sequence[int], sampling: Sampling, uniforms: Tensor | None, confidence: float = 0.0
) -> Proposal:
    """Draft ``lengths[i]`` tokens after text i by copies alone; arguments as of ``Drafter.propose``."""
    tokens, laws, counts = list[Tensor](), list[Tensor](), list(lengths)
    as_they_are = (uniforms is None or sampling.whole) and all(text.shape is None for text in drafter.texts)
    for i in range(max(lengths)):
        mass = drafter.copied_after(tokens)
        uniform = None if uniforms is None else uniforms[:, i]
        if as_they_are:
            total = mass.sum(-1, keepdim=True)
            lawful, law = (total > 0)[:, 0].tolist(), mass / total
            token = mass.argmax(-1) if uniform is None else drawn(law, uniform)
        else:
            logits = shaped(drafter.texts, tokens, mass.log())
            lawful = has_law(logits).tolist()
            token, law, _ = sampling.choose(logits, uniform)
            law = logits.softmax(-1) if law is None else law
        counts = [length if found else min(length, i) for length, found in zip(counts, lawful, strict=True)]
        if max(counts) <= i:
            break
        tokens.append(token)
        laws.append(law)
        if confidence > 0 and i + 1 < max(counts):
            counts = ended(law, token, counts, i + 1, confidence)
            if max(counts) == i + 1:
                break
    drafter.witnesses = ()
    return Proposal(chain(tokens, mass), torch.stack(laws, 1) if laws and not sampling.greedy else None, counts)
