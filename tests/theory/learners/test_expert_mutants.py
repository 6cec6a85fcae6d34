"""Bugs planted in the learners over experts and in their bounds, each caught by the test that is named beside it."""

from math import log

import numpy as np
import pytest

from tests.theory import test_mixture_tv as acceptance
from tests.theory.checker import test_certificate as certificates
from tests.theory.learners import test_expert_learners as experts
from tests.theory.learners import test_optimistic_experts as optimists
from tests.theory.learners import test_pseudocode as pseudocode
from tests.theory.test_mutants import Mutant, unwrapped
from theory import bounds, step_size
from theory.arrays import namespace
from theory.domain import Ball
from theory.hints import LastGradient
from theory.learners import AdaHedge, Ensemble, FixedShare, Mixture, OptimisticHedge, Sword
from theory.learners.hedge import gap_paid
from theory.loss import Linear, MixtureTV
from theory.testing.strategies import DomainGame

RNG = np.random.default_rng(0)
LOSSES = RNG.random((20, 4))
GAME = DomainGame(np.array([0.5, 0.0, 0.0]), RNG.normal(size=(20, 3)), True, domain=Ball(1.0))
FIXED_SHARE_INIT = FixedShare.init
SHARE, SHARED, GUESSED, MIXED = bounds.fixed_share, FixedShare.update, OptimisticHedge.update, Mixture.update
ROUND, SWORD_BOUND, SWORD_UPDATE = Sword._round, bounds.sword, Sword.update
HEDGE, STABLE, TUNED = bounds.optimistic_hedge, bounds.optimistic_hedge_stable, bounds.fixed_share_tuned
MOVED = (
    (np.tile(np.eye(4), (12, 1, 1)), np.tile([0.25, 0.25, 0.25, 0.25], (12, 1))),
    *(0.5, 0.01, [np.array(u) for u in ([0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5])] * 2, 1),
)
DOUBLING, ADER = step_size.doubling_grid, Ensemble.ader.__func__


# Fixed Share and Mixture


def ln_n_for_ln_n_less_one(log_inverse_prior, share, switches, rounds, count):
    return SHARE(log_inverse_prior, share, switches, rounds, count + 1)


def no_prior(log_inverse_prior, share, switches, rounds, count):
    return SHARE(0.0 * log_inverse_prior, share, switches, rounds, count)


def staying_is_free(log_inverse_prior, share, switches, rounds, count):
    return SHARE(log_inverse_prior, share, switches, switches + 1.0, count)


def one_stay_too_few(log_inverse_prior, share, switches, rounds, count):
    return SHARE(log_inverse_prior, share, switches, rounds - 1.0, count)


def share_before_the_update(self, state, loss_t, hint=None):
    early = state._replace(log_weights=self._shared(state.log_weights))
    return SHARED(FixedShare(self.meta_step_size, 0.0), early, loss_t)


def share_to_everybody(self, log_posterior):
    return np.log((1 - self.share) * np.exp(log_posterior) + self.share / log_posterior.shape[-1])


def share_from_the_prior(self, state, loss_t, hint=None):
    """Last losses instead of cumulative ones."""
    return SHARED(self, state._replace(log_weights=state.log_prior), loss_t)


def uniform_start(self, x_1):
    return FIXED_SHARE_INIT(self, np.full_like(x_1, 1 / x_1.shape[-1]))


def linearised(self, state, loss_t, hint=None):
    return MIXED(self, state, Linear(loss_t.grad(self.predict(state))))


def last_losses_only(self, state, loss_t, hint=None):
    right = MIXED(self, state, loss_t)
    return right._replace(cumulative=right.cumulative - state.cumulative)


# Mixtures learned on acceptance


def surrogate_ignored(self, state, loss_t, hint=None):
    return SHARED(FixedShare(self.meta_step_size, self.share), state, loss_t)


def likelier_where_too_likely(self, mixed):
    """The drafts are paid for tokens that the mixture gives too much already."""
    return -(mixed > self.target_probs).astype(float)


def certified_without_shares(self, before, after, x_t, grad_t, hint=None, expert=None):
    return gap_paid(before, after)


def tv_of_a_game():
    acceptance.test_the_subgradient_supports_the_loss.hypothesis.inner_test(
        np.eye(3, 4), np.array([0.5, 0.3, 0.2, 0.0]), np.array([0.6, 0.2, 0.2]), np.array([0.0, 0.5, 0.5])
    )


def frozen_rounds():
    acceptance.test_the_bound_of_frozen_rounds_is_nearly_attained(4)


def certified_mixtures(learner):
    return lambda: certificates.test_exponential_weights_are_certified_against_fixed_mixtures(learner, 40)


# Optimistic Hedge and Sword


def stale_hint(self, state, loss_t, hint=None):
    """Half of the hint is one round too old."""
    right = GUESSED(self, state, loss_t, hint)
    return right._replace(hint=0.5 * (state.hint + right.hint))


def last_guess(self, state, loss_t, hint=None):
    right = GUESSED(self, state, loss_t, hint)
    return right._replace(cumulative=right.cumulative - state.cumulative)


def hint_counted_twice(self, state, loss_t, hint=None):
    right = GUESSED(self, state, loss_t, hint)
    return right._replace(cumulative=right.cumulative + (state.hint if hint is None else hint))


def wrong_sign(self, state, hint):
    """Experts that move are rewarded."""
    now = ROUND(self, state, hint)
    xp = namespace(now.plays)
    believed = now.believed - 2 * now.corrections
    weights = self.meta.predict(state.meta, believed)
    x = (weights[..., None, :] @ xp.moveaxis(now.plays, 0, -2))[..., 0, :]
    return now._replace(believed=believed, corrections=-now.corrections, weights=weights, x=x)


def uncharged(self, state, hint):
    """The correction is in the losses but not in the hint."""
    now = ROUND(self, state, hint)
    weights = self.meta.predict(state.meta, now.believed - now.corrections)
    x = (weights[..., None, :] @ namespace(now.plays).moveaxis(now.plays, 0, -2))[..., 0, :]
    return now._replace(believed=now.believed - now.corrections, weights=weights, x=x)


def a_gradient_for_every_base(self, state, loss_t, hint=None):
    now = self._round(state, hint)
    own = Linear(loss_t.grad(now.plays))
    losses = Linear(np.moveaxis(own.value(now.plays), 0, -1) + now.corrections)
    base, meta = self.base.update(state.base, own, hint), self.meta.update(state.meta, losses, now.believed)
    return state._replace(base=base, meta=meta, last=now.plays)


def half_a_round_late(self, state, loss_t, hint=None):
    """Half of the bases' hint is one round too old."""
    right = SWORD_UPDATE(self, state, loss_t, hint)
    return right._replace(base=right.base._replace(hint=0.5 * (state.base.hint + right.base.hint)))


def plays_never_remembered(self, state, loss_t, hint=None):
    return SWORD_UPDATE(self, state, loss_t, hint)._replace(last=state.last)


def ader_without_its_prior(cls, problem, surrogate=True):
    right = ADER(cls, problem, surrogate)
    return cls(right.base, right.meta, surrogate)


def enumerated():
    experts.test_fixed_share_is_bayes_over_all_sequences_of_experts(0.4)


def exact():
    experts.test_the_switching_bound_is_attained_exactly_on_log_loss(3, 5)


def scalar():
    pseudocode.test_sword_is_its_pseudocode(0.125, False, 1.0, 1.0, "quadratic", "ball")


def one_gradient():
    optimists.test_one_gradient_a_round_or_one_for_each_expert("sword", True)


def one_base():
    optimists.test_sword_s_bound_is_nearly_attained((0.125,), 0.99)


def three_bases():
    optimists.test_sword_s_bound_is_nearly_attained((0.125 / 4, 0.125 / 2, 0.125), 0.94)


PROOF = unwrapped(optimists.test_optimistic_hedge_s_gap_is_exactly_what_the_proof_says, LOSSES, 0.5, LastGradient())
LEDGER = unwrapped(optimists.test_sword_pays_for_its_corrections_and_is_paid, GAME, 20.0, 2.0)
CONSTANT = unwrapped(
    optimists.test_optimistic_hedge_s_gap_is_exactly_what_the_proof_says,
    np.tile([0.0, 1.0], (60, 1)),
    0.3,
    LastGradient(),
)

MUTANTS = {
    "ln N for ln(N−1)": Mutant(bounds, "fixed_share", ln_n_for_ln_n_less_one, exact),
    "prior missing in the switching bound": Mutant(bounds, "fixed_share", no_prior, exact),
    "staying is free": Mutant(bounds, "fixed_share", staying_is_free, exact),
    "one stay too few": Mutant(bounds, "fixed_share", one_stay_too_few, exact),
    "ln N for ln(N−1), tuned": Mutant(bounds, "fixed_share_tuned", lambda s, t, n: TUNED(s, t, n + 1), exact),
    "share before the update": Mutant(FixedShare, "update", share_before_the_update, enumerated),
    "share to oneself, too": Mutant(FixedShare, "_shared", share_to_everybody, enumerated),
    "share, last losses only": Mutant(FixedShare, "update", share_from_the_prior, enumerated),
    "share, prior ignored": Mutant(FixedShare, "init", uniform_start, enumerated),
    "surrogate ignored": Mutant(
        FixedShare,
        "update",
        surrogate_ignored,
        lambda: acceptance.test_values_at_corners_do_not_compete_with_mixtures(Mixture(0.5)),
    ),
    "paths of mixtures counted as switches": Mutant(
        FixedShare,
        "_switches",
        lambda self, path_length, count: path_length / 2**0.5,
        unwrapped(acceptance.test_a_moving_mixture_pays_half_its_one_norm_on_acceptance, *MOVED),
    ),
    "TV's gradient upside down": Mutant(MixtureTV, "_slope", likelier_where_too_likely, tv_of_a_game),
    "TV without a half too much": Mutant(
        MixtureTV,
        "_value",
        lambda self, mixed: np.abs(self.target_probs - mixed).sum(axis=-1),
        lambda: acceptance.test_a_hard_label_is_one_token(),
    ),
    "entropy of the mixture left out": Mutant(
        bounds,
        "relative_entropy",
        lambda mixture, log_prior: -np.sum(mixture * log_prior, axis=-1),
        lambda: acceptance.test_the_last_weights_attain_the_bound_exactly(1.0),
    ),
    "√T for √(nT)": Mutant(
        bounds, "mixture_rounds", lambda positions, n, count: bounds.hedge_apriori(1.0, positions, count), frozen_rounds
    ),
    "n√T for √(nT)": Mutant(
        bounds, "mixture_rounds", lambda positions, n, count: bounds.hedge_apriori(n, positions, count), frozen_rounds
    ),
    "the fall of AdaHedge's rate uncharged": Mutant(
        AdaHedge, "terms", certified_without_shares, certified_mixtures(AdaHedge())
    ),
    "a certificate without the shares": Mutant(
        FixedShare,
        "terms",
        certified_without_shares,
        lambda: certificates.test_exponential_weights_are_certified_against_fixed_mixtures(
            FixedShare(0.5, 0.01, True), 0
        ),
    ),
    "mixture on the gradient": Mutant(
        Mixture,
        "update",
        linearised,
        unwrapped(
            experts.test_committed_tokens_leave_no_gap_and_the_posterior_is_bayes, [np.array([0.7, 0.2, 0.1])] * 3
        ),
    ),
    "mixture on the last losses": Mutant(
        Mixture, "update", last_losses_only, lambda: experts.test_one_update_for_many_positions_breaks_ln_n(1)
    ),
    "stale hint": Mutant(OptimisticHedge, "update", stale_hint, PROOF),
    "hint counted twice": Mutant(OptimisticHedge, "update", hint_counted_twice, PROOF),
    "optimistic hedge on the last losses": Mutant(OptimisticHedge, "update", last_guess, PROOF),
    "ε/16 for ε/8": Mutant(
        bounds,
        "optimistic_hedge",
        lambda prior, epsilon, spread, divergence=0.0: HEDGE(prior, epsilon, 0.5 * spread, divergence),
        lambda: optimists.test_optimistic_hedge_s_bounds_are_nearly_attained(optimists.Zero(), False, 0.97),
    ),
    "divergence counted twice": Mutant(
        bounds,
        "optimistic_hedge",
        lambda prior, epsilon, spread, divergence=0.0: HEDGE(prior, epsilon, spread, 2 * divergence),
        CONSTANT,
    ),
    "movement counted eight times": Mutant(
        bounds,
        "optimistic_hedge_stable",
        lambda prior, epsilon, spread, movement: STABLE(prior, epsilon, spread, 8 * movement),
        CONSTANT,
    ),
    "correction with the wrong sign: proof": Mutant(Sword, "_round", wrong_sign, LEDGER),
    "correction with the wrong sign: trajectory": Mutant(Sword, "_round", wrong_sign, scalar),
    "correction with the wrong sign: weights": Mutant(
        Sword, "_round", wrong_sign, optimists.test_the_correction_leaves_experts_that_move
    ),
    "correction missing in the hint": Mutant(Sword, "_round", uncharged, scalar),
    "a gradient for every base": Mutant(Sword, "update", a_gradient_for_every_base, one_gradient),
    "stale hint of the bases": Mutant(Sword, "update", half_a_round_late, scalar),
    "plays never remembered": Mutant(Sword, "update", plays_never_remembered, scalar),
    "energy over 2.2·η": Mutant(bounds, "sword", lambda a, *rest: SWORD_BOUND(a / 1.1, *rest), one_base),
    "ln N missing in Sword's bound": Mutant(
        bounds, "sword", lambda a, p, *rest: SWORD_BOUND(a, 0.0, *rest), three_bases
    ),
    "Ader without its prior": Mutant(
        Ensemble,
        "ader",
        classmethod(ader_without_its_prior),
        lambda: pseudocode.test_ader_with_true_losses_and_with_the_surrogate(True, "linear", "ball"),
    ),
    "an expert too few": Mutant(
        step_size,
        "doubling_grid",
        lambda d, g, t: DOUBLING(d, g, t)[:-1],
        lambda: optimists.test_the_paper_s_grid_has_its_size_its_prior_and_its_factor(1000),
    ),
    "√(ln N/(4T)) for routing": Mutant(
        bounds,
        "routing",
        lambda horizon, count: (log(count) / (4 * horizon)) ** 0.5,
        lambda: experts.test_routing_rejects_little_more_than_the_best_draft("alternating"),
    ),
    "the heaviest draft always proposes": Mutant(
        experts,
        "route",
        lambda weights, uniform: namespace(weights).argmax(weights, axis=-1),
        experts.test_route_draws_from_the_weights_in_numpy_and_torch,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_bug_is_caught(name, monkeypatch):
    mutant = MUTANTS[name]
    mutant.guard()  # green without the bug
    monkeypatch.setattr(mutant.owner, mutant.name, mutant.bug)
    with pytest.raises(AssertionError):
        mutant.guard()
