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

from collections.abc import Callable
from dataclasses import dataclass, field
from math import sqrt

import numpy as np

from sim.environments import chain
from sim.environments.base import Environment, Episode, Statement, check, unit
from sim.environments.stationary import STATIONARY, Path
from theory.domain import Ball
from theory.loss import Loss, SoftmaxKL
from theory.problem import Problem
from theory.speculation import speedup
from theory.speculation.acceptance import alpha, categorical

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


class TokenEpisode(Episode):
    """One stream for each seed; the counts of all rounds are kept, the laws are not."""

    def __init__(self, environment: Tokens, seeds: int, rng: np.random.Generator):
        self.environment, self.seeds = environment, seeds
        needed = environment.path.directions(environment.horizon)
        directions = environment.directions(needed, seeds, rng)
        self.track = environment.path.start(environment.horizon, environment.reach, directions, rng)
        self.embedding = environment.embedding(seeds, rng)
        self.table = rng.standard_normal((seeds, environment.vocabulary, environment.vocabulary))
        self.last = rng.integers(environment.vocabulary, size=seeds)
        self.stream, self.coins = rng.spawn(2)
        self.walk = chain.begin(seeds)
        self.previous: np.ndarray | None = None
        self.counts: dict[str, list[np.ndarray]] = {name: [] for name in COUNTED}

    def loss(self, t: int, x_t: np.ndarray) -> Loss:
        tokens, loss_t = self._stream(t)
        self._decode(loss_t, tokens, x_t)
        return loss_t

    def comparator(self, t: int) -> np.ndarray:
        return self.track.at(t)

    def floor(self, t: int) -> np.ndarray:
        return np.zeros(self.seeds)

    def _stream(self, t: int) -> tuple[np.ndarray, SoftmaxKL]:
        """The next nu committed tokens ``[seeds, nu]``, drawn from the target, and their loss."""
        setting, copies = self.environment, np.arange(self.seeds)
        truth = self.track.at(t).reshape(self.seeds, setting.contexts, setting.vocabulary)
        uniforms = self.stream.random((setting.nu, self.seeds))
        features, laws, tokens = [], [], []
        for uniform in uniforms:
            feature = self.embedding[copies, self.last]
            logits = (feature[:, None] @ truth)[:, 0] + setting.misfit * self.table[copies, self.last]
            law = np.exp(logits - logits.max(axis=-1, keepdims=True))
            law /= law.sum(axis=-1, keepdims=True)
            self.last = categorical(law, uniform)
            for part, value in ((features, feature), (laws, law), (tokens, self.last)):
                part.append(value)
        return np.stack(tokens, axis=1), Remembering(np.stack(features, axis=1), np.stack(laws, axis=1))

    def _decode(self, loss_t: SoftmaxKL, tokens: np.ndarray, x_t: np.ndarray) -> None:
        """Decode the round's positions; the first step boundary swaps in x_t."""
        gamma, target = self.environment.gamma, loss_t.target_probs
        uniforms = self.coins.random(tokens.shape)
        old = x_t if self.previous is None else self.previous
        head = SoftmaxKL(loss_t.features[:, :gamma], target[:, :gamma])
        draft, draft_stale = loss_t.draft_probs(x_t), head.draft_probs(old)
        kept = chain.accept_committed(target, draft, tokens, uniforms)
        kept_stale = chain.accept_committed(head.target_probs, draft_stale, tokens[:, :gamma], uniforms[:, :gamma])
        before = self.walk
        self.walk, decoded = chain.decode(before, kept.T[:, None], kept_stale.T[:, None], gamma)
        stale = decoded.stale[:gamma].T
        late = np.log(draft[:, :gamma] / draft_stale)  # KL(target ‖ stale draft) − KL(target ‖ draft), under the target
        changed = np.where(stale, np.sum(head.target_probs * late, axis=-1), 0.0)
        in_force = alpha(target, draft)
        in_force[:, :gamma] = np.where(stale, alpha(head.target_probs, draft_stale), in_force[:, :gamma])
        counts = [in_force.sum(axis=1), changed.sum(axis=1)]
        counts += [self.walk.recovered - before.recovered, decoded.examined.sum(axis=0)]
        counts += [self.walk.steps + (self.walk.run > 0) - before.steps - (before.run > 0)]
        for name, count in zip(COUNTED, counts, strict=True):
            self.counts[name].append(count)
        self.previous = x_t

    def columns(self) -> dict[str, np.ndarray]:
        """Cumulative ``[T, seeds]``: alpha (mean overlap of the laws in force, per committed token), staleness (what
        being late cost in KL, summed over tokens), rejections, examined, steps (one under way included) and
        tokens_per_step."""
        total = {name: np.cumsum(counts, axis=0) for name, counts in self.counts.items()}
        committed = self._committed()
        total["alpha"] = total["alpha"] / committed
        total["tokens_per_step"] = committed / total["steps"]
        return total

    def _committed(self) -> np.ndarray:
        return self.environment.nu * np.arange(1, len(self.counts["steps"]) + 1)[:, None]

    def statements(self, columns: dict[str, np.ndarray], guarantee: float | None) -> list[Statement]:
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
        gamma, nu, committed = self.environment.gamma, self.environment.nu, self._committed()
        rounds = committed // nu
        deviation = committed[-1, 0] * speedup.rejection_deviation(committed[-1, 0], FALSE_ALARM)

        def mean(column: np.ndarray) -> np.ndarray:
            return np.broadcast_to(column.mean(axis=1, keepdims=True), column.shape)

        def lower(rejections: np.ndarray, tokens: np.ndarray = committed) -> np.ndarray:
            return tokens / (tokens / speedup.tokens_per_step_lower(rejections / tokens, gamma) + 1)

        total = columns["dynamic_regret"] + columns["comparator_loss"]
        divergence = np.maximum(total / rounds + columns["staleness"] / committed, 0.0)  # rounding may leave −1e-17
        rejected = speedup.rejection_bound(divergence) * committed
        statements = [
            Statement("alpha_bound", columns["alpha"], 1 - rejected / committed, at_least=True),
            Statement(
                "tokens_per_step_pathwise", columns["tokens_per_step"], lower(columns["rejections"]), at_least=True
            ),
            Statement("tokens_per_step_bound", columns["tokens_per_step"], lower(rejected + deviation), at_least=True),
            Statement("tokens_per_step_expected", mean(columns["tokens_per_step"]), lower(mean(rejected)), True, True),
        ]
        return statements if guarantee is None else statements + self._apriori(columns, guarantee, lower, deviation)

    def _apriori(
        self, columns: dict[str, np.ndarray], guarantee: float, lower: Lower, deviation: float
    ) -> list[Statement]:
        """The same with the learner's guarantee in place of the regret: statements about the horizon."""
        horizon, share_stale = len(self.counts["steps"]), self.environment.gamma / self.environment.nu
        divergence = (guarantee + np.maximum(columns["comparator_loss"][-1], 0.0)) / horizon
        share = np.minimum(speedup.rejection_bound(divergence) + share_stale, 1.0)
        committed = self._committed()[-1]
        limits = {"alpha": 1 - share, "tokens_per_step": lower(share * committed + deviation, committed)}
        statements = []
        for name, limit in limits.items():
            at_horizon = np.full_like(columns[name], np.inf)
            at_horizon[-1] = columns[name][-1]
            statements.append(
                Statement(f"{name}_guarantee", at_horizon, np.broadcast_to(limit, at_horizon.shape), True)
            )
        return statements


@dataclass(frozen=True)
class Remembering(SoftmaxKL):
    """SoftmaxKL that keeps the draft's law at the last decision asked for: simulator, decoder and learner ask alike."""

    memory: list = field(default_factory=list)

    def _log_draft(self, x: np.ndarray) -> np.ndarray:
        if not (self.memory and np.array_equal(self.memory[0], x)):
            self.memory[:] = [x, super()._log_draft(x)]
        return self.memory[1]
