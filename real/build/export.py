"""`python -m real export`: a learned adapter folded into the draft's head, as a plain Hugging Face checkpoint.

    adapter   W' = W + Q·Xᵀ·M          matrix   W' = W + Xᵀ·M

What is written needs nothing of this project: any engine that takes a small draft model can serve it, transformers'
assisted generation among them.
"""

from pathlib import Path

import torch

from real.drafters import Adapter
from real.models.state import load, not_finite, under
from real.systems.loaded import Models
from real.systems.rows import Method
from theory.runs.files import atomic


def learned(models: Models, state: Path) -> Adapter:
    """The adapter that a run left in its state, on the draft it was learned on.

    Raises:
        ValueError: if the file is damaged, was left by another drafter or with another draft, or still in burn-in.
    """
    tensors, about = load(state)
    if about.get("drafter") != "adapter":
        raise ValueError(
            f"state={str(state)!r}: its drafter was {about.get('drafter')!r}; only an adapter can be folded"
        )
    wanted = about.get("draft_model")
    draft = next((key for key in models.drafts if models.names[key] == wanted), None)
    if draft is None:
        raise ValueError(f"state={str(state)!r}: was learned on the draft {wanted!r}; give that one as draft")
    pair = models.pair_of(Method("adapter", draft=draft))
    assert pair.draft is not None
    learned_on = about.get("draft_weights")
    if learned_on != pair.draft.fingerprint:
        raise ValueError(
            f"state={str(state)!r}: was learned on a draft {wanted!r} with the weights {learned_on}, this one has "
            f"{pair.draft.fingerprint}; give the draft that it was learned on"
        )
    for part in ("adapter", "matrix"):
        drafter = Adapter(pair.draft, pair.target.vocab, part=part)
        if "x" in tensors and tensors["x"].shape == (drafter.dimension,):
            break
    else:
        found = tuple(tensors["x"].shape) if "x" in tensors else None
        raise ValueError(
            f"state={str(state)!r}: its decision has shape {found}, neither an adapter's nor a matrix's on this draft; "
            "export with the draft it was learned on"
        )
    drafter.restore(under("drafter.", tensors))
    if not drafter.ready:
        raise ValueError(f"state={str(state)!r}: the adapter is still in its burn-in; serve more tokens first")
    drafter.load(tensors["x"])
    return drafter


@torch.no_grad()
def folded_head(drafter: Adapter) -> torch.Tensor:
    """W' ``[V, d]`` in float64; rows that only the draft has stay as they are.

    Raises:
        ValueError: for a bias, which an output matrix cannot hold.
    """
    if drafter.part == "bias":
        raise ValueError("part='bias': an output matrix has no room for it; learn an adapter or a matrix")
    weight = drafter.model.readout.weight.double().clone()
    x, m = drafter.x.double().view(drafter.shape), drafter.whitening.double()
    change = drafter.q.double() @ x.T @ m if drafter.part == "adapter" else x.T @ m
    weight[: drafter.common] += change / drafter.model.scores.scale
    return weight


def export(drafter: Adapter, tokenizer, folder: Path) -> Path:
    """Write the adapted draft into ``folder``, whole or not at all.

    Raises:
        ValueError: if the folder is there, or input and output embeddings are tied: folding would change both; or if
            the head would hold nan or infinity.
    """
    if folder.exists():
        raise ValueError(f"out={str(folder)!r}: is there already; nothing was overwritten, choose another folder")
    if drafter.model.model.config.tie_word_embeddings:
        raise ValueError(
            "draft: its input and output embeddings are tied, so folding would change what it reads; untie them first "
            "(config.tie_word_embeddings=False and a copy of the embeddings as lm_head)"
        )
    copy = drafter.model.copy()
    copy.readout.weight.data = folded_head(drafter).to(copy.readout.weight.dtype)
    if not_finite({"head": copy.readout.weight}):
        raise ValueError(
            f"adapter: folded into the head it gives nan or infinity in {copy.dtype}; nothing was written. Learn with "
            "a smaller step_size, or export in float32"
        )
    with atomic(folder) as partial:
        partial.mkdir(0o700)  # what was learned of a user's texts is theirs, as in a state
        copy.model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    return folder
