"""A loss of the user's own, by the laws it compares; its gradient is taken by autograd.

    def squares(target_probs, log_draft_probs):                            # mine.py
        return (target_probs - log_draft_probs.exp()).square().sum(-1)     # laws [..., n, V] → numbers [..., n]

    python -m real run --loss mine.py:squares

The function gives one number a position, in torch operations of ``log_draft_probs``. Whoever knows the gradient by hand
gives an object, or a class without arguments, with the two methods of ``theory.divergence.Divergence`` instead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any, cast

import torch
from torch import Tensor

from theory.divergence import DIVERGENCES, Divergence
from theory.runs.users_file import load, users_own


@dataclass(frozen=True)
class OwnLoss:
    """``function`` averaged over positions, as a ``Divergence``; ``name`` is what errors call it."""

    function: Callable[[Tensor, Tensor], Tensor]
    name: str

    def value(self, target: Tensor, log_draft: Tensor) -> Tensor:
        """Mean over the positions ``[...]``.

        Raises:
            ValueError: if the function fails, or does not give one number a position.
        """
        with users_own(self.name):
            found = self.function(target, log_draft)
        wanted = tuple(log_draft.shape[:-1])
        if not isinstance(found, Tensor) or tuple(found.shape) != wanted:
            shape = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise ValueError(
                f"loss={self.name!r}: gave {shape} for laws of shape {tuple(log_draft.shape)}; it must give one number "
                f"a position, shape {wanted}: sum over the last axis"
            )
        return found.mean(-1)

    def slope(self, target: Tensor, log_draft: Tensor) -> Tensor:
        """Gradient in the draft's logits ``[..., n, V]``.

        Raises:
            ValueError: as for ``value``, or if autograd cannot follow the function.
        """
        with torch.inference_mode(False), torch.enable_grad():
            logits = log_draft.detach().clone().requires_grad_()  # log-probabilities are logits of the same law
            value = self.value(target.clone(), logits.log_softmax(-1)).sum()
            if not value.requires_grad:
                raise ValueError(
                    f"loss={self.name!r}: has no gradient in log_draft_probs; compute it by torch operations of "
                    "log_draft_probs alone, without .item(), .detach(), .argmax() or numpy"
                )
            return torch.autograd.grad(value, logits)[0]


def divergence_of(loss: Any) -> Divergence:
    """The divergence that is meant by a name, by ``file.py:function``, by an object or by a class of the user's own.

    Raises:
        ValueError: for an unknown name, a missing file or function, or something that is no loss.
    """
    if isinstance(loss, str) and loss in DIVERGENCES:
        return DIVERGENCES[loss]
    if isinstance(loss, str) and ":" not in loss:
        raise ValueError(f"loss={loss!r}: must be one of {', '.join(DIVERGENCES)}, or file.py:function")
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", repr(loss))
    found = load(loss, "loss") if isinstance(loss, str) else loss
    if isinstance(found, type):
        with users_own(name):
            found = found()
    if all(callable(getattr(found, method, None)) for method in ("value", "slope")):
        return found
    if not callable(found):
        raise ValueError(
            f"loss={name!r}: is {found!r}; it must be a function of target_probs and log_draft_probs, or have the "
            "methods value and slope of theory.divergence.Divergence"
        )
    try:
        signature(found).bind(None, None)
    except TypeError as error:
        raise ValueError(f"loss={name!r}: {error}; it is called with target_probs and log_draft_probs") from None
    return OwnLoss(cast(Any, found), name)
