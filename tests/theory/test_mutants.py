"""Every guard fails on the bug it guards against: a bug is planted in the real code, and the real test must notice."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest

from tests.theory import test_bounds, test_domain, test_identities, test_loss, test_regret
from tests.theory.learners import test_pseudocode
from tests.theory.speculation import test_acceptance
from tests.theory.speculation import test_speedup as test_speed
from theory import bounds, hindsight, step_size
from theory.arrays import namespace
from theory.checker.checks import checks
from theory.checker.trial import tried
from theory.divergence import KL
from theory.domain import Ball, Simplex
from theory.hints import LastGradient
from theory.learner import Learner
from theory.learners import OGD, AdaHedge, Ensemble, Hedge, OptimisticOGD, hedge
from theory.learners import adahedge as adahedge_module
from theory.learners.ensemble import State as EnsembleState
from theory.learners.hedge import State as HedgeState
from theory.learners.optimistic import State as OptimisticState
from theory.loss import Linear, SoftmaxKL
from theory.speculation import acceptance, speedup
from theory.testing.strategies import DomainGame

ORIGINAL_RESOLVE, ORIGINAL_REVEALED = step_size.resolve, hedge.revealed
ENSEMBLE_GAME = DomainGame(
    np.array([0.5, 0.0, 0.0]), np.random.default_rng(0).normal(size=(15, 3)), True, domain=Ball(1.0)
)


def law(learner: Learner, name: str):
    """A guard: one check of ``theory.checker.checks`` on a learner."""

    def guard():
        for title, check in checks(learner):
            if title.startswith(name):
                check()

    return guard


def unwrapped(test, *arguments):
    """A guard: the body of a hypothesis test on given arguments."""
    return lambda: test.hypothesis.inner_test(*arguments)


# Bugs in learners


def optimistic_sign(self, state, hint=None):
    eta = step_size.resolve(self.step_size, state.energy)
    return self.domain.project(state.anchor + eta * (state.hint if hint is None else hint))


def optimistic_from_the_play(self, state, loss_t, hint=None):
    """One state, as momentum has it: the correction starts from the decision instead of the anchor."""
    right, x_t = OPTIMISTIC_UPDATE(self, state, loss_t, hint), self.predict(state, hint)
    eta = step_size.resolve(self.step_size, state.energy)
    return right._replace(anchor=self.domain.project(x_t - eta * loss_t.grad(x_t)))


def optimistic_late_hint(self, state, loss_t, hint=None):
    """The next hint is the gradient at the anchor, not at the decision played."""
    right = OPTIMISTIC_UPDATE(self, state, loss_t, hint)
    return right._replace(hint=self.hint.after(state.hint, loss_t.grad(state.anchor)))


def optimistic_older_hint(self, state, loss_t, hint=None):
    """The hint of the round before is kept one round too long."""
    right = OPTIMISTIC_UPDATE(self, state, loss_t, hint)
    return OptimisticState(right.anchor, 0.5 * (state.hint + right.hint), right.energy, right.stability)


OPTIMISTIC_UPDATE = OptimisticOGD.update


def last_loss_only(state, losses_t, epsilon):
    """The paper's public code: weights from the last loss, not the cumulative one."""
    right = ORIGINAL_REVEALED(state, losses_t, epsilon)
    return HedgeState(right.log_prior, losses_t, right.gap)


def gap_never_paid(state, losses_t, epsilon):
    right = ORIGINAL_REVEALED(state, losses_t, epsilon)
    return right._replace(gap=0.5 * (state.gap + right.gap))


def gap_clipped_from_above(state, losses_t, epsilon):
    right = ORIGINAL_REVEALED(state, losses_t, epsilon)
    return right._replace(gap=state.gap + namespace(right.gap).minimum(right.gap - state.gap, 0.1))


def losses_after_the_update(self, state, loss_t, hint=None):
    plays = self.base.predict(state.base, hint)
    seen = Linear(loss_t.grad(self._weighted(state, plays))) if self.surrogate else loss_t
    base = self.base.update(state.base, seen, hint)
    losses = np.moveaxis(seen.value(self.base.predict(base, hint)), 0, -1)
    return EnsembleState(base, self.meta.update(state.meta, Linear(losses)))


def merged_trajectories(self, state, loss_t, hint=None):
    """Every base restarts from the merged decision."""
    right, merged = ENSEMBLE_UPDATE(self, state, loss_t, hint), self.predict(state, hint)
    started = state.base._replace(x=np.broadcast_to(merged, state.base.x.shape))
    return right._replace(base=self.base.update(started, Linear(loss_t.grad(merged)), hint))


ENSEMBLE_UPDATE = Ensemble.update


def driven_apart():
    unwrapped(
        test_identities.test_an_ensemble_is_its_bases_driven_apart_with_textbook_weights, OGD, True, ENSEMBLE_GAME
    )()


# Bugs in verification


def residual_unclipped(target_probs, draft_probs):
    difference = abs(target_probs - draft_probs)
    mass = difference.sum(axis=-1, keepdims=True)
    return np.where(mass > 0, difference / np.where(mass > 0, mass, 1), target_probs)


def accept_inverted(target_probs, draft_probs, token, uniform):
    return ACCEPT(draft_probs, target_probs, token, uniform)


def count_all(kept):
    """Accepted tokens after the first rejection are counted too."""
    return kept.astype(int).sum(axis=-1)


ACCEPT, LEADING, EXPECTED = acceptance.accept, acceptance.leading, speedup.tokens_per_step


def one_step():
    for seed in range(4):
        test_acceptance.test_a_step_has_the_law_of_the_target(seed, 2)


def sweeping():
    test_bounds.worst_ratio(OGD(0.2, Ball(1.0)), test_bounds.sweeping())


# Bugs elsewhere


def clip_and_normalise(self, x):
    positive = np.maximum(np.asarray(x), 1e-9)
    return positive / positive.sum(axis=-1, keepdims=True)


def without_temperature(self, x, log_draft):
    return self.temperature * SOFTMAX_GRAD(self, x, log_draft)


def cross_entropy(self, target, log_draft):
    return -namespace(log_draft).sum(target * log_draft, axis=-1).sum(-1) / target.shape[-2]


SOFTMAX_GRAD, SHARP, PIECEWISE = SoftmaxKL._grad, bounds.comparator_energy_sharp, hindsight._segment_costs
NEAR, FAR = np.array([4.0, 0.5, -0.5]), np.array([-4.0, 0.3, 3.0])


def plain_descent():
    """A guard: OGD against its pseudocode, whose plays reach the border."""
    test_pseudocode.test_ogd_is_its_pseudocode("fixed", "quadratic", "ball")


class Mutant(NamedTuple):
    owner: object
    name: str
    bug: object
    guard: Callable[[], object]


MUTANTS = {
    "step 1.3 times too long": Mutant(step_size, "resolve", lambda s, e: 1.3 * ORIGINAL_RESOLVE(s, e), plain_descent),
    "no projection: law": Mutant(Ball, "project", lambda self, x: x, law(OGD(0.1, Ball(1.0)), "feasible")),
    "no projection: trajectory": Mutant(Ball, "project", lambda self, x: x, plain_descent),
    "ball clipped coordinate by coordinate": Mutant(
        Ball,
        "project",
        lambda self, x: np.clip(x, -self.radius / 3**0.5, self.radius / 3**0.5),
        unwrapped(test_domain.test_projection_is_the_nearest_point, Ball(1.0), NEAR, FAR),
    ),
    "simplex clipped and normalised": Mutant(
        Simplex,
        "project",
        clip_and_normalise,
        unwrapped(test_domain.test_projection_is_the_nearest_point, Simplex(), NEAR, FAR),
    ),
    "optimistic step with the wrong sign": Mutant(
        OptimisticOGD,
        "predict",
        optimistic_sign,
        lambda: test_pseudocode.test_optimistic_ogd_is_optimistic_mirror_descent(*LAST_GRADIENT),
    ),
    "optimistic correction from the decision": Mutant(
        OptimisticOGD,
        "update",
        optimistic_from_the_play,
        lambda: test_pseudocode.test_optimistic_ogd_is_optimistic_mirror_descent(*LAST_GRADIENT),
    ),
    "hint one round too old": Mutant(
        OptimisticOGD,
        "update",
        optimistic_older_hint,
        lambda: test_pseudocode.test_optimistic_ogd_is_optimistic_mirror_descent(*LAST_GRADIENT),
    ),
    "hint at the anchor": Mutant(
        OptimisticOGD,
        "update",
        optimistic_late_hint,
        unwrapped(test_identities.test_hint_error_and_stability_are_what_they_say, ENSEMBLE_GAME, 0.4),
    ),
    "hedge on the last loss": Mutant(
        hedge, "revealed", last_loss_only, test_pseudocode.test_hedge_is_exponential_weights
    ),
    "hedge on the last loss: regret": Mutant(
        hedge,
        "revealed",
        last_loss_only,
        lambda: test_bounds.worst_expert_ratio(test_bounds.alternating(60, 20), 0.3),
    ),
    "hedge 1.3 times too fast": Mutant(
        Hedge,
        "predict",
        lambda self, state, hint=None: np.exp(hedge.log_weights(state, 1.3 * self.meta_step_size)),
        test_pseudocode.test_hedge_is_exponential_weights,
    ),
    "half of every gap forgotten": Mutant(
        adahedge_module.hedge,
        "revealed",
        gap_never_paid,
        lambda: test_pseudocode.test_adahedge_is_the_paper_s(test_pseudocode.SLOPES),
    ),
    "gap clipped from above": Mutant(
        adahedge_module.hedge,
        "revealed",
        gap_clipped_from_above,
        lambda: test_pseudocode.test_adahedge_is_the_paper_s(test_pseudocode.SLOPES),
    ),
    "gap clipped from above: regret": Mutant(
        adahedge_module.hedge,
        "revealed",
        gap_clipped_from_above,
        unwrapped(test_bounds.test_adahedge_regret_is_within_its_bounds, test_bounds.extremes(60)),
    ),
    "losses taken after the update": Mutant(Ensemble, "update", losses_after_the_update, driven_apart),
    "bases restarted from the merged decision": Mutant(Ensemble, "update", merged_trajectories, driven_apart),
    "residual not clipped": Mutant(acceptance, "residual", residual_unclipped, one_step),
    "residual is the target": Mutant(acceptance, "residual", lambda target, draft: target, one_step),
    "acceptance ratio inverted": Mutant(acceptance, "accept", accept_inverted, one_step),
    "every token accepted": Mutant(
        acceptance, "accept", lambda t, d, token, u: np.ones(token.shape, dtype=bool), one_step
    ),
    "the rule does not stop at a rejection": Mutant(acceptance, "leading", count_all, one_step),
    "the rule stops one token early": Mutant(
        acceptance, "leading", lambda kept: np.maximum(LEADING(kept) - 1, 0), one_step
    ),
    "bonus forgotten in E": Mutant(
        test_speed,
        "tokens_per_step",
        lambda epsilon, gamma: EXPECTED(epsilon, gamma - 1),
        lambda: test_speed.test_e_is_the_sum_of_survival_probabilities(0.2, 4),
    ),
    "bonus forgotten in E: enumeration": Mutant(
        test_acceptance,
        "tokens_per_step",
        lambda epsilon, gamma: EXPECTED(epsilon, gamma - 1),
        lambda: test_acceptance.test_expected_tokens_are_e_of_epsilon_when_every_position_is_alike(0),
    ),
    "E in place of the pathwise bound": Mutant(
        speedup,
        "verified_lower",
        EXPECTED,
        unwrapped(test_speed.test_pathwise_theorems_hold_on_every_path, test_speed.REJECT_AT_ONCE_OR_NEVER, 4),
    ),
    "committed and verified shares confused": Mutant(
        speedup,
        "verified_lower",
        speedup.tokens_per_step_lower,
        test_speed.test_both_lower_forms_are_attained_where_e_is_violated,
    ),
    "Pinsker with a quarter": Mutant(
        speedup,
        "rejection_bound",
        lambda divergence: np.sqrt(np.asarray(divergence) / 4),
        lambda: unwrapped(
            test_speed.test_rejection_bound_covers_the_mean_total_variation,
            np.full((6, 5), 0.2),
            np.tile([0.3, 0.1, 0.3, 0.1, 0.2], (6, 1)),
        )(),
    ),
    "Pinsker without the half": Mutant(
        speedup,
        "rejection_bound",
        lambda divergence: np.sqrt(np.minimum(divergence, -np.expm1(-divergence))),
        test_speed.test_rejection_bound_is_tight_at_both_ends,
    ),
    "greedy rejections at ln 4": Mutant(speedup, "LN_2", 2 * np.log(2), test_speed.test_greedy_rejections_are_attained),
    "softmax gradient without the temperature": Mutant(
        SoftmaxKL,
        "_grad",
        without_temperature,
        lambda: test_loss.test_gradient_equals_finite_differences_and_autograd("adapter"),
    ),
    "cross-entropy for KL": Mutant(KL, "value", cross_entropy, test_loss.test_value_is_cross_entropy_less_entropy),
    "stability without the half": Mutant(
        bounds,
        "proximal",
        lambda energy, eta, stability: energy / (2 * eta) + 2 * stability,
        lambda: test_bounds.test_ogd_attains_the_sharp_bound_exactly(2),
    ),
    "energy over 2.2·η": Mutant(
        bounds,
        "proximal",
        lambda energy, eta, stability: energy / (2.2 * eta) + stability,
        sweeping,
    ),
    "path length forgotten": Mutant(
        bounds,
        "comparator_energy",
        lambda diameter, path_length: diameter**2 + 0.0 * path_length,
        sweeping,
    ),
    "sharp energy of the round before": Mutant(
        bounds,
        "comparator_energy_sharp",
        lambda x, u, eta=None: SHARP(x, np.concatenate([u[:1], u[:-1]]), eta),
        sweeping,
    ),
    "hedge bound without its gaps": Mutant(
        bounds,
        "hedge",
        lambda prior, epsilon, gap: prior / epsilon + 0.9 * gap,
        lambda: test_bounds.worst_expert_ratio(test_bounds.alternating(400, 100), 0.3),
    ),
    "a segment too few": Mutant(
        hindsight,
        "_segment_costs",
        lambda parameters, domain, loss: PIECEWISE(parameters[::-1].copy(), domain, loss),
        lambda: test_regret.test_best_piecewise_is_the_best_of_all_segmentations(Ball(1.0), "linear", 3),
    ),
    "walk without a bonus": Mutant(
        acceptance.Walk,
        "examined",
        lambda self, gamma: self.run <= gamma,
        unwrapped(test_acceptance.test_walk_counts_what_a_decoder_counts, [True] * 9, 3),
    ),
}

STEP_SIZES = (0.25, lambda error: 0.25)
LAST_GRADIENT = (LastGradient(), lambda seen: seen[-1] if seen else test_pseudocode.NOTHING, *STEP_SIZES)


@pytest.mark.parametrize("name", MUTANTS)
def test_the_bug_is_caught(name, monkeypatch):
    mutant = MUTANTS[name]
    mutant.guard()  # green without the bug
    monkeypatch.setattr(mutant.owner, mutant.name, mutant.bug)
    with pytest.raises(AssertionError):
        mutant.guard()


# Bugs that ``theory.checker.checks`` must catch in a user's learner, besides those of tests/faults.py


@dataclass(frozen=True)
class Boastful(OGD):
    def bound(self, state, comparator_energy):
        return 0.4 * super().bound(state, comparator_energy)


@dataclass(frozen=True)
class Loafing(AdaHedge):
    """Claims AdaHedge's bound and never moves."""

    def predict(self, state, hint=None):
        return np.exp(state.log_prior)


@pytest.mark.parametrize(
    ("learner", "check"),
    [
        (Boastful(1.0, Ball(1.0)), "within_bound"),
        (Loafing(), "within_bound"),
        (OGD(0.1, Ball(1.0)), None),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else type(value).__name__,
)
def test_checks_catch_a_user_s_bug(learner, check):
    failed = {name for name, fault in tried(learner, 4, dimensions=()).items() if fault}
    assert failed == set() if check is None else check in failed
