"""Several drafts of one token stream: what a mixture of their laws would have rejected, position by position."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import NamedTuple

import numpy as np

from sim.environments.base import Environment, Episode, check
from sim.environments.switching import jumps, switch_rounds
from theory.arrays import Array
from theory.domain import Simplex
from theory.hindsight import cutting_planes
from theory.loss import Loss, MixtureTV
from theory.problem import Problem


class Laws(NamedTuple):
    """Comparators ``[rounds, seeds, N]``, the drafts' laws ``[rounds, seeds, N, V]`` and the target's ``[rounds, seeds,
    V]``."""

    comparator: np.ndarray
    draft_probs: np.ndarray
    target_probs: np.ndarray


class DraftsEpisode(Episode):
    """Its losses are the TV of target and mixture."""

    def loss(self, revealed: Laws) -> Loss:
        return MixtureTV(revealed.draft_probs, revealed.target_probs)

    def floor(self, revealed: Laws) -> Array:
        return 0.0 * revealed.target_probs[..., 0]


@dataclass
class WholeStream(DraftsEpisode):
    """All laws of a stream, ``[T, seeds, ...]``: they are kept, because the best mixture in hindsight needs them."""

    laws: Laws

    def chunks(self, size: int) -> Iterator[Laws]:
        for first in range(0, len(self.laws.comparator), size):
            yield Laws(*(part[first : first + size] for part in self.laws))


@dataclass
class SureEpisode(DraftsEpisode):
    """The experts' losses as laws of sure tokens."""

    game: Episode

    def chunks(self, size: int) -> Iterator[Laws]:
        for comparator, losses in self.game.chunks(size):
            yield Laws(comparator, 1 - losses[..., None], np.ones((*losses.shape[:2], 1)))


@dataclass(frozen=True)
class Drafts(Environment):
    """A round is a position; its loss is the TV of target and mixture. The target is near a mixture that may move.

    The drafts' laws are drawn anew at every position. With v a law of the target's own, target = (1 − misfit)·Σ_i
    u_i·draft_i + misfit·v. One draft has weight ``lead`` in u, the others share the rest; which one leads changes
    ``moves`` times, to another draft, at once or ``gradual``: on straight lines, at constant speed from first to last.

    Comparator: u of each round if it moves, P_T = √2·|lead − rest|·moves for every copy, or a little less where a
    gradual path cuts its corners between two rounds. With ``fixed``, or where nothing moves, the best fixed mixture in
    hindsight, exactly (``theory.hindsight.cutting_planes``).

    Attributes:
        drafts: N. vocabulary: V. sharpness: of the Dirichlet distribution of all laws; smaller is sharper.
    """

    horizon: int = 2000
    drafts: int = 4
    vocabulary: int = 8
    moves: int = 0
    gradual: bool = False
    fixed: bool = False
    misfit: float = 0.2
    lead: float = 0.7
    sharpness: float = 0.3

    def __post_init__(self):
        check(
            self,
            drafts=(self.drafts, self.drafts >= 2, "must be at least 2"),
            vocabulary=(self.vocabulary, self.vocabulary >= 2, "must be at least 2"),
            moves=(self.moves, 0 <= self.moves < self.horizon, f"must lie in [0, {self.horizon})"),
            misfit=(self.misfit, 0 <= self.misfit <= 1, "must lie in [0, 1]; 0 is a target that a mixture equals"),
            lead=(self.lead, 0 <= self.lead <= 1, "must lie in [0, 1]; a weight of a mixture"),
            sharpness=(self.sharpness, self.sharpness > 0, "must be positive"),
        )

    @property
    def _rest(self) -> float:
        return (1 - self.lead) / (self.drafts - 1)

    @property
    def problem(self) -> Problem:
        moved = 0.0 if self.fixed else sqrt(2) * abs(self.lead - self._rest) * self.moves
        return Problem(Simplex(), self.drafts, self.horizon, sqrt(self.drafts), path_length=moved, loss_range=1.0)

    @property
    def width(self) -> int:
        return (self.drafts + 1) * self.vocabulary + self.drafts

    def start(self, seeds: int, rng: np.random.Generator) -> WholeStream:
        return _drawn(self, seeds, int(rng.integers(2**62)))

    def mixtures(self, seeds: int, rng: np.random.Generator) -> np.ndarray:
        """u_t ``[T, seeds, N]``."""
        steps = rng.integers(1, self.drafts, size=(self.moves, seeds))  # to another draft, never to the same
        first = rng.integers(self.drafts, size=(1, seeds))
        leaders = np.cumsum(np.concatenate([first, steps]), axis=0) % self.drafts
        anchors = self._rest + (self.lead - self._rest) * np.eye(self.drafts)[leaders]
        if self.gradual and self.moves:
            place = np.linspace(0, self.moves, self.horizon)
            before = np.minimum(place.astype(int), self.moves - 1)
            along = (place - before)[:, None, None]
            return (1 - along) * anchors[before] + along * anchors[before + 1]
        rounds = switch_rounds(self.moves, self.horizon, seeds, rng)
        return anchors[jumps(rounds, np.arange(self.horizon)), np.arange(seeds)]


@lru_cache(maxsize=1)
def _drawn(setting: Drafts, seeds: int, seed: int) -> WholeStream:
    """The truth, which all learners of a stream meet: solved for once."""
    rng = np.random.default_rng(seed)
    u = setting.mixtures(seeds, rng)
    sharp = np.full(setting.vocabulary, setting.sharpness)
    drafts = rng.dirichlet(sharp, (setting.horizon, seeds, setting.drafts))
    own = rng.dirichlet(sharp, (setting.horizon, seeds))
    target = (1 - setting.misfit) * np.einsum("tsi,tsiv->tsv", u, drafts) + setting.misfit * own
    if setting.moves == 0 or setting.fixed:
        u = np.broadcast_to(best_fixed(drafts, target), u.shape)
    return WholeStream(Laws(u, drafts, target))


def best_fixed(draft_probs: np.ndarray, target_probs: np.ndarray) -> np.ndarray:
    """The mixture of least Σ_t TV for every copy: laws ``[T, seeds, N, V]``, ``[T, seeds, V]`` → ``[seeds, N]``."""
    found = []
    for k in range(draft_probs.shape[1]):
        laws = np.moveaxis(draft_probs[:, k], 0, 1).reshape(draft_probs.shape[2], -1)
        found.append(cutting_planes(MixtureTV(laws, target_probs[:, k].ravel()), len(laws))[0])
    return np.stack(found)


@dataclass(frozen=True)
class SureTokens(Environment):
    """A game of experts with losses in [0, 1] as drafts of tokens that are sure: draft i gives the next one 1 − loss_i.

    Its TV is Σ_i x_i·loss_i, so that whatever is hard for experts is as hard for drafts.
    """

    experts: Environment

    def __post_init__(self):
        problem = self.experts.problem
        fits = isinstance(problem.domain, Simplex) and problem.range == 1
        check(self, experts=(self.experts, fits, "must have losses in [0, 1], as Experts and Alternating have"))

    @property
    def problem(self) -> Problem:
        return self.experts.problem

    def start(self, seeds: int, rng: np.random.Generator) -> SureEpisode:
        return SureEpisode(self.experts.start(seeds, rng))
