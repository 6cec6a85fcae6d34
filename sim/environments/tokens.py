"""A synthetic token stream: Markov contexts, target laws that move, a softmax-linear draft, chain speculative decoding.

    context     feature φ = embedding of the last committed token, ‖φ‖ = 1: positions are *not* independent
    target      softmax(φ·U_t + misfit·table[last token]);  U_t = u_t as a matrix [k, V] follows a path, ‖u_t‖ = reach
    draft       softmax(φ·X), x_t = X in the ball
    round       nu committed tokens; f_t = mean KL(target ‖ draft)
    decoding    chain of length gamma, token rule; x_t is in force from the first step boundary of round t on

Committed tokens have the target's law whatever the draft (that is losslessness), so the stream is drawn from the target
and the acceptance of each position given its token (``sim.environments.chain.accept_committed``). Constants: B = 1,
hence G = √2 and L = ½ (theory/README.md, the game).
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np

from sim.environments import chain
from sim.environments.base import Environment, Episode, Statement, check, unit
from sim.environments.stationary import STATIONARY, Path
from theory.arrays import Array
from theory.domain import Ball
from theory.loss import Loss, SoftmaxKL
from theory.problem import Problem
from theory.speculation import speedup
from theory.speculation.acceptance import Walk, alpha, categorical

Lower = Callable[..., np.ndarray]
COUNTED = ("alpha", "staleness", "rejections", "examined", "steps")
FALSE_ALARM = 1e-6
"""Probability, per copy, that the statement on tokens_per_step from measured regret fails by chance at any round."""


@dataclass(frozen=True)
class Tokens(Environment):
    """Token stream and decoder; see the module.

    Attributes:
        path: how the truth moves.
        horizon: T rounds.
        vocabulary: V; contexts: k, dimension of the features; the decision has k·V entries.
        favourites: tokens that the target prefers in each of the k clusters of contexts.
        reach: norm of the truth; the ball's radius is the same.
        nu: committed tokens a round; gamma: draft length, at most nu.
        misfit: standard deviation of target logits no draft can express; 0 is realisable.
        spread: how far features stray from their cluster.
    """

    path: Path = STATIONARY
    horizon: int = 2000
    vocabulary: int = 64
    contexts: int = 4
    favourites: int = 2
    reach: float = 10.0
    nu: int = 32
    gamma: int = 4
    misfit: float = 0.0
    spread: float = 0.2

    def __post_init__(self):
        check(
            self,
            gamma=(self.gamma, 1 <= self.gamma <= self.nu, f"must lie in [1, nu={self.nu}]"),
            favourites=(self.favourites, 1 <= self.favourites <= self.vocabulary // 2, "must lie in [1, vocabulary/2]"),
            contexts=(self.contexts, 1 <= self.contexts <= self.vocabulary, "must lie in [1, vocabulary]"),
        )
        self.path.length(self.horizon, self.reach)

    @property
    def problem(self) -> Problem:
        return Problem(
            Ball(self.reach),
            self.contexts * self.vocabulary,
            self.horizon,
            gradient_bound=sqrt(2),
            smoothness=0.5,
            path_length=self.path.length(self.horizon, self.reach),
        )

    @property
    def width(self) -> int:
        return 4 * self.nu * (self.vocabulary + self.contexts)

    def start(self, seeds: int, rng: np.random.Generator) -> "TokenEpisode":
        return TokenEpisode(self, seeds, rng)

    def directions(self, count: int, seeds: int, rng: np.random.Generator) -> np.ndarray:
        """Unit vectors ``[count, seeds, k·V]``: per cluster, equal weight on ``favourites`` tokens; the next direction
        has others, hence is orthogonal."""
        order = rng.random((seeds, self.contexts, self.vocabulary)).argsort(axis=-1)
        vectors = np.zeros((count, seeds, self.contexts, self.vocabulary))
        blocks = self.vocabulary // self.favourites
        for number, vector in enumerate(vectors):
            start = number % blocks * self.favourites
            np.put_along_axis(vector, order[..., start : start + self.favourites], 1.0, axis=-1)
        return unit(vectors.reshape(count, seeds, -1))

    def embedding(self, seeds: int, rng: np.random.Generator) -> np.ndarray:
        """Feature of every token, norm 1: ``[seeds, V, k]``; token y belongs to cluster y mod k."""
        cluster = np.eye(self.contexts)[np.arange(self.vocabulary) % self.contexts]
        stray = rng.standard_normal((seeds, self.vocabulary, self.contexts))
        return unit(cluster + self.spread * stray / sqrt(self.contexts))


class Positions(NamedTuple):
    """Committed positions: u_t ``[rounds, seeds, d]``, the rest ``[rounds, seeds, nu, ...]``."""

    comparator: np.ndarray
    features: np.ndarray
    target_probs: np.ndarray
    token: np.ndarray
    uniform: np.ndarray
    """What decides whether the position's draft was accepted."""


class Decoding(NamedTuple):
    """Where the decoder stands: its walk, the decision before, the rounds so far and the sums of ``COUNTED``."""

    walk: Walk
    previous: np.ndarray
    rounds: int
    totals: dict[str, np.ndarray]


class TokenEpisode(Episode):
    """One stream for each seed."""

    watches = True

    def __init__(self, environment: Tokens, seeds: int, rng: np.random.Generator):
        self.environment, self.seeds = environment, seeds
        needed = environment.path.directions(environment.horizon)
        directions = environment.directions(needed, seeds, rng)
        self.track = environment.path.start(environment.horizon, environment.reach, directions, rng)
        self.embedding = environment.embedding(seeds, rng)
        self.table = rng.standard_normal((seeds, environment.vocabulary, environment.vocabulary))
        self.first = rng.integers(environment.vocabulary, size=seeds)
        self._stream, self._coins = rng.spawn(2)

    def chunks(self, size: int) -> Iterator[Positions]:
        setting, last = self.environment, self.first
        stream, coins = deepcopy(self._stream), deepcopy(self._coins)
        for u in self.track.walk(setting.horizon, size):
            features, laws, tokens = self._draw(u, last, stream)
            last = tokens[-1, :, -1]
            yield Positions(u, features, laws, tokens, coins.random(tokens.shape))

    def loss(self, revealed: Positions) -> Loss:
        return SoftmaxKL(revealed.features, revealed.target_probs)

    def floor(self, revealed: Positions) -> Array:
        return 0.0 * revealed.comparator[..., 0]

    def _draw(self, u: np.ndarray, last: np.ndarray, stream: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Features, laws and tokens of the next rounds, ``[rounds, seeds, nu, ...]``; tokens are the target's."""
        setting, copies = self.environment, np.arange(self.seeds)
        uniforms = stream.random((len(u), setting.nu, self.seeds))
        found: tuple[list[np.ndarray], ...] = ([], [], [])
        for u_t, of_round in zip(u, uniforms, strict=True):
            truth = u_t.reshape(self.seeds, setting.contexts, setting.vocabulary)
            for uniform in of_round:
                feature = self.embedding[copies, last]
                logits = (feature[:, None] @ truth)[:, 0] + setting.misfit * self.table[copies, last]
                law = np.exp(logits - logits.max(axis=-1, keepdims=True))
                law /= law.sum(axis=-1, keepdims=True)
                last = categorical(law, uniform)
                for part, value in zip(found, (feature, law, last), strict=True):
                    part.append(value)
        whole = (np.stack(part).reshape(len(u), setting.nu, *part[0].shape) for part in found)
        return tuple(np.moveaxis(part, 1, 2) for part in whole)

    def watch(
        self, memory: Decoding | None, revealed: Positions, x: np.ndarray
    ) -> tuple[Decoding, dict[str, np.ndarray]]:
        """Decode the chunk's positions; the first step boundary of a round swaps in its x_t.

        Columns: alpha (mean overlap of the laws in force, per committed token), staleness (what being late cost in KL,
        summed over tokens), rejections, examined, steps (one under way included) and tokens_per_step.
        """
        setting, target = self.environment, revealed.target_probs
        gamma = setting.gamma
        if memory is None:
            none = {name: np.zeros((1, self.seeds)) for name in COUNTED}
            memory = Decoding(chain.begin(self.seeds), x[0], 0, none)
        old = np.concatenate([memory.previous[None], x[:-1]])
        head = SoftmaxKL(revealed.features[:, :, :gamma], target[:, :, :gamma])
        draft, draft_stale = SoftmaxKL(revealed.features, target).draft_probs(x), head.draft_probs(old)
        token, uniform = revealed.token, revealed.uniform
        kept = chain.accept_committed(target, draft, token, uniform)
        kept_stale = chain.accept_committed(head.target_probs, draft_stale, token[..., :gamma], uniform[..., :gamma])
        late = np.log(draft[:, :, :gamma] / draft_stale)  # KL(target ‖ stale draft) − KL(target ‖ draft), of the target
        changed, in_force = np.sum(head.target_probs * late, axis=-1), alpha(target, draft)
        stale_in_force = alpha(head.target_probs, draft_stale)
        walk, counts = memory.walk, {name: list[np.ndarray]() for name in COUNTED}
        for i in range(len(x)):
            before = walk
            walk, decoded = chain.decode(before, kept[i].T[:, None], kept_stale[i].T[:, None], gamma)
            stale = decoded.stale[:gamma].T
            in_force[i, :, :gamma] = np.where(stale, stale_in_force[i], in_force[i, :, :gamma])
            counts["alpha"].append(in_force[i].sum(axis=1))
            counts["staleness"].append(np.where(stale, changed[i], 0.0).sum(axis=1))
            counts["rejections"].append(walk.recovered - before.recovered)
            counts["examined"].append(decoded.examined.sum(axis=0))
            counts["steps"].append(walk.steps + (walk.run > 0) - before.steps - (before.run > 0))
        total = {
            name: np.cumsum(np.concatenate([memory.totals[name], np.stack(counts[name])]), axis=0)[1:]
            for name in COUNTED
        }
        after = Decoding(walk, x[-1], memory.rounds + len(x), {name: column[-1:] for name, column in total.items()})
        committed = setting.nu * (memory.rounds + np.arange(1, len(x) + 1))[:, None]
        return after, total | {"alpha": total["alpha"] / committed, "tokens_per_step": committed / total["steps"]}

    def statements(
        self, rounds: np.ndarray, columns: dict[str, np.ndarray], guarantee: float | None
    ) -> list[Statement]:
        """Lower bounds of alpha and tokens_per_step: by counts, from the measured regret, and a priori.

        alpha_bound: 1 − ρ(K̄) on every path, K̄ = (Reg + F)/t + staleness/tokens the mean KL of the laws in force;
        without the staleness it would be false, since steps under way are not drafted with x_t.
        tokens_per_step, by Theorem 4, one step under way counted whole:
        ``_pathwise`` with the rejections counted, on every path;
        ``_bound`` with ρ(K̄) and the martingale's deviation √(N ln(1/δ)/2)/n, for all rounds at once with
        probability 1 − δ (Hoeffding's maximal inequality over the N tokens of the run);
        ``_expected`` with ρ(K̄) alone, about the mean over the copies;
        ``_guarantee`` as ``_bound``, at the horizon, with the learner's guarantee in place of the regret and every
        position that can be stale (gamma a round) counted as rejected.
        """
        gamma, whole = self.environment.gamma, self.environment.nu * self.environment.horizon
        committed = self.environment.nu * rounds[:, None]
        deviation = whole * speedup.rejection_deviation(whole, FALSE_ALARM)

        def mean(column: np.ndarray) -> np.ndarray:
            return np.broadcast_to(column.mean(axis=1, keepdims=True), column.shape)

        def lower(rejections: np.ndarray, tokens: np.ndarray = committed) -> np.ndarray:
            return tokens / (tokens / speedup.tokens_per_step_lower(rejections / tokens, gamma) + 1)

        total = columns["dynamic_regret"] + columns["comparator_loss"]
        divergence = np.maximum(
            total / rounds[:, None] + columns["staleness"] / committed, 0.0
        )  # rounding may leave −1e-17
        rejected = speedup.rejection_bound(divergence) * committed
        statements = [
            Statement("alpha_bound", columns["alpha"], 1 - rejected / committed, at_least=True),
            Statement(
                "tokens_per_step_pathwise", columns["tokens_per_step"], lower(columns["rejections"]), at_least=True
            ),
            Statement("tokens_per_step_bound", columns["tokens_per_step"], lower(rejected + deviation), at_least=True),
            Statement("tokens_per_step_expected", mean(columns["tokens_per_step"]), lower(mean(rejected)), True, True),
        ]
        return (
            statements
            if guarantee is None
            else statements + self._apriori(rounds, columns, guarantee, lower, deviation)
        )

    def _apriori(
        self, rounds: np.ndarray, columns: dict[str, np.ndarray], guarantee: float, lower: Lower, deviation: float
    ) -> list[Statement]:
        """The same with the learner's guarantee in place of the regret: statements about the horizon, and no sooner."""
        setting = self.environment
        divergence = (guarantee + np.maximum(columns["comparator_loss"], 0.0)) / setting.horizon
        share = np.minimum(speedup.rejection_bound(divergence) + setting.gamma / setting.nu, 1.0)
        committed = setting.nu * setting.horizon
        limits = {"alpha": 1 - share, "tokens_per_step": lower(share * committed + deviation, np.array(committed))}
        ended = (rounds == setting.horizon)[:, None]
        return [
            Statement(f"{name}_guarantee", np.where(ended, columns[name], np.inf), limit, at_least=True)
            for name, limit in limits.items()
        ]
