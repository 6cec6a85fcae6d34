"""Parameters of a torch module as one flat vector, and losses of it by autograd: what every deep drafter shares.

Not convex: losses are logged, no bound is claimed. Tied weights appear once.
"""

from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from real.drafters.objective import Objective
from theory.divergence import FORWARD_KL
from theory.loss import Loss


class Flat:
    """The trainable parameters of ``module`` as views into one buffer in the module's dtype; x itself is float32.

    Args:
        module: every parameter with ``requires_grad``, or all of them if ``everything``, is part of x.
    """

    def __init__(self, module: nn.Module, everything: bool = False):
        named = [(name, part) for name, part in module.named_parameters() if everything or part.requires_grad]
        self.module, self._twin = module, deepcopy(module).to("meta")
        owner = {id(part): name for name, part in module.named_parameters()}
        tied = module.named_parameters(remove_duplicate=False)
        self._owner = {name: owner[id(part)] for name, part in tied}
        self.layout = [(name, part.shape, part.numel()) for name, part in named]
        self._x = torch.cat([part.detach().reshape(-1).float() for _, part in named])
        self._buffer = self._x.to(named[0][1].dtype, copy=True)  # what is served is x, from the first step on
        for (_, part), view in zip(named, self.split(self._buffer).values(), strict=True):
            part.data = view

    @property
    def dimension(self) -> int:
        """Length of x."""
        return self._x.numel()

    @property
    def x(self) -> Tensor:
        """A copy of what the module holds, in float32."""
        return self._x.clone()

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of ``flat`` ``[dimension]`` in the shape of each parameter, by name, in the module's dtype."""
        parts = flat.split([count for _, _, count in self.layout])
        return {name: part.view(shape) for (name, shape, _), part in zip(self.layout, parts, strict=True)}

    @torch.inference_mode()
    def load(self, x: Tensor) -> None:
        """Put x into the module."""
        self._x = x.detach().to(self._buffer.device, torch.float32).clone()
        self._buffer.copy_(self._x)

    def parameters(self, x: Tensor) -> dict[str, Tensor]:
        """x as the module's parameters, by name, in its dtype."""
        return {name: part.to(self._buffer.dtype) for name, part in self.split(x).items()}

    def play(self, parameters: dict[str, Tensor], *inputs: Any, **named: Any) -> Any:
        """The module's output at these ``parameters``; what does not train is its own.

        Played on a twin without weights, for ``functional_call`` puts parameters into the module it is given, and this
        one may be drafting on another thread.
        """
        own = dict(self.module.named_parameters())
        whole = {name: parameters.get(owner, own[owner]) for name, owner in self._owner.items()}
        return functional_call(self._twin, whole | dict(self.module.named_buffers()), inputs, named, tie_weights=False)


class FlatLoss(Loss):
    """An objective's mean over positions, gradients by autograd through ``forward``; x ``[..., dimension]``.

    Args:
        forward: parameters by name → the draft's logits, a list of ``[n_i, V]``, each one run of consecutive
            positions, and a penalty to be added or None.
        flat: holds what is served, which the objective may anchor to.
        targets: the target's laws there, a list of ``[n_i, V]``. weights: of a position of each run; all 1 if left out.
    """

    def __init__(
        self,
        flat: Flat,
        forward: Callable[[dict[str, Tensor]], tuple[Sequence[Tensor], Tensor | None]],
        targets: Sequence[Tensor],
        objective: Objective,
        weights: Sequence[float] | None = None,
    ):
        self.flat, self.forward, self.objective = flat, forward, objective
        with torch.inference_mode(False):
            self.targets = [target.clone() for target in targets]  # an inference tensor cannot enter autograd
        shares = [len(target) * weight for target, weight in zip(targets, weights or [1.0] * len(targets), strict=True)]
        self.shares = [share / sum(shares) for share in shares]
        self.x_t = flat.x if objective.anchor else None

    def of_runs(self, chosen: Sequence[bool]) -> "FlatLoss":
        """The same over some of the runs alone, each as it is weighed here among them."""
        other = copy(self)
        kept = [share * keep for share, keep in zip(self.shares, chosen, strict=True)]
        other.shares = [share / sum(kept) for share in kept]
        return other

    def _value(self, x: Tensor) -> Tensor:
        laws, penalty = self._log_laws(x)
        total = torch.zeros((), device=x.device) if penalty is None else penalty
        for i, (law, target, share) in enumerate(zip(laws, self.targets, self.shares, strict=True)):
            if share:
                total = total + share * self.objective.formula.value(target.to(law.dtype), law)
                if self.x_t is not None:
                    total = total + share * self.objective.anchor * FORWARD_KL.value(self._served[i], law)
        return total

    def _log_laws(self, x: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Log-laws of every run at x, and the penalty."""
        runs, penalty = self.forward(self.flat.parameters(x))
        return [(widened(run) / self.objective.temperature).log_softmax(-1) for run in runs], penalty

    @cached_property
    def _served(self) -> list[Tensor]:
        """The laws of every run at what was served when the round began."""
        assert self.x_t is not None
        with torch.no_grad():
            return [law.exp() for law in self._log_laws(self.x_t)[0]]

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        values, grads = [], []
        with torch.inference_mode(False), torch.enable_grad():
            for row in x.reshape(-1, x.shape[-1]):
                leaf = row.detach().clone().requires_grad_()
                value = self._value(leaf)
                values.append(value.detach())
                grads.append(torch.autograd.grad(value, leaf)[0])
        return torch.stack(values).view(x.shape[:-1]), torch.stack(grads).view(x.shape)

    def value(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            rows = [self._value(row) for row in x.reshape(-1, x.shape[-1])]
        return torch.stack(rows).view(x.shape[:-1])

    def grad(self, x: Tensor) -> Tensor:
        return self.value_and_grad(x)[1]


def widened(logits: Tensor) -> Tensor:
    """At least float32."""
    return logits if logits.dtype == torch.float64 else logits.float()
