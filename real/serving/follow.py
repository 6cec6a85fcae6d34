"""A given text read as if it had been served: what the draft would have been worth at every position of it.

Decoders that are compared on one shared text differ in their drafts alone, not in what was sampled. The text is read a
round at a time; the draft's law at a position is that of the decision served there, and the learner is updated after. A
drafter whose law depends on where a step began, or that is told of every step, reads gamma positions at a time, which
are a step that committed all it drafted.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from real.drafters.base import MIXED
from real.models.device import sent
from real.models.sampling import Sampling
from real.serving.decoder import Decoder
from real.serving.ledger import Ledger
from real.serving.step import Session, Step
from theory.speculation.acceptance import alpha


def follow(
    decoder: Decoder, prompt: Sequence[int], text: Sequence[int], ledger: Ledger, at_once: int = 0
) -> list[float]:
    """The overlap Σ_y min(target, draft) at each position of ``text`` after ``prompt``, while the drafter learns.

    Args:
        decoder: between requests; one with a drafter. It goes on afterwards as after a request that it has served.
        prompt: 1 token or more.
        text: the tokens that followed.
        ledger: charged for reading and learning.
        at_once: positions read at a time, after which alone a drafter is told of them; gamma or a round if left out.

    Raises:
        ValueError: if the draft's law depends on where a step begins, or learns only where a draft was rejected.
    """
    drafter, learning = decoder.drafter, decoder.learning
    if drafter is None or not drafter.reads_texts:
        raise ValueError(
            f"drafter={type(drafter).__name__}: no law of its own at every position of a given text, as it drafts "
            "nothing or reads where a step began; serve it instead"
        )
    if learning is not None and learning.learns and learning.objective.positions != "all":
        raise ValueError(
            f"positions={learning.objective.positions!r}: a text that is read has no rejected drafts; learn from all"
        )
    overlaps, chunk = list[float](), at_once or (decoder.serving.nu if drafter.prefix_only else decoder.serving.gamma)
    with ledger.serving(), decoder.one_text(prompt, len(text), ledger) as session:
        for start in range(0, len(text), chunk):
            step, overlap = read(session, list(text[start : start + chunk]), decoder.serving.sampling)
            overlaps += overlap.tolist()
            if learning is not None and learning.collects:
                learning.note(session, [step], ledger)
    return overlaps


@torch.inference_mode()
def read(session: Session, tokens: list[int], sampling: Sampling) -> tuple[Step, Tensor]:
    """Commit ``tokens`` to a session's one text as if each was drafted and kept: the step, and overlaps ``[n]``."""
    (text,), drafter, device = session.texts, session.drafter, session.target.device
    assert drafter is not None
    drafter.draft_by(MIXED)
    drafts = sent([tokens], device)  # [1, n]
    known = max(0, min(len(tokens), drafter.context + 1 - len(text.tokens)))  # what its context has room for
    drafted = drafter.laws_along(drafts[:, :known], sampling)[0] if known else None  # [known, V]
    pending = sent([text.tokens[-1:]], device)
    hidden = session.memory.read(torch.cat([pending, drafts[:, :-1]], 1), [len(tokens)])[0]
    logits = session.target.head(hidden)
    laws = sampling.law(logits)
    text.commit(tokens, hidden)
    session.memory.keep(0, len(text.tokens) - 1)
    drafter.commit()
    if drafter.watches:
        drafter.reveal(0, logits, known)
    count = len(tokens)
    drafted = laws[:0] if drafted is None else drafted
    overlaps = torch.cat([alpha(laws[:known], drafted), laws.new_zeros(count - known)])
    return Step(text, tokens, count, count, tokens, logits, sampling, drafted, laws), overlaps
