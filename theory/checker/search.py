"""Search for a game in which a claim fails: constructions first, then Hypothesis, then ascent on regret/bound.

    for found in Search(learner, problem, claims(learner, problem)).run():
        print(found.claim.name, found.ratio, found.broken)

Many games are played side by side, as copies. What is found is confirmed by a game played alone. The budget is a number
of games, so that what is found does not depend on the machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite, log

import numpy as np

from theory import hindsight
from theory.checker.claims import Claim, Finding, Played, play, score
from theory.checker.games import Adversary, Game, basis, families
from theory.domain import Ball, Domain, Simplex
from theory.learner import Learner
from theory.problem import Problem

HORIZONS = (1, 2, 3, 4, 8, 16, 32, 64, 5, 6, 12, 24, 48, 256, 1024)
"""Lengths of the constructed games, in the order in which they are tried."""
GAMES = 100_000
"""After so many games a search ends, unless another number is given: more than its stages need for most claims."""
SIZES = tuple(10.0**k for k in range(-6, 7))
"""Largest slopes, in units of the gradient bound, where a claim does not limit them."""


@dataclass
class Search:
    """Looks for the largest regret/bound of every claim.

    Args:
        learner: any learner. problem: its constants; G limits what only a priori bounds are asked.
        claims: of ``claims()``.
        games: after which it ends, with the batch that it is in and a last refining; a game and its comparators are
            counted once. The search also ends by itself.
        scales: whether slopes may exceed G (tiny ones are always tried).
        horizons: lengths of the constructed games.
        seed: of what is random.
        drawn: whether Hypothesis draws games, too.

    Attributes:
        best: of every claim, the game in which regret came nearest to it. played: games so far.
        notes: what was left out.
    """

    learner: Learner
    problem: Problem
    claims: list[Claim]
    games: int = GAMES
    scales: bool = True
    horizons: Sequence[int] = HORIZONS
    seed: int = 0
    drawn: bool = True
    best: dict[str, Finding] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    played: int = 0

    def __post_init__(self):
        if self.games < 1:
            raise ValueError(f"games={self.games!r}: a search plays at least 1")
        self.rng = np.random.default_rng(self.seed)
        self.moving = not self.learner.static
        bounded = isfinite(self.problem.domain.diameter(self.problem.dimension))
        self.arena: Domain = self.problem.domain if bounded else Ball(1.0)
        g = self.problem.gradient_bound
        self.largest = self.learner.largest_gradient if self.scales else g
        sizes = {g, 0.5 * g, 0.1 * g, *(g * size for size in SIZES if g * size <= self.largest)}
        self.sizes = sorted(sizes, key=lambda size: (abs(log(size / g)), size))  # of equals the plainest is kept

    def run(self) -> list[Finding]:
        """All stages → one finding per claim, the claims in their order."""
        stages = {"constructions": self.constructions, "refining": self.refine}
        stages |= {"Hypothesis": self.hypothesis} if self.drawn else {}
        stages |= {"ascent": self.ascend}
        with np.errstate(all="ignore"):
            for number, stage in enumerate(stages.values()):
                if self.over:
                    break
                stage()
                if self.played >= self.games and not self.done:
                    left = ", ".join(list(stages)[number:])
                    self.notes.append(f"the budget of {self.games:,} games ended the search in: {left}; give it more")
            self.refine()
        return [self.best[claim.name] for claim in self.claims if claim.name in self.best]

    @property
    def done(self) -> bool:
        """Whether nothing is left to break."""
        return all(claim.name in self.best and self.best[claim.name].broken for claim in self.claims)

    @property
    def over(self) -> bool:
        """Whether the budget is spent, or nothing is left to break."""
        return self.played >= self.games or self.done

    def consider(self, game: Game, family: str | Sequence[str], claims: list[Claim] | None = None) -> np.ndarray:
        """Play the copies of ``game`` against several comparators; keep what is best → the best score per copy.

        By default for the claims that are not broken yet.
        """
        played = self._play(game)
        if claims is None:
            claims = [c for c in self.claims if c.name not in self.best or not self.best[c.name].broken]
        top = np.zeros(game.slopes.shape[1])
        for comparators in self.opponents(game):
            compared = replace(played, comparators=comparators)
            for claim in claims:
                scores = score(compared, claim.limit(compared))
                top = np.maximum(top, scores)
                self._keep(claim, compared, scores, family)
        return top

    def _play(self, game: Game) -> Played:
        self.played += game.slopes.shape[1]
        return play(self.learner, game)

    def _keep(self, claim: Claim, compared: Played, scores: np.ndarray, family: str | Sequence[str]) -> None:
        index = int(np.argmax(scores))
        kept = self.best.get(claim.name)
        if kept is not None and not scores[index] > kept.ratio * (1 + 1e-6):
            return
        alone = replace(play(self.learner, compared.game.copy(index)), comparators=compared.comparators[:, index])
        found = Finding(claim, family if isinstance(family, str) else family[index], alone)
        if kept is None or found.ratio > kept.ratio:
            self.best[claim.name] = found

    def opponents(self, game: Game) -> list[np.ndarray]:
        """Comparators ``[T, copies, d]``: the best with equal segments, and x_1 for ever."""
        rounds = len(game.slopes)
        counts = sorted({min(k, rounds) for k in ((1, 2, 3, 5, rounds) if self.moving else (1,))})
        found = [segment_best(game, [rounds * k // count for k in range(count)], self.arena) for count in counts]
        return [*found, np.broadcast_to(game.x_1, game.slopes.shape)] if self.moving else found

    # Stages

    def starts(self, direction: np.ndarray) -> np.ndarray:
        """First decisions: both ends of a diameter, and between; on the simplex never quite at a corner."""
        ends = np.stack([hindsight.linear_minimiser(sign * direction, self.arena) for sign in (1.0, -1.0)])
        middle = np.mean(ends, axis=0)
        if not isinstance(self.arena, Simplex):
            return np.stack([*ends, middle])
        uniform = np.full_like(middle, 1 / len(middle))
        return np.stack([uniform, *(0.9 * ends + 0.1 * uniform)])

    def constructions(self) -> None:
        """Every family × start × size, for every horizon; the adversary where the domain is a ball."""
        directions = basis(self.arena, self.problem.dimension)
        starts = self.starts(directions[0])
        for rounds in self.horizons:
            if self.over:
                return
            named = list(families(directions, rounds))
            sizes = np.array(self.sizes if rounds <= 64 else self.sizes[::3])
            slopes = np.stack([slopes for _, slopes in named])[:, None, None] * sizes[:, None, None]
            shape = (len(named), len(starts), len(sizes), rounds, self.problem.dimension)
            slopes = np.broadcast_to(slopes, shape).reshape(-1, *shape[3:]).swapaxes(0, 1)
            x_1 = np.broadcast_to(starts[:, None], (*shape[:3], shape[4])).reshape(-1, shape[4])
            family = [name for name, _ in named for _ in range(shape[1] * shape[2])]
            self.consider(Game(x_1, slopes), family)
            if rounds <= 32 and isinstance(self.arena, Simplex):
                least = np.min(slopes, axis=-1, keepdims=True)
                self.consider(Game(x_1, slopes - least), [f"{name} (no gains)" for name in family])
            elif rounds <= 32:
                self.consider(Game(x_1, slopes, quadratic=True), [f"{name} (centers)" for name in family])
            if isinstance(self.arena, Ball) and self.problem.dimension >= 3 and not self.over:
                self.adversary(starts, rounds)

    def adversary(self, starts: np.ndarray, rounds: int) -> None:
        """Slopes orthogonal to x_t and to their own sum."""
        raw = self.rng.standard_normal((rounds, len(starts), self.problem.dimension))
        for segments in (k for k in (1, 2, 4) if rounds % k == 0):
            against = Adversary(raw, segments, self.problem.gradient_bound).against(self.learner, starts)
            self.consider(Game(starts, against), f"adversary, {segments} segments")

    def refine(self) -> None:
        """Around the best so far: sizes in small steps, and the best comparators of all segmentations."""
        for claim in self.claims:
            found = self.best.get(claim.name)
            if found is None:
                continue
            game = found.played.game
            factors = 10.0 ** np.linspace(-0.5, 0.5, 81)
            norms = np.max(np.linalg.norm(game.slopes, axis=-1))
            factors = factors[factors * norms <= max(self.largest, norms)]
            slopes = game.slopes[:, None] * factors[:, None]
            x_1 = np.broadcast_to(game.x_1, (len(factors), game.x_1.shape[-1]))
            self.consider(Game(x_1, slopes, game.quadratic), found.family, [claim])
            if self.moving and len(game.slopes) <= 256:
                self._best_piecewise(claim)

    def _best_piecewise(self, claim: Claim) -> None:
        played = self.best[claim.name].played
        kind = "quadratic" if played.game.quadratic else "linear"
        for segments in (k for k in (2, 3, 5) if k <= played.horizon):
            u = hindsight.best_piecewise(played.game.slopes, self.arena, segments, kind)
            found = Finding(claim, self.best[claim.name].family, replace(played, comparators=u))
            if found.ratio > self.best[claim.name].ratio:
                self.best[claim.name] = found

    def hypothesis(self, examples: int = 200) -> None:
        """Games of a few different losses, drawn by Hypothesis with the ratio as its target."""
        try:
            from hypothesis import HealthCheck, Phase, given, settings, target
            from hypothesis import strategies as st
        except ModuleNotFoundError:
            self.notes.append("Hypothesis is not installed: its stage was left out (pip install hypothesis)")
            return
        dimension = self.problem.dimension
        entry = st.floats(-1, 1, allow_subnormal=False).map(lambda x: round(x, 3))
        vector = st.lists(entry, min_size=dimension, max_size=dimension)
        pool, order = st.lists(vector, min_size=3, max_size=3), st.lists(st.integers(0, 2), min_size=1, max_size=24)
        sizes = st.sampled_from(self.sizes)

        @settings(
            max_examples=examples,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.target],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        )
        @given(pool, order, vector, sizes)
        def one(pool, order, first, size):
            if self.over:
                return
            slopes = np.array(pool) / max(1.0, np.max(np.linalg.norm(pool, axis=-1)))
            x_1 = np.array(first)
            if isinstance(self.arena, Simplex):  # a positive prior
                x_1 = np.abs(x_1) + 0.1
                x_1 = x_1 / x_1.sum()
            game = Game(self.arena.project(x_1)[None], size * slopes[order][:, None])
            target(float(np.minimum(self.consider(game, "hypothesis")[0], 10.0)))

        one()

    def ascend(self, longest: int = 24, steps: int = 40) -> None:
        """Quasi-Newton ascent on the ratio in all slopes and x_1, from the best so far and from random games."""
        from scipy.optimize import minimize

        for claim in self.claims:
            for game in self._seeds(claim, longest):
                if self.over or self.best[claim.name].broken:
                    break
                size, x_1 = np.max(np.linalg.norm(game.slopes, axis=-1)), game.x_1
                flat = np.concatenate([x_1, (game.slopes / size).ravel()])
                climb = _Climb(self, claim, size, game)
                settings = {"maxiter": steps, "maxfun": 2 * steps}
                end = minimize(climb, flat, jac=True, method="L-BFGS-B", options=settings).x
                self.consider(climb.games(end[None]), "ascent")

    def _seeds(self, claim: Claim, longest: int) -> list[Game]:
        found = self.best.get(claim.name)
        if found is None:
            return []
        games = [found.played.game] if found.played.horizon <= longest else []
        size = min(np.max(np.linalg.norm(found.played.game.slopes, axis=-1)), self.largest)
        for rounds in (2, 3, 4, 8, 16):
            slopes = size * self.rng.standard_normal((rounds, self.problem.dimension)) / self.problem.dimension**0.5
            games.append(Game(found.played.game.x_1, slopes))
        return games


class _Climb:
    """−ratio and its forward differences at flat points ``[x_1, slopes/size]``; all differences in one play."""

    STEP = 1e-6

    def __init__(self, search: Search, claim: Claim, size: float, game: Game):
        self.search, self.claim, self.size, self.game = search, claim, size, game
        self.fixed_start = isinstance(search.arena, Simplex)

    def games(self, flat: np.ndarray) -> Game:
        """Points ``[copies, d + T·d]`` as copies of a game, feasible and within the gradient bound."""
        rounds, dimension = self.game.slopes.shape
        x_1 = flat[:, :dimension]
        x_1 = self.game.x_1 + 0.0 * x_1 if self.fixed_start else self.search.arena.project(x_1)
        slopes = self.size * flat[:, dimension:].reshape(-1, rounds, dimension).swapaxes(0, 1)
        norms = np.linalg.norm(slopes, axis=-1, keepdims=True)
        ceiling = self.search.problem.gradient_bound if self.claim.name == "guarantee" else self.search.largest
        return Game(x_1, slopes / np.maximum(norms / ceiling, 1.0), self.game.quadratic)

    def __call__(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        around = np.concatenate([flat[None], flat + self.STEP * np.eye(len(flat))])
        game = self.games(around)
        played = self.search._play(game)
        scores = np.zeros(len(around))
        for comparators in self.search.opponents(game):
            compared = replace(played, comparators=comparators)
            scores = np.maximum(scores, score(compared, self.claim.limit(compared)))
        scores = np.minimum(scores, 1e3)
        return -float(scores[0]), -(scores[1:] - scores[0]) / self.STEP


def segment_best(game: Game, begins: Sequence[int], domain: Domain) -> np.ndarray:
    """The best comparators ``[T, copies, d]`` that move only where a segment begins."""
    rounds = len(game.slopes)
    lengths = np.diff([*begins, rounds])
    sums = np.add.reduceat(game.slopes, begins, axis=0)
    if game.quadratic:
        best = domain.project(sums / lengths.reshape(-1, *(1,) * (sums.ndim - 1)))
    else:
        best = hindsight.linear_minimiser(sums, domain)
    return np.repeat(best, lengths, axis=0)
