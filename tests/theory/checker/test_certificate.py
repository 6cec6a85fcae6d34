"""A log alone gives the learner's own numbers back; moving comparators are the best there are."""

from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
import pytest
from scipy.optimize import linprog
from typer.testing import CliRunner

from theory import bounds, hindsight, path_limited, regret
from theory.__main__ import app
from theory.checker import certificate
from theory.domain import Ball, Box, Free, Simplex
from theory.hints import LastGradient, MovingAverage, Zero
from theory.learner import Terms
from theory.learners import (
    OGD,
    AdaHedge,
    Ensemble,
    FixedShare,
    Hedge,
    LastLoss,
    Mixture,
    Momentum,
    OptimisticHedge,
    OptimisticOGD,
    Sword,
    hedge,
)
from theory.learners.delayed import Delayed
from theory.loss import Linear, Quadratic
from theory.problem import Problem
from theory.runs.trace import Trace
from theory.step_size import AdaGradNorm, InverseSqrt, SelfConfident

LEARNERS = {
    "ogd": OGD(0.2, Ball(1.0)),
    "ogd, inverse root": OGD(InverseSqrt(2.0, 1.0), Ball(1.0)),
    "ogd, adagrad-norm": OGD(AdaGradNorm(2.0), Ball(1.0)),
    "optimistic": OptimisticOGD(0.2, LastGradient(), Ball(1.0)),
    "optimistic, average": OptimisticOGD(0.2, MovingAverage(0.5), Ball(1.0)),
    "self-confident": OptimisticOGD(SelfConfident(2.0, 4.0), LastGradient(), Ball(1.0)),
    "self-confident, no hint": OptimisticOGD(SelfConfident(2.0, 4.0), Zero(), Ball(1.0)),
}


def played(learner, kind, rounds=30, outside_hint=False):
    """A log, and from the run itself: anchors ``[T, d]``, step sizes, candidates, losses, final state."""
    rng = np.random.default_rng(0)
    candidates = Ball(1.0).project(rng.normal(size=(4, 3)))
    losses = [Linear(p) if kind == "linear" else Quadratic(p) for p in rng.normal(size=(rounds, 3))]
    recorder = certificate.Recorder(learner, candidates)
    state, anchors, lost = learner.init(np.array([0.5, 0.0, 0.0])), [], []
    for t, loss_t in enumerate(losses):
        hint = 0.5 * rng.normal(size=3) if outside_hint else None
        anchors.append(getattr(state, "anchor", None) if hasattr(state, "anchor") else state.x)
        lost.append(float(loss_t.value(learner.predict(state, hint))))
        after = learner.update(state, loss_t, hint)
        recorder.add(state, loss_t, after, hint, checkpoint=t * 4 // rounds)
        state = after
    return recorder.trace({"settings": None}), np.stack(anchors), candidates, losses, np.array(lost), state


@pytest.mark.parametrize("kind", ["linear", "quadratic"])
@pytest.mark.parametrize("name", LEARNERS)
def test_the_log_gives_back_regret_path_length_hint_error_and_bound(name, kind, tmp_path):
    learner = LEARNERS[name]
    log, anchors, candidates, losses, lost, state = played(learner, kind)
    log = Trace.load(log.save(tmp_path / "log"))
    assert set(certificate.sequences(log)) == {"best fixed", "per segment (4)", "2 switches", "checkpoints"}
    for sequence in certificate.sequences(log).values():
        u = candidates[sequence]
        found = certificate.certificate(log, sequence)
        compared = np.array([loss.value(v) for loss, v in zip(losses, u, strict=True)])
        frozen = np.array([loss.value(anchors[0]) for loss in losses])
        assert found.dynamic_regret == pytest.approx(np.sum(lost - compared), abs=1e-9)
        assert found.path_length == pytest.approx(float(regret.path_length(u)[-1]), abs=1e-9)
        assert found.hint_error == pytest.approx(float(state.energy[0]), rel=1e-9)
        energy = bounds.comparator_energy_sharp(anchors, u, log.columns["step_size"])[-1]
        eta = log.columns["step_size"][-1]
        assert found.bound == pytest.approx(float(bounds.proximal(energy, eta, state.stability[0])), rel=1e-9)
        assert found.bound <= float(learner.bound(state, energy)) * (1 + 1e-9)  # which may divide by the next step
        suffered, bound = certificate.paths(log, sequence)
        assert found.slack == pytest.approx(np.min(bound - suffered), abs=1e-12)
        assert found.slack <= found.bound - found.dynamic_regret
        assert found.slack >= 0
        if np.sum(frozen - compared) > 0:
            assert found.certificate_ratio == pytest.approx(found.bound / np.sum(frozen - compared))
        else:
            assert np.isnan(found.certificate_ratio)


def test_an_outside_hint_counts_in_the_hint_error():
    learner = LEARNERS["optimistic"]
    log, anchors, candidates, _, _, state = played(learner, "linear", outside_hint=True)
    found = certificate.certificate(log, np.zeros(30, dtype=int))
    assert found.hint_error == pytest.approx(float(state.energy[0]))
    energy = bounds.comparator_energy_sharp(anchors, np.tile(candidates[0], (30, 1)))[-1]
    assert found.bound == pytest.approx(float(learner.bound(state, energy)))


@pytest.mark.parametrize("meta", [AdaHedge(), Hedge(0.7), LastLoss()], ids=repr)
@pytest.mark.parametrize("kind", ["linear", "quadratic"])
def test_an_ensemble_is_certified_through_any_expert(kind, meta):
    """Its bound is the expert's own, on the surrogate, and the linear regret to that expert, exactly."""
    rng, domain = np.random.default_rng(3), Ball(1.0)
    learner, candidates = Ensemble(OGD((0.1, 0.4), domain), meta), domain.project(rng.normal(size=(3, 4)))
    losses = [Linear(p) if kind == "linear" else Quadratic(p) for p in rng.normal(size=(25, 4))]
    for expert in (0, 1):
        recorder, state = certificate.Recorder(learner, candidates, expert), learner.init(np.zeros(4))
        alone = OGD(learner.base.step_size[expert], domain)
        single, behind = alone.init(np.zeros(4)), 0.0
        for t, loss_t in enumerate(losses):
            grad_t = loss_t.grad(learner.predict(state))
            behind += float(grad_t @ (learner.predict(state) - alone.predict(single)))
            after, single = learner.update(state, loss_t), alone.update(single, Linear(grad_t))
            recorder.add(state, loss_t, after, checkpoint=t // 9)
            state = after
        log = recorder.trace()
        for sequence in certificate.sequences(log).values():
            found = certificate.certificate(log, sequence)
            assert found.slack >= 0
            anchors_energy = bounds.telescoped(
                log.columns["distance"][np.arange(25), sequence] ** 2,
                log.columns["distance"][np.arange(1, 25), sequence[:-1]] ** 2,
                log.columns["step_size"],
            )[-1]
            own = bounds.proximal(anchors_energy, alone.step_size, single.stability[0])
            assert found.bound == pytest.approx(float(own) + behind, rel=1e-9)


THROUGH_OPTIMISTS = {
    "ensemble": Ensemble(OptimisticOGD((0.1, 0.4), MovingAverage(0.5), Ball(1.0))),
    "sword": Sword(OptimisticOGD((0.1, 0.4), domain=Ball(1.0)), OptimisticHedge(0.5), 1.0),
}


@pytest.mark.parametrize("hinted", [False, True])
@pytest.mark.parametrize("kind", ["linear", "quadratic"])
@pytest.mark.parametrize("name", THROUGH_OPTIMISTS)
def test_learners_over_optimistic_bases_are_certified_through_any_expert(name, kind, hinted):
    """The expert alone, on the gradients of the whole, proves one part; the linear regret to it is the other."""
    learner, rng = THROUGH_OPTIMISTS[name], np.random.default_rng(3)
    losses = [Linear(p) if kind == "linear" else Quadratic(p) for p in rng.normal(size=(25, 4))]
    candidates = Ball(1.0).project(rng.normal(size=(3, 4)))
    for expert in (0, 1):
        recorder, state = certificate.Recorder(learner, candidates, expert), learner.init(np.zeros(4))
        alone = replace(learner.base, step_size=learner.base.step_size[expert])
        single, behind, anchors = alone.init(np.zeros(4)), 0.0, []
        for t, loss_t in enumerate(losses):
            hint = 0.3 * rng.normal(size=4) if hinted else None
            x_t = learner.predict(state, hint)
            grad_t = loss_t.grad(x_t)
            behind += float(grad_t @ (x_t - alone.predict(single, hint)))
            anchors.append(single.anchor)
            after, single = learner.update(state, loss_t, hint), alone.update(single, Linear(grad_t), hint)
            recorder.add(state, loss_t, after, hint, checkpoint=t // 9)
            state = after
        log = recorder.trace()
        for sequence in certificate.sequences(log).values():
            found = certificate.certificate(log, sequence)
            assert found.slack >= 0
            assert found.hint_error == pytest.approx(float(single.energy[0]), rel=1e-9)
            energy = bounds.comparator_energy_sharp(np.stack(anchors), candidates[sequence])[-1]
            own = float(alone.bound(single, energy))
            assert found.bound == pytest.approx(own + behind, rel=1e-9)


@pytest.mark.parametrize("learner", [Ensemble(OGD((0.1, 0.4))), *THROUGH_OPTIMISTS.values()], ids=repr)
def test_the_leader_is_the_expert_of_the_largest_weight(learner):
    state = learner.init(np.zeros(4))
    for _ in range(20):
        state = learner.update(state, Linear(np.array([1.0, 0.0, 0.0, 0.0])))
    assert learner.leader(state) == 1  # the longer step goes further where every gradient is the same
    assert OGD(0.1).leader(OGD(0.1).init(np.zeros(4))) is None


@dataclass(frozen=True)
class Halved(OGD):
    """OGD at half its step size: a play of its own, which says itself what proves it."""

    certified = True
    played: float = 0.5

    def update(self, state, loss_t, hint=None):
        return OGD(self.played * self.step_size, self.domain).update(state, loss_t)

    def terms(self, before, after, x_t, grad_t, hint=None, expert=None):
        return Terms(x_t, grad_t, 0.5 * self.step_size)


@dataclass(frozen=True)
class Silent(OGD):
    """The same play without a word."""

    def update(self, state, loss_t, hint=None):
        return OGD(0.5 * self.step_size, self.domain).update(state, loss_t)


def test_a_learner_of_ones_own_is_certified_by_what_its_class_declares():
    log, anchors, candidates, _, _, state = played(Halved(0.4, Ball(1.0)), "quadratic")
    for sequence in certificate.sequences(log).values():
        found = certificate.certificate(log, sequence)
        energy = bounds.comparator_energy_sharp(anchors, candidates[sequence])[-1]
        assert found.bound == pytest.approx(float(bounds.proximal(energy, 0.2, state.stability[0])), rel=1e-9)
        assert found.slack >= 0


def test_a_certificate_that_claims_too_much_is_false():
    log, *_ = played(Halved(0.4, Ball(1.0), played=0.01), "linear")  # moves a fiftieth of what it says
    assert min(certificate.certificate(log, sequence).slack for sequence in certificate.sequences(log).values()) < 0


def test_what_is_proven_of_a_play_is_not_inherited_by_another_play():
    for name in ("certified", "constant_steps"):
        assert getattr(OGD(0.4), name)
        assert not getattr(Silent(0.4), name)
        assert not getattr(Ensemble(Silent((0.1, 0.4))), name)
    assert Halved(0.4).certified
    assert not Halved(0.4).constant_steps
    assert Delayed(OGD(0.4, Ball(1.0)), 2).guarantee(Problem(Ball(1.0), 3, 30, 1.0)) is not None
    assert Delayed(Silent(0.4, Ball(1.0)), 2).guarantee(Problem(Ball(1.0), 3, 30, 1.0)) is None
    with pytest.raises(ValueError, match="certified as it is set"):
        certificate.Recorder(Silent(0.4), [np.zeros(3)])
    with pytest.raises(NotImplementedError, match="Momentum is not certified"):
        Momentum(0.1).terms(None, None, None, None)


@pytest.mark.parametrize("late", [0, 40])
@pytest.mark.parametrize("learner", [Hedge(0.5), Mixture(1.0), FixedShare(0.5, 0.0)], ids=repr)
def test_experts_are_certified_by_where_they_begin_and_the_gaps_they_pay(learner, late):
    """Also from the middle of a run, whose best expert the log has never seen, and where an older play was served."""
    rng = np.random.default_rng(4)
    early, then = rng.uniform(size=(late, 3)) * [0.2, 1.0, 1.0], rng.uniform(size=(60, 3)) * [1.0, 0.2, 1.0]
    state = learner.init(np.full(3, 1 / 3))
    for losses_t in early:
        state = learner.update(state, Linear(losses_t))
    recorder, first = certificate.Recorder(learner, list(np.eye(3))), state
    for t, losses_t in enumerate(then):
        served = learner.predict(state) if t % 4 == 0 else served  # noqa: F821 (bound at t = 0)
        after = learner.update(state, Linear(losses_t))
        recorder.add(state, Linear(losses_t), after, served=served)
        state = after
    log = recorder.trace()
    assert list(certificate.sequences(log)) == ["best fixed"]
    found = certificate.certificate(log, certificate.sequences(log)["best fixed"])
    best = int(np.argmin(then.sum(axis=0)))
    gaps = float((state.gap - first.gap)[0])
    behind = float(np.sum(log.columns["surplus"])) - gaps
    own = -np.log(learner.predict(first)[best]) / learner.meta_step_size + gaps
    assert found.bound == pytest.approx(own + behind, rel=1e-9)
    suffered = np.sum(log.columns["loss"]) - then[:, best].sum()
    assert found.dynamic_regret == pytest.approx(float(suffered))
    assert 0 <= found.slack <= found.bound - found.dynamic_regret + 1e-12


WEIGHTS = [
    *(Hedge(0.5), AdaHedge(), FixedShare(0.5, 0.01, True)),
    *(OptimisticHedge(), OptimisticHedge(0.2), OptimisticHedge(0.5, adaptive=False)),
]


def log_of_mixtures(learner, late, losses):
    """A log whose candidates are corners, the middle, and the weights after the last round; it begins late."""
    states = [learner.init(np.array([0.5, 0.2, 0.3]))]
    for losses_t in losses:
        states.append(learner.update(states[-1], Linear(losses_t)))
    candidates = [*np.eye(3), np.full(3, 1 / 3), learner.predict(states[-1])]
    recorder = certificate.Recorder(learner, candidates)
    for t in range(late, len(losses)):
        recorder.add(states[t], Linear(losses[t]), states[t + 1])
    return recorder.trace(), candidates, states


@pytest.mark.parametrize("late", [0, 40])
@pytest.mark.parametrize("learner", WEIGHTS, ids=repr)
def test_exponential_weights_are_certified_against_fixed_mixtures(learner, late):
    """Of Hedge the log's bound is an equality against the weights that it ends with."""
    rng = np.random.default_rng(4)
    losses = rng.uniform(size=(100, 3)) * np.where(np.arange(100)[:, None] < 40, [0.2, 1.0, 1.0], [1.0, 0.2, 1.0])
    log, candidates, states = log_of_mixtures(learner, late, losses)
    assert log.header["static"]
    assert list(certificate.sequences(log)) == ["best fixed"]
    for k, mixture in enumerate(candidates):
        found = certificate.certificate(log, np.full(100 - late, k))
        assert found.dynamic_regret == pytest.approx(np.sum(log.columns["loss"]) - np.sum(losses[late:] @ mixture))
        assert found.slack >= 0
    spread = found.bound - found.dynamic_regret
    assert (abs(spread) < 1e-9) == isinstance(learner, Hedge)
    if isinstance(learner, AdaHedge | OptimisticHedge) and late == 0:
        dearest = int(np.argmin(states[0].log_prior))  # against whom the certificate is the theorem's own bound
        known = learner.expert_bound(states[-1])[dearest]
        assert certificate.certificate(log, np.full(100, dearest)).bound == pytest.approx(float(known))
    if isinstance(learner, FixedShare) and late == 0:
        own = float(learner.switching_bound(states[-1], 0.0)) - log_1(learner)
        assert certificate.certificate(log, np.ones(100, dtype=int)).bound == pytest.approx(own)


@pytest.mark.parametrize("learner", WEIGHTS, ids=repr)
def test_copies_add_to_their_certificates_what_each_adds_alone(learner):
    priors, losses = np.array([[0.5, 0.2, 0.3], [0.1, 0.8, 0.1]]), np.random.default_rng(9).random((2, 3))
    together = learner.init(priors)
    after = learner.update(together, Linear(losses))
    surplus = learner.terms(together, after, priors, losses).surplus
    limits = learner.bound(after, 2.0)
    for k in range(2):
        alone = learner.init(priors[k])
        then = learner.update(alone, Linear(losses[k]))
        np.testing.assert_allclose(surplus[k], learner.terms(alone, then, priors[k], losses[k]).surplus, rtol=1e-12)
        np.testing.assert_allclose(limits[k], learner.bound(then, 2.0), rtol=1e-12)


def log_1(learner):
    """What the certificate pays for one stay more than the theorem: it may begin anywhere in a run."""
    return np.log(1.0 - learner.share) / learner.meta_step_size


def test_a_certificate_that_forgets_the_shares_is_false():
    class Forgetful(FixedShare):
        certified = True

        def terms(self, before, after, x_t, grad_t, hint=None, expert=None):
            return hedge.gap_paid(before, after)

    losses = np.tile([0.0, 1.0, 1.0], (60, 1))
    log, *_ = log_of_mixtures(Forgetful(2.0, 0.2, True), 0, losses)
    assert certificate.certificate(log, np.zeros(60, dtype=int)).slack < -1


def test_changing_steps_are_certified_by_the_weighed_energy():
    """The plain sharp form would be exceeded: two rounds from u and back with a step that has shrunk."""
    learner = OptimisticOGD(SelfConfident(2.0, 1.0), Zero(), Ball(1.0))
    recorder, state = certificate.Recorder(learner, [np.zeros(3)]), learner.init(np.zeros(3))
    anchors, etas = [], []
    for sign in (1.0, -1.0):
        loss_t = Linear(np.array([sign, 0.0, 0.0]))
        after = learner.update(state, loss_t)
        recorder.add(state, loss_t, after)
        anchors.append(state.anchor)
        state = after
    log = recorder.trace()
    etas = log.columns["step_size"]
    found = certificate.certificate(log, np.zeros(2, dtype=int))
    plain = bounds.comparator_energy_sharp(np.stack(anchors), np.zeros((2, 3)))[-1]
    assert found.dynamic_regret > float(bounds.proximal(plain, etas[-1], state.stability[0])) + 0.05
    assert found.slack >= 0


def test_a_run_on_tensors_is_logged_alike():
    """The decoder's learners hold float32 tensors."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    candidates, slopes = Ball(1.0).project(rng.normal(size=(2, 3))), rng.normal(size=(9, 3))
    found = []
    for made in (np.asarray, lambda a: torch.tensor(a, dtype=torch.float32)):
        learner = OptimisticOGD(SelfConfident(2.0, 4.0), domain=Ball(1.0))
        recorder, state = certificate.Recorder(learner, made(candidates)), learner.init(made(np.zeros(3)))
        for slope in slopes:
            after = learner.update(state, Linear(made(slope)))
            recorder.add(state, Linear(made(slope)), after)
            state = after
        found.append(certificate.certificate(recorder.trace(), np.arange(9) // 5))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


def test_certify_prints_the_table_and_fails_where_regret_exceeds_it(tmp_path):
    log, *_ = played(LEARNERS["ogd"], "linear")
    path = log.save(tmp_path / "log")
    shown = CliRunner().invoke(app, ["certify", str(path), "--switches", "3"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    fixed = certificate.certificate(log, certificate.sequences(log)["best fixed"])
    assert f"{fixed.bound:.6g}" in shown.output
    assert "3 switches" in shown.output
    worse = Trace(log.header, {**log.columns, "loss": log.columns["loss"] + 10.0}).save(tmp_path / "worse")
    assert CliRunner().invoke(app, ["certify", str(worse)]).exit_code == 1
    late = log.columns["loss"] + 10.0 * (np.arange(30) == 9) - 10.0 * (np.arange(30) == 20)
    passing = Trace(log.header, {**log.columns, "loss": late})
    found = certificate.certificate(passing, certificate.sequences(passing)["best fixed"])
    assert found.slack < 0 < found.bound - found.dynamic_regret, "broken for a while, and at the end no more"
    assert CliRunner().invoke(app, ["certify", str(passing.save(tmp_path / "passing"))]).exit_code == 1
    partial = Trace(log.header, {"loss": log.columns["loss"]}).save(tmp_path / "partial")
    refused = CliRunner().invoke(app, ["certify", str(partial)])
    assert refused.exit_code == 2
    assert "candidate_loss, squared_error, step_size, distance" in refused.output
    assert CliRunner().invoke(app, ["certify", str(tmp_path / "none")]).exit_code == 2


def test_one_candidate_reads_back_as_one(tmp_path):
    log, *_ = played(LEARNERS["ogd"], "linear")
    columns = {**log.columns, "candidate_loss": log.columns["candidate_loss"][:, :1]}
    one = Trace({**log.header, "between": [[0.0]]}, {**columns, "distance": log.columns["distance"][:, :1]})
    read = Trace.load(one.save(tmp_path / "one"))
    zeros = np.zeros(30, dtype=int)
    np.testing.assert_allclose(certificate.certificate(read, zeros), certificate.certificate(log, zeros))


def test_certificates_refuse_what_they_cannot_certify():
    log, *_ = played(LEARNERS["ogd"], "linear")
    for sequence in (np.zeros(29), np.full(30, 4), np.full(30, -1)):
        with pytest.raises(ValueError, match="from 0 to 3 for 30 rounds"):
            certificate.certificate(log, sequence)
    with pytest.raises(ValueError, match="no between"):
        certificate.certificate(Trace({}, log.columns), np.zeros(30))
    ensemble = Ensemble.tuned(Problem(Ball(1.0), 3, 30, 1.0))
    own = replace(ensemble, surrogate=False)
    for learner in (Momentum(0.1, 0.9), own, OGD((0.1, 0.2)), LastLoss()):
        with pytest.raises(ValueError, match="a learner that is certified as it is set"):
            certificate.Recorder(learner, [np.zeros(3)])
    for expert in (None, -1, len(ensemble.base.step_size)):
        with pytest.raises(ValueError, match=rf"expert={expert}\): must be one of 0 … {ensemble.bases - 1}, its bases"):
            certificate.Recorder(ensemble, [np.zeros(3)], expert)
    with pytest.raises(ValueError, match="expert=0\\): must be None, as it has no bases"):
        certificate.Recorder(OGD(0.1), [np.zeros(3)], 0)
    with pytest.raises(ValueError, match="0 candidates"):
        certificate.Recorder(OGD(0.1), [])


# Comparators that may move


@pytest.mark.parametrize("switches", [0, 1, 2, 3, 10])
@pytest.mark.parametrize("seed", range(3))
def test_best_switching_is_the_best_of_all_sequences(switches, seed):
    losses = np.random.default_rng(seed).normal(size=(6, 3))

    def total(path):
        return losses[np.arange(6), list(path)].sum()

    allowed = [p for p in product(range(3), repeat=6) if np.sum(np.diff(p) != 0) <= switches]
    path = hindsight.best_switching(losses, switches)
    assert np.sum(np.diff(path) != 0) <= switches
    assert total(path) == pytest.approx(min(total(p) for p in allowed), abs=1e-12)


def test_best_switching_of_one_round_and_its_errors():
    assert hindsight.best_switching(np.array([[2.0, 1.0]]), 3).tolist() == [1]
    with pytest.raises(ValueError, match="switches=-1"):
        hindsight.best_switching(np.ones((2, 2)), -1)


@pytest.mark.parametrize("longest", [0.0, 0.3, 1.0, 2.5, 9.0])
@pytest.mark.parametrize("seed", range(3))
def test_best_on_path_is_the_linear_program_in_one_dimension(longest, seed):
    """min ⟨slopes, u⟩, |u_t| ≤ 1, s_t ≥ ±(u_t − u_{t−1}), Σs ≤ P, by HiGHS."""
    slopes, rounds = np.random.default_rng(seed).normal(size=8), 8
    difference = np.diff(np.eye(rounds), axis=0)
    limits = np.block([[difference, -np.eye(7)], [-difference, -np.eye(7)], [np.zeros((1, 8)), np.ones((1, 7))]])
    exact = linprog([*slopes, *[0.0] * 7], limits, [*[0.0] * 14, longest], bounds=[(-1, 1)] * 8 + [(0, None)] * 7).fun
    for domain in (Ball(1.0), Box(-1.0, 1.0)):
        u, gap = path_limited.best_on_path(slopes[:, None], domain, longest, "linear")
        assert regret.path_length(u)[-1] <= longest + 1e-9
        assert np.all(domain.contains(u))
        assert 0 <= slopes @ u[:, 0] - exact + 1e-9 <= gap + 2e-9
        assert gap <= 1e-6 * (1 + np.abs(slopes).sum())


@pytest.mark.parametrize("longest", [0.0, 0.4, 1.5])
def test_best_on_path_is_the_best_on_a_grid(longest):
    """Quadratics in one dimension, three rounds, by brute force over a grid of 81³ paths."""
    centers = np.array([0.9, -0.7, 0.2])
    grid = np.linspace(-1, 1, 81)
    a, b, c = np.meshgrid(grid, grid, grid, indexing="ij")
    total = 0.5 * ((a - centers[0]) ** 2 + (b - centers[1]) ** 2 + (c - centers[2]) ** 2)
    brute = np.min(np.where(np.abs(a - b) + np.abs(b - c) <= longest + 1e-12, total, np.inf))
    u, gap = path_limited.best_on_path(centers[:, None], Ball(1.0), longest, "quadratic")
    ours = 0.5 * np.sum((u[:, 0] - centers) ** 2)
    assert ours - gap <= brute
    assert ours <= brute + 1e-9
    assert ours >= brute - 3e-2  # the grid is 0.025 wide


@pytest.mark.parametrize("domain", [Ball(1.0), Box(-1.0, 0.5), Simplex()], ids=repr)
@pytest.mark.parametrize("kind", ["linear", "quadratic"])
def test_best_on_path_meets_its_ends(domain, kind):
    """P = 0 is the best fixed decision, a long path the best of every round; between them the value falls with P."""
    parameters = np.random.default_rng(1).normal(size=(10, 3))
    values = []
    for longest in (0.0, 0.5, 2.0, 100.0):
        u, gap = path_limited.best_on_path(parameters, domain, longest, kind)
        loss = Linear(parameters) if kind == "linear" else Quadratic(parameters)
        values.append(float(np.sum(loss.value(u))))
        assert -1e-12 <= gap <= 1e-4
        assert regret.path_length(u)[-1] <= longest + 1e-9
        assert np.all(domain.contains(u))
    for segments, value in ((1, values[0]), (10, values[-1])):
        u = hindsight.best_piecewise(parameters, domain, segments, kind)
        loss = Linear(parameters) if kind == "linear" else Quadratic(parameters)
        assert value == pytest.approx(float(np.sum(loss.value(u))), abs=1e-4)
    assert all(later < earlier - 0.01 for earlier, later in pairwise(values))


def test_the_gap_of_best_on_path_is_honest_when_steps_run_out():
    parameters = np.random.default_rng(2).normal(size=(12, 3))
    best = np.sum(parameters * path_limited.best_on_path(parameters, Ball(1.0), 1.5, "linear")[0])
    for rounds in (1, 51, 101):
        u, gap = path_limited.best_on_path(parameters, Ball(1.0), 1.5, "linear", tolerance=1e-12, rounds=rounds)
        assert np.sum(parameters * u) - gap <= best + 1e-9
        assert gap > 1e-9


@pytest.mark.parametrize("call", [("cubic", 1.0), ("linear", -1.0), ("linear", float("nan"))])
def test_best_on_path_errors(call):
    with pytest.raises(ValueError, match=r"best_on_path\("):
        path_limited.best_on_path(np.ones((2, 1)), Ball(1.0), call[1], call[0])
    with pytest.raises(ValueError, match=r"Free\(\)"):
        path_limited.best_on_path(np.ones((2, 1)), Free(), 1.0, "linear")
