"""The loop: causal, copies independent, every bound kept, the decoder's law exact."""

from dataclasses import dataclass, replace
from itertools import product
from math import log, sqrt

import numpy as np
import pytest

from sim.environments import chain
from sim.environments.adversarial import Adversarial, Alternating
from sim.environments.base import Environment, LinearEpisode, Statement
from sim.environments.drafts import SureTokens
from sim.environments.drift import Drift
from sim.environments.stationary import STATIONARY
from sim.environments.switching import Switching
from sim.environments.tokens import Tokens
from sim.environments.tracking import Tracking
from sim.experiments import EXPERIMENTS, Match
from sim.simulator import LOGGED, simulate, tightness, violated
from tests.sim.by_hand import game, in_hindsight, rounds_of
from tests.sim.test_environments import ENVIRONMENTS, SMALL_TOKENS
from theory import bounds, regret
from theory.domain import Ball, Domain, Free, Simplex
from theory.hints import Zero
from theory.learner import Learner
from theory.learners import LEARNERS, FixedShare
from theory.learners.adam import Adam
from theory.learners.ensemble import Ensemble
from theory.learners.ogd import OGD
from theory.learners.optimistic import OptimisticOGD
from theory.learners.sword import Sword
from theory.problem import Problem
from theory.runs.choose import make_learner
from theory.speculation.acceptance import accept, categorical, residual, token_rule
from theory.step_size import InverseSqrt, SelfConfident

EXPERT_LEARNERS = [name for name, learner in LEARNERS.items() if learner.weighs_experts()]
BALL_LEARNERS = [name for name in LEARNERS if name not in EXPERT_LEARNERS]
SIMPLEX_LEARNERS = [name for name in LEARNERS if name not in ("ensemble", "momentum", "adam")]
ALWAYS, STILL, NEVER = "always", "where nothing moves", "never"
CLAIMED = {
    **dict.fromkeys(("ogd", "optimistic", "tracking", "ensemble", "fixed_share"), (ALWAYS, ALWAYS)),
    "sword": (ALWAYS, NEVER),
    **dict.fromkeys(("hedge", "adahedge", "optimistic_hedge"), (STILL, STILL)),
    "mixture": (STILL, NEVER),
    "coin_betting": (NEVER, STILL),
    **dict.fromkeys(("frozen", "momentum", "adam", "last_loss"), (NEVER, NEVER)),
}
"""Where a learner claims a bound from what it has seen, and one a priori."""
PLAYED = [
    (stream, learner)
    for stream, environment in ENVIRONMENTS.items()
    for learner in (SIMPLEX_LEARNERS if isinstance(environment.problem.domain, Simplex) else BALL_LEARNERS)
]


def played(stream, learner, seeds=3, seed=0):
    environment = ENVIRONMENTS[stream]
    return simulate(make_learner(learner, {}, environment.problem), environment, seeds, np.random.default_rng(seed))


@pytest.mark.parametrize("stream, learner", PLAYED)
def test_every_claim_holds(stream, learner):
    trace = played(stream, learner)
    assert trace.header["violations"] == 0, trace.header["violations_of"]
    holding = {ALWAYS, STILL} if ENVIRONMENTS[stream].problem.path_length == 0 else {ALWAYS}
    holding = set() if stream.startswith("drafts") and LEARNERS[learner].experts_only is True else holding
    for column, claimed in zip(("bound", "guarantee"), CLAIMED.get(learner, ()), strict=False):
        assert (column in trace.columns) == (claimed in holding)
    assert ("alpha_bound" in trace.columns) == stream.startswith("tokens")


@pytest.mark.parametrize("learner, holds", [(FixedShare(0.2, 0.01, True), True), (FixedShare(0.2, 0.01), False)])
def test_what_is_claimed_of_experts_is_not_claimed_of_mixtures(learner, holds):
    """The weights that follow values at corners end far from the best mixture, and promised nothing about it."""
    claimed = simulate(learner, ENVIRONMENTS["drafts"], 3, np.random.default_rng(0)).header
    assert claimed["checked"] == (["bound", "guarantee"] if holds else [])
    assert claimed["violations"] == 0
    linear = simulate(learner, ENVIRONMENTS["experts"], 3, np.random.default_rng(0)).header
    assert linear["checked"] == ["bound", "guarantee"]


@dataclass(frozen=True)
class Scripted(Environment):
    """Linear losses given as they are."""

    slopes: tuple

    @property
    def problem(self):
        return Problem(Tracking().problem.domain, 2, len(self.slopes), 2.0)

    def start(self, seeds, rng):
        slopes = np.broadcast_to(np.array(self.slopes)[:, None], (len(self.slopes), seeds, 2))
        return LinearEpisode(slopes, np.zeros_like(slopes))


@pytest.mark.parametrize("learner", BALL_LEARNERS)
def test_causal(learner):
    """Losses after round t leave x_1 … x_t bit-identical."""
    rng = np.random.default_rng(0)
    slopes = rng.standard_normal((20, 2))
    other = np.concatenate([slopes[:12], rng.standard_normal((8, 2))])
    environments = [Scripted(tuple(map(tuple, s.tolist()))) for s in (slopes, other)]
    plays = []
    for environment in environments:
        player = make_learner(learner, {}, environment.problem)
        rounds = game(player, environment.start(1, rng), np.zeros((1, 2)))
        plays.append(np.stack([round_t.x_t for round_t in rounds]))
    np.testing.assert_array_equal(plays[0][:13], plays[1][:13])
    if learner != "frozen":
        assert np.any(plays[0][13:] != plays[1][13:])


class Copies(Environment):
    """Some of the copies of one drawn oblivious episode."""

    def __init__(self, environment, seeds, kept):
        self.environment, self.seeds, self.kept = environment, seeds, kept

    @property
    def problem(self):
        return self.environment.problem

    def start(self, seeds, rng):
        x_1, frozen = np.zeros((self.seeds, self.problem.dimension)), make_learner("frozen", {}, self.problem)
        whole = in_hindsight(frozen, self.environment.start(self.seeds, rng), x_1)
        revealed = [played.revealed for played in game(frozen, whole, x_1)]
        slopes, comparators = (np.stack([getattr(one, name) for one in revealed]) for name in ("slope", "comparator"))
        return LinearEpisode(slopes[:, self.kept], comparators[:, self.kept])


@pytest.mark.parametrize("stream, learner", [(s, x) for s, x in PLAYED if s in ("adversarial", "experts")])
def test_batch_of_copies_is_the_loop_over_copies(stream, learner):
    def columns(kept):
        environment = Copies(ENVIRONMENTS[stream], 4, kept)
        player = make_learner(learner, {}, environment.problem)
        trace = simulate(player, environment, len(kept), np.random.default_rng(3))
        return {n: np.broadcast_to(c.reshape(len(c), -1), (len(c), len(kept))) for n, c in trace.columns.items()}

    together = columns([0, 1, 2, 3])
    for copy in range(4):
        alone = columns([copy])
        for name in set(alone) - {"round"}:
            np.testing.assert_allclose(together[name][:, [copy]], alone[name], rtol=1e-12, atol=1e-12, err_msg=name)


def test_cumulative_columns_are_sums_over_rounds():
    environment = replace(ENVIRONMENTS["quadratic"], horizon=50)
    learner = make_learner("optimistic", {}, environment.problem)
    trace = simulate(learner, environment, 2, np.random.default_rng(0))
    episode = environment.start(2, np.random.default_rng(0))
    total, energy, error = np.zeros(2), np.zeros(2), np.zeros(2)
    rows = {t - 1: row for row, t in enumerate(trace.columns["round"])}
    for t, x_t, loss_t, before, _after, u_t, _ in game(learner, episode, np.zeros((2, 8))):
        total += loss_t.value(x_t) - loss_t.value(u_t)
        energy += np.sum(loss_t.grad(x_t) ** 2, axis=-1)
        error += np.sum((loss_t.grad(x_t) - before.hint) ** 2, axis=-1)
        for name, value in {"dynamic_regret": total, "gradient_energy": energy, "hint_error": error}.items():
            if t in rows:
                np.testing.assert_allclose(trace.columns[name][rows[t]], value, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(trace.columns["hint_gain"][-1], error / energy, rtol=1e-12)


@pytest.mark.parametrize("learner", ["ogd", "ensemble"])
def test_cumulative_energies_are_those_of_the_theory(learner):
    """A_t, its sharp form and P_t are accumulated round by round; here from the whole arrays."""
    environment = replace(ENVIRONMENTS["quadratic"], horizon=50)
    problem, player = environment.problem, make_learner(learner, {}, environment.problem)
    trace = simulate(player, environment, 2, np.random.default_rng(0))
    episode = environment.start(2, np.random.default_rng(0))
    rounds = list(game(player, episode, np.zeros((2, 8))))
    u = np.stack([played.u_t for played in rounds])
    logged = trace.columns["round"] - 1
    np.testing.assert_allclose(trace.columns["path_length"], regret.path_length(u)[logged, 0], atol=1e-12)
    anchors = np.array([player.anchor(r.before) for r in rounds])
    sharp = bounds.comparator_energy_sharp(anchors, u[:, None] if learner == "ensemble" else u)
    wide = bounds.comparator_energy(problem.diameter, regret.path_length(u))
    for row, t in enumerate(logged):
        for name, energy in {"certificate": sharp, "bound": wide}.items():
            limit = player.bound(rounds[t].after, energy[t])
            assert limit is not None
            np.testing.assert_allclose(trace.columns[name][row], limit, rtol=1e-10)


def test_violations_are_counted_over_all_rounds_although_few_are_logged():
    measured, limit = np.zeros((1000, 2)), np.ones((1000, 2))
    measured[501, 1] = 1.0 + 1e-6
    assert violated(Statement("x", measured, limit)).sum() == 1
    assert violated(Statement("x", -measured, -limit, at_least=True)).sum() == 1
    measured[7, 0] = np.nan
    assert violated(Statement("x", measured, limit)).sum() == 2
    assert tightness(Statement("x", np.full((3, 2), 0.5), np.ones((3, 2)))) == 0.5
    assert tightness(Statement("x", np.ones((3, 2)), np.full((3, 2), 0.5), at_least=True)) == 0.5


def test_a_learner_with_a_false_bound_is_caught():
    class Boaster(OGD):
        def bound(self, state, comparator_energy):
            return 0.1 * super().bound(state, comparator_energy)

    environment = ENVIRONMENTS["adversarial"]
    problem = environment.problem
    trace = simulate(Boaster(problem.oracle_step_size, problem.domain), environment, 2, np.random.default_rng(0))
    assert trace.header["violations"] > 0


def test_trace_thins_and_keeps_the_last_round():
    trace = simulate(
        make_learner("ogd", {}, Tracking(horizon=999).problem), Tracking(horizon=999), 2, np.random.default_rng(0)
    )
    rounds = trace.columns["round"]
    assert 0.8 * LOGGED < len(rounds) <= LOGGED
    assert rounds[:4].tolist() == [1, 2, 5, 10]
    assert set(np.linspace(1, 999, LOGGED // 2).round()) <= set(rounds.tolist())
    assert rounds[-1] == 999
    assert {len(column) for column in trace.columns.values()} == {len(rounds)}


def test_what_is_the_same_in_all_copies_is_kept_once():
    """Sums of the same numbers, or of zeros, differ in the last bits of float64."""
    widths = {misfit: {n: c.ndim for n, c in tokens(misfit).columns.items()} for misfit in (0.0, 0.5)}
    assert {width["path_length"] for width in widths.values()} == {1}
    assert {width["dynamic_regret"] for width in widths.values()} == {2}
    assert {misfit: width["comparator_loss"] for misfit, width in widths.items()} == {0.0: 1, 0.5: 2}


def tokens(misfit):
    environment = replace(SMALL_TOKENS, path=Drift(4.0), misfit=misfit)
    return simulate(make_learner("ogd", {}, environment.problem), environment, 3, np.random.default_rng(0))


def watched(environment, learner, seeds):
    """What an episode of tokens measures of a learner, in chunks of seven rounds, and its last walk."""
    episode = environment.start(seeds, np.random.default_rng(0))
    x_1 = np.zeros((seeds, environment.problem.dimension))
    plays = np.stack([played.x_t for played in game(make_learner(learner, {}, environment.problem), episode, x_1)])
    return by_watching(episode, plays)


def by_watching(episode, plays):
    memory, columns, first, walks = None, [], 0, []
    for chunk in episode.chunks(7):
        here = plays[first : first + len(chunk.token)]
        memory, found = episode.watch(memory, chunk, here)
        first += len(here)
        columns.append(found)
        walks.append((first, memory.walk))
    return {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}, walks


def test_committed_is_accepted_plus_recovered_plus_bonus():
    columns, walks = watched(SMALL_TOKENS, "ogd", 5)
    assert [rounds for rounds, _ in walks] == [*range(7, 60, 7), 60]
    for rounds, walk in walks:
        np.testing.assert_array_equal(walk.accepted + walk.recovered + walk.bonus, rounds * SMALL_TOKENS.nu)
        np.testing.assert_array_equal(walk.recovered + walk.bonus, walk.steps)
        np.testing.assert_array_equal(columns["rejections"][rounds - 1], walk.recovered)
        np.testing.assert_array_equal(columns["examined"][rounds - 1], walk.accepted + walk.recovered)
        np.testing.assert_array_equal(columns["steps"][rounds - 1], walk.steps + (walk.run > 0))


def test_acceptance_given_the_committed_token_has_the_token_rules_law():
    """P(commit y, accepted or not) from the reversed rule equals the token rule's, by enumeration."""
    rng = np.random.default_rng(0)
    target, draft = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(5))
    grid = (np.arange(2000) + 0.5) / 2000
    for y in range(5):
        forward = draft[y] * np.mean([accept(target, draft, np.array(y), np.array(u)) for u in grid])
        laws = np.broadcast_to(target, (2000, 5)), np.broadcast_to(draft, (2000, 5))
        reverse = target[y] * np.mean(chain.accept_committed(*laws, np.full(2000, y), grid))
        assert abs(forward - min(target[y], draft[y])) < 1e-3
        assert abs(reverse - min(target[y], draft[y])) < 1e-3


def test_walk_over_committed_positions_has_the_chain_decoders_law():
    """Accepted counts of 40,000 steps decoded by drafting, verifying and resampling against the same by walking.

    Markov laws over 4 tokens. Each cell of the histogram of accepted counts differs by more than 5 standard errors
    with probability below 1e-6; five cells: false alarm below 1e-5.
    """
    gamma, steps, rng = 4, 40_000, np.random.default_rng(0)
    target, draft = rng.dirichlet(np.ones(4), size=4), rng.dirichlet(np.ones(4) * 2, size=4)

    last = rng.integers(4, size=200)
    drafting = np.zeros(gamma + 1)
    for _ in range(steps // 200):
        context, tokens, contexts = last, [], [last]
        for _ in range(gamma):
            context = categorical(draft[context], rng.random(200))
            tokens.append(context)
            contexts.append(context)
        laws = target[np.stack(contexts, axis=1)], draft[np.stack(contexts[:-1], axis=1)]
        accepted, last = token_rule(*laws, np.stack(tokens, axis=1), rng.random((200, gamma + 1)))
        drafting += np.bincount(accepted, minlength=gamma + 1)

    last, walk, walking = rng.integers(4, size=200), chain.begin(200), np.zeros(gamma + 1)
    while walk.steps.sum() < steps:
        token = categorical(target[last], rng.random(200))
        kept = chain.accept_committed(target[last], draft[last], token, rng.random(200))
        before, last = walk, token
        walk = walk.commit(kept, gamma)
        walking += np.bincount(before.run[walk.steps > before.steps], minlength=gamma + 1)

    share, other = drafting / drafting.sum(), walking / walking.sum()
    # copies stop mid-step in neither; steps of one copy are correlated through the context only, so allow twice
    error = np.sqrt(share * (1 - share) * (1 / drafting.sum() + 1 / walking.sum()))
    assert np.all(np.abs(share - other) <= 5 * 2 * error)


def test_tokens_per_step_is_leviathans_under_independent_positions():
    """One context only (k = 1, no spread): positions are independent and alpha is constant, so E(ε, γ) holds.

    Frozen draft, 64 copies; the mean over copies lies within 5 standard errors (false alarm below 1e-6).
    """
    environment = replace(SMALL_TOKENS, path=STATIONARY, contexts=1, spread=0.0, horizon=150)
    trace = simulate(make_learner("frozen", {}, environment.problem), environment, 64, np.random.default_rng(0))
    measured, reject = trace.columns["tokens_per_step"][-1], 1 - trace.columns["alpha"][-1]
    assert reject.ndim == 0  # the same in all copies
    expected = (1 - (1 - reject) ** (environment.gamma + 1)) / reject
    assert abs(measured.mean() - expected) <= 5 * measured.std() / sqrt(64)


def test_new_weights_wait_for_the_step_boundary():
    """A position is stale exactly while the step under way began before the swap; a new prompt ends the step."""
    gamma, rng = 3, np.random.default_rng(0)
    walk = chain.begin(50)
    walk, _ = chain.decode(walk, rng.random((7, 1, 50)) < 0.7, np.ones((3, 1, 50), bool), gamma)
    under_way = walk.run > 0
    kept, old = np.zeros((8, 1, 50), bool), np.ones((8, 1, 50), bool)  # the old draft is always right, the new never
    after, decoded = chain.decode(walk, kept, old, gamma)
    assert under_way.any()
    np.testing.assert_array_equal(decoded.stale[0], under_way)
    remaining = np.where(under_way, gamma + 1 - walk.run, 0)
    np.testing.assert_array_equal(decoded.stale.sum(axis=0), remaining)
    np.testing.assert_array_equal(after.accepted - walk.accepted, np.where(under_way, gamma - walk.run, 0))
    _, cut = chain.decode(walk, kept, old, gamma, starts=np.arange(8) == 0)
    assert not cut.stale.any()
    assert cut.first[0].all()


def test_regret_alone_does_not_bound_acceptance_where_weights_wait_for_the_step():
    """A draft that knows every law has no regret and no comparator loss, yet it rejects: steps under way at a switch
    were drafted with the weights of the round before. Hence the staleness in K̄, with which every claim holds."""
    environment = replace(SMALL_TOKENS, path=Switching(30), nu=7)  # 7 tokens are no whole number of steps
    episode = environment.start(4, np.random.default_rng(0))
    columns, _ = by_watching(episode, np.stack([drawn.comparator for drawn in rounds_of(episode)]))
    none = np.zeros_like(columns["alpha"])
    assert np.all(columns["alpha"][-1] < 0.99)  # without staleness the claim would be alpha = 1
    rounds = np.arange(1, environment.horizon + 1)
    claims = episode.statements(rounds, columns | {"dynamic_regret": none, "comparator_loss": none}, None)
    assert [violated(claim).sum() for claim in claims if not claim.in_expectation] == [0, 0, 0]


def test_deviation_holds_for_every_round_in_many_runs():
    """R_n ≤ Σ TV + √(N ln(1/δ)/2) for all n with probability 1 − δ: at δ = 0.05 fewer than 5 % of 400 runs fail.

    With 400 runs and failure probability at most .05, more than 40 failures have probability below 1e-4.
    """
    environment = replace(SMALL_TOKENS, horizon=25)
    columns, _ = watched(environment, "ogd", 400)
    committed = environment.nu * np.arange(1, 26)[:, None]
    excess = columns["rejections"] - (1 - columns["alpha"]) * committed
    assert np.sum(np.any(excess > sqrt(committed[-1, 0] * log(1 / 0.05) / 2), axis=0)) <= 40


@pytest.mark.parametrize("gamma, nu", list(product([1, 2, 5], [5, 16])))
def test_token_claims_hold_at_any_draft_length(gamma, nu):
    environment = replace(SMALL_TOKENS, gamma=gamma, nu=nu, horizon=40)
    trace = simulate(make_learner("adam", {}, environment.problem), environment, 4, np.random.default_rng(0))
    assert trace.header["violations"] == 0
    assert {"alpha_bound", "tokens_per_step_pathwise", "tokens_per_step_bound"} <= set(trace.header["checked"])


def test_rows_of_the_demo_are_as_many_and_as_long_as_promised():
    rows = {name: row for name, row in EXPERIMENTS.items() if row.demo}
    assert len(rows) >= 12
    assert len({row.learner for row in rows.values()}) >= 4
    assert len({name.split("/")[0] for name in rows}) >= 3
    for row in rows.values():
        assert row.seeds >= 16
        assert row.environment.problem.horizon >= 2000
        assert getattr(row.environment, "vocabulary", 64) >= 64


def test_all_learners_of_a_stream_meet_the_same_truth():
    drawn = [EXPERIMENTS[f"drift/P8/{name}"] for name in ("ogd", "adam")]
    starts = [next(row.environment.start(2, np.random.default_rng(row.seed)).chunks(5)) for row in drawn]
    np.testing.assert_array_equal(*(start.parameter for start in starts))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_row_builds_and_a_short_version_plays(name):
    row = EXPERIMENTS[name]
    assert row.build() == row.build()
    environment = row.environment
    if isinstance(environment, Tokens | Tracking) and isinstance(environment.path, Drift):
        environment = replace(environment, path=Drift(1.0))
    changes = {"segments": 1} if isinstance(environment, Adversarial) else {}
    changes |= {"steady": 4} if isinstance(environment, Alternating) else {}
    if isinstance(environment, SureTokens):
        inner = {"steady": 4} if isinstance(environment.experts, Alternating) else {}
        short = SureTokens(replace(environment.experts, horizon=20, **inner))
    else:
        short = replace(environment, horizon=20, **changes)
    assert Match(short, row.learner, seeds=2).run().header["violations"] == 0


@dataclass(frozen=True)
class Shrinking(Learner):
    """η_t = step_size/√(4 + Σ‖grad_s‖²), and the bound of non-increasing steps."""

    step_size: float
    domain: Domain = Free()

    def _schedule(self):
        return OptimisticOGD(SelfConfident(self.step_size, 1.0), Zero(), self.domain)

    def init(self, x_1):
        return self._schedule().init(x_1)

    def predict(self, state, hint=None):
        return self._schedule().predict(state)

    def update(self, state, loss_t, hint=None):
        return self._schedule().update(state, loss_t)

    def bound(self, state, comparator_energy):
        return self._schedule().bound(state, comparator_energy)


def test_the_sharp_energy_is_for_constant_steps_only():
    """A number called step_size does not make steps constant: one trip there and back would break the certificate."""
    environment = Scripted(((1.0, 0.0), (-1.0, 0.0)))
    trace = simulate(Shrinking(2.0, Ball(1.0)), environment, 1, np.random.default_rng(0))
    assert trace.header["checked"] == ["bound"]
    assert trace.header["violations"] == 0
    yes = OGD(0.1), OptimisticOGD(0.1), Ensemble(OGD((0.1, 0.2))), Sword(OptimisticOGD((0.1, 0.2)))
    assert all(learner.constant_steps for learner in yes)
    changing = Shrinking(0.1), OGD(InverseSqrt(2.0, 1.0)), Adam(0.1), Peeking(0.1), Ensemble(Peeking((0.1, 0.2)))
    assert not any(learner.constant_steps for learner in changing)


@dataclass(frozen=True)
class Peeking(OGD):
    """Writes the decision it should have played into the one it has played."""

    def update(self, state, loss_t, hint=None):
        kept = state._replace(x=state.x.copy())
        state.x[...] = self.domain.project(state.x - 9 * loss_t.grad(state.x))
        return super().update(kept, loss_t)


def test_what_update_writes_into_a_play_comes_too_late():
    environment = ENVIRONMENTS["quadratic"]
    players = (cls(0.1, environment.problem.domain) for cls in (OGD, Peeking))
    honest, other = (simulate(player, environment, 2, np.random.default_rng(0)).columns for player in players)
    np.testing.assert_array_equal(other["dynamic_regret"], honest["dynamic_regret"])


def test_a_play_outside_the_domain_is_refused():
    environment = Scripted(((1.0, 0.0),) * 5)
    with pytest.raises(ValueError, match=r"OGD.*plays \[-1.5, 0.0\] in round 4: not in Ball"):
        simulate(OGD(0.5), environment, 2, np.random.default_rng(0))


def test_residual_is_what_the_walk_leaves_out():
    """Marginal of the committed token is the target's: min(target, draft) + (1 − alpha)·residual = target."""
    rng = np.random.default_rng(0)
    target, draft = rng.dirichlet(np.ones(6), size=10), rng.dirichlet(np.ones(6), size=10)
    kept = np.minimum(target, draft)
    total = kept + (1 - kept.sum(axis=-1, keepdims=True)) * residual(target, draft)
    np.testing.assert_allclose(total, target, atol=1e-15)
