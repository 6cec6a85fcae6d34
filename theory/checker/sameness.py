"""Laws of what may change and change nothing: other copies, precision, libraries, kinds of losses, symmetries."""

import sys
import traceback
from dataclasses import fields, is_dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from theory.arrays import Array
from theory.checker.demand import demand
from theory.checker.games import Game, plays
from theory.checker.traced import Traced, ValueSeen, bare, traced
from theory.learner import Learner, State
from theory.loss import Linear, Loss, Quadratic, SoftmaxKL

LIBRARY = "torch"
"""The library beside numpy whose arrays a learner is tried on, where it is installed."""


AXES = ((), (2,), (2, 1))
"""What stands before the axis of copies: a user may keep seeds, prompts and settings on axes of their own."""


def independent_copies(learner: Learner, game: Game) -> None:
    """Every copy of a batch plays, and is bounded, as it would be alone, whatever axes copies are on."""
    alone = [replace(game, x_1=game.x_1[i], slopes=game.slopes[:, i]) for i in range(len(game.x_1))]
    expected = np.stack([plays(learner, one.x_1, one.losses) for one in alone], axis=1)
    limits = [_bound_after(learner, one) for one in alone]
    for axes in AXES:
        batch = game.each(lambda a, axes=axes: _spread(a, axes))
        where = f"independent_copies, copies on {1 + len(axes)} axes" if axes else "independent_copies"
        close(where, plays(learner, batch.x_1, batch.losses), _spread(expected, axes))
        if limits[0] is not None:
            close(f"{where}: bound", _bound_after(learner, batch), _spread(np.array(limits)[:, None], axes)[..., 0])


def _spread(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """``[..., copies, d]`` → ``[..., *axes, copies, d]``; every place along a new axis has its own order of copies."""
    for length in axes:
        array = np.stack([np.roll(array, shift, axis=-2) for shift in range(length)], axis=-3)
    return array


def _bound_after(learner: Learner, game: Game) -> Any:
    """The learner's bound once the game is over, at A_T = 4."""
    state = learner.init(game.x_1)
    for loss_t in game.losses:
        state = learner.update(state, loss_t)
    return learner.bound(state, np.full(game.x_1.shape[:-1], 4.0))


def dtype_kept(learner: Learner, game: Game) -> None:
    """float32 first decisions and losses give float32 decisions."""
    narrow = game.each(lambda a: a.astype(np.float32))
    dtype = plays(learner, narrow.x_1, narrow.losses).dtype
    demand(dtype == np.float32, f"dtype_kept: float32 in, {dtype} out")


def disguised(learner: Learner, game: Game) -> None:
    """Losses are asked for values and gradients: of what class they are changes nothing, the decoder's KL included."""
    kinds: dict[str, list[Loss]] = {
        "Quadratic" if game.quadratic else "Linear": game.losses,
        "SoftmaxKL": [softmax_kl(slope) for slope in game.slopes],
    }
    for kind, losses in kinds.items():
        open_, hidden = (plays(learner, game.x_1, each) for each in (losses, [Disguised(one) for one in losses]))
        demand(
            np.array_equal(open_, hidden),
            f"disguised: a {kind} loss is played otherwise than an object of another class with the same values and "
            "gradients; ask a loss for value and grad alone",
        )


def softmax_kl(logits: np.ndarray) -> SoftmaxKL:
    """KL(softmax(logits) ‖ softmax(x)) at one position: ``[..., d]``, the loss of a decoder's draft."""
    law = np.exp(logits - logits.max(axis=-1, keepdims=True))
    law = law / law.sum(axis=-1, keepdims=True)
    return SoftmaxKL(np.ones((*logits.shape[:-1], 1, 1)), law[..., None, :])


class Disguised:
    """A loss of a class that no learner knows."""

    def __init__(self, loss: Loss):
        self._asked = loss.value, loss.grad, loss.value_and_grad

    def value(self, x: Array) -> Array:
        return self._asked[0](x)

    def grad(self, x: Array) -> Array:
        return self._asked[1](x)

    def value_and_grad(self, x: Array) -> tuple[Array, Array]:
        return self._asked[2](x)


def any_library(learner: Learner, game: Game) -> None:
    """torch's tensors are played as numpy's arrays are: the same learner serves a simulator and a decoder."""
    torch = import_module(LIBRARY)
    with torch.no_grad():
        other = game.each(torch.as_tensor)
        try:
            state, played = learner.init(other.x_1), []
            for slope in other.slopes:
                x_t = learner.predict(state)
                demand(torch.is_tensor(x_t), f"any_library: plays a {type(x_t).__name__} for tensors of {LIBRARY}'s")
                played.append(x_t.numpy().copy())
                state = learner.update(state, Quadratic(slope) if game.quadratic else Linear(slope))
        except (TypeError, AttributeError, ValueError, RuntimeError, DeprecationWarning) as error:
            raise AssertionError(f"any_library: {type(error).__name__} on tensors of {LIBRARY}'s: {error}") from error
    close("any_library", plays(learner, game.x_1, game.losses), np.stack(played), 1e-9)


def no_other_library() -> str | None:
    """Why ``any_library`` cannot be tried; None where it can."""
    return None if LIBRARY in sys.modules or find_spec(LIBRARY) else f"{LIBRARY} is not installed"


def traceable(learner: Learner, game: Game) -> None:
    """No Python branch looks at a value: a compiler's arrays have none, and play the same."""
    state, played = _traced_state(learner.init(Traced(game.x_1))), []
    for t, slope in enumerate(game.slopes, 1):
        try:
            played.append(bare(learner.predict(state)))
            following = learner.update(state, Quadratic(Traced(slope)) if game.quadratic else Linear(Traced(slope)))
        except ValueSeen as error:
            place = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != _TRACED][-1]
            raise AssertionError(
                f"traceable: {error} in round {t}, {place.name} (line {place.lineno}): {place.line}"
            ) from None
        state = _traced_state(following)
    close("traceable", plays(learner, game.x_1, game.losses), np.stack(played))


_TRACED = sys.modules[Traced.__module__].__file__


def _traced_state(state: State) -> State:
    """Every entry ``Traced``, Python's own numbers too: a compiled loop carries nothing else."""
    if isinstance(state, tuple):
        return (
            type(state)(*map(_traced_state, state)) if hasattr(state, "_fields") else tuple(map(_traced_state, state))
        )
    return traced(np.asarray(bare(state)))


def permutation(learner: Learner, game: Game) -> None:
    """Permuted coordinates give permuted decisions: no coordinate is special."""
    order = np.roll(np.arange(game.x_1.shape[-1]), 1)
    permuted = game.each(lambda a: a[..., order])
    original = plays(learner, game.x_1, game.losses)
    close("permutation", original[..., order], plays(learner, permuted.x_1, permuted.losses))


def translation(learner: Learner, game: Game) -> None:
    """On the simplex, adding one number to all losses of a round changes nothing."""
    offsets = np.linspace(-5, 5, len(game.slopes))[:, None, None]
    moved = replace(game, slopes=game.slopes + offsets)
    close("translation", plays(learner, game.x_1, game.losses), plays(learner, game.x_1, moved.losses))


def scaling(learner: Learner, game: Game, factor: float = 4.0) -> None:
    """Losses times c and step sizes over c give the same decisions."""
    linear = replace(game, quadratic=False)
    scaled = replace(linear, slopes=factor * linear.slopes)
    slower = with_scaled_steps(learner, factor)
    close("scaling", plays(learner, linear.x_1, linear.losses), plays(slower, scaled.x_1, scaled.losses))


def with_scaled_steps(learner: Any, factor: float) -> Any:
    """The learner with every step size divided by ``factor``, in nested dataclasses too."""
    changes = {}
    for field in fields(learner):
        value = getattr(learner, field.name)
        if field.name in ("step_size", "meta_step_size") and isinstance(value, int | float):
            changes[field.name] = value / factor
        elif field.name == "step_size" and isinstance(value, tuple):
            changes[field.name] = tuple(step / factor for step in value)
        elif hasattr(value, "gradient_bound"):  # a schedule that knows G
            changes[field.name] = replace(value, gradient_bound=value.gradient_bound * factor)
        elif isinstance(value, Learner) and is_dataclass(value):
            changes[field.name] = with_scaled_steps(value, factor)
    return replace(learner, **changes)


def close(law: str, one: np.ndarray, other: np.ndarray, tolerance: float = 1e-10) -> None:
    """AssertionError that begins with ``law`` where two arrays differ by more than rounding, relative to 1 + |one|."""
    apart = np.subtract(one, other, out=np.zeros(np.shape(one)), where=one != other)  # both may be infinite
    worst = float(np.max(np.abs(apart) / (1 + np.abs(np.where(apart, one, 0.0)))))
    demand(worst <= tolerance, f"{law}: what is compared differs by {worst}")
